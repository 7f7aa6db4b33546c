//! Break-glass: whether a listener that is otherwise shut may be opened, by whom, and for how long.
//!
//! Where approvals are needed, each is a signature by an operator over a [`Statement`]: which gateway and listener, why, until
//! when, and a number that the gateway drew for this one time. Nothing but [`Rules`] makes an [`Armed`].

mod paper;

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, Purpose, Verifier};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{CommonName, TypedName};
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::{UnixTime, spoken};
use rustls_pki_types::CertificateDer;

pub use self::paper::{InvalidPaper, Kept, MAX_PAPER_BYTES};

/// Why a listener shall be opened: one line of 1 to 500 bytes that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Takes it without the spaces around it.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_REASON_BYTES || text.chars().any(char::is_control) {
            return Err(Denied::Reason);
        }
        Ok(Self(text.to_owned()))
    }

    /// In words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What operators approve of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    gateway: String,
    listener: String,
    reason: Reason,
    nonce: [u8; NONCE_BYTES],
    expires: UnixTime,
}

impl Statement {
    /// The short id of the gateway.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The listener that shall admit.
    pub fn listener(&self) -> &str {
        &self.listener
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// From then on it admits nobody, whenever it was armed.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The exact bytes that an approval signs: a prefix that nothing else signed by these keys begins with, then each field
    /// behind its length, in this order, so that no two statements have the same bytes.
    pub fn to_be_signed(&self) -> Vec<u8> {
        let mut bytes = PREFIX.to_vec();
        let fields = [
            self.gateway.as_bytes(),
            self.listener.as_bytes(),
            self.reason.0.as_bytes(),
            &self.nonce,
            &self.expires.seconds().to_be_bytes(),
        ];
        for field in fields {
            // Each is bounded far below 4 GiB where it is read.
            bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }
}

/// A signature over a statement, and the certificate that it is by. Says nothing before it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    statement: Statement,
    /// Leaf first.
    chain: Vec<Vec<u8>>,
    signature: Vec<u8>,
}

impl Approval {
    /// As its operator's machine puts it together.
    pub fn new(
        statement: Statement,
        chain: Vec<Vec<u8>>,
        signature: Vec<u8>,
    ) -> Result<Self, InvalidPaper> {
        if chain.is_empty() || chain.len() > MAX_CHAIN {
            return Err(InvalidPaper::Chain);
        }
        if signature.is_empty() || signature.len() > MAX_SIGNATURE_BYTES {
            return Err(InvalidPaper::Signature);
        }
        Ok(Self {
            statement,
            chain,
            signature,
        })
    }
}

/// What a listener may be armed by.
#[derive(Debug)]
pub struct Rules {
    /// The short id of this gateway.
    pub gateway: String,
    /// The listener.
    pub listener: String,
    /// The longest that it may be armed, counted from the request.
    pub max_duration: Duration,
    /// How many different operators have to approve.
    pub approvals: usize,
    /// Who may: the common names of operators.
    pub approvers: BTreeSet<CommonName>,
    /// The operator CA alone; `None`: nobody's approval can be verified.
    pub operators: Option<Verifier>,
}

/// A listener that may admit until its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    statement: Statement,
    since: UnixTime,
    by: String,
    approvals: Vec<Approval>,
    approvers: Vec<String>,
}

impl Armed {
    /// What was asked for.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Since when.
    pub fn since(&self) -> UnixTime {
        self.since
    }

    /// Who did it, as the admin socket knows them.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The operators who approved.
    pub fn approvers(&self) -> &[String] {
        &self.approvers
    }

    /// How long it still lasts by the wall clock.
    pub fn left(&self, now: UnixTime) -> Duration {
        self.statement.expires.since(now)
    }
}

impl Rules {
    /// What is to be approved of. `nonce` is new randomness.
    pub fn request(
        &self,
        reason: Reason,
        duration: Duration,
        nonce: [u8; NONCE_BYTES],
        now: UnixTime,
    ) -> Result<Statement, Denied> {
        if duration.is_zero() || duration > self.max_duration {
            return Err(Denied::Duration {
                asked: duration,
                max: self.max_duration,
            });
        }
        Ok(Statement {
            gateway: self.gateway.clone(),
            listener: self.listener.clone(),
            reason,
            nonce,
            expires: now.plus(duration),
        })
    }

