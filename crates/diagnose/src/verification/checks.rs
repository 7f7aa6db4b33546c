//! Each check of a path, looked at by itself.
//!
//! Where the judge has refused, its words stand at the check that they are about; where it has accepted, every check has passed.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, Purpose, Strictness, permits_name};
use countersign_pki::identity::VerifiedPeer;

use super::{Asked, Check, End, Outcome, Path};
use crate::cause::Cause;
use crate::chain::refusal;
use crate::evidence::printable;

/// What is to be said of it, or against it.
type Seen = Result<String, String>;

pub(super) fn all(
    asked: &Asked<'_>,
    path: &Path,
    verdict: &Result<VerifiedPeer, ChainFault>,
    strict: Option<&ChainFault>,
) -> Vec<Check> {
    let looked_at = Looked { asked, path };
    let refused = verdict
        .as_ref()
        .err()
        .map(|fault| refusal(fault, asked.purpose));
    let table: [(&'static str, Option<Seen>); 10] = [
        (TRUST, Some(looked_at.trust())),
        (SIGNATURES, Some(looked_at.signatures())),
        (VALIDITY, Some(looked_at.validity())),
        (BASIC_CONSTRAINTS, Some(looked_at.basic_constraints())),
        (KEY_USAGE, Some(looked_at.key_usage())),
        (EXTENDED_KEY_USAGE, Some(looked_at.extended_key_usage())),
        (NAME_CONSTRAINTS, Some(looked_at.name_constraints())),
        (NAMES, looked_at.names()),
        (REVOCATION, looked_at.revocation()),
        (FORM, Some(looked_at.form())),
    ];
    let mut checks: Vec<Check> = table
        .into_iter()
        .map(|(check, seen)| {
            let about = refused.as_ref().filter(|it| check_of(it.cause) == check);
            if let Some(refusal) = about {
                return Check {
                    check,
                    result: Outcome::Failed,
                    detail: refusal.sentence().to_owned(),
                    cause: Some(refusal.cause),
                };
            }
            let (result, detail) = match seen {
                None => (Outcome::NotAsked, not_asked(check).to_owned()),
                Some(Ok(detail)) => (Outcome::Passed, detail),
                // Whoever accepts it has looked more closely.
                Some(Err(_)) if verdict.is_ok() => (Outcome::Passed, String::new()),
                Some(Err(why)) => (Outcome::Failed, why),
            };
            Check {
                check,
                result,
                detail: printable(detail, MAX_DETAIL_BYTES),
                cause: None,
            }
        })
        .collect();
    checks.push(strictness(asked, refused.as_ref(), strict));
    checks
}

fn not_asked(check: &str) -> &'static str {
    match check {
        NAMES => "no name was given",
        _ => "no CRL was given",
    }
}

fn strictness(
    asked: &Asked<'_>,
    refused: Option<&crate::refusal::Refusal>,
    strict: Option<&ChainFault>,
) -> Check {
    let about = refused.filter(|it| check_of(it.cause) == STRICTNESS);
    let (result, detail) = match (asked.rules.strictness, about, strict) {
        (_, Some(refusal), _) => (Outcome::Failed, refusal.sentence().to_owned()),
        (Strictness::Strict, None, _) => {
            (Outcome::Passed, "all that RFC 5280 wants of CAs".to_owned())
        }
        (Strictness::Usual, None, Some(fault)) => {
            let refusal = refusal(fault, asked.purpose);
            let why = format!(
                "--strict would refuse ({}): {}",
                refusal.cause,
                refusal.sentence()
            );
            (Outcome::NotAsked, why)
        }
        (Strictness::Usual, None, None) => (Outcome::NotAsked, "usual rules".to_owned()),
    };
    Check {
        check: STRICTNESS,
        result,
        detail,
        cause: about.map(|refusal| refusal.cause),
    }
}

