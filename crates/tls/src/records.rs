//! TLS over a client's socket. rustls does all of it; here is what it is given to read, and what becomes of what it writes.
//!
//! rustls has two forms of a connection. One keeps a buffer of 4 KiB for what may come next, as long as it lives, and queues of its own. This is
//! the other, which is given the bytes anew each time ([`rustls::unbuffered`]): what is received and what is to be sent is in buffers that are lent,
//! and a connection that rests holds none.

mod received;
mod sealing;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_runtime::lent::{LentBuffer, OVERHEAD};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, Error, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use self::received::Received;
use self::sealing::seal;

/// A connection of TLS and its socket.
pub(crate) struct Records {
    connection: UnbufferedServerConnection,
    tcp: TcpStream,
    received: Received,
    /// Decrypted while there was no room for it: at most what one buffer of records has in it.
    plaintext: VecDeque<u8>,
    /// Encrypted, goes first.
    sending: Option<LentBuffer>,
    /// What TLS itself has to say, goes behind it.
    ///
    /// Invariant: no plaintext is encrypted while there is something here, so that all is sent in the order in which it was encrypted.
    queued: Vec<u8>,
    /// Whether it was to go out, and the socket did not take it: whoever flushes sends it.
    is_overdue: bool,
    reading: Reading,
    is_write_closed: bool,
    /// What the peer did wrong.
    ///
    /// Invariant: rustls, which in this form would go on with the next record, is given nothing any more.
    broken: Option<Box<Error>>,
}

enum Reading {
    Open,
    /// The peer has said that it sends no more.
    Closed,
    /// It was cut off, which is no end that anybody meant.
    CutOff,
    /// To be told behind what was decrypted before.
    Failed(io::Error),
}

/// What is wanted of TLS when it has taken all that was received.
enum Want<'a, 'b> {
    Plaintext(&'a mut ReadBuf<'b>),
    Encrypted(&'a [io::IoSlice<'b>], &'a mut LentBuffer),
    CloseNotify,
    Handshake,
}

/// How far TLS came.
enum Reached {
    /// It needs more, or does what it is told.
    End,
    /// What is queued has to go first.
    Queued,
    /// There is some.
    Plaintext,
    /// So much was encrypted.
    Encrypted(usize),
}

impl Records {
    /// Shakes hands with whoever sent this hello. On an error the alert has been sent.
    pub(crate) async fn accept(
        config: Arc<ServerConfig>,
        hello: Vec<u8>,
        tcp: TcpStream,
    ) -> Result<Self, (io::Error, TcpStream)> {
        let connection = match UnbufferedServerConnection::new(config) {
            Ok(connection) => connection,
            Err(error) => return Err((invalid(error), tcp)),
        };
        let mut records = Self {
            connection,
            tcp,
            received: Received::Held(hello),
            plaintext: VecDeque::new(),
            sending: None,
            queued: Vec::new(),
            is_overdue: false,
            reading: Reading::Open,
            is_write_closed: false,
            broken: None,
        };
        match std::future::poll_fn(|cx| records.poll_handshake(cx)).await {
            Ok(()) => Ok(records),
            Err(error) => {
                // Whether it worked or not, and whatever of it the socket takes: the first error counts, and does not wait.
                let sending = |cx: &mut Context<'_>| Poll::Ready(records.poll_send(cx));
                let _ = std::future::poll_fn(sending).await;
                Err((error, records.tcp))
            }
        }
    }

    /// What was agreed on.
    pub(crate) fn state(&self) -> &CommonState {
        &self.connection
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// What comes is thrown away, as it is.
    pub(crate) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// The socket, and what is left to say, a `close_notify` included.
    pub(crate) fn into_last_words(mut self) -> (TcpStream, Vec<u8>) {
        self.close();
        let mut last_words = Vec::new();
        if let Some(sending) = &self.sending {
            last_words.extend_from_slice(sending.unread());
        }
        last_words.append(&mut self.queued);
        (self.tcp, last_words)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..READS_PER_POLL {
            self.advance(Want::Handshake)?;
            let is_done = !self.connection.is_handshaking();
            if is_done && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                // There are tickets alone to send, which go out with what follows, or when nothing does.
                self.received.settle();
                return Poll::Ready(Ok(()));
            }
            let sent = self.poll_send(cx)?;
            if is_done {
                self.received.settle();
                return sent.map(Ok);
            }
            if !matches!(self.reading, Reading::Open) {
                return Poll::Ready(Err(cut_off()));
            }
            ready!(self.poll_receive(cx))?;
        }
        yield_to_others(cx)
    }

