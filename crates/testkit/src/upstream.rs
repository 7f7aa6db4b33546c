//! An HTTP service that remembers every byte it was sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Answers every request with 200 and the request's head as the body; ends with the test's process.
pub struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    /// On a free loopback port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let memory = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let memory = memory.clone();
                std::thread::spawn(move || serve(stream, &memory));
            }
        });
        Self { address, received }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything it was sent so far.
    pub fn received(&self) -> Vec<u8> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The same as text.
    pub fn received_text(&self) -> String {
        String::from_utf8_lossy(&self.received()).into_owned()
    }
}

fn serve(mut stream: TcpStream, memory: &Mutex<Vec<u8>>) {
    let mut pending = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(&buffer[..count]);
        pending.extend_from_slice(&buffer[..count]);
        while let Some(length) = message_length(&pending) {
            let message: Vec<u8> = pending.drain(..length).collect();
            let head = head_of(&message);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn head_of(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.split("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// The length of the first whole message, by content-length or by the last chunk.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let head_end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        // Trailers, if any, stand between the last chunk and an empty line.
        let last = find(&bytes[head_end..], b"0\r\n")?;
        return find(&bytes[head_end + last..], b"\r\n\r\n").map(|end| head_end + last + end + 4);
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let total = head_end + length.map_or(0, |text| text.trim().parse().unwrap_or(0));
    (bytes.len() >= total).then_some(total)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
