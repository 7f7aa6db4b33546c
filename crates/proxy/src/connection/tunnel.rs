//! After a switch of protocols: bytes both ways, until either side ends it or access is withdrawn.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use countersign_tls::acceptor::Stream;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::activity::Observed;
use crate::exchange::Caller;

/// The upstream's half of a WebSocket.
pub(crate) struct Tunnel {
    upstream: TcpStream,
    /// What the upstream sent right behind its answer.
    first: Bytes,
}

impl Tunnel {
    pub(crate) fn new(upstream: TcpStream, first: Bytes) -> Self {
        Self { upstream, first }
    }

    /// `read` is what the client sent right behind its request.
    pub(crate) async fn run(self, client: Observed<Stream>, read: Bytes, caller: &Caller) {
        tokio::select! {
            biased;
            () = caller.session.lifeline.cut() => {}
            () = abandoned(caller) => {}
            passed = self.pass(client, read) => {
                if let Err(error) = passed {
                    tracing::debug!(src.addr = %caller.session.source, %error, "tunnel broke");
                }
            }
        }
    }

    async fn pass(mut self, mut client: Observed<Stream>, read: Bytes) -> io::Result<()> {
        client.write_all(&self.first).await?;
        client.flush().await?;
        self.upstream.write_all(&read).await?;
        copy_bidirectional_with_sizes(&mut client, &mut self.upstream, BUFFER_BYTES, BUFFER_BYTES)
            .await?;
        Ok(())
    }
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
