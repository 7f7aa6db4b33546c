//! What follows from what was fetched.

use countersign_pki::certificate::Certificate;
use countersign_pki::revocation::Revocation;

use super::{Heard, Held, Kind, SourceSeen, held, pairs};
use crate::cause::Cause;
use crate::doctor::file::{FileSeen, Judgement, Role};
use crate::doctor::shell_word::quoted;
use crate::doctor::target::admits_client;
use crate::doctor::{Observations, bridge};
use crate::finding::{Finding, RuledOut, Severity, Side};

/// What the lists and responders that were asked say of each certificate in the paths of both sides. What it shows of the server
/// besides is what comes back.
///
/// A certificate that is revoked is a fault. A place that gives nothing to go by is a risk: whether anybody asks there, and what they
/// do without an answer, is the verifier's own affair, unless its configuration is at hand and says so.
pub(in crate::doctor) fn judge(
    observations: &Observations,
    judgement: &mut Judgement,
) -> Vec<Finding> {
    let mut of_server = Vec::new();
    let Some(seen) = &observations.sources else {
        return of_server;
    };
    for held in held(observations) {
        for (certificate, issuer) in pairs(&held.path) {
            let asking = Asking {
                observations,
                held: &held,
                certificate,
                issuer,
            };
            for kind in [Kind::Crl, Kind::Ocsp] {
                of_server.extend(asking.judge(kind, seen, judgement));
            }
        }
    }
    of_server
}

struct Asking<'a> {
    observations: &'a Observations,
    held: &'a Held,
    certificate: &'a Certificate,
    issuer: &'a Certificate,
}

