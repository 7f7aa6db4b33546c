//! What a server shows whoever connects: one connection without a certificate, a second where the first had no answer.

use std::path::Path;

use countersign_diagnose::doctor::question::{Scheme, Starttls, Target, TlsVersion};
use countersign_diagnose::doctor::target::{
    Attempt, End, Known, Preamble, Shown, Speech, TargetSeen, Trial, judge,
};
use countersign_diagnose::doctor::{Diagnosis, Question, remarks_on_server};
use countersign_diagnose::handshake::alert_name;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::time::UnixTime;
use countersign_probe::server::{Limits, Prober, Wanted};
use serde::Serialize;

use super::items::{Item, of_der};
use crate::backend::block_on;
use crate::fault::Fault;
use crate::output::escaped;

/// How a server is asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) name: Option<String>,
    pub(super) starttls: Option<Starttls>,
}

/// A server; its certificates follow, as it sent them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "server")]
pub(super) struct ServerView {
    target: String,
    address: String,
    /// The name that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    /// What was spoken before TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    starttls: Option<&'static str>,
    version: &'static str,
    cipher: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<String>,
    /// Whether it asks for a certificate of the client; `null`: the connection ended before it could.
    asks_for_certificate: Option<bool>,
    /// The CAs that it names then; empty: any.
    ca_names: Vec<String>,
    /// Whether it takes no connection without one, as far as its alert says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    refuses_with: Option<String>,
    /// Whether an OCSP answer came with its certificate.
    stapled_ocsp: bool,
    /// How many certificates it sent.
    certificates: usize,
}

impl Asked {
    /// What `text` means if it is no file: `HOST:PORT` or a URL. A bare word is the name of a file that does not exist.
    pub(super) fn of(text: &Path, name: Option<&str>, starttls: Option<Starttls>) -> Option<Self> {
        if text.exists() {
            return None;
        }
        let text = text.to_str()?;
        let is_url = text.contains("://");
        let has_port = text.contains(':') && !text.contains('/');
        let target = Target::parse(text).ok().filter(|_| is_url || has_port)?;
        Some(Self {
            starttls: starttls.or_else(|| target.starttls()),
            name: name.map(ToOwned::to_owned),
            target,
        })
    }

    /// The server, its certificates, and what is remarkable about them.
    pub(super) fn items(&self, now: UnixTime) -> Result<(Vec<Item>, Diagnosis), Fault> {
        let mut seen = self.look(&self.trial(Speech::Tls), now)?;
        if seen.attempts.iter().all(|attempt| attempt.hello.is_none()) {
            // What no current library speaks to shows its certificates in clear.
            let old = self.look(&self.trial(Speech::RawHello), now)?;
            seen.attempts.extend(old.attempts);
        }
        let spoken = seen.attempts.iter().find(|it| it.hello.is_some());
        let Some(attempt) = spoken else {
            return Err(self.without_tls(&seen, now));
        };
        let certificates = attempt.chain.iter().map(|der| of_der(&der.0, now));
        let mut items = vec![Item::Server(Box::new(self.view(attempt)))];
        items.extend(certificates);
        let diagnosis = remarks_on_server(&seen, &self.question(), now);
        Ok((items, diagnosis))
    }

    fn question(&self) -> Question {
        Question {
            target: Some(self.target.clone()),
            name: self.name.clone(),
            starttls: self.starttls,
            ..Question::default()
        }
    }

    fn look(&self, trial: &Trial, now: UnixTime) -> Result<TargetSeen, Fault> {
        let wanted = Wanted {
            question: self.question(),
            identity: None,
            issuers: Vec::new(),
            anchors: Vec::new(),
            now,
            limits: Limits::default(),
        };
        let trials = std::slice::from_ref(trial);
        block_on(async { Ok::<_, Fault>(Prober.try_each(&wanted, trials).await) })
    }

    fn trial(&self, speech: Speech) -> Trial {
        let name = self.name.as_ref().unwrap_or(&self.target.host);
        let is_name = name.parse::<std::net::IpAddr>().is_err() && !name.contains(':');
        let may_be_web = self.starttls.is_none() && self.target.scheme.is_none_or(Scheme::is_web);
        let alpn: &[&str] = if may_be_web && speech == Speech::Tls {
            &["h2", "http/1.1"]
        } else {
            &[]
        };
        Trial {
            speech,
            preamble: self.starttls.map_or(Preamble::None, Preamble::Starttls),
            sni: is_name.then(|| name.clone()),
            certificate: Shown::None,
            alpn: alpn.iter().map(ToString::to_string).collect(),
            min: TlsVersion::Tls10,
            max: TlsVersion::Tls13,
            request: None,
            resumes: None,
        }
    }

