//! A line to an authority, near or far: what is heard on it, and what is said.

use std::pin::Pin;

use countersign_agent::feed_client::FeedStream;
use countersign_authority::feed::Subscription;
use countersign_pki::feed::{Acknowledgement, Bundle, HistoryId, Message, Sequence, Told};
use countersign_tls::enforcement::{Effects, Enforcement};

use super::End;
use super::remote::{Hearing, is_news};
use super::speaker::Speaker;

/// Done when what was heard is durable here, or is what the gateway serves by.
pub(super) type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// For what the authority's own inventory keeps, and for what takes no trust away.
pub(super) fn done() -> Done {
    Box::pin(std::future::ready(()))
}

pub(super) enum Line {
    InProcess {
        subscription: Subscription,
        node: String,
    },
    Remote {
        stream: Box<FeedStream>,
        speaker: Speaker,
        hearing: Hearing,
    },
}

impl Line {
    pub(super) fn in_process(subscription: Subscription, node: &str) -> Self {
        Self::InProcess {
            subscription,
            node: node.to_owned(),
        }
    }

    /// Cancel-safe.
    pub(super) async fn next(&mut self, enforcement: &Enforcement) -> Result<Message, End> {
        match self {
            Self::InProcess { subscription, .. } => {
                let message = subscription.next().await;
                message.ok_or_else(|| End::because("this node was too slow for it"))
            }
            Self::Remote {
                stream, hearing, ..
            } => {
                let revocations = enforcement.revocations();
                match stream.next(|it| is_news(&revocations, it)).await {
                    Ok(Told::Message(message)) => Ok(message),
                    // A stream has one beginning.
                    Ok(Told::Resumed(_) | Told::Snapshot { .. }) => {
                        Err(End::because("it begins twice"))
                    }
                    Err(error) => {
                        let needs_snapshot = error.needs_snapshot();
                        Err(End {
                            because: hearing.client.explain(error).to_string(),
                            needs_snapshot,
                        })
                    }
                }
            }
        }
    }

    /// Hands it to the disk, in the order of the calls.
    pub(super) fn keep(&self, message: &Message) -> Done {
        match self {
            Self::InProcess { .. } => done(),
            Self::Remote { hearing, .. } => hearing.keep(message),
        }
    }

    /// Until something that was to be kept cannot be any more, without a new beginning.
    pub(super) fn behind(&self) -> Done {
        match self {
            Self::InProcess { .. } => Box::pin(std::future::pending()),
            Self::Remote { hearing, .. } => hearing.behind(),
        }
    }

    /// A bundle is this from now on, unless nobody could be verified against it.
    pub(super) fn trust(&self, bundle: &Bundle) -> Result<(), End> {
        match self {
            // The authority of this process has its bundle in hand.
            Self::InProcess { .. } => Ok(()),
            Self::Remote { hearing, .. } => hearing.trust(bundle.clone()).map_err(|error| End {
                because: format!("a bundle of it is not taken: {error}"),
                needs_snapshot: true,
            }),
        }
    }

    /// Whether the gateway serves by the bundles that were told last.
    pub(super) fn is_trusted(&self) -> bool {
        match self {
            Self::InProcess { .. } => true,
            Self::Remote { hearing, .. } => hearing.trusted.is_in_force(),
        }
    }

    /// Until it serves by those that have been told up to now.
    pub(super) fn trusted(&self) -> Done {
        match self {
            Self::InProcess { .. } => done(),
            Self::Remote { hearing, .. } => Box::pin(hearing.trusted.in_force()),
        }
    }

    pub(super) fn acknowledge(&self, history: HistoryId, sequence: Sequence, effects: Effects) {
        match self {
            Self::InProcess { subscription, node } => subscription.acknowledge(Acknowledgement {
                node: node.clone(),
                history,
                sequence,
                sessions_declined: effects.sessions_declined,
                connections_cut: effects.connections_cut,
            }),
            Self::Remote { speaker, .. } => speaker.acknowledge(sequence, effects),
        }
    }
}
