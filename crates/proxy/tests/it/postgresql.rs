//! A listener of logins to PostgreSQL, byte by byte: what it answers before TLS, which logins it passes on, what ends them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_proxy::refusals::StoredRefusal;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{HOST, Harness};
use crate::resumption::has_tickets;

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1Tls12, Protocol::Http1Tls13];
const TLS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 48];
const CANCEL: &[u8] = &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 7, 1, 2, 3, 4];
const ALPN: &[&[u8]] = &[b"postgresql"];

/// Says everything again.
fn echo() -> Service {
    Service::start(|mut conversation| {
        while let Some(byte) = conversation.bytes(1) {
            if !conversation.send(&byte) {
                break;
            }
        }
    })
}

fn to(service: &Service, allow: &str) -> String {
    format!(
        "protocol = \"postgresql\"\nupstream = \"tcp://{}\"\nallow = [{allow}]\n",
        service.address()
    )
}

const APP: &str =
    "{ cn = \"order-service\", user = [\"app\", \"report_*\"], database = [\"shop\", \"app\"] }";

fn startup(version: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).expect("short");
    [&length.to_be_bytes()[..], &version.to_be_bytes(), body].concat()
}

/// `user/database`, or the user alone.
fn login(wanted: &str) -> Vec<u8> {
    let body = match wanted.split_once('/') {
        Some((user, database)) => format!("user\0{user}\0database\0{database}\0\0"),
        None => format!("user\0{wanted}\0\0"),
    };
    startup(0x0003_0000, body.as_bytes())
}

async fn encrypt(
    client: &Client,
    socket: TcpStream,
    alpn: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let mut config = (*client.config()).clone();
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    let name = ServerName::try_from(HOST).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

/// As clients up to PostgreSQL 16 do.
async fn ask(client: &Client, gateway: &Harness) -> io::Result<TlsStream<TcpStream>> {
    let mut socket = TcpStream::connect(gateway.address()).await?;
    socket.write_all(TLS_REQUEST).await?;
    assert_eq!(socket.read_u8().await?, b'S');
    encrypt(client, socket, &[]).await
}

async fn admitted(gateway: &Harness) -> TlsStream<TcpStream> {
    ask(&gateway.client(Protocol::Http1Tls13), gateway)
        .await
        .expect("a connection")
}

/// What comes until the end, which has to come.
async fn rest(stream: &mut TlsStream<TcpStream>) -> (Vec<u8>, io::Result<usize>) {
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    (rest, ended.expect("the connection is still open"))
}

async fn says(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("open");
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, bytes);
}

/// The SQLSTATE and the message of an `ErrorResponse` that is the whole answer.
fn error(answer: &[u8]) -> (String, String) {
    let (kind, fields) = answer.split_at_checked(5).expect("an ErrorResponse");
    assert_eq!(kind[0], b'E');
    let length = u32::from_be_bytes(kind[1..].try_into().expect("four"));
    assert_eq!(usize::try_from(length).ok(), Some(answer.len() - 1));
    let fields: Vec<&[u8]> = fields.split(|byte| *byte == 0).collect();
    let field = |kind: u8| {
        let found = fields.iter().find(|it| it.first() == Some(&kind));
        String::from_utf8(found.expect("the field")[1..].to_vec()).expect("text")
    };
    assert_eq!((field(b'S'), field(b'V')), ("FATAL".into(), "FATAL".into()));
    (field(b'C'), field(b'M'))
}

async fn refused(gateway: &Harness, packet: &[u8]) -> (String, String) {
    let mut stream = admitted(gateway).await;
    stream.write_all(packet).await.expect("open");
    let (answer, ended) = rest(&mut stream).await;
    assert!(ended.is_ok(), "{ended:?}");
    error(&answer)
}

