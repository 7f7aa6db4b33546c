//! Answers that are larger than memory, piece by piece, from a thread of their own.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An answer on its way. One that breaks off ends with an error.
#[derive(Debug)]
pub struct Download(mpsc::Receiver<io::Result<Bytes>>);

/// The end that is written to, by a thread that may block.
#[derive(Clone)]
pub(super) struct Source {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

/// Both ends; to be called on a runtime.
pub(super) fn download() -> (Source, Download) {
    let (pieces, taken) = mpsc::channel(QUEUE);
    let runtime = Handle::current();
    (Source { pieces, runtime }, Download(taken))
}

impl Source {
    /// Ends the answer with an error; whoever reads may be gone.
    pub(super) fn break_off(&self, error: io::Error) {
        let _ = self.send(Err(error));
    }

    /// What is written is locked, or keeps the inventory from being tidied: who takes nothing for long is given up.
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sent = timeout(STALL_LIMIT, self.pieces.send(piece));
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for Source {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Ok(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// The size of a piece.
pub(super) const PIECE: usize = 64 * 1024;

/// 512 KiB on the way.
const QUEUE: usize = 8;

/// A disk that is busy with something else takes a piece within this time, and so does a poor line.
const STALL_LIMIT: Duration = Duration::from_mins(5);
