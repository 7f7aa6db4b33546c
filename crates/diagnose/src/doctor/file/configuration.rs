//! What a server's configuration says of client certificates: nginx, Apache, `HAProxy`, Envoy and others, a line at a time.
//!
//! Only what stands there plainly is judged: variables, includes and conditions are not followed.

mod envoy;
mod haproxy;
mod nginx;
mod others;
mod settings;

use countersign_pki::chain::Purpose;

use self::settings::{Asking, Server, Settings};
use super::passage::{self, Outcome};
use super::{FileSeen, Judgement, Party, Role};
use crate::cause::Cause;
use crate::doctor::Observations;
use crate::doctor::question::TlsVersion;
use crate::finding::{Finding, Side};

pub(super) fn judge(observations: &Observations, parties: &[Party<'_>], judgement: &mut Judgement) {
    for file in &observations.files {
        let Some(text) = file.text.as_deref().filter(|_| file.role == Role::Other) else {
            continue;
        };
        // A listener without TLS has nothing else that tells it.
        if text.contains("forward_client_cert_details") {
            envoy::judge(file, text, judgement);
        }
        let Some(settings) = Settings::read(text) else {
            continue;
        };
        match settings.server {
            Server::HaProxy => haproxy::judge(file, text, judgement),
            Server::Nginx => nginx::judge(file, text, judgement),
            _ => {}
        }
        let reading = Reading {
            file,
            settings,
            observations,
        };
        reading.depth(parties, judgement);
        reading.enforcement(judgement);
        reading.versions(judgement);
        reading.headers(judgement);
    }
}

struct Reading<'a> {
    file: &'a FileSeen,
    settings: Settings,
    observations: &'a Observations,
}

impl Reading<'_> {
    fn fault(&self, cause: Cause, what: &str) -> Finding {
        let (server, path) = (self.settings.server.as_str(), &self.file.path);
        Finding::fault(
            cause,
            Side::Server,
            format!("{server}'s configuration {path} {what}"),
        )
        .with("file", path)
    }

    fn depth(&self, parties: &[Party<'_>], judgement: &mut Judgement) {
        let Some((limit, written)) = &self.settings.depth else {
            return;
        };
        let client = parties.iter().find(|it| it.purpose == Purpose::ClientAuth);
        let Some(client) = client else { return };
        let intermediates = match passage::verify(client) {
            Outcome::Accepted(peer) => peer.chain().len().saturating_sub(1),
            _ if client.knows_trust() => return,
            // Its own root, if it is sent along, is not counted.
            _ => client
                .chain
                .iter()
                .skip(1)
                .filter_map(|piece| piece.certificate())
                .filter(|it| it.is_ca() && it.subject() != it.issuer())
                .count(),
        };
        if intermediates > *limit {
            let what = format!(
                "lets {limit} intermediates through ({written}), and the client's chain has {intermediates}"
            );
            judgement.find(
                self.fault(Cause::VerifyDepthTooSmall, &what)
                    .with("limit", limit)
                    .with("intermediates", intermediates),
            );
        }
    }

    fn enforcement(&self, judgement: &mut Judgement) {
        let question = &self.observations.question;
        let has_certificate = self
            .observations
            .files
            .iter()
            .any(|file| file.role == Role::ClientCertificate);
        let is_expected = question.expect_enforced;
        match &self.settings.asking {
            Some(Asking::No) if self.settings.asks_for_paths.is_some() => self.paths(judgement),
            Some(Asking::No) if is_expected || has_certificate => {
                let is_meant = self.settings.names_cas;
                let what = if is_meant {
                    "names whom to trust for clients, and does not ask them for certificates"
                } else {
                    "does not ask for client certificates"
                };
                let finding = self.fault(Cause::ClientCertNotRequested, what);
                judgement.find(if is_expected || is_meant {
                    finding
                } else {
                    finding.risk()
                });
            }
            Some(Asking::OrPlaintext(written)) => {
                let what = format!("takes clients without TLS as well ({written})");
                let finding = self
                    .fault(Cause::PlaintextAlsoAccepted, &what)
                    .with("setting", written);
                judgement.find(if is_expected { finding } else { finding.risk() });
            }
            Some(Asking::Optional(written)) if is_expected => {
                let what = format!(
                    "asks for client certificates and lets clients without one in ({written})"
                );
                judgement.find(
                    self.fault(Cause::ClientAuthNotEnforced, &what)
                        .with("setting", written),
                );
            }
            _ => {}
        }
    }

    /// Up to TLS 1.2 Apache renegotiates; since then a client has to have said that it may be asked later, and few do.
    fn paths(&self, judgement: &mut Judgement) {
        let Some(written) = &self.settings.asks_for_paths else {
            return;
        };
        let served = self.settings.versions.as_ref();
        let offered = self.observations.question.max_tls;
        let speaks_it = served.is_none_or(|(versions, _)| versions.contains(&TlsVersion::Tls13))
            && offered.is_none_or(|highest| highest >= TlsVersion::Tls13);
        if speaks_it {
            let what = format!(
                "asks for client certificates below some paths alone ({written}), which TLS 1.3 allows only to clients that announce it"
            );
            let finding = self.fault(Cause::PostHandshakeAuthUnavailable, &what);
            judgement.find(finding.with("setting", written));
        }
    }

    fn versions(&self, judgement: &mut Judgement) {
        let question = &self.observations.question;
        let Some((served, written)) = &self.settings.versions else {
            return;
        };
        let (lowest, highest) = (question.min_tls, question.max_tls);
        if lowest.is_none() && highest.is_none() {
            return;
        }
        let is_offered = |version: &&TlsVersion| {
            lowest.is_none_or(|lowest| **version >= lowest)
                && highest.is_none_or(|highest| **version <= highest)
        };
        if served.iter().any(|version| is_offered(&version)) {
            return;
        }
        let told: Vec<_> = [("at least", lowest), ("at most", highest)]
            .into_iter()
            .filter_map(|(word, version)| Some(format!("{word} {}", version?)))
            .collect();
        let what = format!("speaks {written}, and the client {}", told.join(" and "));
        judgement.find(
            self.fault(Cause::TlsVersionMismatch, &what)
                .with("served", written),
        );
    }

    /// Whoever asks for certificates and passes requests on without a word of them.
    fn headers(&self, judgement: &mut Judgement) {
        let settings = &self.settings;
        let asks = matches!(
            settings.asking,
            Some(Asking::Required | Asking::Optional(_))
        );
        if asks && settings.proxies && !settings.sets_identity {
            let what =
                "asks for client certificates and passes requests on without the client's identity";
            let finding = self.fault(Cause::IdentityHeaderMissing, what);
            judgement.find(finding.risk());
        }
    }
}
