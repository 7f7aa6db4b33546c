//! Programs that others have made, in both versions of TLS: what they send comes out, and what is sent arrives.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::site::Site;

/// More than all buffers on the way take.
const MANY: usize = 5 << 20;

const PATIENCE: Duration = Duration::from_mins(1);

/// Certificate and key of a client, and what it trusts.
struct Files {
    chain: String,
    key: String,
    root: String,
    _folder: tempfile::TempDir,
}

impl Files {
    fn new(site: &Site) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (chain, key) = site.client("you").write(folder.path(), "you");
        let root = folder.path().join("root.pem");
        std::fs::write(&root, site.ca.root_pem()).expect("a file");
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        Self {
            chain: text(&chain),
            key: text(&key),
            root: text(&root),
            _folder: folder,
        }
    }

    fn openssl(&self, address: SocketAddr, options: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &address.to_string()])
            .args(["-servername", "localhost", "-verify_return_error"])
            .args(["-CAfile", &self.root, "-cert", &self.chain])
            .args(["-cert_chain", &self.chain, "-key", &self.key])
            .args(options);
        command
    }

    fn gnutls(&self, address: SocketAddr, versions: &str) -> Command {
        let mut command = Command::new("gnutls-cli");
        command
            .args(["--logfile", "/dev/stderr"])
            .args([
                "--sni-hostname",
                "localhost",
                "--verify-hostname",
                "localhost",
            ])
            .args(["--x509cafile", &self.root, "--x509certfile", &self.chain])
            .args(["--x509keyfile", &self.key])
            .args(["--priority", &format!("NORMAL:-VERS-ALL:+{versions}")])
            .args(["--port", &address.port().to_string()])
            .arg(address.ip().to_string());
        command
    }

    fn curl(&self, address: SocketAddr, options: &[&str], body: &Path) -> Command {
        let port = address.port();
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--http1.1", "-H", "Expect:"])
            .args(["--resolve", &format!("localhost:{port}:{}", address.ip())])
            .args(["--cacert", &self.root, "--cert", &self.chain])
            .args(["--key", &self.key, "--data-binary"])
            .arg(format!("@{}", body.display()))
            .args(options)
            .arg(format!("https://localhost:{port}/"));
        command
    }
}

type Made = fn(&Files, SocketAddr) -> Command;

fn start(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed")
}

fn some_bytes() -> Vec<u8> {
    (0..=250).cycle().take(MANY).collect()
}

/// Gives the bytes to a program that sends them, and takes what it prints until it ends.
fn converse(command: Command, bytes: Vec<u8>) -> Vec<u8> {
    let mut child = start(command);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stderr = child.stderr.take().expect("piped");
    let feeding = std::thread::spawn(move || {
        // It may have ended; what it has printed tells.
        let _ = stdin.write_all(&bytes);
        stdin
    });
    let complaining = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = stderr.read_to_string(&mut said);
        said
    });
    let mut printed = Vec::new();
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_to_end(&mut printed).expect("a pipe");
    child.wait().expect("a child");
    drop(feeding.join().expect("no panic"));
    println!("{}", complaining.join().expect("no panic"));
    printed
}

/// Reads so many bytes, writes them back, and ends.
async fn echo(site: &Site, count: usize) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let (address, accepting) = site.open().await;
    let echoing = tokio::spawn(async move {
        let accepted = accepting.await.expect("no panic");
        let mut stream = accepted.expect("admitted").stream;
        let mut received = vec![0; count];
        stream.read_exact(&mut received).await.expect("all of it");
        stream.write_all(&received).await.expect("it is read");
        stream.shutdown().await.expect("it is read");
        received
    });
    (address, echoing)
}

