//! `countersign verify`: whether a chain would be accepted, by which path, or why not. Reads files and the clock, nothing else.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use countersign_diagnose::chain::refusal;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ExpectedName, Purpose, Rules, Strictness};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::inspect::escaped;
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_pki::verification::Verification;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::certificate_file::{self, Contents, fault};
use crate::cli::arguments::Globals;
use crate::fault::{Answer, Fault};
use crate::output::tell;

/// Verify a certificate chain against trust anchors: the path, or the cause and the fix
#[derive(Debug, Args)]
pub(crate) struct VerifyCommand {
    /// Who presents the certificate
    #[arg(long = "as", value_name = "SIDE")]
    side: Side,
    /// The trust anchors, PEM or DER
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The certificate, leaf first; what follows it counts as sent along
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// More intermediates
    #[arg(long, value_name = "FILE")]
    untrusted: Option<PathBuf>,
    /// A name that the certificate must hold: of a server a host or IP address, of a client any name; repeatable, all must be there
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// When, such as 2026-01-02T03:04:05Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<UnixTime>,
    /// How many intermediates are allowed, self-issued ones not counted [default: 6, the most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=6))]
    depth: Option<u8>,
    /// A CRL, PEM or DER; repeatable. Where there is one, it must cover the certificate [default: revocation is not checked]
    #[arg(long = "crl", value_name = "FILE")]
    crls: Vec<PathBuf>,
    /// Insist on what RFC 5280 wants of conforming CAs and private ones leave out: key identifiers, critical marks,
    /// a CRL for every certificate
    #[arg(long)]
    strict: bool,
}

/// Who presents the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Client,
    Server,
}

impl From<Side> for Purpose {
    fn from(side: Side) -> Self {
        match side {
            Side::Client => Self::ClientAuth,
            Side::Server => Self::ServerAuth,
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, Serialize)]
struct Verdict {
    valid: bool,
    #[serde(rename = "as")]
    side: Side,
    at: String,
    strict: bool,
    /// Whether CRLs were asked.
    revocation_checked: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Accepted {
        principal: TypedName,
        names: Vec<TypedName>,
        /// The earliest end in the path.
        not_after: String,
        /// From the leaf to the anchor.
        path: Vec<Step>,
    },
    Refused {
        #[serde(flatten)]
        refusal: Refusal,
        means: &'static str,
        fix: String,
    },
}

/// A certificate of the path.
#[derive(Clone, Debug, Serialize)]
struct Step {
    subject: String,
    serial: String,
    not_after: String,
    fingerprint: String,
    anchor: bool,
}

impl VerifyCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let (verdict, notes) = self.verdict(now)?;
        for note in &notes {
            tell(note);
        }
        globals.output().answer(&verdict, Verdict::text)?;
        Ok(Answer::from_bool(verdict.valid))
    }

    /// The answer, and what else its reader must know.
    fn verdict(&self, now: UnixTime) -> Result<(Verdict, Vec<String>), Fault> {
        let (purpose, at) = (Purpose::from(self.side), self.at.unwrap_or(now));
        let names = self.expected_names(purpose)?;
        let anchors = ders(&self.trust, "CERTIFICATE")?;
        let crls = self.crls.iter().map(|path| ders(path, "X509 CRL"));
        let crls = crls.collect::<Result<Vec<_>, _>>()?.concat();
        let mut chain = ders(&self.cert, "CERTIFICATE")?;
        if let Some(untrusted) = &self.untrusted {
            chain.extend(ders(untrusted, "CERTIFICATE")?);
        }
        let usual = Rules::default();
        let rules = Rules {
            intermediates: self.depth.map_or(usual.intermediates, usize::from),
            strictness: if self.strict {
                Strictness::Strict
            } else {
                Strictness::Usual
            },
        };
        // Who asks for a SPIFFE ID says by it whose bundle the file is.
        let trust_domain = names
            .iter()
            .find_map(|name| name.spiffe_id())
            .map(|id| id.trust_domain().clone());
        let is_domain_known = trust_domain.is_some();
        let bundle = BundleName::parse("trust").map_err(Fault::bug)?;
        let verification = Verification::new(bundle, trust_domain, &anchors, &crls, rules)
            .map_err(|error| self.unusable(&error))?;

        let mut notes: Vec<String> = verification
            .left_out()
            .iter()
            .map(|left| {
                let (path, place) = (self.trust.display(), left.place);
                let why = escaped(&left.why.to_string());
                format!("note: {path}: certificate {place} is left out: {why}")
            })
            .collect();
        let outcome = match verification.verify(&chain, purpose, &names, at) {
            Ok(peer) => {
                if !is_domain_known && holds_spiffe_id(&peer) {
                    notes.push(
                        "note: the certificate holds a SPIFFE ID, which counts only under its own trust domain's bundle: \
                         `--name spiffe://…` says that the trust file is that"
                            .to_owned(),
                    );
                }
                accepted(&peer, verification.anchors())
            }
            Err(fault) => {
                let refusal = refusal(&fault, purpose);
                Outcome::Refused {
                    means: refusal.cause.meaning(),
                    fix: refusal.fix().to_owned(),
                    refusal,
                }
            }
        };
        let verdict = Verdict {
            valid: matches!(outcome, Outcome::Accepted { .. }),
            side: self.side,
            at: at.to_string(),
            strict: self.strict,
            revocation_checked: !crls.is_empty(),
            outcome,
        };
        Ok((verdict, notes))
    }

    fn expected_names(&self, purpose: Purpose) -> Result<Vec<ExpectedName>, Fault> {
        let parse = |text: &String| {
            ExpectedName::parse(text, purpose).map_err(|error| {
                Fault::configuration(format_args!("--name {}: {error}", escaped(text)))
                    .hint("write a host or IP address for a server, for a client also spiffe://…, email:, cn: or dn:")
            })
        };
        self.names.iter().map(parse).collect()
    }

    fn unusable(&self, error: &countersign_pki::verification::InvalidVerification) -> Fault {
        use countersign_pki::verification::InvalidVerification as Invalid;
        let why = escaped(&error.to_string());
        match error {
            Invalid::Crl { .. } => Fault::configuration(why)
                .hint("`--crl` takes X.509 CRLs in PEM or DER: `countersign inspect FILE` decodes one"),
            _ => fault(&self.trust, &why)
                .hint("`--trust` takes CA certificates in PEM or DER: `countersign inspect FILE` decodes them"),
        }
    }
}