/// It is told of when the client has gone, or soon after.
async fn first_refusal(gateway: &Harness) -> StoredRefusal {
    for _ in 0..1000 {
        if let Some(refusal) = gateway.refusals().pop() {
            return refusal;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody was refused");
}

/// Nothing is written to it before it has said who it is.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_has_yet_to_log_in_gets_its_tickets() {
    let gateway = Harness::bytes(&to(&echo(), APP));
    assert!(has_tickets(&mut admitted(&gateway).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn login_reaches_the_database_as_the_bytes_that_were_judged() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, APP));
    let odd = startup(
        0x0003_0002,
        b"options\0-c x=y\0database\0shop\0_pq_.z\0\0user\0report_7\0\0",
    );
    for protocol in PROTOCOLS {
        let client = gateway.client(protocol);
        let direct = TcpStream::connect(gateway.address()).await.expect("open");
        let direct = encrypt(&client, direct, ALPN).await.expect("admitted");
        assert_eq!(direct.get_ref().1.alpn_protocol(), Some(ALPN[0]));
        let asked = ask(&client, &gateway).await.expect("admitted");
        for mut stream in [direct, asked] {
            for packet in [&login("app/shop"), &login("app"), &odd] {
                // Only the first is read as a login: what follows is the database's.
                says(&mut stream, packet).await;
            }
            says(&mut stream, b"Q\0\0\0\x0bSELECT 1").await;
        }
    }
    let mut odd_first = admitted(&gateway).await;
    says(&mut odd_first, &odd).await;
    // A login that comes in pieces, with something behind it, is that login.
    let mut pieces = admitted(&gateway).await;
    let packet = [login("app/shop"), b"behind".to_vec()].concat();
    let (start, end) = packet.split_at(9);
    pieces.write_all(start).await.expect("open");
    pieces.flush().await.expect("open");
    tokio::task::yield_now().await;
    pieces.write_all(end).await.expect("open");
    let mut answer = vec![0; packet.len()];
    pieces.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, packet);
    assert!(gateway.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn login_that_no_rule_admits_never_reaches_the_database() {
    let service = echo();
    let gateway = Harness::bytes(&format!(
        "{}deny = [{{ user = [\"report_secret\"] }}]\n",
        to(&service, APP)
    ));
    let wanted = [
        "admin/shop",
        "App/shop",
        "app/other",
        "app2/shop",
        "report/shop",
        "report_1",
        "report_secret/shop",
        "app /shop",
        "*/shop",
        "postgres",
    ];
    for wanted in wanted {
        let (code, message) = refused(&gateway, &login(wanted)).await;
        assert_eq!(code, "28000", "{wanted}");
        let refusals = gateway.refusals();
        let refusal = refusals
            .iter()
            .find(|it| message.contains(&it.id.to_string()))
            .expect("the id that the client was told");
        let (user, _) = wanted.split_once('/').unwrap_or((wanted, ""));
        assert_eq!(refusal.refusal.cause, Cause::RequestNotAllowed, "{wanted}");
        assert_eq!(refusal.refusal.evidence.get("user"), Some(user));
        // The reason is the operator's.
        assert!(!message.contains("app") && !message.contains("report"));
    }
    let sentence = gateway.refusals();
    let sentences: Vec<&str> = sentence.iter().map(|it| it.refusal.sentence()).collect();
    let expected = "may not log in on listener listener-1: allows cn:order-service user app|report_* database shop|app; \
        this is user admin, database shop";
    assert!(
        sentences.iter().any(|it| it.contains(expected)),
        "{sentences:#?}"
    );
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn packet_that_could_be_read_in_two_ways_never_reaches_the_database() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, "{ cn = \"order-service\", user = [\"*\"] }"));
    let long = "x".repeat(64);
    let bodies: [&[u8]; 11] = [
        b"",
        b"\0",
        b"user\0app",
        b"user\0app\0",
        b"user\0\0\0",
        b"database\0shop\0\0",
        b"user\0app\0user\0admin\0\0",
        b"user\0app\0\0user\0admin\0\0",
        b"user\0app\0replication\0true\0\0",
        b"user\0\xff\0\0",
        &[b"user\0", long.as_bytes(), b"\0\0"].concat(),
    ];
    let mut packets: Vec<Vec<u8>> = bodies.map(|body| startup(0x0003_0000, body)).into();
    packets.extend([
        TLS_REQUEST.to_vec(),
        GSS_REQUEST.to_vec(),
        startup(0x0002_0000, b"user\0app\0\0"),
        startup(0x0004_0000, b"user\0app\0\0"),
        [0, 0, 0, 15, 4, 210, 22, 46, 0, 0, 0, 7, 1, 2, 3].to_vec(),
        vec![0, 0, 0, 7],
        vec![0, 0, 0x27, 0x15],
        vec![0xff; 4],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]);
    for packet in &packets {
        let (code, _) = refused(&gateway, packet).await;
        assert_eq!(code, "08P01", "{}", packet.escape_ascii());
    }
    let causes: Vec<Cause> = gateway
        .refusals()
        .iter()
        .map(|it| it.refusal.cause)
        .collect();
    assert!(!causes.is_empty() && causes.iter().all(|it| *it == Cause::MalformedRequest));
    // As long as PostgreSQL takes it, it goes through.
    let filling = "x".repeat(10_000 - 4 - b"user\0app\0options\0\0\0".len());
    let longest = startup(
        0x0003_0000,
        format!("user\0app\0options\0{filling}\0\0").as_bytes(),
    );
    assert_eq!(longest.len(), 10_004);
    assert_eq!(service.accepted(), 0);
    says(&mut admitted(&gateway).await, &longest).await;
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_request_for_encryption_is_taken_before_tls() {
    let service = echo();
    let with = |first: &[u8], behind: &[u8]| [first, behind].concat();
    for (sent, answer, cause) in [
        (login("app/shop"), "28000", Cause::PlainHttpToTlsPort),
        (
            startup(0x0002_0000, &[0; 288]),
            "28000",
            Cause::PlainHttpToTlsPort,
        ),
        (CANCEL.to_vec(), "", Cause::PlainHttpToTlsPort),
        // CVE-2021-23214: what a third party puts behind the request must not be taken for the client's.
        (
            with(TLS_REQUEST, &login("app/shop")),
            "",
            Cause::MalformedHandshake,
        ),
        (with(TLS_REQUEST, b"\x16"), "", Cause::MalformedHandshake),
        (
            with(TLS_REQUEST, TLS_REQUEST),
            "",
            Cause::MalformedHandshake,
        ),
        (
            with(GSS_REQUEST, TLS_REQUEST),
            "",
            Cause::MalformedHandshake,
        ),
        (
            vec![0, 0, 0, 9, 4, 210, 22, 47, 0],
            "",
            Cause::MalformedHandshake,
        ),
        (vec![0; 8], "", Cause::MalformedHandshake),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
            Cause::PlainHttpToTlsPort,
        ),
        (
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            "",
            Cause::ProxyHeaderUntrusted,
        ),
        (vec![0, 0, 0], "", Cause::ClientClosedEarly),
    ] {
        let gateway = Harness::bytes(&to(&service, APP));
        let mut socket = TcpStream::connect(gateway.address()).await.expect("open");
        socket.write_all(&sent).await.expect("open");
        socket.shutdown().await.expect("open");
        let mut answered = Vec::new();
        let read = timeout(Duration::from_secs(10), socket.read_to_end(&mut answered)).await;
        read.expect("the connection is still open")
            .expect("no reset");
        let shown = sent.escape_ascii().to_string();
        match answer {
            "" => assert_eq!(answered, b"", "{shown}"),
            "28000" => assert_eq!(error(&answered).0, answer, "{shown}"),
            text => assert!(answered.starts_with(text.as_bytes()), "{shown}"),
        }
        assert_eq!(
            first_refusal(&gateway).await.refusal.cause,
            cause,
            "{shown}"
        );
    }
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn gss_is_declined_once_and_then_tls_is_answered() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, APP));
    let mut socket = TcpStream::connect(gateway.address()).await.expect("open");
    socket.write_all(GSS_REQUEST).await.expect("open");
    assert_eq!(socket.read_u8().await.expect("an answer"), b'N');
    socket.write_all(TLS_REQUEST).await.expect("open");
    assert_eq!(socket.read_u8().await.expect("an answer"), b'S');
    let client = gateway.client(Protocol::Http1Tls13);
    let mut stream = encrypt(&client, socket, &[]).await.expect("admitted");
    says(&mut stream, &login("app/shop")).await;

    let mut twice = TcpStream::connect(gateway.address()).await.expect("open");
    twice.write_all(GSS_REQUEST).await.expect("open");
    assert_eq!(twice.read_u8().await.expect("an answer"), b'N');
    twice.write_all(GSS_REQUEST).await.expect("open");
    assert!(twice.read_u8().await.is_err());
    assert_eq!(
        first_refusal(&gateway).await.refusal.cause,
        Cause::MalformedHandshake
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_tls_has_to_name_the_protocol() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, APP));
    for protocol in PROTOCOLS {
        for alpn in [&[][..], &[&b"http/1.1"[..]], &[b"h2", b"postgres"]] {
            let client = gateway.client(protocol);
            let direct = TcpStream::connect(gateway.address()).await.expect("open");
            let alert = encrypt(&client, direct, alpn).await.map(|_| ());
            let alert = alert.expect_err("refused").to_string();
            assert!(alert.contains("NoApplicationProtocol"), "{alert}");
        }
    }
    let refusal = first_refusal(&gateway).await.refusal;
    assert_eq!(refusal.cause, Cause::AlpnMismatch);
    // After the request another protocol is one too many: it was asked for by name.
    let mut socket = TcpStream::connect(gateway.address()).await.expect("open");
    socket.write_all(TLS_REQUEST).await.expect("open");
    assert_eq!(socket.read_u8().await.expect("an answer"), b'S');
    let client = gateway.client(Protocol::Http1Tls13);
    assert!(encrypt(&client, socket, &[b"http/1.1"]).await.is_err());
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_could_log_in_as_nobody_is_refused_in_the_handshake() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, "{ cn = \"billing\", user = [\"*\"] }"));
    let asking = Harness::bytes(&format!(
        "client_certificate = \"request\"\n{}",
        to(&service, APP)
    ));
    let stranger = gateway.client(Protocol::Http1Tls12);
    let alert = ask(&stranger, &gateway).await.map(|_| ());
    let alert = alert.expect_err("refused").to_string();
    assert!(alert.contains("AccessDenied"), "{alert}");
    let anonymous = ask(&gateway.anonymous(Protocol::Http1Tls12), &gateway).await;
    assert!(anonymous.is_err());

    for packet in [login("app/shop"), CANCEL.to_vec()] {
        let anonymous = asking.anonymous(Protocol::Http1Tls13);
        let mut anonymous = ask(&anonymous, &asking).await.expect("asked only");
        anonymous.write_all(&packet).await.expect("open");
        let (answer, _) = rest(&mut anonymous).await;
        assert_eq!(error(&answer).0, "28000");
    }
    assert_eq!(asking.refusals()[0].refusal.cause, Cause::ClientCertNotSent);
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_to_cancel_passes_inside_tls() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, APP));
    let longer = [&[0, 0, 1, 12][..], &CANCEL[4..12], &[9; 256]].concat();
    for packet in [CANCEL, &longer] {
        says(&mut admitted(&gateway).await, packet).await;
    }
    assert_eq!(service.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_ends_a_login() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, APP));
    let mut open = admitted(&gateway).await;
    says(&mut open, &login("app/shop")).await;
    // Admitted, and not logged in yet.
    let mut waiting = admitted(&gateway).await;
    gateway.revoke(&gateway.client).await;
    assert_eq!(rest(&mut open).await.0, b"");
    assert_eq!(rest(&mut waiting).await.0, b"");
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_the_logins_that_it_no_longer_admits_and_no_others() {
    let (service, other) = (echo(), echo());
    let gateway = Harness::bytes(&to(&service, APP));
    let mut goes = admitted(&gateway).await;
    says(&mut goes, &login("app/shop")).await;
    let mut stays = admitted(&gateway).await;
    says(&mut stays, &login("report_1/shop")).await;
    let mut undecided = admitted(&gateway).await;
    let mut cancels = admitted(&gateway).await;
    says(&mut cancels, CANCEL).await;

    let fewer = "{ cn = \"order-service\", user = [\"report_*\"] }";
    let plan = gateway.bytes_plan(&to(&service, fewer));
    gateway.handle.reload(plan).await.expect("reloads");
    assert_eq!(rest(&mut goes).await.0, b"");
    says(&mut stays, b"still there").await;
    says(&mut cancels, b"still there").await;
    // What is read now is judged by what is served now.
    undecided.write_all(&login("app/shop")).await.expect("open");
    assert_eq!(error(&rest(&mut undecided).await.0).0, "28000");

    let plan = gateway.bytes_plan(&to(&other, fewer));
    gateway.handle.reload(plan).await.expect("reloads");
    assert_eq!(rest(&mut stays).await.0, b"");
    let bytes = format!(
        "upstream = \"tcp://{}\"\nallow = [\"any-trusted\"]\n",
        service.address()
    );
    let error = gateway.handle.reload(gateway.bytes_plan(&bytes)).await;
    let error = error.expect_err("another protocol").to_string();
    assert!(error.contains("takes a restart"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_of_one_set_of_users_is_resumed_for_no_other() {
    let service = echo();
    let gateway = Harness::bytes(&to(&service, APP));
    let client = gateway.client(Protocol::Http1Tls13);
    for expected in ["Full", "Resumed"] {
        let mut stream = ask(&client, &gateway).await.expect("admitted");
        says(&mut stream, &login("app/shop")).await;
        let kind = format!("{:?}", stream.get_ref().1.handshake_kind());
        assert_eq!(kind, format!("Some({expected})"));
    }
    let plan = gateway.bytes_plan(&to(
        &service,
        "{ cn = \"order-service\", user = [\"app\"] }",
    ));
    gateway.handle.reload(plan).await.expect("reloads");
    let mut stream = ask(&client, &gateway).await.expect("admitted");
    says(&mut stream, &login("app/shop")).await;
    let kind = format!("{:?}", stream.get_ref().1.handshake_kind());
    assert_eq!(kind, "Some(Full)");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_dawdles_is_not_waited_for() {
    let service = echo();
    let gateway = Harness::bytes(&format!("header_timeout = \"1s\"\n{}", to(&service, APP)));
    let mut stream = admitted(&gateway).await;
    let packet = login("app/shop");
    stream.write_all(&packet[..9]).await.expect("open");
    assert_eq!(error(&rest(&mut stream).await.0).0, "08P01");
    assert_eq!(
        first_refusal(&gateway).await.refusal.cause,
        Cause::RequestLimit
    );
    for (sent, sentence) in [
        (&[][..], "the client did not send a byte within 1.0 s"),
        (
            TLS_REQUEST,
            "the client did not finish its ClientHello within 1.0 s",
        ),
        (
            GSS_REQUEST,
            "the client did not finish its ClientHello within 1.0 s",
        ),
        (
            &TLS_REQUEST[..5],
            "the client did not finish its ClientHello within 1.0 s",
        ),
    ] {
        let gateway = Harness::bytes(&format!(
            "handshake_timeout = \"1s\"\n{}",
            to(&service, APP)
        ));
        let mut socket = TcpStream::connect(gateway.address()).await.expect("open");
        socket.write_all(sent).await.expect("open");
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok());
        let refusal = first_refusal(&gateway).await.refusal;
        assert_eq!(
            (refusal.cause, refusal.sentence()),
            (Cause::HandshakeTimeout, sentence),
            "{}",
            sent.escape_ascii()
        );
    }
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn database_that_cannot_be_reached_is_said_so() {
    let gateway = Harness::bytes(&format!(
        "protocol = \"postgresql\"\nupstream = \"tcp://{}\"\nallow = [{APP}]\n",
        ephemeral::address()
    ));
    assert_eq!(refused(&gateway, &login("app/shop")).await.0, "57P03");
    assert!(gateway.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn database_over_tls_is_asked_for_it_and_verified() {
    let service = echo();
    let inner = Harness::bytes(&to(&service, APP));
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = inner.client.write(folder.path(), "client");
    let before = |address: std::net::SocketAddr, name: &str| {
        Harness::before(
            &inner,
            &format!(
                "protocol = \"postgresql\"\nupstream = \"tls://{address}\"\nallow = [{APP}]\n\
                 upstream_tls = {{ certificate = \"{}\", key = \"{}\", trust = \"inner\", name = [\"{name}\"] }}\n",
                certificate.display(),
                key.display()
            ),
        )
    };
    let outer = before(inner.address(), HOST);
    says(&mut admitted(&outer).await, &login("app/shop")).await;
    assert_eq!(service.accepted(), 1);

    let elsewhere = before(inner.address(), "db.example.com");
    assert_eq!(refused(&elsewhere, &login("app/shop")).await.0, "57P03");

    // It says no, and then takes whatever comes: nothing may come.
    let (told, heard) = std::sync::mpsc::channel();
    let declines = Service::start(move |mut conversation| {
        let request = conversation.bytes(8);
        conversation.send(b"N");
        told.send((request, conversation.bytes(1))).expect("heard");
    });
    let outer = before(declines.address(), HOST);
    assert_eq!(refused(&outer, &login("app/shop")).await.0, "57P03");
    let heard = tokio::task::block_in_place(|| heard.recv_timeout(Duration::from_secs(10)));
    assert_eq!(heard, Ok((Some(TLS_REQUEST.to_vec()), None)));
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_identity_has_its_own_users() {
    let service = echo();
    let gateway = Harness::bytes(&to(
        &service,
        &format!("{APP}, {{ cn = \"billing\", user = [\"billing\"] }}"),
    ));
    let billing = gateway.ca.issue(Leaf::client("billing"));
    let billing = Client::new(
        gateway.ca.root.der(),
        Some(&billing),
        Protocol::Http1Tls13,
        HOST,
    );
    let mut stream = ask(&billing, &gateway).await.expect("admitted");
    says(&mut stream, &login("billing")).await;
    let mut stream = ask(&billing, &gateway).await.expect("admitted");
    stream.write_all(&login("app/shop")).await.expect("open");
    assert_eq!(error(&rest(&mut stream).await.0).0, "28000");
    assert_eq!(refused(&gateway, &login("billing")).await.0, "28000");
    assert_eq!(service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_leaves_open_who_may_be_whom_is_refused_at_load() {
    let gateway = Harness::bytes(&to(&echo(), APP));
    let service = echo();
    let postgresql = |rules: &str| {
        format!(
            "protocol = \"postgresql\"\nupstream = \"tcp://{}\"\n{rules}\n",
            service.address()
        )
    };
    let bytes = |rules: &str| {
        format!(
            "protocol = \"bytes\"\nupstream = \"tcp://{}\"\n{rules}\n",
            service.address()
        )
    };
    let route = |rules: &str| format!("[[gateway.listener.route]]\nupstream = \"demo\"\n{rules}\n");
    let app = "allow = [{ cn = \"a\", user = [\"app\"] }]";
    for (listener, key, why) in [
        (
            postgresql("allow = [\"any-trusted\"]"),
            "allow[0]",
            "names no database user",
        ),
        (
            postgresql("allow = [{ cn = \"a\", user = [\"app\"] }, { cn = \"b\" }]"),
            "allow[1]",
            "names no database user",
        ),
        (
            postgresql("allow = [{ cn = \"a\", database = [\"shop\"] }]"),
            "allow[0]",
            "names no database user",
        ),
        (
            postgresql("allow = [{ cn = \"a\", not = { user = [\"x\"] } }]"),
            "allow[0]",
            "names no database user",
        ),
        (
            postgresql(&format!("client_certificate = \"off\"\n{app}")),
            "allow[0]",
            "never asks for a certificate",
        ),
        (
            postgresql(&format!("{app}\ndeny = [{{ path = \"/a\" }}]")),
            "deny[0]",
            "takes logins, which have none of it",
        ),
        (
            postgresql("allow = [{ user = [\"a*b\"] }]"),
            "allow[0].user[0]",
            "at the end only",
        ),
        (
            postgresql("allow = [{ user = [\"app\", \"\"] }]"),
            "allow[0].user[1]",
            "it is empty",
        ),
        (
            postgresql("allow = [{ user = [\"app\", \"a*\"] }]"),
            "allow[0]",
            "stands for already",
        ),
        (
            bytes(app),
            "allow[0]",
            "only logins to PostgreSQL have those",
        ),
        (
            bytes("allow = [\"any-trusted\"]\ndeny = [{ not = { database = [\"x\"] } }]"),
            "deny[0]",
            "only logins to PostgreSQL have those",
        ),
        (
            route(app),
            "route[0].allow[0]",
            "only logins to PostgreSQL have those",
        ),
    ] {
        let error = gateway.refused_plan(&listener);
        let place = format!("gateway.listener[0].{key}");
        assert!(
            error.place == place.trim_end_matches('.') && error.why.contains(why),
            "{error}\n{listener}"
        );
    }
    gateway.bytes_plan(&postgresql("allow = [{ user = [\"*\"] }]"));
    gateway.bytes_plan(&bytes("allow = [\"any-trusted\"]"));
}