    /// Reads more, of which TLS takes what it can. The end of the socket is one of [`Reading`].
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let received = ready!(self.received.poll_fill(&mut self.tcp, cx));
        if !matches!(received, Ok(1..)) {
            self.reading = Reading::CutOff;
        }
        Poll::Ready(received.map(drop))
    }

    /// Sends what is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_sealed(cx))?;
        while !self.queued.is_empty() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.queued))?;
            self.queued.drain(..some(sent)?);
        }
        // The flight of a handshake takes some KiB.
        self.queued = Vec::new();
        self.is_overdue = false;
        Poll::Ready(Ok(()))
    }

    /// Sends what is encrypted of what was written.
    fn poll_send_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sending) = &mut self.sending {
            while !sending.unread().is_empty() {
                let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, sending.unread()))?;
                sending.consume(some(sent)?);
            }
            self.sending = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends an answer of TLS itself, or an alert, as far as the socket takes it; whoever writes sends the rest, and is told of what comes of it.
    ///
    /// It does not wait: that would take the place of whoever waits to write, who may be another task.
    fn try_send_queued(&mut self) {
        self.is_overdue = !self.queued.is_empty();
        if self.sending.is_some() {
            return;
        }
        while !self.queued.is_empty() {
            match self.tcp.try_write(&self.queued) {
                Ok(sent @ 1..) => drop(self.queued.drain(..sent)),
                Ok(0) | Err(_) => return,
            }
        }
        self.queued = Vec::new();
        self.is_overdue = false;
    }

    /// Lets TLS take what was received, as far as it gets, and then do what is wanted.
    fn advance(&mut self, want: Want<'_, '_>) -> io::Result<Reached> {
        if let Some(broken) = &self.broken {
            return Err(invalid(Error::clone(broken)));
        }
        self.take(want).map_err(|error| {
            self.received = Received::Nothing;
            self.broken = Some(Box::new(error.clone()));
            self.queue_alert();
            invalid(error)
        })
    }

    fn take(&mut self, mut want: Want<'_, '_>) -> Result<Reached, Error> {
        loop {
            // Invariant: all of what was received and not discarded, whatever is wanted. rustls goes on where it stopped in it, and panics where that
            // is not there.
            let UnbufferedStatus { mut discard, state } = self
                .connection
                .process_tls_records(self.received.bytes_mut());
            let reached = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    // What is wanted otherwise does not wait for somebody to read.
                    let is_reading = matches!(want, Want::Plaintext(_) | Want::Handshake);
                    let mut taken = Ok(is_reading.then_some(Reached::Plaintext));
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                deliver(record.payload, &mut want, &mut self.plaintext);
                            }
                            Err(error) => taken = Err(error),
                        }
                    }
                    taken
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, &mut self.queued).map(|()| None)
                }
                Ok(ConnectionState::TransmitTlsData(message)) => {
                    // It is queued, and nothing passes it.
                    message.done();
                    Ok(None)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.reading = Reading::Closed;
                    Ok(None)
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => match &mut want {
                    Want::Encrypted(..) if !self.queued.is_empty() => Ok(Some(Reached::Queued)),
                    Want::Encrypted(slices, sealed) => seal(&mut traffic, slices, sealed)
                        .map(|count| Some(Reached::Encrypted(count)))
                        .map_err(|error| Error::General(error.to_string())),
                    Want::CloseNotify => {
                        let mut alert = [0; MAX_ALERT];
                        match traffic.queue_close_notify(&mut alert) {
                            Ok(written) => {
                                self.queued.extend_from_slice(&alert[..written]);
                                Ok(Some(Reached::End))
                            }
                            Err(error) => Err(Error::General(error.to_string())),
                        }
                    }
                    Want::Plaintext(_) | Want::Handshake => Ok(Some(Reached::End)),
                },
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    Ok(Some(Reached::End))
                }
                // No early data is ever accepted.
                Ok(_) => Err(Error::General("TLS is in a state that is not known".into())),
                Err(error) => Err(error),
            };
            self.received.consume(discard);
            if let Some(reached) = reached? {
                return Ok(reached);
            }
        }
    }

    /// What TLS has to say of an error. It gives that out before it looks at any record.
    fn queue_alert(&mut self) {
        while self.connection.wants_write() {
            let state = self.connection.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(mut message)) = state else {
                return;
            };
            if encode(&mut message, &mut self.queued).is_err() {
                return;
            }
        }
    }

    /// Says that nothing more is sent.
    fn close(&mut self) {
        if !self.is_write_closed {
            self.is_write_closed = true;
            // If TLS is broken, it has said so.
            let _ = self.advance(Want::CloseNotify);
        }
    }

    fn poll_plaintext(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        self.take_plaintext(buf);
        for _ in 0..READS_PER_POLL {
            while buf.remaining() > 0
                && matches!(self.reading, Reading::Open)
                && self.has_something_to_take()
            {
                match self.advance(Want::Plaintext(buf)) {
                    Ok(Reached::Plaintext) => {}
                    Ok(_) => break,
                    Err(error) => self.reading = Reading::Failed(error),
                }
            }
            if buf.filled().len() > before || buf.remaining() == 0 {
                self.received.settle();
                return Poll::Ready(Ok(()));
            }
            match std::mem::replace(&mut self.reading, Reading::CutOff) {
                Reading::Open => {
                    self.reading = Reading::Open;
                    let Poll::Ready(received) = self.poll_receive(cx) else {
                        // Nothing is read, and maybe nothing written: it waits for neither any longer.
                        self.try_send_queued();
                        return Poll::Pending;
                    };
                    received?;
                }
                Reading::Closed => {
                    self.reading = Reading::Closed;
                    self.received = Received::Nothing;
                    return Poll::Ready(Ok(()));
                }
                Reading::CutOff => return Poll::Ready(Err(cut_off())),
                Reading::Failed(error) => {
                    self.try_send_queued();
                    return Poll::Ready(Err(error));
                }
            }
        }
        yield_to_others(cx)
    }

    /// Whether TLS may make something of what it has not been asked for yet. Where all that was received is taken and it has nothing to say,
    /// asking again is for nothing.
    fn has_something_to_take(&self) -> bool {
        // Or to say what the peer did wrong, where whoever writes found it: nothing need ever come behind that.
        !matches!(self.received, Received::Nothing)
            || self.connection.wants_write()
            || self.broken.is_some()
    }

    fn take_plaintext(&mut self, buf: &mut ReadBuf<'_>) {
        if self.plaintext.is_empty() {
            return;
        }
        let count = self.plaintext.len().min(buf.remaining());
        let (first, second) = self.plaintext.as_slices();
        let (fits, rest) = (first.len().min(count), count.saturating_sub(first.len()));
        buf.put_slice(&first[..fits]);
        buf.put_slice(&second[..rest]);
        self.plaintext.drain(..count);
        if self.plaintext.is_empty() {
            self.plaintext = VecDeque::new();
        }
    }

    fn poll_encrypt(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if self.is_write_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        loop {
            ready!(self.poll_send_sealed(cx))?;
            if self.queued.len() > MAX_AHEAD {
                ready!(self.poll_send(cx))?;
            }
            let mut sealed = LentBuffer::lend();
            sealed.append(&std::mem::take(&mut self.queued));
            let reached = self.advance(Want::Encrypted(slices, &mut sealed));
            // What was sealed before an error, too: without it the peer can read nothing behind it, not even an alert.
            if !sealed.unread().is_empty() {
                self.sending = Some(sealed);
            }
            let reached = match reached {
                Ok(reached) => reached,
                Err(error) => {
                    // With its alert, as far as the socket takes it: the error counts, and nobody may read any more.
                    let _ = self.poll_send(cx);
                    return Poll::Ready(Err(error));
                }
            };
            match reached {
                Reached::Encrypted(count) => {
                    return match self.poll_send(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
                    };
                }
                Reached::Queued => {}
                Reached::End | Reached::Plaintext => {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
            }
        }
    }
}