fn holds_spiffe_id(peer: &VerifiedPeer) -> bool {
    let leaf = peer
        .chain()
        .first()
        .and_then(|der| Certificate::parse(der).ok());
    leaf.is_some_and(|leaf| {
        let mut names = leaf.subject_alt_names().iter();
        names.any(|name| matches!(name, TypedName::Spiffe(_)))
    })
}

fn accepted(peer: &VerifiedPeer, anchors: &[Certificate]) -> Outcome {
    let mut path = Vec::with_capacity(peer.chain().len() + 1);
    for (der, element) in peer.chain().iter().zip(peer.path()) {
        // An issuer is judged by what a path needs of it. The rest, such as its own alternative names, may be unreadable.
        let subject = Certificate::parse(der).map_or_else(
            |_| "an issuer that cannot be read in full".to_owned(),
            |certificate| certificate.subject().to_string(),
        );
        path.push(Step {
            subject,
            serial: element.serial.to_string(),
            not_after: element.not_after.to_string(),
            fingerprint: Fingerprint::of(der).to_string(),
            anchor: false,
        });
    }
    let anchor = anchors
        .iter()
        .find(|anchor| anchor.fingerprint() == peer.anchor());
    path.extend(anchor.map(|anchor| Step {
        subject: anchor.subject().to_string(),
        serial: anchor.serial().to_string(),
        not_after: anchor.not_after().to_string(),
        fingerprint: anchor.fingerprint().to_string(),
        anchor: true,
    }));
    Outcome::Accepted {
        principal: peer.principal().name.clone(),
        names: peer.names().to_vec(),
        not_after: peer.not_after().to_string(),
        path,
    }
}

/// Every certificate, or every CRL, of a file; what else it holds (a key beside its certificate) is passed over.
fn ders(path: &Path, label: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let contents = certificate_file::read(path)
        .map_err(|fault| fault.or_hint("name a file in PEM or DER that can be read"))?;
    let ders: Vec<Vec<u8>> = match contents {
        Contents::Der(der) => vec![der.to_vec()],
        Contents::Pem(blocks) => blocks
            .iter()
            .filter(|block| block.label == label)
            .map(|block| block.der.clone())
            .collect(),
    };
    if ders.is_empty() {
        return Err(fault(path, &format_args!("the file holds no {label}"))
            .hint("`countersign inspect FILE` shows what is in a file"));
    }
    Ok(ders)
}

impl Verdict {
    fn text(&self) -> String {
        let side = match self.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let rules = if self.strict { "strict" } else { "usual" };
        let revocation = if self.revocation_checked {
            "checked against the CRLs"
        } else {
            "not checked (no --crl)"
        };
        let mut rows: Vec<(&str, String)> = vec![("as", side.to_owned()), ("at", self.at.clone())];
        let head = match &self.outcome {
            Outcome::Accepted {
                principal,
                names,
                not_after,
                path,
            } => {
                let names = names.iter().map(|name| escaped(&name.to_string()));
                rows.extend(names.map(|name| ("name", name)));
                rows.push(("until", not_after.clone()));
                rows.extend(path.iter().map(Step::row));
                format!("valid  {}\n", escaped(&principal.to_string()))
            }
            Outcome::Refused {
                refusal,
                means,
                fix,
            } => {
                rows.push(("means", (*means).to_owned()));
                rows.push(("fix", fix.clone()));
                let evidence = refusal.evidence.iter();
                rows.extend(evidence.map(|(name, value)| (name, value.to_owned())));
                format!(
                    "refused  {}  {}\n",
                    refusal.cause.slug(),
                    refusal.sentence()
                )
            }
        };
        rows.extend([
            ("rules", rules.to_owned()),
            ("revocation", revocation.to_owned()),
        ]);
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let lines = rows
            .iter()
            .map(|(label, value)| format!("  {label:<width$}  {value}\n"));
        [head].into_iter().chain(lines).collect()
    }
}

impl Step {
    fn row(&self) -> (&str, String) {
        let subject = match self.subject.as_str() {
            "" => "(empty subject)",
            subject => subject,
        };
        let label = if self.anchor { "anchor" } else { "path" };
        let value = format!(
            "{}, serial {}, until {}",
            escaped(subject),
            self.serial,
            self.not_after
        );
        (label, value)
    }
}
