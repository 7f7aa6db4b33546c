//! `countersign verify`: whether a chain would be accepted, by which path, or why not. Reads files and the clock, nothing else.

mod reading;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use countersign_diagnose::blame;
use countersign_diagnose::chain::refusal;
use countersign_diagnose::finding::Finding;
use countersign_diagnose::refusal::Refusal;
use countersign_diagnose::verification::{Account, Asked, OtherPath, Step, account};
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ExpectedName, Purpose, Rules, Strictness};
use countersign_pki::crl::ParsedCrl;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::inspect::escaped;
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_pki::verification::Verification;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use self::reading::Reader;
use crate::certificate_file::fault;
use crate::cli::arguments::Globals;
use crate::cli::findings::{Look, SHOWN_FACTS, told};
use crate::fault::{Answer, Fault};
use crate::output::{print, tell};

/// Verify a certificate chain against trust anchors: the path, or the cause and the fix
///
/// Reads whatever `doctor` reads: PEM and DER, PKCS#7, PKCS#12, Java keystores, whatever the encoding and what stands around them. What strict
/// readers would refuse of a file is said.
#[derive(Debug, Args)]
pub(crate) struct VerifyCommand {
    /// Who presents the certificate
    #[arg(long = "as", value_name = "SIDE")]
    side: Side,
    /// The trust anchors
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
    /// A CRL; repeatable. Where there is one, it must cover the certificate [default: revocation is not checked]
    #[arg(long = "crl", value_name = "FILE")]
    crls: Vec<PathBuf>,
    /// File with the password of a keystore, one line [default: that of PKCS#12 is asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
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
    #[serde(flatten)]
    account: Account,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Accepted {
        principal: TypedName,
        names: Vec<TypedName>,
        /// The earliest end in the path.
        not_after: String,
    },
    Refused {
        #[serde(flatten)]
        refusal: Refusal,
        means: &'static str,
        fix: String,
        /// The same in the shape of the doctor's.
        findings: Vec<Finding>,
    },
}

