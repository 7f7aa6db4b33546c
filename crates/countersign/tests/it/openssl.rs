//! `openssl s_client` as a client of the gateway.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::installation::{Answer, Issued, text};

/// What to do about TLS sessions.
#[derive(Clone, Copy)]
pub(crate) enum SessionUse<'a> {
    /// Keep it in this file.
    Keep(&'a Path),
    /// Neither.
    None,
    /// Resume the one in this file.
    Resume(&'a Path),
}

/// What `s_client` printed.
#[derive(Debug)]
pub(crate) struct SClient {
    pub(crate) output: String,
}

/// One GET with `openssl s_client options…`.
pub(crate) fn s_client(
    openssl: &Path,
    gateway: SocketAddr,
    client: Option<&Issued>,
    options: &[&str],
    session: SessionUse<'_>,
) -> SClient {
    let mut command = Command::new(openssl);
    command
        .args([
            "s_client",
            "-connect",
            &gateway.to_string(),
            "-servername",
            "localhost",
            "-ign_eof",
        ])
        .args(options);
    if let Some(client) = client {
        let (certificate, key, ca) = (client.certificate(), client.key(), client.ca());
        command.args([
            "-cert",
            text(&certificate),
            "-cert_chain",
            text(&certificate),
            "-key",
            text(&key),
        ]);
        command.args(["-CAfile", text(&ca), "-verify_return_error"]);
    }
    match session {
        SessionUse::Keep(file) => command.arg("-sess_out").arg(file),
        SessionUse::None => &mut command,
        SessionUse::Resume(file) => command.arg("-sess_in").arg(file),
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A refused client may be gone before it has read this.
    let _ = stdin.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    drop(stdin);
    let output = child.wait_with_output().expect("our child");
    let output = [output.stdout, output.stderr].concat();
    SClient {
        output: String::from_utf8_lossy(&output).into_owned(),
    }
}

impl SClient {
    /// The service's answer came.
    pub(crate) fn answered(&self) -> bool {
        self.output.contains("HTTP/1.1 200")
    }

    /// The session was resumed.
    pub(crate) fn reused(&self) -> bool {
        self.output.contains("\nReused, ")
    }
}

/// `openssl x509 -text`.
pub(crate) fn x509(openssl: &Path, certificate: &Path) -> String {
    let answer = Answer::of(Command::new(openssl).args([
        "x509",
        "-noout",
        "-text",
        "-in",
        text(certificate),
    ]));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    answer.stdout
}
