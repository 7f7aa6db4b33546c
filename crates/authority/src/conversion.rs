//! Domain types to wire types and back: the one place.

mod list;
mod publication;
mod recovery;
mod retention;
pub(crate) mod revocation;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::Objection;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::pem;
use countersign_pki::request::CertificateRequest;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Because, Profile, Request};
use countersign_store::annotation::{
    Annotate, InvalidAnnotation, LabelKey, LabelValue, MAX_LABELS, Note, Owner,
};
use countersign_store::import::{Import, shown_by};
use countersign_store::inventory::{Annotation, Entry, IMPORTED, Page, Status, Tally, principal};

use self::list::cursor_text;
pub(crate) use self::list::list_filter;
pub(crate) use self::publication::{left_out, lists_response, revoked_under_root, root_list_draft};
pub(crate) use self::retention::{archived, prune_response};
use crate::api::{
    BecauseView, CertificateStatus, CertificateView, Counts, ImportOutcome, ImportRequest,
    ImportResponse, ImportedView, IssueRequest, IssueResponse, LabelRequest, LabelResponse,
    ListResponse, NodeView, ObjectionView, PreviewResponse, RevocationView, ShowResponse,
    ShownCertificate,
};
use crate::authority::{CERTIFICATE, Issued, Preview, RequestedKey};
use crate::problem::Problem;
use crate::receipt::NodeReceipt;

/// What is asked for, and what its certificate request asks for and will not get.
pub(crate) fn issuance(wire: IssueRequest) -> Result<(Request, Vec<String>), Problem> {
    let denied = |error: countersign_policy::issuance::Denied| {
        Problem::bad_request(error.to_string()).with_hint(error.hint())
    };
    let profile: Profile = wire.profile.parse().map_err(denied)?;
    let name = |text: &String| {
        text.parse::<TypedName>()
            .map_err(|error| Problem::bad_request(format!("{:?}: {error}", shortened(text))))
    };
    let (key, ignored) = requested_key(&wire.csr)?;
    let request = Request {
        profile,
        name: wire.name,
        subject_alt_names: wire.sans.iter().map(name).collect::<Result<_, _>>()?,
        lifetime: wire.ttl_s.map(Duration::from_secs),
        spki_der: key.spki_der,
        wishes: key.wishes,
    };
    Ok((request, ignored))
}

/// The key of a request in PEM or base64 DER, its possession proved; and what the request asks for that is not looked at.
pub(crate) fn requested_key(csr: &str) -> Result<(RequestedKey, Vec<String>), Problem> {
    let der = if csr.contains("-----BEGIN") {
        let blocks = pem::decode_all(csr.as_bytes())
            .map_err(|error| unusable(&format!("certificate request: {error}")))?;
        match <[pem::Block; 1]>::try_from(blocks) {
            Ok([block]) if CSR_LABELS.contains(&block.label.as_str()) => block.der,
            _ => {
                return Err(unusable(
                    "certificate request: the PEM does not hold exactly one CERTIFICATE REQUEST",
                ));
            }
        }
    } else {
        STANDARD
            .decode(csr.trim())
            .map_err(|_| unusable("certificate request: neither PEM nor base64 DER"))?
    };
    let request = CertificateRequest::parse(&der).map_err(|error| unusable(&error.to_string()))?;
    let mut ignored = request.ignored_extensions().to_vec();
    if !request.subject().is_empty() {
        ignored.push(format!("subject {}", request.subject()));
    }
    let key = RequestedKey {
        spki_der: request.spki_der().to_vec(),
        wishes: request.wishes(),
    };
    Ok((key, ignored))
}

fn unusable(why: &str) -> Problem {
    Problem::bad_request(why).with_hint(Some(
        "make one with a new key and no names in it: `openssl req -new -key key.pem -subj / -out request.pem`"
            .to_owned(),
    ))
}

/// Enough of what was sent to recognise it.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

pub(crate) fn issue_response(issued: Issued, ignored: Vec<String>) -> IssueResponse {
    let names = issued.certificate.names();
    IssueResponse {
        serial: issued.serial,
        fingerprint: issued.fingerprint,
        profile: issued.profile.to_string(),
        name: principal(names)
            .map(ToString::to_string)
            .unwrap_or_default(),
        names: shown_names(names),
        not_before: issued.not_before,
        not_after: issued.not_after,
        chain_pem: issued.chain_pem,
        ca_pem: issued.ca_pem,
        ignored,
    }
}

