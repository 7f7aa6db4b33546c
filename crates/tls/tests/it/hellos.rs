//! What comes before certificates: split hellos, slow ones, wrong names, and what is not TLS at all.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::TestCa;
use rustls::AlertDescription as Alert;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use tokio::task::spawn_blocking;

use crate::peer::{BOTH, ByHand, TLS12, TLS13, config, config_with, meet, meet_as, read_to_end};
use crate::site::{Site, policy};

/// Sends these bytes, then closes its half. What the client reads back, and the refusal's cause.
async fn check_bytes(site: &Site, bytes: Vec<u8>, cause: Cause) -> Vec<u8> {
    let (address, accepting) = site.open().await;
    let answer = spawn_blocking(move || {
        let mut tcp = TcpStream::connect(address).expect("the listener accepts");
        tcp.write_all(&bytes).expect("the server reads");
        tcp.shutdown(Shutdown::Write).expect("loopback");
        read_to_end(&tcp)
    });
    let refusal = accepting.await.expect("no panic").err().expect("refused");
    assert_eq!(
        refusal.refusal.cause,
        cause,
        "{}",
        refusal.refusal.sentence()
    );
    answer.await.expect("no panic")
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .expect("fits a record")
        .to_be_bytes();
    [&[22, 3, 1][..], &length, content].concat()
}

/// The handshake bytes of a client's hello.
fn content_of(flight: &[u8]) -> &[u8] {
    assert_eq!(
        usize::from(u16::from_be_bytes([flight[3], flight[4]])),
        flight.len() - 5,
        "one record"
    );
    &flight[5..]
}