/// Which check it is about.
fn check_of(cause: Cause) -> &'static str {
    use Cause as C;
    match cause {
        C::ClientCaNotTrusted
        | C::ServerCaNotTrusted
        | C::ChainMissingIntermediate
        | C::ChainWrongOrder
        | C::SameNameDifferentKeyCa
        | C::TrustDomainMismatch => TRUST,
        C::BadSignature | C::SigalgUnsupported | C::WeakSignature | C::WeakKey => SIGNATURES,
        C::LeafExpired | C::IntermediateExpired | C::RootExpired | C::NotYetValid => VALIDITY,
        C::IssuerNotACa
        | C::PathlenExceeded
        | C::VerifyDepthTooSmall
        | C::CaUsedAsEndEntity
        | C::ChainTooDeep => BASIC_CONSTRAINTS,
        C::IssuerCannotSign | C::KeyusageMissingDigitalsignature => KEY_USAGE,
        C::EkuMissingClientauth | C::EkuMissingServerauth | C::IssuerEkuExcludesPurpose => {
            EXTENDED_KEY_USAGE
        }
        C::NameConstraintsViolated | C::NameConstraintsUnsupported => NAME_CONSTRAINTS,
        C::NameMismatch
        | C::IpSanMissing
        | C::SanMissing
        | C::WildcardMismatch
        | C::IdentityAmbiguous => NAMES,
        C::CertificateRevoked
        | C::CrlBadSignature
        | C::CrlExpired
        | C::CrlMissing
        | C::CrlUnprocessed
        | C::CrlWrongIssuer => REVOCATION,
        C::CaExtensionsIncomplete | C::AkiMismatch => STRICTNESS,
        _ => FORM,
    }
}

struct Looked<'a> {
    asked: &'a Asked<'a>,
    path: &'a Path,
}