    /// Arms by a statement that this gateway made.
    pub fn arm(
        &self,
        statement: Statement,
        approvals: Vec<Approval>,
        by: String,
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> Result<Armed, Denied> {
        if statement.gateway != self.gateway {
            return Err(Denied::OtherGateway {
                other: statement.gateway,
            });
        }
        if statement.listener != self.listener {
            return Err(Denied::OtherListener {
                other: statement.listener,
            });
        }
        if statement.expires <= now {
            return Err(Denied::Expired {
                at: statement.expires,
            });
        }
        if statement.expires.since(now) > self.max_duration {
            return Err(Denied::Duration {
                asked: statement.expires.since(now),
                max: self.max_duration,
            });
        }
        let approvers = self.judge(&statement, &approvals, revocations, now)?;
        Ok(Armed {
            statement,
            since: now,
            by,
            approvals,
            approvers,
        })
    }

    /// Arms again by what was kept on disk; with how long is left. Everything is judged anew: whoever can write the file gets no
    /// further than whoever has the approvals.
    pub fn resume(
        &self,
        kept: Kept,
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> Result<(Armed, Duration), Denied> {
        let behind = kept.since.max(kept.seen);
        if behind > now.plus(SKEW) {
            return Err(Denied::ClockBehind { behind });
        }
        // A restart costs what may have passed unseen before it, so that no number of restarts prolongs anything.
        let left = kept.left.saturating_sub(RESTART_COST);
        let left = left.min(kept.statement.expires.since(now));
        if left.is_zero() {
            return Err(Denied::Expired {
                at: kept.statement.expires,
            });
        }
        if kept.statement.expires.since(kept.since) > self.max_duration {
            return Err(Denied::Duration {
                asked: kept.statement.expires.since(kept.since),
                max: self.max_duration,
            });
        }
        let mut armed = self.arm(kept.statement, kept.approvals, kept.by, revocations, now)?;
        armed.since = kept.since;
        Ok((armed, left))
    }

    /// Whether it would be armed by the same approvals now: an operator may have been revoked since.
    pub fn stands(
        &self,
        armed: &Armed,
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> Result<(), Denied> {
        self.judge(&armed.statement, &armed.approvals, revocations, now)
            .map(drop)
    }

    /// The names of those who approved: as many as are needed, no two of one person.
    fn judge(
        &self,
        statement: &Statement,
        approvals: &[Approval],
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> Result<Vec<String>, Denied> {
        if self.approvals == 0 && !approvals.is_empty() {
            return Err(Denied::NoneNeeded);
        }
        if approvals.len() < self.approvals {
            return Err(Denied::TooFew {
                given: approvals.len(),
                needed: self.approvals,
            });
        }
        if approvals.len() > MAX_APPROVALS {
            return Err(Denied::TooMany);
        }
        let mut approvers: Vec<Approver> = Vec::with_capacity(approvals.len());
        for approval in approvals {
            let approver = self.approver(statement, approval, revocations, now)?;
            if let Some(same) = (approvers.iter())
                .find(|other| other.name == approver.name || other.key == approver.key)
            {
                return Err(Denied::SameOperator {
                    name: same.name.to_string(),
                });
            }
            approvers.push(approver);
        }
        Ok(approvers
            .into_iter()
            .map(|it| it.name.to_string())
            .collect())
    }

    fn approver(
        &self,
        statement: &Statement,
        approval: &Approval,
        revocations: &RevocationIndex,
        now: UnixTime,
    ) -> Result<Approver, Denied> {
        let approved = &approval.statement;
        if approved.gateway != statement.gateway {
            return Err(Denied::OtherGateway {
                other: approved.gateway.clone(),
            });
        }
        if approved.listener != statement.listener {
            return Err(Denied::OtherListener {
                other: approved.listener.clone(),
            });
        }
        if approved.nonce != statement.nonce {
            return Err(Denied::OtherRequest);
        }
        if approved != statement {
            return Err(Denied::Altered);
        }
        let verifier = self.operators.as_ref().ok_or(Denied::NoOperators)?;
        let chain: Vec<CertificateDer<'_>> = (approval.chain.iter())
            .map(|der| der.as_slice().into())
            .collect();
        let peer = verifier
            .verify(&chain, Purpose::ClientAuth, revocations, now)
            .map_err(|fault| Denied::NoOperator {
                fault: Box::new(fault),
            })?;
        // The names of what is not an operator's are no names of operators.
        let name = peer.names().iter().find_map(|name| match name {
            TypedName::Cn(name) => Some(name.clone()),
            _ => None,
        });
        let name = (name.filter(|name| self.approvers.contains(name))).ok_or_else(|| {
            Denied::NotAnApprover {
                name: peer.principal().to_string(),
            }
        })?;
        let leaf = chain.first().and_then(|der| Certificate::parse(der).ok());
        let is_signed = leaf.is_some_and(|leaf| {
            leaf.verify_statement(&statement.to_be_signed(), &approval.signature)
                .is_ok()
        });
        if !is_signed {
            return Err(Denied::NotSigned {
                name: name.to_string(),
            });
        }
        Ok(Approver {
            name,
            key: peer.spki(),
        })
    }
}

/// Who has approved: two certificates of one name are one person, and so are two names with one key.
struct Approver {
    name: CommonName,
    key: Fingerprint,
}

/// Why a listener stays shut.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It was signed over another one.
    #[error("an approval has another reason or end than the request")]
    Altered,
    /// Time went back over a restart.
    #[error(
        "the clock stands before {behind}, when it was armed, so that nobody knows how long ago that was"
    )]
    ClockBehind {
        /// What was seen last.
        behind: UnixTime,
    },
    /// None, or too much.
    #[error("it can be armed for up to {}, not for {}", spoken(*.max), spoken(*.asked))]
    Duration {
        /// How long was asked for.
        asked: Duration,
        /// `max_duration`.
        max: Duration,
    },
    /// The end has come.
    #[error("what was asked for ended at {at}")]
    Expired {
        /// When.
        at: UnixTime,
    },
    /// It is verified against the operator CA alone.
    #[error("an approval is by no operator")]
    NoOperator {
        /// What is wrong with the certificate.
        fault: Box<ChainFault>,
    },
    /// No operator CA is known.
    #[error("no operator CA is known that approvals could be verified by")]
    NoOperators,
    /// An approval where none counts.
    #[error("this listener is armed without approvals")]
    NoneNeeded,
    /// An operator, and not one of these.
    #[error("{name} is not among the approvers of this listener")]
    NotAnApprover {
        /// Who.
        name: String,
    },
    /// By another key, or over something else.
    #[error("the signature of the approval by {name} does not verify")]
    NotSigned {
        /// Whose it should be.
        name: String,
    },
    /// For another gateway.
    #[error("an approval is for gateway {other}")]
    OtherGateway {
        /// Which.
        other: String,
    },
    /// For another listener.
    #[error("an approval is for listener {other}")]
    OtherListener {
        /// Which.
        other: String,
    },
    /// Of an earlier or later request.
    #[error("an approval is for another request, not for the last one")]
    OtherRequest,
    /// Empty, too long, or more than a line.
    #[error("the reason is one line of 1 to {MAX_REASON_BYTES} bytes")]
    Reason,
    /// One person cannot approve twice.
    #[error("operator {name} has approved twice")]
    SameOperator {
        /// Who.
        name: String,
    },
    /// Not enough.
    #[error("{given} of {needed} approvals were given")]
    TooFew {
        /// How many there are.
        given: usize,
        /// How many there have to be.
        needed: usize,
    },
    /// More than anybody needs.
    #[error("more than {MAX_APPROVALS} approvals were given")]
    TooMany,
}

impl Denied {
    /// What to do.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Altered | Self::NotSigned { .. } => {
                "have the operator approve the request as the gateway wrote it: `countersign break-glass approve REQUEST --as DIR`"
            }
            Self::ClockBehind { .. } => "set the clock, then arm it anew",
            Self::Duration { .. } => "max_duration of the listener's break_glass says how long",
            Self::Expired { .. } | Self::OtherRequest => {
                "`countersign break-glass request` makes a new one; each has to be approved anew, and only the last counts"
            }
            Self::NoOperator { .. } | Self::NotAnApprover { .. } | Self::SameOperator { .. } => {
                "approvals come from different operators, named in approvers of the listener's break_glass, each with a certificate that is valid now"
            }
            Self::NoOperators => "operator_ca of the listener's break_glass names its file",
            Self::NoneNeeded => "leave --approval out",
            Self::OtherGateway { .. } | Self::OtherListener { .. } => {
                "ask for it here, and have that request approved"
            }
            Self::Reason => "`--because TEXT` says why",
            Self::TooFew { .. } => {
                "`countersign break-glass request LISTENER --for TIME --because TEXT` asks for them, and `arm LISTENER --approval FILE --approval FILE` gives them"
            }
            Self::TooMany => return None,
        })
    }
}

/// Nothing else that keys of operators sign begins so: requests are DER, handshakes begin with 64 spaces (RFC 8446 §4.4.3) or a
/// message type (RFC 5246 §7.4.8).
const PREFIX: &[u8] = b"countersign break-glass approval v1\0";
/// As long as a digest: nobody guesses it, and none comes twice.
pub const NONCE_BYTES: usize = 32;
/// A paragraph.
const MAX_REASON_BYTES: usize = 500;
/// Nobody finds more people at night.
pub const MAX_APPROVALS: usize = 8;
/// webpki follows at most 6 intermediates.
const MAX_CHAIN: usize = 8;
/// ML-DSA-87 makes 4627.
const MAX_SIGNATURE_BYTES: usize = 8 * 1024;
/// Clocks that are kept in time differ by less; more is a clock that was set.
const SKEW: Duration = Duration::from_mins(5);
/// What a restart costs. Whoever keeps what is left does so more often.
pub const RESTART_COST: Duration = Duration::from_secs(10);