pub(crate) fn preview_response(preview: Preview, ignored: Vec<String>) -> PreviewResponse {
    let because = |because: Because| BecauseView {
        field: because.field.to_owned(),
        value: because.value,
        why: because.why,
    };
    let objection = |objection: Objection| ObjectionView {
        client: objection.client.to_owned(),
        why: objection.why,
        source: objection.source.to_owned(),
    };
    PreviewResponse {
        unsigned_pem: pem::encode(CERTIFICATE, preview.certificate.der()),
        because: preview.because.into_iter().map(because).collect(),
        objections: preview.objections.into_iter().map(objection).collect(),
        ignored,
    }
}

pub(crate) fn list_response(page: Page, now: UnixTime) -> ListResponse {
    ListResponse {
        next: page.next.as_ref().map(cursor_text),
        certificates: page
            .entries
            .into_iter()
            .map(|entry| certificate_view(entry, now))
            .collect(),
    }
}

/// `issuers_of` gives the CA certificates above one of ours, by its issuer's name.
pub(crate) fn show_response<'a>(
    page: Page,
    issuers_of: impl Fn(&DistinguishedName) -> Vec<&'a Certificate>,
    now: UnixTime,
) -> ShowResponse {
    let issuers_pem = |entry: &Entry| {
        let certificate = Certificate::parse(&entry.signed.as_ref()?.der).ok()?;
        let issuers = issuers_of(certificate.issuer());
        let pem = issuers.iter().map(|it| pem::encode(CERTIFICATE, it.der()));
        Some(pem.collect::<String>()).filter(|_| !entry.is_imported() && !issuers.is_empty())
    };
    let shown = |entry: Entry| ShownCertificate {
        pem: entry
            .signed
            .as_ref()
            .map(|signed| pem::encode(CERTIFICATE, &signed.der)),
        issuers_pem: issuers_pem(&entry),
        certificate: certificate_view(entry, now),
    };
    ShowResponse {
        more: page.next.is_some(),
        certificates: page.entries.into_iter().map(shown).collect(),
    }
}

/// What is asked to be said; an empty owner or note takes away what there is.
pub(crate) fn annotate(wire: &LabelRequest) -> Result<Annotate, Problem> {
    let key = |text: &String| LabelKey::parse(text).map_err(|error| refused(text, &error));
    let label = |(name, value): (&String, &String)| {
        let value = LabelValue::parse(value).map_err(|error| refused(value, &error))?;
        Ok::<_, Problem>((key(name)?, value))
    };
    if wire.labels.len() > MAX_LABELS || wire.remove.len() > MAX_LABELS {
        return Err(
            Problem::bad_request(format!("more than {MAX_LABELS} labels in one request"))
                .with_hint(Some(format!("an identity has at most {MAX_LABELS}"))),
        );
    }
    let owner = wire.owner.as_ref().map(|text| owner(text));
    let note = wire.note.as_ref().map(|text| {
        let parsed = (!text.is_empty()).then(|| Note::parse(text)).transpose();
        parsed.map_err(|error| refused(text, &error))
    });
    Ok(Annotate {
        owner: owner.transpose()?,
        set: wire.labels.iter().map(label).collect::<Result<_, _>>()?,
        remove: wire.remove.iter().map(key).collect::<Result<_, _>>()?,
        note: note.transpose()?,
    })
}

pub(crate) fn label_response(identity: &TypedName, annotation: Annotation) -> LabelResponse {
    let Annotation {
        owner,
        labels,
        note,
    } = annotation;
    LabelResponse {
        identity: identity.to_string(),
        owner,
        labels,
        note,
    }
}

/// The certificates of others, and whose they are.
pub(crate) fn imported(wire: &ImportRequest) -> Result<(Vec<Certificate>, Option<Owner>), Problem> {
    let count = wire.certificates.len();
    if !(1..=MAX_IMPORT).contains(&count) {
        return Err(Problem::bad_request(format!(
            "{count} certificates in one request, but 1 to {MAX_IMPORT} are possible"
        )));
    }
    let certificate = |(place, text): (usize, &String)| {
        let fault = |why: String| {
            Problem::bad_request(format!("certificate {}: {why}", place + 1))
                .with_hint(Some("nothing was imported; leave that one out".to_owned()))
        };
        let der = STANDARD
            .decode(text)
            .map_err(|_| fault("not base64".to_owned()))?;
        let certificate = Certificate::parse(&der).map_err(|error| fault(error.to_string()))?;
        let names = certificate.names().len();
        if names > MAX_NAMES {
            return Err(fault(format!(
                "it has {names} names, more than {MAX_NAMES}"
            )));
        }
        Ok(certificate)
    };
    let certificates = wire.certificates.iter().enumerate().map(certificate);
    let certificates = certificates.collect::<Result<_, _>>()?;
    let owner = wire.owner.as_deref().map(owner).transpose()?;
    Ok((certificates, owner.flatten()))
}

