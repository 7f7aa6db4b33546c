//! An HTTP service whose every byte the test decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does with each connection what the test says; ends with the test's process.
pub struct Service {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

/// One connection from the service's side. Nothing in it panics on what the other side does: it ends.
pub struct Conversation {
    stream: BufReader<TcpStream>,
}

impl Service {
    /// On a free loopback port; each connection has a thread.
    pub fn start(serve: impl Fn(Conversation) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        Self::start_on(listener, serve)
    }

    /// On a socket that listens already.
    pub fn start_on(
        listener: TcpListener,
        serve: impl Fn(Conversation) + Send + Sync + 'static,
    ) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (accepted, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        let counter = accepted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || {
                    serve(Conversation {
                        stream: BufReader::new(stream),
                    });
                });
            }
        });
        Self { address, accepted }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has had.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Conversation {
    /// The next request's head, without the empty line; `None` when the connection has ended.
    pub fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(head);
            }
            head.push_str(&line);
            head.push('\n');
        }
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            _ => None,
        }
    }

    /// Exactly that many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// The next chunk of a chunked body; `None` after the last, whose trailers are still to be read as a [`head`](Self::head).
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return None;
        }
        let chunk = self.bytes(size)?;
        self.bytes(2)?;
        Some(chunk)
    }

    /// Writes; false when nobody reads any more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Writes one chunk.
    pub fn send_chunk(&mut self, bytes: &[u8]) -> bool {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk)
    }
}