impl VerifyCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let (verdict, notes) = self.verdict(now)?;
        for note in &notes {
            tell(note);
        }
        if globals.json {
            globals.output().answer(&verdict, |_| String::new())?;
        } else {
            print(&verdict.text(Look::of(&globals.environment)))?;
        }
        Ok(Answer::from_bool(verdict.valid))
    }

    /// The answer, and what else its reader must know.
    fn verdict(&self, now: UnixTime) -> Result<(Verdict, Vec<String>), Fault> {
        let (purpose, at) = (Purpose::from(self.side), self.at.unwrap_or(now));
        let names = self.expected_names(purpose)?;
        let mut reader = Reader::new(purpose, self.password_file.as_deref(), now)?;
        let anchors = reader.anchors(&self.trust)?;
        let mut crls = Vec::new();
        for path in &self.crls {
            let of_file = reader.lists(path)?.into_iter();
            crls.extend(of_file.map(|der| (path.display().to_string(), der)));
        }
        let mut chain = reader.chain(&self.cert)?;
        if let Some(untrusted) = &self.untrusted {
            chain.extend(reader.untrusted(untrusted)?);
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
        let lists: Vec<Vec<u8>> = crls.iter().map(|(_, der)| der.clone()).collect();
        let verification = Verification::new(bundle, trust_domain.clone(), &anchors, &lists, rules)
            .map_err(|error| self.unusable(&error))?;

        let mut notes = reader.notes;
        notes.extend(verification.left_out().iter().map(|left| {
            let (path, place) = (self.trust.display(), left.place);
            let why = escaped(&left.why.to_string());
            format!("note: {path}: certificate {place} is left out: {why}")
        }));
        let judged = verification.verify(&chain, purpose, &names, at);
        let parsed = crls
            .iter()
            .filter_map(|(file, der)| Some((file.clone(), ParsedCrl::parse(der).ok()?)));
        let asked = Asked {
            chain: &chain,
            anchors: verification.anchors(),
            trust_domain: trust_domain.as_ref(),
            lists: &parsed.collect::<Vec<_>>(),
            purpose,
            names: &names,
            rules,
            at,
        };
        let account = account(&asked, &judged);
        let outcome = match &judged {
            Ok(peer) => {
                if !is_domain_known && holds_spiffe_id(peer) {
                    notes.push(
                        "note: the certificate holds a SPIFFE ID, which counts only under its own trust domain's bundle: \
                         `--name spiffe://…` says that the trust file is that"
                            .to_owned(),
                    );
                }
                Outcome::Accepted {
                    principal: peer.principal().name.clone(),
                    names: peer.names().to_vec(),
                    not_after: peer.not_after().to_string(),
                }
            }
            Err(fault) => {
                let refusal = refusal(fault, purpose);
                Outcome::Refused {
                    means: refusal.cause.meaning(),
                    fix: refusal.fix().to_owned(),
                    findings: vec![blame::finding(&refusal, purpose)],
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
            account,
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
                .hint("`--crl` takes X.509 CRLs: `countersign inspect FILE` decodes one"),
            _ => fault(&self.trust, &why)
                .hint("`--trust` takes CA certificates: `countersign inspect FILE` decodes them"),
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

impl Verdict {
    fn text(&self, look: Look) -> String {
        let side = match self.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let mut rows: Vec<(String, String)> = vec![
            ("as".to_owned(), side.to_owned()),
            ("at".to_owned(), self.at.clone()),
        ];
        let head = match &self.outcome {
            Outcome::Accepted {
                principal,
                names,
                not_after,
            } => {
                let names = names.iter().map(ToString::to_string);
                rows.extend(names.map(|name| ("name".to_owned(), name)));
                rows.push(("until".to_owned(), not_after.clone()));
                look.hung("valid  ", &principal.to_string())
            }
            Outcome::Refused { refusal, means, .. } => {
                rows.push(("means".to_owned(), (*means).to_owned()));
                let label = format!("refused  {}  ", refusal.cause.slug());
                look.hung(&label, refusal.sentence())
            }
        };
        let mut text = head + "\n" + &look.facts(pairs(&rows));
        text.push_str(&self.path(look));
        if let Outcome::Refused { findings, .. } = &self.outcome {
            for finding in findings {
                text.push('\n');
                text.push_str(&told(finding, SHOWN_FACTS, look));
            }
        }
        text
    }

    fn path(&self, look: Look) -> String {
        let Account {
            path,
            checks,
            other_paths,
        } = &self.account;
        let mut text = String::new();
        if !path.is_empty() {
            text.push_str("\npath\n");
            text.push_str(&look.facts(pairs(&steps(path))));
        }
        if !checks.is_empty() {
            text.push_str("\nchecks\n");
            let rows = checks.iter().map(|check| {
                let detail = match check.detail.as_str() {
                    "" => check.result.as_str().to_owned(),
                    detail => format!("{}: {detail}", check.result.as_str()),
                };
                (check.check.to_owned(), detail)
            });
            text.push_str(&look.facts(pairs(&rows.collect::<Vec<_>>())));
        }
        for OtherPath { path, finding } in other_paths {
            text.push_str("\nanother path\n");
            let mut rows = steps(path);
            rows.push(match finding {
                Some(finding) => (
                    "refused".to_owned(),
                    format!("{}: {}", finding.cause, finding.message()),
                ),
                None => (
                    "valid".to_owned(),
                    "it would have been accepted as well".to_owned(),
                ),
            });
            text.push_str(&look.facts(pairs(&rows)));
        }
        text
    }
}

fn pairs(rows: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    rows.iter()
        .map(|(label, value)| (label.as_str(), value.as_str()))
}

/// From the leaf upwards.
fn steps(path: &[Step]) -> Vec<(String, String)> {
    let named = |name: &str| match name {
        "" => "(empty subject)".to_owned(),
        name => name.to_owned(),
    };
    let row = |(at, step): (usize, &Step)| {
        let label = match (at, step.anchor) {
            (_, true) => "anchor",
            (0, false) => "leaf",
            _ => "issuer",
        };
        let Step {
            serial,
            not_before,
            not_after,
            ..
        } = step;
        let value = format!(
            "{}, by {}, serial {serial}, {not_before} to {not_after}",
            named(&step.subject),
            named(&step.issuer)
        );
        (label.to_owned(), value)
    };
    path.iter().enumerate().map(row).collect()
}
