//! What a client of PostgreSQL says before TLS: that it wants it.
//!
//! Nothing behind a request is read before the answer has gone out, and whoever has sent something there is refused: bytes
//! from before TLS are never taken for bytes inside it (CVE-2021-23214, CVE-2021-23222).

use countersign_diagnose::handshake::{HandshakeFault, Stage};
use countersign_policy::postgresql::{
    OPENING_BYTES, Opening, REFUSED, REQUEST_FOR_TLS, error_response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hello::{Greeting, Rejected};

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// After a request for it.
    Asked,
    /// At once; the application protocol has to be named then.
    Direct,
}

/// Answers what comes before TLS. The `ClientHello` is left in the socket.
pub(crate) async fn read(
    socket: &mut TcpStream,
    greeting: &mut Greeting,
) -> Result<Start, Rejected> {
    let mut has_asked_for_gss = false;
    loop {
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(1) => {}
            Ok(_) | Err(_) => return Err(gone(greeting.stage())),
        }
        // Each packet begins with its length, which is far below 2²⁴. What else this is, the hello's reader tells.
        if first[0] != 0 {
            return Ok(Start::Direct);
        }
        greeting.note_asked();
        let mut opening = [0; OPENING_BYTES];
        if socket.read_exact(&mut opening).await.is_err() {
            return Err(gone(Stage::InClientHello));
        }
        match Opening::parse(opening) {
            Some(Opening::Tls) => {
                answer(socket, b'S').await?;
                return Ok(Start::Asked);
            }
            Some(Opening::Gss) if !has_asked_for_gss => {
                answer(socket, b'N').await?;
                has_asked_for_gss = true;
            }
            Some(Opening::Cancel) => {
                let packet = "CancelRequest";
                return Err(Rejected::new(
                    HandshakeFault::PlainPostgresql { packet },
                    Vec::new(),
                ));
            }
            Some(Opening::Startup) => {
                let packet = "StartupMessage";
                return Err(Rejected::new(
                    HandshakeFault::PlainPostgresql { packet },
                    error_response(REFUSED, TLS_REQUIRED, Some(TLS_REQUIRED_HINT)),
                ));
            }
            Some(Opening::Gss) | None => {
                let first = opening.to_vec();
                return Err(Rejected::new(HandshakeFault::NotTls { first }, Vec::new()));
            }
        }
    }
}

/// Asks a server for TLS, and reads its answer and not a byte more.
pub(crate) async fn request(socket: &mut TcpStream) -> std::io::Result<u8> {
    socket.write_all(&REQUEST_FOR_TLS).await?;
    socket.read_u8().await
}

async fn answer(socket: &mut TcpStream, answer: u8) -> Result<(), Rejected> {
    let mut ahead = [0];
    // Of an honest client nothing is there: it waits for the answer.
    if matches!(socket.try_read(&mut ahead), Ok(1)) {
        return Err(Rejected::new(HandshakeFault::SentAhead, Vec::new()));
    }
    match socket.write_all(&[answer]).await {
        Ok(()) => Ok(()),
        Err(_) => Err(gone(Stage::InClientHello)),
    }
}

fn gone(stage: Stage) -> Rejected {
    Rejected {
        fault: HandshakeFault::Closed(stage),
        answer: None,
    }
}

const TLS_REQUIRED: &str = "this port takes no login without TLS and a client certificate";
const TLS_REQUIRED_HINT: &str =
    "connect with sslmode=verify-full, sslcert=…, sslkey=… and sslrootcert=…";
