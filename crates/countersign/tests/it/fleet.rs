//! An authority in one process, a gateway in another: the real binary twice, and what goes between.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::process::Process;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::installation::{Answer, Installation, Issued, binary, countersign, text};

/// The installations; each has its own state folder. The feed's port stays the same over restarts.
pub(crate) struct Fleet {
    pub(crate) authority: Installation,
    pub(crate) gateway: Installation,
    port: u16,
}

impl Fleet {
    /// After `init`, and after `issue node gw-1` and `issue server localhost` for the gateway.
    pub(crate) fn new() -> Self {
        let fleet = Self {
            authority: Installation::new(),
            gateway: Installation::empty(),
            port: free_port(),
        };
        fleet.issue_node("gw-1");
        fleet.authority.issue("server", "localhost", &[]);
        fleet
    }

    /// The same with keys of `kind` everywhere.
    pub(crate) fn of_keys(kind: &str) -> Self {
        let fleet = Self {
            authority: Installation::of_keys(kind),
            gateway: Installation::empty(),
            port: free_port(),
        };
        let key = ["--key", kind];
        fleet.authority.issue("node", "gw-1", &key);
        fleet.authority.issue("server", "localhost", &key);
        fleet
    }

    /// `countersign run` with `[authority.feed]`; `more` goes in front.
    pub(crate) fn run_authority(&self, more: &str) -> Process {
        self.authority.serve(&format!(
            r#"{more}
[authority.feed]
address = "127.0.0.1:{}"

[gateway]
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
address = "127.0.0.1:0"

[[gateway.listener.route]]
upstream = "demo"
allow = ["any-trusted"]
"#,
            self.port
        ))
    }

    /// `countersign run` with `[gateway]` alone; `listener` goes into the listener's table.
    pub(crate) fn run_gateway(&self, listener: &str) -> Process {
        self.gateway.serve(&self.gateway_toml("gw-1", listener))
    }

    /// The same, expected to end before it is ready.
    pub(crate) fn gateway_fails(&self, node: &str) -> Answer {
        let file = self
            .gateway
            .write("countersign.toml", &self.gateway_toml(node, ""));
        let state = self.gateway.state();
        countersign(
            &self.gateway.path(""),
            &["run", "-c", text(&file), "--state", text(&state)],
        )
    }

    /// `[gateway]` with a listener whose certificate the authority issues, for `host`.
    pub(crate) fn certified_toml(&self, host: &str) -> String {
        let toml = self.gateway_toml("gw-1", "");
        let is_file =
            |line: &&str| line.starts_with("certificate = ") || line.starts_with("key = ");
        let at = toml.find("[[gateway.listener]]").expect("there is one");
        let lines: Vec<&str> = toml[at..].lines().filter(|line| !is_file(line)).collect();
        let listener = lines.join("\n");
        let listener = listener.replace("upstream", &format!("host = \"{host}\"\nupstream"));
        toml[..at].to_owned() + &listener
    }

    pub(crate) fn gateway_toml(&self, node: &str, listener: &str) -> String {
        let node = self.node_folder(node);
        let server = self.authority.path("server-localhost");
        format!(
            r#"
[gateway]
metrics_address = "127.0.0.1:0"

[gateway.feed]
url = "https://127.0.0.1:{}"
certificate = "{node}/cert.pem"
key = "{node}/key.pem"
bundle = "{node}/ca.pem"

[[gateway.listener]]
address = "127.0.0.1:0"
certificate = "{server}/cert.pem"
key = "{server}/key.pem"
{listener}

[[gateway.listener.route]]
upstream = "demo"
allow = ["any-trusted"]
"#,
            self.port,
            node = text(&node),
            server = text(&server),
        )
    }

    pub(crate) fn issue_node(&self, name: &str) -> Issued {
        self.authority.issue("node", name, &[])
    }

    pub(crate) fn node_folder(&self, name: &str) -> PathBuf {
        self.authority.path(&format!("node-{name}"))
    }

    /// What was issued to a node before.
    pub(crate) fn issue_at(&self, name: &str) -> Issued {
        Issued::at(self.node_folder(name))
    }

    /// The feed's state on the gateway's disk.
    pub(crate) fn feed_file(&self) -> PathBuf {
        self.gateway.state().join("gateway").join("feed")
    }

    pub(crate) fn feed_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Whoever holds `issued` at the feed port, trusting it as nodes do.
    pub(crate) fn at_feed_port(&self, issued: &Issued) -> Client {
        let operator = self.node_folder("gw-1").join("ca.pem");
        let operator = CertificateDer::from_pem_file(operator).expect("the operator CA");
        Client::new(
            &operator,
            Some(&issued.identity()),
            Protocol::Http1Tls13,
            "localhost",
        )
    }
}

/// What becomes of a fresh connection with one request.
pub(crate) async fn attempt(issued: &Issued, gateway: &Process) -> Outcome {
    attempt_as(issued, Protocol::Http1Tls13, gateway.gateway()).await
}

pub(crate) async fn attempt_as(
    issued: &Issued,
    protocol: Protocol,
    address: SocketAddr,
) -> Outcome {
    let request = if protocol == Protocol::Http2Tls13 {
        http::Request::get("https://localhost/")
    } else {
        http::Request::get("/").header("host", "localhost")
    };
    let request = request.body(http_body_util::Full::default());
    issued
        .client(protocol)
        .request(address, request.expect("a request"))
        .await
}

pub(crate) async fn assert_served(issued: &Issued, gateway: &Process) {
    let outcome = attempt(issued, gateway).await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
}

/// By this alert (RFC 8446 §6).
pub(crate) async fn assert_refused(issued: &Issued, gateway: &Process, alert: u8) {
    let outcome = attempt(issued, gateway).await;
    assert!(
        matches!(outcome, Outcome::Alert(sent) if sent == alert),
        "{outcome:?}"
    );
}

pub(crate) fn start_gateway(fleet: &Fleet) -> Result<Process, String> {
    let file = fleet.gateway.path("countersign.toml");
    let state = fleet.gateway.state();
    Process::try_start(
        binary(),
        &["run", "-c", text(&file), "--state", text(&state)],
    )
}

/// One that nobody else is told of, or so soon.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

/// RFC 8446 §6.
pub(crate) const CERTIFICATE_REVOKED: u8 = 44;
pub(crate) const ACCESS_DENIED: u8 = 49;
