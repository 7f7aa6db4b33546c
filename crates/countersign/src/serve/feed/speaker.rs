//! What a node says to an authority in another process, behind the back of what it hears: a call that hangs holds up no
//! revocation. What piles up meanwhile is said in one.

use std::sync::Arc;
use std::time::Duration;

use countersign_agent::feed_client::{FeedClient, FeedError};
use countersign_pki::feed::{AcknowledgementOf, HistoryId, Sequence};
use countersign_tls::enforcement::Effects;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Speaks for one place in the feed, until dropped.
pub(super) struct Speaker {
    said: watch::Sender<Said>,
    task: JoinHandle<()>,
}

/// Sums since the beginning.
#[derive(Clone, Copy, Default)]
struct Said {
    sequence: Option<Sequence>,
    sessions_declined: u64,
    connections_cut: u64,
}

impl Speaker {
    pub(super) fn start(client: Arc<FeedClient>, place: u64, history: HistoryId) -> Self {
        let (said, hearing) = watch::channel(Said::default());
        Self {
            said,
            task: tokio::spawn(speak(client, place, history, hearing)),
        }
    }

    /// Everything up to `sequence` is in force here.
    pub(super) fn acknowledge(&self, sequence: Sequence, effects: Effects) {
        self.said.send_modify(|said| {
            said.sequence = said.sequence.max(Some(sequence));
            said.sessions_declined += effects.sessions_declined;
            said.connections_cut += effects.connections_cut;
        });
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn speak(
    client: Arc<FeedClient>,
    place: u64,
    history: HistoryId,
    mut hearing: watch::Receiver<Said>,
) {
    let mut before = Said::default();
    while hearing.changed().await.is_ok() {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let now = *hearing.borrow_and_update();
            let Some(sequence) = now.sequence else { break };
            let is_news = before.sequence < now.sequence
                || before.sessions_declined < now.sessions_declined
                || before.connections_cut < now.connections_cut;
            if !is_news {
                break;
            }
            let said = AcknowledgementOf {
                place,
                history: history.clone(),
                sequence,
                sessions_declined: now.sessions_declined - before.sessions_declined,
                connections_cut: now.connections_cut - before.connections_cut,
            };
            match client.acknowledge(&said).await {
                Ok(()) => {
                    before = now;
                    break;
                }
                // Another has taken the place, and this stream has ended or is about to. Every other refusal may be over in
                // a moment, and who says nothing more is unconfirmed for as long as the stream lives.
                Err(error @ FeedError::Refused { status: TAKEN, .. }) => {
                    tracing::warn!(%error, "the authority does not take an acknowledgement");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, retry_in_ms = backoff.as_millis(), "an acknowledgement did not arrive");
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }
}

/// 409 Conflict.
const TAKEN: u16 = 409;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