async fn check_split(
    site: &Site,
    config: ClientConfig,
    split: impl FnOnce(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) {
    let (address, accepting) = site.open().await;
    let client = spawn_blocking(move || {
        let mut client = ByHand::new(address, config);
        let flight = client.flight();
        for piece in split(&flight) {
            client.send(&piece);
            std::thread::yield_now();
        }
        client.finish()
    });
    let mut connection = accepting
        .await
        .expect("no panic")
        .expect("a split hello is as good as a whole one");
    tokio::io::AsyncWriteExt::write_all(&mut connection.stream, b"ok")
        .await
        .expect("the client reads");
    tokio::io::AsyncWriteExt::flush(&mut connection.stream)
        .await
        .expect("the client reads");
    client.await.expect("no panic").expect("admitted");
    assert_eq!(
        connection
            .session
            .sni
            .map(|name| name.to_string())
            .as_deref(),
        Some("localhost")
    );
    assert!(connection.session.peer.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_split_anywhere_gives_what_the_whole_gives() {
    let site = Site::new();
    let you = site.client("you");
    // Without the hybrid group's key share a hello has some 200 bytes, so that every place can be tried.
    let small = rustls::crypto::CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    };
    let config = || config_with(small.clone(), &site, Some(&you), TLS13);
    let length = {
        let (address, accepting) = site.open().await;
        let mut client = ByHand::new(address, config());
        let flight = client.flight();
        drop(client);
        let _ = accepting.await;
        flight.len()
    };
    assert!(length < 400, "{length}");
    for at in 1..length {
        check_split(&site, config(), move |flight| {
            vec![flight[..at].to_vec(), flight[at..].to_vec()]
        })
        .await;
    }
    for at in 1..length - 5 {
        check_split(&site, config(), move |flight| {
            let content = content_of(flight);
            vec![[record(&content[..at]), record(&content[at..])].concat()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_in_single_bytes_gives_what_the_whole_gives() {
    let site = Site::new();
    let you = site.client("you");
    for version in BOTH {
        let config = || config(&site, Some(&you), version);
        check_split(&site, config(), |flight| {
            flight.chunks(1).map(<[u8]>::to_vec).collect()
        })
        .await;
        check_split(&site, config(), |flight| {
            vec![content_of(flight).chunks(1).flat_map(record).collect()]
        })
        .await;
        check_split(&site, config(), |flight| {
            content_of(flight).chunks(1).map(record).collect()
        })
        .await;
    }
}

#[tokio::test]
async fn a_hello_of_sixty_kilobytes_is_read_and_a_larger_one_refused() {
    let site = Site::new();
    let mut alpn = vec![b"http/1.1".to_vec()];
    alpn.extend((0..230).map(|_| vec![b'x'; 255]));
    let mut large = config(&site, Some(&site.client("you")), TLS13);
    large.alpn_protocols = alpn;
    let meeting = meet(&site, &Arc::new(large)).await;
    assert_eq!(
        meeting.server.expect("admitted").session.alpn.as_deref(),
        Some(&b"http/1.1"[..])
    );

    let hello = [&[1, 1, 0, 0][..], &vec![3; 65_536]].concat();
    let records: Vec<u8> = hello.chunks(16_384).flat_map(record).collect();
    let answer = check_bytes(&site, records, Cause::HandshakeTooLarge).await;
    assert_eq!(
        (answer.first(), answer.last()),
        (Some(&21), Some(&50)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn plaintext_http_is_answered_in_plaintext() {
    let site = Site::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = check_bytes(&site, request.into(), Cause::PlainHttpToTlsPort).await;
        let answer = String::from_utf8(answer).expect("text");
        assert!(
            answer.starts_with("HTTP/1.1 400 ")
                && answer.ends_with("this is a TLS port, use https://\n"),
            "{answer}"
        );
    }
    let large = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n{}",
        "x".repeat(50_000)
    );
    assert!(
        check_bytes(&site, large.into_bytes(), Cause::PlainHttpToTlsPort)
            .await
            .starts_with(b"HTTP/1.1 400 ")
    );
}

#[tokio::test]
async fn a_refused_client_that_still_writes_is_not_reset() {
    let site = Site::new();
    let (address, accepting) = site.open().await;
    let client = spawn_blocking(move || {
        let mut tcp = TcpStream::connect(address).expect("the listener accepts");
        tcp.write_all(b"POST / HTTP/1.1\r\n")
            .expect("the server reads");
        assert!(read_to_end(&tcp).starts_with(b"HTTP/1.1 400 "));
        // Over loopback a reset is there before the next write begins.
        (0..10).try_for_each(|_| tcp.write_all(&[b'x'; 1000]))
    });
    accepting.await.expect("no panic").err().expect("refused");
    client
        .await
        .expect("no panic")
        .expect("a client that cannot write does not come to read the answer");
}

#[tokio::test]
async fn garbage_is_refused_without_an_answer() {
    let site = Site::new();
    for garbage in [
        &b"\xde\xad\xbe\xef"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"GE",
    ] {
        assert_eq!(
            check_bytes(&site, garbage.to_vec(), Cause::MalformedHandshake).await,
            b""
        );
    }
    assert_eq!(
        check_bytes(
            &site,
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            Cause::ProxyHeaderUntrusted
        )
        .await,
        b""
    );
}

#[tokio::test]
async fn garbage_in_records_is_refused_with_an_alert() {
    let site = Site::new();
    for (garbage, alert) in [
        (record(&[1, 0, 0, 5, 3, 3, 3, 3, 3]), Alert::DecodeError),
        (record(&[77, 0, 0, 1, 0]), Alert::UnexpectedMessage),
        (b"\x16\x09\x09\x00\x05hello".to_vec(), Alert::DecodeError),
        (
            b"\x17\x03\x03\x00\x05hello".to_vec(),
            Alert::UnexpectedMessage,
        ),
    ] {
        let answer = check_bytes(&site, garbage.clone(), Cause::MalformedHandshake).await;
        assert_eq!(
            answer.last(),
            Some(&u8::from(alert)),
            "{garbage:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn who_leaves_early_has_closed_early() {
    let site = Site::new();
    check_bytes(&site, Vec::new(), Cause::ClientClosedEarly).await;
    check_bytes(&site, vec![22, 3, 1, 2, 0, 1], Cause::ClientClosedEarly).await;

    let (address, accepting) = site.open().await;
    let config = config(&site, None, TLS13);
    spawn_blocking(move || {
        let mut client = ByHand::new(address, config);
        let flight = client.flight();
        client.send(&flight);
        client.listen();
    })
    .await
    .expect("no panic");
    let refusal = accepting.await.expect("no panic").err().expect("refused");
    assert_eq!(refusal.refusal.cause, Cause::ClientClosedEarly);
    assert_eq!(refusal.refusal.evidence.get("stage"), Some("answered"));
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_said_to_have_refused() {
    let mut site = Site::new();
    let trusts_another = BOTH.map(|version| {
        site.ca = TestCa::new("another");
        Arc::new(config(&site, None, version))
    });
    for config in trusts_another {
        let meeting = meet(&site, &config).await;
        let refusal = meeting.server.err().expect("refused").refusal;
        assert_eq!(refusal.cause, Cause::ClientClosedEarly);
        assert_eq!(refusal.evidence.get("alert_received"), Some("unknown_ca"));
        assert!(
            refusal
                .sentence()
                .contains("refused this server's certificate"),
            "{}",
            refusal.sentence()
        );
    }
}

/// A hello as OpenSSL 1.0.1 sends it, offering at most `version`.
fn old_hello(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
    let suites = [0, 4, 0xc0, 0x09, 0xc0, 0x13];
    let length = u16::try_from(extensions.len())
        .expect("short")
        .to_be_bytes();
    let body = [
        &version[..],
        &[7; 32],
        &[0],
        &suites,
        &[1, 0],
        &length,
        extensions,
    ]
    .concat();
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    record(&[&[1][..], &length[1..], &body].concat())
}

#[tokio::test]
async fn tls_1_1_is_refused_by_its_version() {
    let site = Site::new();
    let signature_algorithms = [0, 13, 0, 4, 0, 2, 4, 3];
    for (version, extensions) in [
        ([3, 2], &[][..]),
        ([3, 2], &signature_algorithms),
        ([3, 1], &[]),
        ([3, 0], &[]),
    ] {
        let answer = check_bytes(
            &site,
            old_hello(version, extensions),
            Cause::TlsVersionMismatch,
        )
        .await;
        assert_eq!(
            (answer[0], answer[5], answer[6], answer.len()),
            (21, 2, 70, 7),
            "{answer:?}"
        );
    }
    let answer = check_bytes(
        &site,
        b"\x80\x0c\x01\x03\x01\0\x03\0\0\0\0\0\0\x2f".to_vec(),
        Cause::TlsVersionMismatch,
    )
    .await;
    assert_eq!(answer.last(), Some(&70));
}

#[tokio::test]
async fn a_name_that_no_route_serves_is_refused() {
    let site =
        Site::with(|settings| settings.policy = policy(&["api.example.com", "*.wild.example.com"]));
    let you = site.client("you");
    for version in BOTH {
        for name in [
            "localhost",
            "example.com",
            "a.api.example.com",
            "wild.example.com",
            "a_b.example.com",
        ] {
            let meeting = meet_as(&site, &Arc::new(config(&site, Some(&you), version)), name).await;
            assert_eq!(meeting.alert(), Some(Alert::UnrecognisedName), "{name}");
            let refusal = meeting.server.err().expect("refused");
            assert_eq!(
                (refusal.refusal.cause, refusal.sni.as_deref()),
                (Cause::SniUnknown, Some(name))
            );
        }
    }
}

#[tokio::test]
async fn a_name_is_served_in_any_case_and_none_at_all_too() {
    let site = Site::new();
    let you = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    // rustls as a client sends neither a trailing dot nor an address.
    for (name, seen) in [("LOCALHOST", Some("localhost")), ("127.0.0.1", None)] {
        let session = meet_as(&site, &you, name)
            .await
            .server
            .expect("admitted")
            .session;
        assert_eq!(session.sni.map(|name| name.to_string()).as_deref(), seen);
    }
}

#[tokio::test]
async fn protocols_that_do_not_meet_are_refused() {
    let site = Site::new();
    for version in BOTH {
        let mut config = config(&site, Some(&site.client("you")), version);
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let meeting = meet(&site, &Arc::new(config)).await;
        assert_eq!(meeting.alert(), Some(Alert::NoApplicationProtocol));
        let refusal = meeting.server.err().expect("refused").refusal;
        assert_eq!(
            (refusal.cause, refusal.evidence.get("alpn_offered")),
            (Cause::AlpnMismatch, Some("postgresql"))
        );
    }
}

#[tokio::test]
async fn suites_that_do_not_meet_are_refused() {
    let site = Site::new();
    // For RSA certificates only; the listener's is ECDSA.
    let rsa = rustls::crypto::CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        ..default_provider()
    };
    let meeting = meet(&site, &Arc::new(config_with(rsa, &site, None, TLS12))).await;
    assert_eq!(meeting.alert(), Some(Alert::HandshakeFailure));
    let refusal = meeting.server.err().expect("refused").refusal;
    assert_eq!(
        (refusal.cause, refusal.evidence.get("cipher_suites_offered")),
        (Cause::NoSharedCipher, Some("c02f 00ff"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_has_one_deadline_for_everything() {
    let site = Site::with(|settings| settings.handshake_timeout = Duration::from_millis(300));
    let (address, accepting) = site.open().await;
    let config = config(&site, None, TLS13);
    let client = spawn_blocking(move || {
        let mut client = ByHand::new(address, config);
        let flight = client.flight();
        // A byte now and then, for as long as it is let.
        for byte in flight {
            if client.tcp.write_all(&[byte]).is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    });
    let refusal = accepting
        .await
        .expect("no panic")
        .err()
        .expect("refused")
        .refusal;
    assert_eq!(
        (refusal.cause, refusal.evidence.get("stage")),
        (Cause::HandshakeTimeout, Some("in-client-hello"))
    );
    assert!(client.await.expect("no panic"), "the connection is closed");
}

#[tokio::test]
async fn a_client_that_stops_after_the_hello_runs_out_of_time() {
    let site = Site::with(|settings| settings.handshake_timeout = Duration::from_millis(200));
    for (hello, stage) in [(true, "answered"), (false, "before-first-byte")] {
        let (address, accepting) = site.open().await;
        let config = config(&site, None, TLS13);
        let client = spawn_blocking(move || {
            let mut client = ByHand::new(address, config);
            let flight = client.flight();
            if hello {
                client.send(&flight);
            }
            client
        });
        let refusal = accepting
            .await
            .expect("no panic")
            .err()
            .expect("refused")
            .refusal;
        assert_eq!(
            (refusal.cause, refusal.evidence.get("stage")),
            (Cause::HandshakeTimeout, Some(stage))
        );
        drop(client.await);
    }
}
