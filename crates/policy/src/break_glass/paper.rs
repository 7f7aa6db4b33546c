//! Requests, approvals and what is kept over a restart, as files: JSON that a person can read before signing. The bytes that are
//! signed are not these, see [`Statement::to_be_signed`].

use std::fmt::Write as _;
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::{Approval, Armed, MAX_APPROVALS, NONCE_BYTES, Reason, Statement};

/// A request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestPaper {
    break_glass_request: StatementPaper,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalPaper {
    break_glass_approval: StatementPaper,
    certificate: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementPaper {
    gateway: String,
    listener: String,
    reason: String,
    nonce: String,
    expires_unix_s: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptPaper {
    break_glass_armed: StatementPaper,
    by: String,
    since_unix_s: u64,
    left_s: u64,
    seen_unix_s: u64,
    configuration: Fingerprint,
    approvals: Vec<ApprovalPaper>,
}

/// What is kept over a restart. Arms nothing before [`super::Rules::resume`] has judged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub(super) statement: Statement,
    pub(super) since: UnixTime,
    pub(super) by: String,
    pub(super) approvals: Vec<Approval>,
    /// What was left when it was written, by whichever clock said less.
    pub(super) left: Duration,
    /// When it was written.
    pub(super) seen: UnixTime,
    configuration: Fingerprint,
}

impl Statement {
    /// Reads a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPaper> {
        let paper: RequestPaper = read(bytes, MAX_PAPER_BYTES)?;
        paper.break_glass_request.try_into()
    }

    /// The number that the gateway drew for it, in lower-case hexadecimal digits.
    pub fn nonce(&self) -> String {
        hex(&self.nonce)
    }

    /// The file of a request.
    pub fn to_json(&self) -> String {
        written(&RequestPaper {
            break_glass_request: self.into(),
        })
    }
}

impl Approval {
    /// Reads an approval.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPaper> {
        read::<ApprovalPaper>(bytes, MAX_PAPER_BYTES)?.try_into()
    }

    /// Its file.
    pub fn to_json(&self) -> String {
        written(&ApprovalPaper::from(self))
    }
}

impl Kept {
    /// What is kept of a listener that is armed. `configuration`: of what it was armed under.
    pub fn of(armed: &Armed, left: Duration, seen: UnixTime, configuration: Fingerprint) -> Self {
        Self {
            statement: armed.statement.clone(),
            since: armed.since,
            by: armed.by.clone(),
            approvals: armed.approvals.clone(),
            left,
            seen,
            configuration,
        }
    }

    /// What was asked for.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What the listener was armed under.
    pub fn configuration(&self) -> Fingerprint {
        self.configuration
    }

    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPaper> {
        let paper: KeptPaper = read(bytes, (1 + MAX_APPROVALS) * MAX_PAPER_BYTES)?;
        if paper.approvals.len() > MAX_APPROVALS {
            return Err(InvalidPaper::TooLarge);
        }
        let approvals = paper.approvals.into_iter().map(Approval::try_from);
        Ok(Self {
            statement: paper.break_glass_armed.try_into()?,
            since: UnixTime::from_seconds(paper.since_unix_s),
            by: paper.by,
            approvals: approvals.collect::<Result<_, _>>()?,
            left: Duration::from_secs(paper.left_s),
            seen: UnixTime::from_seconds(paper.seen_unix_s),
            configuration: paper.configuration,
        })
    }

    /// The file.
    pub fn to_json(&self) -> String {
        written(&KeptPaper {
            break_glass_armed: (&self.statement).into(),
            by: self.by.clone(),
            since_unix_s: self.since.seconds(),
            left_s: self.left.as_secs(),
            seen_unix_s: self.seen.seconds(),
            configuration: self.configuration,
            approvals: self.approvals.iter().map(ApprovalPaper::from).collect(),
        })
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], limit: usize) -> Result<T, InvalidPaper> {
    if bytes.len() > limit {
        return Err(InvalidPaper::TooLarge);
    }
    serde_json::from_slice(bytes).map_err(|error| InvalidPaper::Json {
        why: error.to_string(),
    })
}