    /// In the doctor's words.
    fn without_tls(&self, seen: &TargetSeen, now: UnixTime) -> Fault {
        let diagnosis = judge(seen, &self.question(), &Known::default(), now);
        let why = diagnosis.findings.first().map_or_else(
            || format!("{} shows no certificate", self.target),
            |finding| format!("{} ({})", finding.message(), finding.cause),
        );
        Fault::world(why).hint(format!("`countersign doctor {}` says more", self.target))
    }

    fn view(&self, attempt: &Attempt) -> ServerView {
        let hello = attempt.hello.as_ref();
        let asked = attempt.asked.as_ref();
        let ca_names = asked.into_iter().flat_map(|asked| &asked.ca_names);
        let was_whole = attempt.finished || !attempt.chain.is_empty();
        ServerView {
            target: self.target.to_string(),
            address: attempt.address.to_string(),
            sni: attempt.trial.sni.clone(),
            starttls: self.starttls.map(Starttls::as_str),
            version: hello.map_or("", |hello| hello.version.as_str()),
            cipher: hello.map_or_else(String::new, |hello| {
                let name = hello.cipher_name.clone();
                name.unwrap_or_else(|| format!("{:#06x}", hello.cipher))
            }),
            alpn: hello.and_then(|hello| hello.alpn.clone()),
            asks_for_certificate: was_whole.then_some(asked.is_some()),
            ca_names: ca_names
                .map(|name| {
                    DistinguishedName::from_der(&name.0)
                        .map_or_else(|_| "(unreadable)".to_owned(), |name| name.to_string())
                })
                .collect(),
            refuses_with: match &attempt.end {
                End::Alert(code) => Some(
                    alert_name(*code).map_or_else(|| format!("alert {code}"), ToOwned::to_owned),
                ),
                End::TooLarge(why) => Some(why.clone()),
                _ => None,
            },
            stapled_ocsp: attempt.ocsp.is_some(),
            certificates: attempt.chain.len(),
        }
    }
}

impl ServerView {
    pub(super) fn text(&self) -> String {
        let sni = self.sni.as_deref().unwrap_or("none");
        let asks = match self.asks_for_certificate {
            None => "unknown: the connection ended before",
            Some(false) => "not asked for",
            Some(true) if self.ca_names.is_empty() => "asked for, of any CA",
            Some(true) => "asked for, of these CAs:",
        };
        let refusal = self
            .refuses_with
            .as_ref()
            .map(|why| format!("without one: {why}"));
        let rows = [
            (
                "server",
                Some(format!("{} ({})", self.target, self.address)),
            ),
            ("asked for", Some(sni.to_owned())),
            ("starttls", self.starttls.map(ToOwned::to_owned)),
            ("version", Some(self.version.to_owned())),
            ("cipher", Some(self.cipher.clone())),
            ("alpn", self.alpn.clone()),
            ("client cert", Some(asks.to_owned())),
        ];
        let names = self.ca_names.iter().map(|name| ("", Some(name.clone())));
        let stapled = if self.stapled_ocsp { "yes" } else { "no" };
        let last = [
            ("", refusal),
            ("ocsp stapled", Some(stapled.to_owned())),
            ("sent", Some(format!("{} certificates", self.certificates))),
        ];
        let lines = rows.into_iter().chain(names).chain(last);
        lines
            .filter_map(|(label, value)| Some(format!("{label:<12} {}\n", escaped(&value?))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_server_is_told_from_what_names_a_file() {
        let of = |text: &str| Asked::of(Path::new(text), None, None).map(|asked| asked.target);
        for (text, expected) in [
            ("api.example:8443", "api.example:8443"),
            ("[::1]:443", "[::1]:443"),
            ("https://api.example/x", "api.example:443"),
            ("postgres://db.example/app", "db.example:5432"),
        ] {
            assert_eq!(of(text).expect(text).to_string(), expected);
        }
        for text in [
            "cert.pem",
            "folder/cert:1",
            "gopher://a",
            "a:b",
            "",
            "/etc/hosts",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        let file = tempfile::tempdir().expect("a folder");
        let path = file.path().join("api.example:8443");
        std::fs::write(&path, "").expect("written");
        assert!(Asked::of(&path, None, None).is_none(), "a file wins");
    }

    #[test]
    fn url_says_what_is_spoken_before_tls_and_a_flag_overrides_it() {
        let of = |flag| {
            Asked::of(Path::new("smtp://mail.example"), Some("mail"), flag)
                .expect("a server")
                .trial(Speech::Tls)
        };
        assert_eq!(of(None).preamble, Preamble::Starttls(Starttls::Smtp));
        assert_eq!(of(None).sni.as_deref(), Some("mail"));
        assert!(of(None).alpn.is_empty());
        let overridden = of(Some(Starttls::Imap));
        assert_eq!(overridden.preamble, Preamble::Starttls(Starttls::Imap));
    }
}