impl AsyncRead for Records {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_plaintext(cx, buf)
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_encrypt(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_encrypt(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written. What TLS itself has to say goes out with what follows, if it is not overdue: it did not come from whoever flushes.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_overdue {
            ready!(this.poll_send(cx))?;
        }
        ready!(this.poll_send_sealed(cx))?;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close();
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.tcp).poll_shutdown(cx)) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// To whoever reads, as far as there is room.
fn deliver(payload: &[u8], want: &mut Want<'_, '_>, rest: &mut VecDeque<u8>) {
    let mut payload = payload;
    if let Want::Plaintext(buf) = want
        && rest.is_empty()
    {
        let (fits, left) = payload.split_at(payload.len().min(buf.remaining()));
        buf.put_slice(fits);
        payload = left;
    }
    rest.extend(payload);
}

fn encode<D>(message: &mut EncodeTlsData<'_, D>, queued: &mut Vec<u8>) -> Result<(), Error> {
    let needed = match message.encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            required_size
        }
        Ok(_) => return Ok(()),
        Err(error) => return Err(Error::General(error.to_string())),
    };
    let start = queued.len();
    queued.resize(start + needed, 0);
    match message.encode(&mut queued[start..]) {
        Ok(written) => {
            queued.truncate(start + written);
            Ok(())
        }
        Err(error) => Err(Error::General(error.to_string())),
    }
}

/// Whoever sends and sends, and nothing in it, does not have the thread for itself.
fn yield_to_others<T>(cx: &mut Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// As an error of input and output, with what TLS says inside.
fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn cut_off() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection ended without a close alert",
    )
}

fn some(sent: usize) -> io::Result<usize> {
    if sent == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(sent)
}

/// What TLS itself has to say goes out with what is written if it is no more: it has the room that encryption does not take of [`OVERHEAD`].
const MAX_AHEAD: usize = OVERHEAD / 2;

/// A buffer is filled so often before others have their turn, if nothing comes out of it.
const READS_PER_POLL: usize = 4;

/// One record of an alert takes 31 at most, and one that keys change before it no more.
const MAX_ALERT: usize = 256;

#[cfg(test)]
mod tests;