fn written(paper: &impl Serialize) -> String {
    serde_json::to_string_pretty(paper).expect("texts and numbers are JSON") + "\n"
}

impl From<&Statement> for StatementPaper {
    fn from(statement: &Statement) -> Self {
        Self {
            gateway: statement.gateway.clone(),
            listener: statement.listener.clone(),
            reason: statement.reason.as_str().to_owned(),
            nonce: hex(&statement.nonce),
            expires_unix_s: statement.expires.seconds(),
        }
    }
}

impl TryFrom<StatementPaper> for Statement {
    type Error = InvalidPaper;

    fn try_from(paper: StatementPaper) -> Result<Self, InvalidPaper> {
        for name in [&paper.gateway, &paper.listener] {
            let is_one = !name.is_empty() && name.len() <= MAX_NAME_BYTES;
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !is_one || !name.bytes().all(fits) {
                return Err(InvalidPaper::Name);
            }
        }
        let reason = Reason::parse(&paper.reason).map_err(|_| InvalidPaper::Reason)?;
        if reason.as_str() != paper.reason {
            return Err(InvalidPaper::Reason);
        }
        let nonce = unhex(&paper.nonce).and_then(|it| <[u8; NONCE_BYTES]>::try_from(it).ok());
        Ok(Self {
            gateway: paper.gateway,
            listener: paper.listener,
            reason,
            nonce: nonce.ok_or(InvalidPaper::Nonce)?,
            expires: UnixTime::from_seconds(paper.expires_unix_s),
        })
    }
}

impl From<&Approval> for ApprovalPaper {
    fn from(approval: &Approval) -> Self {
        let chain = approval.chain.iter();
        Self {
            break_glass_approval: (&approval.statement).into(),
            certificate: chain.map(|der| pem::encode("CERTIFICATE", der)).collect(),
            signature: hex(&approval.signature),
        }
    }
}

impl TryFrom<ApprovalPaper> for Approval {
    type Error = InvalidPaper;

    fn try_from(paper: ApprovalPaper) -> Result<Self, InvalidPaper> {
        let blocks = pem::decode_all(paper.certificate.as_bytes());
        let blocks = blocks.map_err(|_| InvalidPaper::Chain)?;
        if blocks.iter().any(|block| block.label != "CERTIFICATE") {
            return Err(InvalidPaper::Chain);
        }
        let chain = blocks.into_iter().map(|block| block.der).collect();
        let signature = unhex(&paper.signature).ok_or(InvalidPaper::Signature)?;
        Self::new(paper.break_glass_approval.try_into()?, chain, signature)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Lower case only: a value is written in one way.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octets = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| octets.collect()).flatten()
}

/// Why a file is no request, no approval or nothing that was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPaper {
    /// 1 to 8 certificates in PEM and nothing else.
    #[error("certificate is no chain of 1 to 8 certificates in PEM")]
    Chain,
    /// Not these fields, or no JSON.
    #[error("{why}")]
    Json {
        /// In words.
        why: String,
    },
    /// A gateway or listener is named by lower-case letters, digits and hyphens.
    #[error("gateway or listener is no name")]
    Name,
    /// 32 octets.
    #[error("nonce is not 64 lower-case hexadecimal digits")]
    Nonce,
    /// One line.
    #[error("reason is not one line of 1 to 500 bytes")]
    Reason,
    /// None that any key makes.
    #[error("signature is not up to 8 KiB in lower-case hexadecimal digits")]
    Signature,
    /// More than anything that is good.
    #[error("it is longer than any that is good")]
    TooLarge,
}

/// Three certificates and a signature of ML-DSA-87, in hexadecimal digits and base64, take half of it.
pub const MAX_PAPER_BYTES: usize = 64 * 1024;
/// As long as listeners' names.
const MAX_NAME_BYTES: usize = 63;
