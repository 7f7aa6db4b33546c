//! What is said in plaintext before TLS begins.

use std::net::SocketAddr;

use countersign_diagnose::doctor::question::Starttls;
use countersign_diagnose::doctor::target::{End, Preamble};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::conversation;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What the server said, the first of it.
    pub(super) plaintext: Vec<u8>,
    /// Why TLS cannot begin.
    pub(super) refused: Option<End>,
}

/// Takes a connection to where a `ClientHello` may be sent.
pub(super) async fn before(
    stream: &mut TcpStream,
    preamble: Preamble,
    host: &str,
    address: SocketAddr,
    deadline: Instant,
) -> Said {
    let mut talk = Talk {
        stream,
        deadline,
        said: Vec::new(),
    };
    let outcome = match preamble {
        Preamble::None => Ok(()),
        Preamble::ProxyHeader => talk.send(proxy_header(address).as_bytes()).await,
        Preamble::Starttls(starttls) => talk.start(starttls, host).await,
    };
    Said {
        plaintext: talk.said,
        refused: outcome.err(),
    }
}

struct Talk<'s> {
    stream: &'s mut TcpStream,
    deadline: Instant,
    said: Vec<u8>,
}

impl Talk<'_> {
    async fn start(&mut self, starttls: Starttls, host: &str) -> Result<(), End> {
        match starttls {
            Starttls::Smtp => {
                self.lines(|line| line.starts_with("220 ")).await?;
                self.send(b"EHLO countersign-doctor.invalid\r\n").await?;
                let greeted = self.lines(|line| line.starts_with("250 ")).await;
                greeted.map_err(|end| match end {
                    // It is not STARTTLS that is refused.
                    End::PreambleRefused(words) => {
                        End::Malformed(format!("it does not know EHLO: {words}"))
                    }
                    other => other,
                })?;
                self.send(b"STARTTLS\r\n").await?;
                self.lines(|line| line.starts_with("220 ")).await
            }
            Starttls::Imap => {
                self.lines(|line| line.starts_with("* OK")).await?;
                self.send(b"a1 STARTTLS\r\n").await?;
                self.lines(|line| line.starts_with("a1 OK")).await
            }
            Starttls::Pop3 => {
                self.lines(|line| line.starts_with("+OK")).await?;
                self.send(b"STLS\r\n").await?;
                self.lines(|line| line.starts_with("+OK")).await
            }
            Starttls::Ftp => {
                self.lines(|line| line.starts_with("220 ")).await?;
                self.send(b"AUTH TLS\r\n").await?;
                self.lines(|line| line.starts_with("234 ")).await
            }
            Starttls::Ldap => {
                self.send(LDAP_START_TLS).await?;
                self.ldap_answer().await
            }
            Starttls::Postgres => {
                self.send(POSTGRES_SSL_REQUEST).await?;
                match self.exactly(1).await?.as_slice() {
                    b"S" => Ok(()),
                    _ => Err(self.refused()),
                }
            }
            Starttls::Mysql => self.mysql().await,
            Starttls::Xmpp => {
                let to: String = host
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
                    .collect();
                let opening = format!(
                    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{to}' version='1.0'>"
                );
                self.send(opening.as_bytes()).await?;
                self.until(b"</stream:features>").await?;
                self.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                    .await?;
                self.until(b"<proceed").await?;
                self.until(b">").await
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        match timeout_at(self.deadline, self.stream.write_all(bytes)).await {
            Err(_) => Err(End::TimedOut),
            Ok(Err(error)) => Err(conversation::of_error(&error)),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// One byte at a time: what follows the last line is TLS and belongs to somebody else.
    async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, End> {
        let mut bytes = vec![0; count];
        match timeout_at(self.deadline, self.stream.read_exact(&mut bytes)).await {
            Err(_) => Err(End::TimedOut),
            Ok(Err(error)) => Err(conversation::of_error(&error)),
            Ok(Ok(_)) => {
                self.said.extend(&bytes);
                if self.said.len() > MAX_SAID_BYTES {
                    return Err(End::Flood);
                }
                Ok(bytes)
            }
        }
    }

    fn refused(&self) -> End {
        let from = self.said.len().saturating_sub(MAX_QUOTED_BYTES);
        End::PreambleRefused(
            String::from_utf8_lossy(&self.said[from..])
                .trim()
                .to_owned(),
        )
    }

    /// Reads lines up to one that is the last of its answer and as it should be. `220-` and the like go on.
    async fn lines(&mut self, is_good: impl Fn(&str) -> bool) -> Result<(), End> {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                line.extend(self.exactly(1).await?);
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let goes_on = line.as_bytes().get(3) == Some(&b'-')
                && line.bytes().take(3).all(|byte| byte.is_ascii_digit())
                || (line.starts_with("* ")
                    && !line.starts_with("* OK")
                    && !line.starts_with("* BYE"));
            if is_good(&line) {
                return Ok(());
            }
            if !goes_on {
                return Err(self.refused());
            }
        }
    }

    async fn until(&mut self, words: &[u8]) -> Result<(), End> {
        let begun = self.said.len();
        loop {
            self.exactly(1).await?;
            let said = &self.said[begun..];
            if said.ends_with(words) {
                return Ok(());
            }
            if said.ends_with(b"</stream:stream>") || said.ends_with(b"<failure") {
                return Err(self.refused());
            }
        }
    }

    /// An `ExtendedResponse` (RFC 4511 §4.12) whose resultCode is success.
    async fn ldap_answer(&mut self) -> Result<(), End> {
        let head = self.exactly(2).await?;
        if head[0] != 0x30 || head[1] > 0x7f {
            return Err(self.refused());
        }
        let body = self.exactly(usize::from(head[1])).await?;
        let result = body
            .windows(3)
            .find(|window| window[0] == 0x0a && window[1] == 1);
        match result {
            Some([_, _, 0]) => Ok(()),
            _ => Err(self.refused()),
        }
    }

    /// The greeting, then an `SSLRequest` if it says that the server takes one.
    async fn mysql(&mut self) -> Result<(), End> {
        let head = self.exactly(4).await?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if length > MAX_SAID_BYTES {
            return Err(self.refused());
        }
        let greeting = self.exactly(length).await?;
        // Protocol 10: version text, NUL, thread id (4), salt (8), filler (1), capabilities (2).
        let text = greeting.iter().position(|&byte| byte == 0);
        let flags = text.and_then(|end| greeting.get(end + 14..end + 16));
        let takes_tls = greeting.first() == Some(&10)
            && flags
                .is_some_and(|flags| u16::from_le_bytes([flags[0], flags[1]]) & CLIENT_SSL != 0);
        if !takes_tls {
            return Err(self.refused());
        }
        self.send(MYSQL_SSL_REQUEST).await
    }
}

fn proxy_header(to: SocketAddr) -> String {
    let family = if to.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {ip} {ip} 49152 {port}\r\n",
        ip = to.ip(),
        port = to.port()
    )
}

/// `ExtendedRequest` 1 with the name 1.3.6.1.4.1.1466.20037.
const LDAP_START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Length 8, code 80877103.
const POSTGRES_SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const CLIENT_SSL: u16 = 0x0800;
/// Length 32, sequence 1: `CLIENT_PROTOCOL_41 | CLIENT_SSL | CLIENT_SECURE_CONNECTION`, 16 MiB, utf8mb4, 23 zeros.
const MYSQL_SSL_REQUEST: &[u8] = &[
    32, 0, 0, 1, 0x00, 0x8a, 0, 0, 0, 0, 0, 1, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0,
];

/// The longest is XMPP's list of features.
const MAX_SAID_BYTES: usize = 16 * 1024;
const MAX_QUOTED_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_long_as_they_say() {
        assert_eq!(LDAP_START_TLS.len(), 2 + 0x1d);
        assert_eq!(MYSQL_SSL_REQUEST.len(), 4 + 32);
        let address = "127.0.0.1:8443".parse().unwrap();
        assert_eq!(
            proxy_header(address),
            "PROXY TCP4 127.0.0.1 127.0.0.1 49152 8443\r\n"
        );
    }
}
