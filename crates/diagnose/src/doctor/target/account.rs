//! A connection in one line, for whoever wants to know what was done.

use super::reach::end_text;
use super::{Attempt, End, Preamble, Shown, Speech, Stage};
use crate::evidence::printable;

impl Attempt {
    /// What was offered, and what came. One line, escaped.
    pub fn account(&self) -> String {
        let trial = &self.trial;
        let speech = match trial.speech {
            Speech::PlainHttp => "plaintext HTTP".to_owned(),
            Speech::RawHello => format!(
                "a ClientHello of every age ({} to {})",
                trial.min, trial.max
            ),
            Speech::Tls => "TLS".to_owned(),
        };
        let preamble = match trial.preamble {
            Preamble::None => String::new(),
            Preamble::ProxyHeader => " behind a PROXY header".to_owned(),
            Preamble::Starttls(starttls) => format!(" behind STARTTLS of {}", starttls.as_str()),
        };
        let shown = match (trial.speech, trial.certificate) {
            (Speech::Tls, Shown::None) => ", no certificate",
            (Speech::Tls, Shown::Own) => ", the client's certificate",
            (Speech::Tls, Shown::OwnCompleted) => {
                ", the client's certificate with every issuer at hand"
            }
            (Speech::Tls, Shown::Stranger) => ", a stranger's certificate",
            _ => "",
        };
        let sni = match (&trial.sni, trial.speech) {
            (_, Speech::PlainHttp) => String::new(),
            (Some(name), _) => format!(" for {name}"),
            (None, _) => " without a name".to_owned(),
        };
        let text = format!(
            "{}: {speech}{preamble}{sni}{shown}: {} ({} ms)",
            self.address,
            self.outcome_text(),
            self.took.as_millis()
        );
        printable(text, MAX_BYTES)
    }

    fn outcome_text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(hello) = &self.hello {
            let suite = hello
                .cipher_name
                .clone()
                .unwrap_or_else(|| format!("0x{:04x}", hello.cipher));
            parts.push(format!("{} {suite}", hello.version));
        }
        if let Some(asked) = &self.asked {
            parts.push(format!(
                "asks for a certificate of {} CAs",
                asked.ca_names.len()
            ));
        }
        if let Some(http) = &self.http {
            parts.push(format!("answers {} {}", http.status, http.reason));
        }
        if !self.plaintext.is_empty() {
            parts.push(format!(
                "says {}",
                String::from_utf8_lossy(&self.plaintext).trim()
            ));
        }
        match (&self.end, self.at) {
            (End::Open, _) => {}
            (End::Closed, _) if self.http.is_some() => {}
            (end, Stage::Preamble) => {
                parts.push(format!("{} the plaintext before TLS", end_text(end)));
            }
            (end, Stage::BeforeServerHello) if self.trial.speech == Speech::PlainHttp => {
                parts.push(format!("{} the request", end_text(end)));
            }
            (end, Stage::BeforeServerHello) => {
                parts.push(format!("{} the ClientHello", end_text(end)));
            }
            (end, Stage::InHandshake) => parts.push(format!("{} its ServerHello", end_text(end))),
            (end, Stage::AfterFinished) => parts.push(format!("{} our Finished", end_text(end))),
        }
        if parts.is_empty() {
            "nothing".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// Two lines of a wide terminal.
const MAX_BYTES: usize = 512;