async fn bounded<T>(task: tokio::task::JoinHandle<T>) -> T {
    let ended = timeout(PATIENCE, task).await.expect("in time");
    ended.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_others_get_back_what_they_send() {
    let site = Site::new();
    let files = Files::new(&site);
    let programs: [(&str, Made); 4] = [
        ("openssl, TLS 1.2", |files, at| {
            files.openssl(at, &["-quiet", "-tls1_2"])
        }),
        ("openssl, TLS 1.3", |files, at| {
            files.openssl(at, &["-quiet", "-tls1_3"])
        }),
        ("gnutls, TLS 1.2", |files, at| {
            files.gnutls(at, "VERS-TLS1.2")
        }),
        ("gnutls, TLS 1.3", |files, at| {
            files.gnutls(at, "VERS-TLS1.3")
        }),
    ];
    let bytes = some_bytes();
    for (program, command) in programs {
        let (address, echoing) = echo(&site, MANY).await;
        let (command, sent) = (command(&files, address), bytes.clone());
        let printed = tokio::task::spawn_blocking(move || converse(command, sent));
        assert!(bounded(echoing).await == bytes, "{program}: there");
        let printed = bounded(printed).await;
        assert!(printed == bytes, "{program}: {} back", printed.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_posts_and_gets_an_answer_of_many_records() {
    let site = Site::new();
    let files = Files::new(&site);
    let folder = tempfile::tempdir().expect("a folder");
    let body: PathBuf = folder.path().join("body");
    let bytes = some_bytes();
    std::fs::write(&body, &bytes).expect("a file");
    for options in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let (address, accepting) = site.open().await;
        let answering = tokio::spawn(async move {
            let accepted = accepting.await.expect("no panic");
            let mut stream = accepted.expect("admitted").stream;
            let mut received = Vec::new();
            let head = loop {
                assert_ne!(stream.read_buf(&mut received).await.expect("open"), 0);
                if let Some(at) = received.windows(4).position(|it| it == b"\r\n\r\n") {
                    break at + 4;
                }
            };
            let mut body = received.split_off(head);
            while body.len() < MANY {
                assert_ne!(stream.read_buf(&mut body).await.expect("open"), 0);
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MANY}\r\n\r\n");
            let mut answer = [head.as_bytes(), &body].concat();
            while !answer.is_empty() {
                // A head and its body, as a server of HTTP writes them.
                let (first, second) = answer.split_at(answer.len().min(100));
                let slices = [first, second].map(std::io::IoSlice::new);
                let written = stream.write_vectored(&slices).await.expect("it is read");
                answer.drain(..written);
            }
            stream.shutdown().await.expect("it is read");
            body
        });
        let command = files.curl(address, options, &body);
        let printed = tokio::task::spawn_blocking(move || converse(command, Vec::new()));
        assert!(bounded(answering).await == bytes, "{options:?}: there");
        assert!(bounded(printed).await == bytes, "{options:?}: back");
    }
}

/// `K` asks for new keys both ways, `k` changes the client's alone.
#[tokio::test(flavor = "multi_thread")]
async fn openssl_changes_its_keys_and_the_conversation_goes_on() {
    let site = Site::new();
    let files = Files::new(&site);
    let (address, accepting) = site.open().await;
    let command = files.openssl(address, &["-tls1_3"]);
    let talking = tokio::task::spawn_blocking(move || {
        let mut child = start(command);
        let mut stdin = child.stdin.take().expect("piped");
        let mut stdout = child.stdout.take().expect("piped");
        let mut stderr = child.stderr.take().expect("piped");
        let mut printed = String::new();
        for (said, heard) in [
            ("one\n", "echo one"),
            ("two\n", "echo two"),
            ("three\n", "echo three"),
        ] {
            stdin.write_all(said.as_bytes()).expect("it reads");
            read_until(&mut stdout, &mut printed, heard);
            if heard != "echo three" {
                let update = if heard == "echo one" { "K\n" } else { "k\n" };
                stdin.write_all(update.as_bytes()).expect("it reads");
                read_until(&mut stderr, &mut String::new(), "KEYUPDATE");
            }
        }
        drop(stdin);
        child.wait().expect("a child");
    });
    let echoing = tokio::spawn(async move {
        let accepted = accepting.await.expect("no panic");
        let mut stream = accepted.expect("admitted").stream;
        for said in ["one\n", "two\n", "three\n"] {
            let mut line = vec![0; said.len()];
            stream.read_exact(&mut line).await.expect("it writes");
            assert_eq!(line, said.as_bytes());
            let echo = format!("echo {said}");
            stream.write_all(echo.as_bytes()).await.expect("it reads");
            stream.flush().await.expect("it reads");
        }
        // It says that it ends.
        assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
        stream.shutdown().await.expect("open");
    });
    bounded(echoing).await;
    bounded(talking).await;
}

fn read_until(from: &mut impl std::io::Read, printed: &mut String, wanted: &str) {
    let mut buffer = [0; 4096];
    while !printed.contains(wanted) {
        let count = from.read(&mut buffer).expect("a pipe");
        assert_ne!(count, 0, "{printed}");
        printed.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}
