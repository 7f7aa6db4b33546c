//! A decision that was kept, made anew by other rules: by the code that judges clients.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::chain;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::chain::Purpose;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{Circumstances, Headers};
use http::HeaderMap;

use super::entry::{RecordedPath, StoredCertificate, StoredDecision, What, Who};
use crate::config::ClientCertificateMode;
use crate::explain::{Explained, ListenerPolicy, Question, Supposed};

/// What other rules say.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// They decide.
    Decided(Explained),
    /// It cannot be said.
    Unknown(Unknown),
}

/// Why it cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The certificate was too large to be kept.
    #[error("the certificate is not kept")]
    Certificate,
    /// The rules look at headers, which are not kept.
    #[error("the rules look at {}, and no header is kept", .0.join(", "))]
    Headers(Vec<String>),
    /// The rules decide by what a request shows beside its certificate, which is not kept.
    #[error("the rules ask for tokens or API keys, and none is kept")]
    Factors,
    /// It stands for several, which the rules may tell apart.
    #[error(
        "the rules look at addresses, times, keys or serial numbers, and of several decisions of a kind those of the last are kept"
    )]
    Several,
    /// The path was too long to be kept.
    #[error("the path is too long to be kept")]
    Path,
    /// The listener takes something else now.
    #[error("the listener takes something else")]
    Protocol,
}

/// Nothing is known of them; which ones somebody wanted to know is.
#[derive(Debug, Default)]
struct UnknownHeaders(RefCell<BTreeSet<String>>);

impl Headers for UnknownHeaders {
    fn each(&self, name: &str, _: &mut dyn FnMut(&[u8])) {
        self.0.borrow_mut().insert(name.to_owned());
    }
}

impl ListenerPolicy<'_> {
    /// What it would decide of this, at the time and from where it was last decided. Revocation is not asked.
    pub fn replay(
        self,
        decision: &StoredDecision,
        certificates: &HashMap<Fingerprint, StoredCertificate>,
    ) -> Replayed {
        match self.replayed(decision, certificates) {
            Ok(explained) => Replayed::Decided(explained),
            Err(unknown) => Replayed::Unknown(unknown),
        }
    }

    fn replayed(
        self,
        decision: &StoredDecision,
        certificates: &HashMap<Fingerprint, StoredCertificate>,
    ) -> Result<Explained, Unknown> {
        let circumstances = Circumstances {
            source: decision.tally.source,
            now: UnixTime::from_seconds(decision.tally.last_unix_s),
        };
        let peer = match self.peer(decision, certificates, circumstances.now)? {
            Ok(peer) => peer,
            Err(refusal) => {
                return Ok(Explained {
                    route: None,
                    rule: None,
                    refusal: Some(*refusal),
                });
            }
        };
        let question = question(&decision.key.what)?;
        let headers = UnknownHeaders::default();
        // Not by what finds the words, which looks at more than the decision.
        if self.judge(peer.as_deref(), &question, circumstances, &headers) {
            return Err(Unknown::Factors);
        }
        let asked = headers.0.into_inner();
        if !asked.is_empty() {
            return Err(Unknown::Headers(asked.into_iter().collect()));
        }
        let explained = self.explain(
            peer.as_deref(),
            &question,
            circumstances,
            &Supposed::default(),
        );
        let explained = explained.ok_or(Unknown::Protocol)?;
        if decision.tally.count > 1 && self.looks_at_each(explained.route.as_deref()) {
            return Err(Unknown::Several);
        }
        Ok(explained)
    }

    /// Whom the handshake would find, or why it would refuse.
    fn peer(
        self,
        decision: &StoredDecision,
        certificates: &HashMap<Fingerprint, StoredCertificate>,
        at: UnixTime,
    ) -> Result<Result<Option<Arc<VerifiedPeer>>, Box<Refusal>>, Unknown> {
        let mode = self.client_certificate();
        if decision.key.who == Who::Anonymous {
            return Ok(if mode == ClientCertificateMode::Require {
                let sentence =
                    "the client sent no certificate, and one is required in the handshake";
                Err(Box::new(Refusal::new(
                    Cause::ClientCertNotSent,
                    sentence,
                    Evidence::new(),
                )))
            } else {
                Ok(None)
            });
        }
        if mode == ClientCertificateMode::Off {
            return Ok(Ok(None));
        }
        let certificate = decision.tally.leaf.and_then(|leaf| certificates.get(&leaf));
        let certificate = certificate.filter(|it| !it.chain.is_empty());
        let (Some(certificate), Some(verifier)) = (certificate, self.verifier()) else {
            return Err(Unknown::Certificate);
        };
        let chain: Vec<_> = (certificate.chain.iter())
            .map(|der| der.as_slice().into())
            .collect();
        let judged = verifier.verify(&chain, Purpose::ClientAuth, &RevocationIndex::default(), at);
        Ok(judged
            .map(|peer| Some(Arc::new(peer)))
            .map_err(|fault| Box::new(chain::refusal(&fault, Purpose::ClientAuth))))
    }
}

fn question(what: &What) -> Result<Question, Unknown> {
    match what {
        What::Connection => Ok(Question::Connection),
        What::Login { user, database } => {
            Question::login(user, Some(database)).map_err(|_| Unknown::Protocol)
        }
        What::Request {
            path: RecordedPath::TooLong { .. },
            ..
        } => Err(Unknown::Path),
        What::Request {
            host,
            method,
            path: RecordedPath::Whole(path),
        } => Ok(Question::Request {
            // What is no name is an address, whichever.
            host: host.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
            method: method.clone(),
            path: path.clone(),
            headers: HeaderMap::new(),
        }),
    }
}