pub(crate) fn import_response(
    certificates: &[Certificate],
    outcomes: Vec<Import>,
) -> ImportResponse {
    let view = |(certificate, outcome): (&Certificate, Import)| ImportedView {
        fingerprint: certificate.fingerprint(),
        name: shown_by(certificate).to_string(),
        not_after: certificate.not_after(),
        outcome: match outcome {
            Import::AlreadyImported => ImportOutcome::AlreadyImported,
            Import::Imported => ImportOutcome::Imported,
            Import::Ours => ImportOutcome::Ours,
        },
    };
    ImportResponse {
        certificates: certificates.iter().zip(outcomes).map(view).collect(),
    }
}

fn owner(text: &str) -> Result<Option<Owner>, Problem> {
    let parsed = (!text.is_empty()).then(|| Owner::parse(text)).transpose();
    parsed.map_err(|error| refused(text, &error))
}

fn refused(text: &str, error: &InvalidAnnotation) -> Problem {
    Problem::bad_request(format!("{:?}: {error}", shortened(text))).with_hint(Some(
        "nothing was changed; say it in one line and fewer words".to_owned(),
    ))
}

impl From<NodeReceipt> for NodeView {
    fn from(receipt: NodeReceipt) -> Self {
        let NodeReceipt {
            node,
            confirmed,
            sessions_declined,
            connections_cut,
            after_ms,
        } = receipt;
        Self {
            node,
            confirmed,
            sessions_declined,
            connections_cut,
            after_ms,
        }
    }
}

impl From<CertificateStatus> for Status {
    fn from(status: CertificateStatus) -> Self {
        match status {
            CertificateStatus::Expired => Self::Expired,
            CertificateStatus::Held => Self::Held,
            CertificateStatus::Revoked => Self::Revoked,
            CertificateStatus::Unknown => Self::Unknown,
            CertificateStatus::Live => Self::Valid,
        }
    }
}

impl From<Status> for CertificateStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Expired => Self::Expired,
            Status::Held => Self::Held,
            Status::Revoked => Self::Revoked,
            Status::Unknown => Self::Unknown,
            Status::Valid => Self::Live,
        }
    }
}

impl From<Tally> for Counts {
    fn from(tally: Tally) -> Self {
        let Tally {
            expired,
            held,
            revoked,
            unknown,
            valid,
        } = tally;
        Self {
            expired,
            held,
            revoked,
            unknown,
            live: valid,
        }
    }
}

fn certificate_view(entry: Entry, now: UnixTime) -> CertificateView {
    CertificateView {
        status: entry.status_at(now).into(),
        name: entry.principal().map_or_else(
            || TypedName::Spki(entry.spki).to_string(),
            ToString::to_string,
        ),
        names: shown_names(&entry.names),
        serial: entry.serial,
        fingerprint: entry.signed.map(|signed| signed.fingerprint),
        profile: entry
            .profile
            .map_or_else(|| IMPORTED.to_owned(), |profile| profile.to_string()),
        issuer: entry.issuer,
        not_before: entry.not_before,
        not_after: entry.not_after,
        issued_at: entry.intended_at,
        issued_to: entry.actor.to_string(),
        owner: entry.annotation.owner,
        labels: entry.annotation.labels,
        note: entry.annotation.note,
        revocation: entry.revocation.map(|it| RevocationView {
            revoked_at: it.revoked_at,
            reason: it.reason,
        }),
    }
}

/// What a person calls the holder: not its key, not the serial, and the whole DN only where there is nothing else.
fn shown_names(names: &[TypedName]) -> Vec<String> {
    let shown = |name: &&TypedName| {
        !matches!(
            name.kind(),
            NameKind::Dn | NameKind::SerialIssuer | NameKind::Spki
        )
    };
    let mut all: Vec<String> = names
        .iter()
        .filter(shown)
        .map(ToString::to_string)
        .collect();
    if all.is_empty() {
        all.extend(principal(names).map(ToString::to_string));
    }
    all
}

const CSR_LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

/// What one request of the command line carries of a file with many.
const MAX_IMPORT: usize = 100;

/// Ten times what the largest public authorities put into one certificate.
const MAX_NAMES: usize = 1000;
