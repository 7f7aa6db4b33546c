//! A line to an authority, near or far: what is heard on it, and what is said.

use std::pin::Pin;

use countersign_agent::feed_client::FeedStream;
use countersign_authority::feed::Subscription;
use countersign_pki::feed::{Acknowledgement, Bundle, HistoryId, Message, Sequence, Told};
use countersign_tls::enforcement::{Effects, Enforcement};

use super::End;
use super::remote::{Hearing, is_news};
use super::speaker::Speaker;

/// Done when what was heard is durable here.
pub(super) type Kept = Pin<Box<dyn Future<Output = ()> + Send>>;

/// For what the authority's own inventory keeps.
pub(super) fn kept() -> Kept {
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
    pub(super) fn keep(&self, message: &Message) -> Kept {
        match self {
            Self::InProcess { .. } => kept(),
            Self::Remote { hearing, .. } => hearing.keep(message),
        }
    }

    /// A bundle is this from now on.
    pub(super) fn trust(&self, bundle: Bundle) {
        match self {
            // The authority of this process has its bundle in hand.
            Self::InProcess { .. } => {}
            Self::Remote { hearing, .. } => hearing.trust(bundle),
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
