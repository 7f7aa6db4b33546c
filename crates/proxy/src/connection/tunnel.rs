//! After a switch of protocols: bytes both ways, until either side ends it or access is withdrawn.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use countersign_tls::acceptor::Stream;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::time::sleep;

use crate::activity::Observed;
use crate::exchange::Caller;
use crate::in_flight::Place;
use crate::upstream::Switched;

/// The upstream's half of a WebSocket.
pub(crate) struct Tunnel {
    upstream: Switched,
    /// Its request is in flight for as long as it lasts.
    _place: Place,
}

impl Tunnel {
    pub(crate) fn new(upstream: Switched, place: Place) -> Self {
        Self {
            upstream,
            _place: place,
        }
    }

    /// `read` is what the client sent right behind its request.
    pub(crate) async fn run(self, client: Observed<Stream>, read: Bytes, caller: &Caller) {
        tokio::select! {
            biased;
            () = caller.session.lifeline.cut() => {}
            () = poll_fn(|cx| caller.poll_cut(cx)) => {}
            () = drained(caller) => {}
            () = abandoned(caller) => {}
            passed = self.pass(client, read) => {
                if let Err(error) = passed {
                    tracing::debug!(src.addr = %caller.session.source, %error, "tunnel broke");
                }
            }
        }
    }

    async fn pass(mut self, mut client: Observed<Stream>, read: Bytes) -> io::Result<()> {
        let Switched { stream, first, .. } = &mut self.upstream;
        client.write_all(first).await?;
        client.flush().await?;
        stream.write_all(&read).await?;
        copy_bidirectional_with_sizes(&mut client, stream, BUFFER_BYTES, BUFFER_BYTES).await?;
        Ok(())
    }
}

/// Resolves some time after a drain has begun: a tunnel has no end of its own to wait for, and clients of tunnels connect
/// again.
async fn drained(caller: &Caller) {
    caller.listener.drain.draining().await;
    sleep(caller.pool.bounds.tunnel_grace).await;
}

/// Resolves when no byte has passed for a while.
async fn abandoned(caller: &Caller) {
    loop {
        sleep(IDLE_LIMIT).await;
        if !caller.activity.take_moved() {
            return;
        }
    }
}

/// Chats and feeds ping about once a minute, if at all; those that do not are left in peace for an hour.
const IDLE_LIMIT: Duration = Duration::from_hours(1);

/// Messages of chat and telemetry have a few hundred bytes.
const BUFFER_BYTES: usize = 8 * 1024;
