//! A gateway for as long as somebody wants to watch: reloads under load, handshakes that fail, floods. Here a few of each; `bench/gateway/*`
//! asks for the figures of the README.

mod resting;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_testkit::process::Process;
use rcgen::SerialNumber;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::Connection;
use crate::installation::{Installation, Issued, text};
use crate::metrics::{metrics_address, plain_get};
use crate::service_manager::launched;

use resting::{Resting, most_in_one_process};

/// What the command line of a long run says, or what suits a test.
fn count(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |count| {
        count
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

// ---------- reloads ----------

/// Who is admitted at the moment beside `you`, who always is.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is turned by itself")]
struct Admitted {
    by_rule: bool,
    by_bundle: bool,
    is_held: bool,
    /// On the revocation list of another partner.
    is_listed: bool,
    /// How often the certificate was renewed.
    renewals: usize,
}

impl Admitted {
    fn configuration(self, address: SocketAddr, metrics: SocketAddr) -> String {
        let rule = if self.by_rule {
            ", { cn = \"sometimes\" }"
        } else {
            ""
        };
        let (trust, guest) = if self.by_bundle {
            (
                ", \"partner\"",
                ", { cn = \"guest\", bundle = \"partner\" }",
            )
        } else {
            ("", "")
        };
        let server = if self.renewals % 2 == 1 {
            "second"
        } else {
            "first"
        };
        format!(
            "[gateway]\nworkers = 2\nmetrics_address = \"{metrics}\"\nwatch_files = false\n\
             [[gateway.listener]]\naddress = \"{address}\"\ntrust = [\"internal\", \"acme\"{trust}]\n\
             certificate = \"server-{server}/cert.pem\"\nkey = \"server-{server}/key.pem\"\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\n\
             allow = [{{ cn = \"you\" }}, {{ cn = \"held\" }}, {{ cn = \"steady\", bundle = \"acme\" }}, \
             {{ cn = \"listed\", bundle = \"acme\" }}{rule}{guest}]\n\
             [trust.partner]\nbundle = \"partner.pem\"\n\
             [trust.acme]\nbundle = \"acme.pem\"\nintermediates = \"acme-issuing.pem\"\ncrl = [\"acme-root.crl\", \"acme.crl\"]\n"
        )
    }
}

/// `POST /v1/gateway/reload`; done when it is in force.
fn reload(socket: &Path) {
    let mut admin = UnixStream::connect(socket).expect("it serves");
    let request =
        "POST /v1/gateway/reload HTTP/1.0\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    admin.write_all(request.as_bytes()).expect("open");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

/// After as many changes a line says how far it is.
const PROGRESS: usize = 100;

/// A partner with a revocation list for each of its two CAs.
struct Acme {
    ca: TestCa,
    steady: TestIdentity,
    listed: TestIdentity,
    serial: Vec<SerialNumber>,
}

impl Acme {
    fn new(installation: &Installation) -> Self {
        let (ca, listed) = (TestCa::new("acme"), Leaf::client("listed"));
        installation.write("acme.pem", &ca.root_pem());
        installation.write("acme-issuing.pem", &ca.intermediate.pem());
        let acme = Self {
            steady: ca.issue(Leaf::client("steady")),
            serial: listed.params.serial_number.clone().into_iter().collect(),
            listed: ca.issue(listed),
            ca,
        };
        acme.publish(installation, 1, false);
        acme
    }

    fn publish(&self, installation: &Installation, number: u64, is_listed: bool) {
        let revoked = if is_listed { &self.serial[..] } else { &[] };
        let names = ["acme-root.crl", "acme.crl"];
        for (name, list) in names.iter().zip(self.ca.lists(number, revoked)) {
            // As a careful operator does: never half a file.
            let next = installation.write("next.crl", &list);
            std::fs::rename(next, installation.path(name)).expect("renamed");
        }
    }
}

/// Requests beside the changes.
#[derive(Default)]
struct Load {
    failed: AtomicU64,
    served: AtomicU64,
    stop: AtomicBool,
}

async fn ask_and_ask(client: Client, protocol: Protocol, address: SocketAddr, load: Arc<Load>) {
    while !load.stop.load(Ordering::Relaxed) {
        // A connection for a while: reloads fall into it.
        let Ok(mut connection) = Connection::open(&client, protocol, address).await else {
            load.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        for _ in 0..50 {
            let outcome = connection.get("/").await;
            let counter = if matches!(outcome, Ok((200, _))) {
                &load.served
            } else {
                &load.failed
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn passes(client: &Client, gateway: SocketAddr) -> bool {
    match Connection::open(client, Protocol::Http1Tls13, gateway).await {
        Ok(mut connection) => matches!(connection.get("/").await, Ok((200, _))),
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_fail_nobody_who_may_pass_and_pass_nobody_who_may_not() {
    let changes = count("COUNTERSIGN_RELOADS", 30);
    let (installation, partner) = (Installation::new(), Installation::new());
    for folder in ["server-first", "server-second"] {
        let server = installation.issue("server", "localhost", &["--force"]);
        std::fs::rename(server.folder(), installation.path(folder)).expect("writable");
    }
    let [you, sometimes, held] =
        ["you", "sometimes", "held"].map(|name| installation.issue("client", name, &[]));
    let guest = partner.issue("client", "guest", &[]);
    std::fs::copy(guest.ca(), installation.path("partner.pem")).expect("copied");
    let acme = Acme::new(&installation);
    let (address, metrics) = (ephemeral::address(), ephemeral::address());
    let mut now = Admitted::default();
    let process = installation.serve(&now.configuration(address, metrics));
    let client =
        |who: &TestIdentity, protocol| Client::new(&you.root(), Some(who), protocol, "localhost");
    let load = Arc::<Load>::default();
    let mut running = JoinSet::new();
    let own = you.identity();
    for (protocol, who) in [
        (Protocol::Http1Tls13, &own),
        (Protocol::Http2Tls13, &own),
        (Protocol::Http1Tls12, &own),
        (Protocol::Http1Tls13, &acme.steady),
    ] {
        let (load, client) = (Arc::clone(&load), client(who, protocol));
        running.spawn(ask_and_ask(client, protocol, address, load));
    }
    let of = |who: &TestIdentity| client(who, Protocol::Http1Tls13);
    let [sometimes, guest, held] = [sometimes, guest, held].map(|who| of(&who.identity()));
    let probes = [sometimes, guest, held, of(&acme.listed)];
    let socket = process.path("state").join("admin.sock");
    let (mut wrongly_passed, mut wrongly_failed) = (0, 0);
    for change in 0..changes {
        let kind = change % 5;
        match kind {
            0 => now.renewals += 1,
            1 => now.by_bundle = !now.by_bundle,
            2 => now.by_rule = !now.by_rule,
            3 => now.is_held = !now.is_held,
            _ => {
                now.is_listed = !now.is_listed;
                let number = u64::try_from(change).expect("a number") + 2;
                acme.publish(&installation, number, now.is_listed);
            }
        }
        if kind == 3 && now.is_held {
            installation.ok(&["revoke", "held", "--reason", "certificate-hold", "--wait"]);
        } else if kind == 3 {
            installation.ok(&["release", "held"]);
            // Whoever is let in again is waited for: what a release has to be is soon, not at once.
            let again = async {
                while !passes(&probes[2], address).await {
                    tokio::task::yield_now().await;
                }
            };
            timeout(HANG, again).await.expect("it is released");
        } else {
            installation.write("countersign.toml", &now.configuration(address, metrics));
            let socket = socket.clone();
            let reloading = tokio::task::spawn_blocking(move || reload(&socket));
            reloading.await.expect("taken over");
        }
        let expected = [now.by_rule, now.by_bundle, !now.is_held, !now.is_listed];
        for (probe, expected) in probes.iter().zip(expected) {
            match (passes(probe, address).await, expected) {
                (true, false) => wrongly_passed += 1,
                (false, true) => wrongly_failed += 1,
                _ => {}
            }
        }
        if (change + 1) % PROGRESS == 0 {
            println!(
                "{} of {changes} changes, {} requests",
                change + 1,
                load.served.load(Ordering::Relaxed)
            );
        }
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        ended.expect("no panic");
    }
    let failed = load.failed.load(Ordering::Relaxed);
    let served = load.served.load(Ordering::Relaxed);
    println!(
        "{changes} changes, {served} requests beside them: {failed} of those failed, {wrongly_failed} of whom a change admits were refused, \
         {wrongly_passed} of whom it refuses were admitted"
    );
    assert_eq!((failed, wrongly_failed, wrongly_passed), (0, 0, 0));
    assert!(served > 0);
}

// ---------- handshakes ----------

/// Resident memory in KiB.
fn resident(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.id());
    let status = std::fs::read_to_string(path).expect("our child");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.expect("Linux says it")
}

/// The `kind`th way of failing.
async fn fail(kind: usize, stranger: &Client, anonymous: &Client, gateway: SocketAddr) {
    let said = |bytes: &'static [u8]| async move {
        let mut socket = TcpStream::connect(gateway).await?;
        socket.write_all(bytes).await?;
        let mut answer = Vec::new();
        // Whoever sends half a hello goes by itself.
        if bytes.first() != Some(&22) {
            socket.read_to_end(&mut answer).await?;
        }
        Ok::<(), std::io::Error>(())
    };
    // What becomes of it is counted at the other side.
    let _ = match kind % 6 {
        0 => stranger
            .raw(gateway, b"x")
            .await
            .status()
            .map_or(Ok(()), |_| panic!("a stranger was let in")),
        1 => anonymous
            .raw(gateway, b"x")
            .await
            .status()
            .map_or(Ok(()), |_| {
                panic!("somebody was let in without a certificate")
            }),
        2 => said(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await,
        3 => said(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await,
        4 => said(b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n").await,
        _ => said(b"\0\0\0\x08\x04\xd2\x16\x2f").await,
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_handshakes_leave_memory_flat_and_good_clients_served() {
    let handshakes = count("COUNTERSIGN_BAD_HANDSHAKES", 600);
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let you = installation.issue("client", "you", &[]);
    let stranger = elsewhere.issue("client", "you", &[]);
    let process = installation.up(&[]);
    let gateway = process.gateway();
    let client = |who: Option<&Issued>| {
        let identity = who.map(Issued::identity);
        Client::new(
            &you.root(),
            identity.as_ref(),
            Protocol::Http1Tls13,
            "localhost",
        )
    };
    let (good, stranger, anonymous) = (client(Some(&you)), client(Some(&stranger)), client(None));
    let batch = async |from: usize, to: usize| {
        let mut running = JoinSet::new();
        for kind in from..to {
            if running.len() >= AT_ONCE {
                running
                    .join_next()
                    .await
                    .expect("some run")
                    .expect("no panic");
            }
            let (stranger, anonymous) = (stranger.without_sessions(), anonymous.clone());
            running.spawn(async move {
                let failing = fail(kind, &stranger, &anonymous, gateway);
                timeout(HANG, failing).await.expect("it ends");
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("no panic");
        }
    };
    // Buffers, tables and threads come to what they are.
    let warm = (handshakes / 10).max(100);
    batch(0, warm).await;
    let before = resident(&process);
    let mut most = before;
    let rounds = 20;
    for round in 0..rounds {
        batch(
            warm + handshakes * round / rounds,
            warm + handshakes * (round + 1) / rounds,
        )
        .await;
        most = most.max(resident(&process));
        assert!(passes(&good, gateway).await, "after round {round}");
        println!("{} of {rounds} rounds, {most} KiB at most", round + 1);
    }
    let grown = most.saturating_sub(before);
    println!(
        "{handshakes} bad handshakes: {before} KiB before, {most} KiB at most, {grown} KiB more"
    );
    // A tenth of a kilobyte each, at 100,000, would be seen.
    assert!(grown < FLAT_KIB, "{grown} KiB more");
    let metrics = plain_get(metrics_address(&process), "/metrics", "");
    let refused: usize = metrics
        .lines()
        .filter(|line| line.contains("_handshakes_total") && line.contains("\"refused\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum();
    assert!(refused >= handshakes, "{refused} were counted:\n{metrics}");
}

// ---------- idle ----------

/// A connection from an address of ours.
async fn connect_from(
    source: Ipv4Addr,
    client: &Client,
    gateway: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let socket = socket.connect(gateway).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(client.config())
        .connect(name, socket)
        .await
}

async fn asked(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_from_one_network_leaves_idle_and_new_clients_of_others_alone() {
    let idle = count("COUNTERSIGN_IDLE", 200);
    let asks = (idle / 20).clamp(30, 1000);
    let parts = idle.div_ceil(most_in_one_process());
    let part = idle.div_ceil(parts);
    let (authority, address) = (Installation::new(), ephemeral::address());
    let you = authority.issue("client", "you", &[]);
    let server = authority.issue("server", "localhost", &[]);
    // More connections than one process may have are had by several, which share an address.
    let installations: Vec<Installation> = (0..parts).map(|_| Installation::new()).collect();
    let processes: Vec<Process> = installations
        .iter()
        .map(|installation| limited(installation, &server, address, parts > 1))
        .collect();
    println!("{parts} gateways, {part} connections each");
    let resting: Vec<Resting> = (0..parts)
        .map(|number| Resting::start(number * part..idle.min((number + 1) * part), &you, address))
        .collect();
    let client = you.client(Protocol::Http1Tls13);
    let ask = async |number: usize| {
        let network = u8::try_from(number % 250).expect("small");
        let source = Ipv4Addr::new(
            127,
            8,
            network,
            u8::try_from(number / 250).expect("few") + 1,
        );
        let begun = Instant::now();
        let mut stream = connect_from(source, &client, address)
            .await
            .expect("admitted");
        asked(&mut stream).await.expect("an answer");
        begun.elapsed()
    };
    let quiet = latencies(asks / 3, &ask).await;
    let stop = Arc::new(AtomicBool::new(false));
    let attempts = Arc::new(AtomicU64::new(0));
    let mut flood = JoinSet::new();
    for host in 1..=FLOODERS {
        let (client, stop) = (client.without_sessions(), Arc::clone(&stop));
        let attempts = Arc::clone(&attempts);
        flood.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let source = Ipv4Addr::new(127, 1, 0, host);
                // Refused for the most part, and at once.
                let _ = connect_from(source, &client, address).await;
                attempts.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while attempts.load(Ordering::Relaxed) < u64::from(FLOODERS) {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let flooded = latencies(asks, &ask).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = flood.join_next().await {
        ended.expect("no panic");
    }
    for resting in resting {
        resting.assert_alive();
    }
    // What repeats is told again when a window ends, and each window is twice as long as the one before.
    let ended = (begun.elapsed().as_secs() / FIRST_WINDOW_S + 1).ilog2();
    let attempts = attempts.load(Ordering::Relaxed);
    println!(
        "{idle} idle connections; a new connection and its first answer took {quiet} before, {flooded} while one network tried {attempts} times"
    );
    let (mut limited, mut lines) = (0, 0);
    for process in &processes {
        let metrics = plain_get(metrics_address(process), "/metrics", "");
        limited += usize::from(metrics.contains("cause=\"rate-limited\""));
        lines += process.log().matches("rate-limited").count();
    }
    // The system spreads the flood over the processes.
    assert!(limited > 0, "nobody was limited");
    let bound = parts * (usize::from(FLOODERS) * (1 + ended as usize) + 10);
    assert!(lines <= bound, "{lines} lines of a flood of {attempts}");
}

/// A gateway that admits `you` of the authority that its certificate is from, and twenty handshakes a second of each network.
fn limited(
    installation: &Installation,
    server: &Issued,
    address: SocketAddr,
    is_shared: bool,
) -> Process {
    let toml = format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"{}\"\n\
         [trust.clients]\nbundle = \"{}\"\n\
         [[gateway.listener]]\nname = \"front\"\naddress = \"{address}\"\nidle_timeout = \"1h\"\n\
         trust = [\"clients\"]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [gateway.listener.limits]\nhandshakes_per_second = 20\nnetwork_bits_ipv4 = 24\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [{{ cn = \"you\", bundle = \"clients\" }}]\n",
        ephemeral::address(),
        text(&server.ca()),
        text(&server.certificate()),
        text(&server.key()),
    );
    if !is_shared {
        return installation.serve(&toml);
    }
    installation.write("countersign.toml", &toml);
    Process::try_start_as(launched(installation, "shared", address, "front"))
        .unwrap_or_else(|log| panic!("it does not start:\n{log}"))
}

/// Median and 99th percentile of so many asks, one after the other.
async fn latencies(asks: usize, ask: &impl AsyncFn(usize) -> Duration) -> String {
    let mut taken = Vec::with_capacity(asks);
    for number in 0..asks {
        taken.push(timeout(HANG, ask(number)).await.expect("served"));
    }
    taken.sort();
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    format!("{:.1} ms (99 %: {:.1} ms)", at(50), at(99))
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);

/// Below what may be unfinished from one source.
const AT_ONCE: usize = 64;

/// What an allocator keeps and gives back by turns, over what twenty rounds show.
const FLAT_KIB: u64 = 16 * 1024;

const FLOODERS: u8 = 16;

/// After which a refusal that repeats is told again.
const FIRST_WINDOW_S: u64 = 10;