impl Looked<'_> {
    fn certificates(&self) -> &[Certificate] {
        &self.path.certificates
    }

    fn leaf(&self) -> &Certificate {
        &self.certificates()[0]
    }

    fn issuers(&self) -> &[Certificate] {
        &self.certificates()[1..]
    }

    fn pairs(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        let certificates = self.certificates();
        certificates.iter().zip(&certificates[1..])
    }

    fn trust(&self) -> Seen {
        let top = self.certificates().last();
        let name = top.map_or_else(String::new, |top| top.subject().to_string());
        match self.path.end {
            End::Anchor => Ok(format!("ends at {name}, which is trusted")),
            End::OtherKey { .. } => Err(format!("{name} is another certificate of this name")),
            End::Nothing => {
                let issuer = top.map_or_else(String::new, |top| top.issuer().to_string());
                Err(format!("no certificate of {issuer} is at hand"))
            }
        }
    }

    fn signatures(&self) -> Seen {
        let mut said = Vec::new();
        for (below, issuer) in self.pairs() {
            if below.verify_signature(issuer).is_err() {
                return Err(format!(
                    "that of {} does not verify with the key of {}",
                    below.subject(),
                    issuer.subject()
                ));
            }
            said.push(below.signature_algorithm().to_string());
        }
        Ok(if said.is_empty() {
            "none to verify".to_owned()
        } else {
            said.join(", ")
        })
    }

    fn validity(&self) -> Seen {
        let at = self.asked.at;
        for it in self.certificates() {
            let (subject, begin, end) = (it.subject(), it.not_before(), it.not_after());
            if at > end {
                return Err(format!("{subject} ended {end}, before {at}"));
            }
            if at < begin {
                return Err(format!("{subject} begins {begin}, after {at}"));
            }
        }
        let first = self.certificates().iter().min_by_key(|it| it.not_after());
        let first = first.unwrap_or_else(|| self.leaf());
        Ok(format!(
            "all are valid at {at}; the first to end is {}, {}",
            first.subject(),
            first.not_after()
        ))
    }

    fn basic_constraints(&self) -> Seen {
        let mut said = Vec::new();
        for (at, issuer) in self.issuers().iter().enumerate() {
            let subject = issuer.subject();
            if !issuer.is_ca() {
                return Err(format!("{subject} is not marked CA:TRUE"));
            }
            // Self-issued ones do not count (RFC 5280 §4.2.1.9).
            let between = self.issuers()[..at]
                .iter()
                .filter(|it| it.subject_der() != it.issuer_der())
                .count();
            let Some(limit) = issuer.path_len() else {
                continue;
            };
            if between > usize::from(limit) {
                return Err(format!(
                    "{between} intermediates below {subject}, which allows {limit}"
                ));
            }
            said.push(format!(
                "{subject} allows {limit} below, there are {between}"
            ));
        }
        Ok(if said.is_empty() {
            "every issuer is a CA, without a path length".to_owned()
        } else {
            format!("every issuer is a CA; {}", said.join("; "))
        })
    }

    fn key_usage(&self) -> Seen {
        for issuer in self.issuers() {
            let usage = issuer.key_usage();
            if usage.is_some_and(|usage| !usage.listed().contains(&"keyCertSign")) {
                return Err(format!("{} lacks keyCertSign", issuer.subject()));
            }
        }
        match self.leaf().key_usage() {
            None => Ok("the leaf has none, which allows all".to_owned()),
            Some(usage) if usage.listed().contains(&"digitalSignature") => {
                Ok(format!("the leaf's: {}", usage.listed().join(", ")))
            }
            Some(_) => Err("the leaf lacks digitalSignature".to_owned()),
        }
    }

    fn extended_key_usage(&self) -> Seen {
        let (wanted, is_client) = match self.asked.purpose {
            Purpose::ClientAuth => ("clientAuth", true),
            Purpose::ServerAuth => ("serverAuth", false),
        };
        for it in self.path.below() {
            if let Some(usage) = it.extended_key_usage() {
                let is_there = if is_client {
                    usage.client_auth
                } else {
                    usage.server_auth
                };
                if !is_there {
                    return Err(format!(
                        "{} lists {} and not {wanted}",
                        it.subject(),
                        usage.listed().join(", ")
                    ));
                }
            }
        }
        Ok(match self.leaf().extended_key_usage() {
            Some(usage) => format!("the leaf lists {}", usage.listed().join(", ")),
            None => "the leaf lists none, which allows all".to_owned(),
        })
    }

    fn name_constraints(&self) -> Seen {
        let constrained: Vec<_> = self
            .issuers()
            .iter()
            .filter(|it| it.has_name_constraints())
            .collect();
        for issuer in &constrained {
            for name in self.leaf().subject_alt_names() {
                if !permits_name(issuer, name) {
                    return Err(format!("{} does not permit {name}", issuer.subject()));
                }
            }
        }
        let subjects: Vec<String> = constrained
            .iter()
            .map(|it| it.subject().to_string())
            .collect();
        Ok(if subjects.is_empty() {
            "no issuer has any".to_owned()
        } else {
            format!("those of {} permit every name", subjects.join("; "))
        })
    }

    fn names(&self) -> Option<Seen> {
        if self.asked.names.is_empty() {
            return None;
        }
        let held = self.leaf().names().iter();
        let held: Vec<String> = held.map(ToString::to_string).collect();
        let mut asked = self.asked.names.iter();
        let all = asked.all(|name| name.find_in(self.leaf()).is_ok());
        let held = held.join(", ");
        Some(if all {
            Ok(format!("all that were asked for are among {held}"))
        } else {
            Err(format!("not all that were asked for are among {held}"))
        })
    }

    fn revocation(&self) -> Option<Seen> {
        if self.asked.lists.is_empty() {
            return None;
        }
        let mut said = Vec::new();
        for (below, issuer) in self.pairs() {
            let subject = below.subject();
            let list = self.asked.lists.iter().find(|(_, list)| {
                list.issuer() == issuer.subject()
                    && list.scope().is_none_or(|scope| scope.covers(below))
                    && list.is_made_by(issuer)
            });
            let Some((file, list)) = list else {
                said.push(format!("{subject}: no list"));
                continue;
            };
            let entry = list.entries().iter().find(|it| it.serial == below.serial());
            if let Some(entry) = entry {
                return Some(Err(format!(
                    "{subject}: revoked {} ({}), by {file}",
                    entry.revoked_at,
                    entry.reason.as_str()
                )));
            }
            let until = list
                .next_update()
                .map_or_else(String::new, |end| format!(", good until {end}"));
            said.push(format!("{subject}: not on {file}{until}"));
        }
        Some(Ok(said.join("; ")))
    }

    fn form(&self) -> Seen {
        let old = self.certificates().iter().find(|it| it.version() != 3);
        match old {
            Some(old) => Err(format!("{} is version {}", old.subject(), old.version())),
            None => Ok("X.509 version 3, no critical extension that is unknown".to_owned()),
        }
    }
}

const TRUST: &str = "trust";
const SIGNATURES: &str = "signatures";
const VALIDITY: &str = "validity";
const BASIC_CONSTRAINTS: &str = "basic constraints";
const KEY_USAGE: &str = "key usage";
const EXTENDED_KEY_USAGE: &str = "extended key usage";
const NAME_CONSTRAINTS: &str = "name constraints";
const NAMES: &str = "names";
const REVOCATION: &str = "revocation";
const FORM: &str = "form";
const STRICTNESS: &str = "strictness";

/// As a finding's message.
const MAX_DETAIL_BYTES: usize = 1024;
