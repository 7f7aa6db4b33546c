//! WebSocket (RFC 6455) from both sides, as little of it as an echo needs.

use std::io;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign_testkit::client::Client;
use countersign_testkit::service::{Conversation, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http::in_time;

/// A service that upgrades every request and returns every message.
pub(crate) fn echo_service() -> Service {
    Service::start(|mut conversation| {
        let Some(head) = conversation.head() else {
            return;
        };
        let Some(key) = header(&head, "sec-websocket-key") else {
            conversation.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        conversation.send(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                accept(key)
            )
            .as_bytes(),
        );
        while let Some(message) = masked_message(&mut conversation) {
            // RFC 6455 §5.1: a server masks nothing.
            let mut frame = vec![
                FINAL_TEXT,
                u8::try_from(message.len()).expect("short messages"),
            ];
            frame.extend_from_slice(&message);
            conversation.send(&frame);
        }
    })
}

/// The client's side, after the upgrade.
pub(crate) struct WebSocket {
    stream: TlsStream<TcpStream>,
}

impl WebSocket {
    /// Upgrades a connection of its own.
    pub(crate) async fn open(client: &Client, gateway: SocketAddr) -> Self {
        let mut stream = client.connect(gateway).await.expect("the client is let in");
        let request = format!(
            "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the connection is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                in_time("the upgrade", stream.read_u8())
                    .await
                    .expect("the connection is open"),
            );
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert_eq!(
            header(&head, "sec-websocket-accept"),
            Some(accept(KEY).as_str()),
            "{head}"
        );
        Self { stream }
    }

    /// Sends a message and reads the one that comes back.
    pub(crate) async fn echo(&mut self, message: &str) -> io::Result<String> {
        let mut frame = vec![
            FINAL_TEXT,
            MASKED | u8::try_from(message.len()).expect("short messages"),
        ];
        frame.extend_from_slice(&MASK);
        frame.extend(
            message
                .bytes()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.stream.write_all(&frame).await?;
        let mut start = [0; 2];
        in_time("the echo", self.stream.read_exact(&mut start)).await?;
        assert_eq!(start[0], FINAL_TEXT);
        let mut echo = vec![0; usize::from(start[1])];
        in_time("the echo", self.stream.read_exact(&mut echo)).await?;
        Ok(String::from_utf8_lossy(&echo).into_owned())
    }

    /// Waits until the other side has ended it; what comes before that counts as a failure.
    pub(crate) async fn ended(mut self) {
        let mut rest = [0; 1];
        let read = in_time("the end of the WebSocket", self.stream.read(&mut rest)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "a byte came after the cut");
    }
}

/// One short message from a client; `None` when the connection has ended.
fn masked_message(conversation: &mut Conversation) -> Option<Vec<u8>> {
    let start = conversation.bytes(2)?;
    let mask = conversation.bytes(4)?;
    let message = conversation.bytes(usize::from(start[1] & !MASKED))?;
    Some(
        message
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect(),
    )
}

/// RFC 6455 §4.2.2, step 5.4.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        text.as_bytes(),
    );
    BASE64_STANDARD.encode(digest)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .into_iter()
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

const FINAL_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x5a, 0xa5, 0x0f, 0xf0];
/// RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

#[test]
fn accept_is_the_one_of_the_standard() {
    assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