impl Asking<'_> {
    /// The places of a kind stand in for one another (RFC 5280 §4.2.1.13).
    fn judge(&self, kind: Kind, seen: &[SourceSeen], judgement: &mut Judgement) -> Option<Finding> {
        let mut silent = Vec::new();
        let mut of_server = None;
        let mut is_known = false;
        for seen in seen.iter().filter(|seen| self.is_asked_at(kind, seen)) {
            let now = self.observations.now;
            let heard = match kind {
                Kind::Crl => Heard::of_list(seen, self.certificate, self.issuer, now),
                Kind::Ocsp => Heard::of_responder(seen, now),
            };
            match heard {
                Heard::Good(because) => {
                    is_known = true;
                    judgement.rule_out(RuledOut::new(Cause::CertificateRevoked, because));
                }
                Heard::Nothing(cause, message) => silent.push((cause, message, seen)),
                Heard::Revoked(revocation) => {
                    is_known = true;
                    judgement.find(self.revoked(&revocation, seen));
                    of_server = self.let_in(&revocation, seen);
                }
                Heard::Unasked => {}
            }
        }
        for (cause, message, seen) in silent {
            let finding = self.silent(cause, message, seen);
            let severity = match kind {
                _ if is_known => Severity::Note,
                Kind::Ocsp if self.is_insisted_on() => Severity::Fault,
                _ => Severity::Risk,
            };
            judgement.find(match severity {
                Severity::Fault => finding,
                Severity::Risk => finding.risk(),
                Severity::Note => finding.note(),
            });
        }
        of_server
    }

    fn is_asked_at(&self, kind: Kind, seen: &SourceSeen) -> bool {
        let source = &seen.source;
        let is_ours = match kind {
            Kind::Crl => self.certificate.crl_uris().contains(&source.url.as_str()),
            Kind::Ocsp => source.certificate.der() == self.certificate.der(),
        };
        is_ours && source.kind == kind && source.issuer.der() == self.issuer.der()
    }

    fn revoked(&self, revocation: &Revocation, seen: &SourceSeen) -> Finding {
        let message = self.sentence(revocation, seen);
        Finding::fault(Cause::CertificateRevoked, self.held.side, message)
            .with("subject", self.certificate.subject())
            .with("serial", self.certificate.serial())
            .with("revoked_at", revocation.revoked_at)
            .with("reason", revocation.reason.as_str())
            .with("source", &seen.source.url)
    }

    fn sentence(&self, revocation: &Revocation, seen: &SourceSeen) -> String {
        let what = match seen.source.kind {
            Kind::Crl => format!("the CRL of {} at", self.issuer.subject()),
            Kind::Ocsp => "the OCSP responder".to_owned(),
        };
        format!(
            "{what} {} says that the certificate of {} (serial {}) is revoked since {} ({})",
            seen.source.url,
            self.certificate.subject(),
            self.certificate.serial(),
            revocation.revoked_at,
            revocation.reason.as_str()
        )
    }

    /// The client is revoked, and the server does not mind.
    fn let_in(&self, revocation: &Revocation, seen: &SourceSeen) -> Option<Finding> {
        let observations = self.observations;
        let target = observations.target.as_ref()?;
        let known = bridge::known(&observations.files);
        let is_let_in = self.held.side == Side::Client
            && admits_client(target, &observations.question, &known, observations.now);
        is_let_in.then(|| {
            let message = format!(
                "{} lets the client in although its certificate is revoked: {}",
                target.target,
                self.sentence(revocation, seen)
            );
            Finding::fault(Cause::RevocationNotChecked, Side::Server, message)
                .with("source", &seen.source.url)
                .with_fix("nginx: ssl_crl crl.pem (one for every CA of the chain), or ssl_ocsp on; HAProxy: bind … crl-file crl.pem; Apache: SSLCARevocationFile and SSLCARevocationCheck chain")
        })
    }

    fn silent(&self, cause: Cause, message: String, seen: &SourceSeen) -> Finding {
        let side = match cause {
            Cause::CrlMissing | Cause::OcspUnreachable => Side::Network,
            _ => Side::Ca,
        };
        let url = quoted(&seen.source.url);
        let look = match seen.source.kind {
            Kind::Crl => format!(
                "curl -sS --max-time 5 {url} | openssl crl -inform DER -noout -issuer -lastupdate -nextupdate"
            ),
            Kind::Ocsp => format!(
                "openssl ocsp -issuer issuer.pem -cert cert.pem -url {url} -CAfile root.pem"
            ),
        };
        Finding::fault(cause, side, message)
            .with("subject", self.certificate.subject())
            .with("issuer", self.issuer.subject())
            .with("source", &seen.source.url)
            .with("now", self.observations.now)
            .with_fix(look)
    }

    /// A server's configuration at hand has clients refused whom no responder vouches for.
    fn is_insisted_on(&self) -> bool {
        let mut files = self.observations.files.iter();
        self.held.side == Side::Client
            && self.held.path.first().map(Certificate::der) == Some(self.certificate.der())
            && files.any(insists_on_ocsp)
    }
}

/// nginx's `ssl_ocsp` and Apache's `SSLOCSPEnable` refuse where no answer comes.
fn insists_on_ocsp(file: &FileSeen) -> bool {
    let text = file.text.as_deref().unwrap_or_default();
    file.role == Role::Other
        && text.lines().any(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line
                .split([' ', '\t', ';', '{', '}'])
                .filter(|word| !word.is_empty());
            words.any(|word| matches!(word, "ssl_ocsp" | "SSLOCSPEnable"))
                && words.next().is_some_and(|how| matches!(how, "on" | "leaf"))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_pki::material::Material;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let mut file = FileSeen::read(Role::Other, "site.conf", Material::default());
        file.text = Some(Arc::from(text));
        assert_eq!(insists_on_ocsp(&file), expected, "{text}");
    }

    #[test]
    fn servers_insist_where_their_configuration_says_so() {
        check("server {\n  ssl_ocsp on;\n}", true);
        check("ssl_ocsp\tleaf;", true);
        check("server { ssl_verify_client on; ssl_ocsp leaf; }", true);
        check("SSLOCSPEnable on", true);
        for text in [
            "",
            "ssl_ocsp off;",
            "# ssl_ocsp on;",
            "ssl_ocsp_responder http://ocsp.test/;",
            "ssl_stapling on;",
            "ssl_ocsp",
            "SSLOCSPEnable off",
        ] {
            check(text, false);
        }
    }
}
