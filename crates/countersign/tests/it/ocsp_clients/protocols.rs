//! Nothing reaches an upstream before the responder has answered, and nothing at all of whom it refuses, in each protocol.

use std::io::ErrorKind;
use std::net::TcpListener as StdListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

/// An upstream that says whether anybody came.
struct Watched {
    listener: StdListener,
}

impl Watched {
    fn start() -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        Self { listener }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }

    /// The backlog would have whoever connected, served or not.
    fn has_seen_nobody(&self) -> bool {
        matches!(self.listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    async fn connection(&self) -> TcpStream {
        let mut found = None;
        until("the upstream is reached", async || {
            found = self.listener.accept().ok();
            found.is_some()
        })
        .await;
        let (socket, _) = found.expect("one came");
        socket.set_nonblocking(false).expect("a socket");
        socket.set_read_timeout(Some(HANG)).expect("a socket");
        socket
    }
}

impl Scene {
    fn serve_bytes(&self, upstream: &Watched, protocol: &str) -> Process {
        let server = self.installation.issue("server", "localhost", &[]);
        let toml = format!(
            "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
             trust = [\"internal\", \"acme\"]\nupstream = \"tcp://{}\"\n{protocol}\ncertificate = \"{}\"\nkey = \"{}\"\n{}",
            upstream.address(),
            text(&server.certificate()),
            text(&server.key()),
            self.trust(PATIENT, "")
        );
        self.installation.serve(&toml)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_waits_for_the_answer_before_any_upstream_is_reached() {
    let test = "request_waits_for_the_answer_before_any_upstream_is_reached";
    let Some(mut scene) = Scene::new(test) else {
        return;
    };
    for (number, protocol) in Protocol::HTTP.into_iter().enumerate() {
        let upstream = Watched::start();
        let (good, bad) = (format!("good-{number}"), format!("bad-{number}"));
        let clients = [&good, &bad].map(|name| scene.partner.issue(name));
        scene.partner.revoke(&bad);
        scene.responder = Responder::start(&scene.openssl, &scene.partner);
        scene.responder.become_(Manner::Held);
        let toml = scene.toml(PATIENT, "");
        let toml = toml.replace(
            &scene.upstream.address().to_string(),
            &upstream.address().to_string(),
        );
        let gateway = scene.installation.serve(&toml);
        let address = gateway.gateway();
        let asking: Vec<JoinHandle<Outcome>> = clients
            .iter()
            .map(|identity| {
                let client = scene.client(identity, protocol);
                tokio::spawn(async move {
                    client
                        .request(address, for_client(protocol, "/waited"))
                        .await
                })
            })
            .collect();
        scene.responder.wait_for(2);
        assert!(upstream.has_seen_nobody(), "{protocol:?}");
        assert!(asking.iter().all(|asked| !asked.is_finished()));
        scene.responder.become_(Manner::Honest);
        let mut socket = upstream.connection().await;
        let mut head = [0; 1024];
        let read = socket.read(&mut head).expect("a request");
        assert!(String::from_utf8_lossy(&head[..read]).contains("/waited"));
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .expect("answered");
        let mut statuses = Vec::new();
        for asked in asking {
            statuses.push(asked.await.expect("no panic").status());
        }
        assert_eq!(statuses, [Some(200), Some(403)], "{protocol:?}");
        assert!(upstream.has_seen_nobody(), "the refused reaches nobody");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_of_bytes_waits_too_and_is_closed_without_a_byte_when_refused() {
    let test = "connection_of_bytes_waits_too_and_is_closed_without_a_byte_when_refused";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let upstream = Watched::start();
    let (good, bad) = (scene.partner.issue("good"), scene.partner.issue("bad"));
    scene.partner.revoke("bad");
    scene.responder.become_(Manner::Held);
    let allow =
        "allow = [{ cn = \"good\", bundle = \"acme\" }, { cn = \"bad\", bundle = \"acme\" }]";
    let gateway = scene.serve_bytes(&upstream, allow);
    let connect = async |identity: &TestIdentity| {
        let client = scene.client(identity, Protocol::Http1Tls13);
        let mut config = (*client.config()).clone();
        config.alpn_protocols.clear();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let socket = tokio::net::TcpStream::connect(gateway.gateway()).await;
        let name = "localhost".try_into().expect("a name");
        let mut stream = connector
            .connect(name, socket.expect("connected"))
            .await
            .expect("the handshake is finished");
        stream.write_all(b"hello").await.expect("sent");
        stream
    };
    let (mut admitted, mut refused) = (connect(&good).await, connect(&bad).await);
    scene.responder.wait_for(2);
    assert!(upstream.has_seen_nobody());
    scene.responder.become_(Manner::Honest);
    let mut nothing = Vec::new();
    let _ = refused.read_to_end(&mut nothing).await;
    assert_eq!(nothing, b"", "it is closed");
    let mut socket = upstream.connection().await;
    let mut hello = [0; 5];
    socket.read_exact(&mut hello).expect("its bytes");
    assert_eq!(&hello, b"hello");
    socket.write_all(b"world").expect("answered");
    let mut world = [0; 5];
    admitted.read_exact(&mut world).await.expect("its answer");
    assert_eq!(&world, b"world");
    assert!(upstream.has_seen_nobody(), "the refused reaches nobody");
    assert!(scene.causes().contains("certificate-revoked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_waits_too_and_learns_that_it_is_refused() {
    let Some(scene) = Scene::new("login_waits_too_and_learns_that_it_is_refused") else {
        return;
    };
    let upstream = Watched::start();
    let (good, bad) = (scene.partner.issue("good"), scene.partner.issue("bad"));
    scene.partner.revoke("bad");
    scene.responder.become_(Manner::Held);
    let rules = "protocol = \"postgresql\"\nallow = [{ cn = \"good\", bundle = \"acme\", user = [\"app\"], database = [\"shop\"] }, \
                 { cn = \"bad\", bundle = \"acme\", user = [\"app\"], database = [\"shop\"] }]";
    let gateway = scene.serve_bytes(&upstream, rules);
    // A StartupMessage of version 3.0.
    let mut startup = 3_u32.rotate_left(16).to_be_bytes().to_vec();
    startup.extend_from_slice(b"user\0app\0database\0shop\0\0");
    let length = u32::try_from(startup.len() + 4).expect("short");
    let startup = [&length.to_be_bytes()[..], &startup].concat();
    let connect = async |identity: &TestIdentity| {
        let client = scene.client(identity, Protocol::Http1Tls13);
        let mut config = (*client.config()).clone();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let socket = tokio::net::TcpStream::connect(gateway.gateway()).await;
        let name = "localhost".try_into().expect("a name");
        let mut stream = connector
            .connect(name, socket.expect("connected"))
            .await
            .expect("the handshake is finished");
        stream.write_all(&startup).await.expect("sent");
        stream
    };
    let (_admitted, mut refused) = (connect(&good).await, connect(&bad).await);
    scene.responder.wait_for(2);
    assert!(upstream.has_seen_nobody());
    scene.responder.become_(Manner::Honest);
    let mut told = Vec::new();
    let _ = refused.read_to_end(&mut told).await;
    let told = String::from_utf8_lossy(&told);
    assert!(
        told.starts_with('E') && told.contains("refusal"),
        "{told:?}"
    );
    let mut socket = upstream.connection().await;
    let mut login = vec![0; startup.len()];
    socket.read_exact(&mut login).expect("the login");
    assert_eq!(login, startup);
    assert!(upstream.has_seen_nobody(), "the refused reaches nobody");
}
