//! Peers that break the rules, and keys at their end.

use std::task::{Wake, Waker};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use tokio::time::timeout;

use super::arbitrary::Chance;
use super::forged::{Forge, connected_with_forge};
use super::*;

async fn once<T>(mut polled: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    std::future::poll_fn(|cx| Poll::Ready(polled(cx))).await
}

/// Lets what was sent arrive, if anything was.
async fn arrive(records: &Records) {
    let _ = timeout(Duration::from_millis(2), records.tcp.readable()).await;
}

fn plain(content_type: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len())
        .expect("a record")
        .to_be_bytes();
    [&[content_type, 3, 3, high, low], payload].concat()
}

/// Something that a client with keys could send, and what of it is to be read.
fn something(chance: &mut Chance, forge: &mut Forge) -> (Vec<u8>, Vec<u8>) {
    let bytes: Vec<u8> = (0..chance.size(300))
        .map(|_| chance.below(256).to_le_bytes()[0])
        .collect();
    match chance.below(24) {
        0..=9 => {
            let bytes = some_bytes(chance.size(16_384));
            (forge.record(23, &bytes), bytes)
        }
        10 => (forge.record(23, b""), vec![]),
        11 => (forge.record(22, b""), vec![]),
        12 => (forge.record(22, &bytes), vec![]),
        13 => (forge.record(22, &[24, 0, 0, 1, 1]), vec![]),
        14 => (forge.record(22, &[11, 0, 0]), vec![]),
        15 => (forge.record(22, &[1, 0, 0, 0].repeat(40)), vec![]),
        16 => (forge.record(21, &[1, 0]), vec![]),
        17 => (forge.record(21, &[1, 90]), vec![]),
        18 => (forge.record(20, &[1]), vec![]),
        19 => (plain(20, &[1]), vec![]),
        20 => (plain([20, 21, 22, 23, 24][chance.below(5)], &bytes), vec![]),
        21 => (bytes, vec![]),
        22 => (forge.record(22, &[0, 0, 250, 0]), vec![]),
        _ => {
            let mut record = forge.record(23, &bytes);
            // Of the header TLS 1.3 protects the length alone.
            let at = 5 + chance.below(record.len() - 5);
            record[at] ^= 1;
            (record, vec![])
        }
    }
}

async fn misbehaves(seed: u64, version: &'static SupportedProtocolVersion) {
    let mut chance = Chance(seed);
    let (mut tcp, mut forge, mut records) = connected_with_forge(version).await;
    let (mut expected, mut read, mut failed) = (Vec::new(), Vec::new(), false);
    for _ in 0..40 {
        match chance.below(6) {
            0..=2 => {
                let (sent, readable) = something(&mut chance, &mut forge);
                expected.extend(readable);
                let (first, second) = sent.split_at(chance.below(sent.len() + 1));
                let _ = tcp.write_all(first).await;
                arrive(&records).await;
                if chance.below(3) == 0 {
                    let mut byte = [0];
                    let mut buf = ReadBuf::new(&mut byte);
                    let _ = once(|cx| Pin::new(&mut records).poll_read(cx, &mut buf)).await;
                    read.extend_from_slice(buf.filled());
                }
                let _ = tcp.write_all(second).await;
            }
            3 => {
                let mut bytes = vec![0; chance.size(70_000)];
                let mut buf = ReadBuf::new(&mut bytes);
                arrive(&records).await;
                let polled = once(|cx| Pin::new(&mut records).poll_read(cx, &mut buf)).await;
                assert!(!(failed && matches!(polled, Poll::Ready(Ok(()))) && buf.filled() != b""));
                failed |= matches!(polled, Poll::Ready(Err(_)));
                read.extend_from_slice(buf.filled());
            }
            4 => {
                let bytes = some_bytes(chance.size(70_000));
                let polled = once(|cx| Pin::new(&mut records).poll_write(cx, &bytes)).await;
                assert!(
                    !(failed && matches!(polled, Poll::Ready(Ok(1..))) && records.broken.is_some())
                );
            }
            _ => drop(once(|cx| Pin::new(&mut records).poll_flush(cx)).await),
        }
        assert!(records.plaintext.len() <= SIZE + 2048 && records.queued.len() < 512);
        assert!(records.received.bytes_mut().len() <= SIZE + 2048);
        if chance.below(3) == 0 {
            let mut bytes = vec![0; 70_000];
            let _ = tcp.try_read(&mut bytes);
        }
        assert!(expected.starts_with(&read), "what was not sent");
    }
    let _ = tcp.shutdown().await;
    let draining = async {
        let mut rest = vec![0; 200_000];
        while let Ok(1..) = tcp.read(&mut rest).await {}
    };
    let ending = async {
        let ended = records.read_to_end(&mut read).await;
        if ended.is_ok() {
            assert!(matches!(records.reading, Reading::Closed));
        }
        if chance.below(2) == 0 {
            let _ = records.shutdown().await;
        } else {
            let (tcp, _) = records.into_last_words();
            drop(tcp);
        }
    };
    tokio::join!(draining, ending);
    assert!(expected.starts_with(&read), "what was not sent");
}

#[tokio::test]
async fn whoever_misbehaves_is_read_up_to_there_and_nothing_falls() {
    for seed in 7..27 {
        let version = VERSIONS[usize::from(seed % 2 == 0)];
        let round = misbehaves(seed, version);
        let ended = timeout(Duration::from_secs(20), round).await;
        assert!(ended.is_ok(), "nothing moves any more: {seed}");
    }
}

#[tokio::test]
async fn handshakes_that_are_touched_end_and_nothing_falls() {
    let configs = VERSIONS.map(configs);
    for seed in 7..67 {
        let mut chance = Chance(seed);
        let (server, config) = configs[usize::from(seed % 2 == 0)].clone();
        let (mut client, mut hello, far) = greeting(config).await;
        let touch = |bytes: &mut Vec<u8>, chance: &mut Chance| match chance.below(6) {
            0 => {
                let at = chance.below(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
            }
            1 => bytes.extend(plain(
                [20, 21, 22, 23, 24][chance.below(5)],
                &some_bytes(chance.below(20)),
            )),
            2 => drop(bytes.splice(0..0, plain(22, b""))),
            3 => bytes.extend(plain(22, b"")),
            _ => {}
        };
        touch(&mut hello, &mut chance);
        let shaking = async {
            while client.tls.is_handshaking() {
                // Where a length was touched, both wait.
                let received = timeout(Duration::from_millis(300), client.receive()).await;
                if !matches!(received, Ok(Ok(true))) {
                    break;
                }
                let mut records = client.unsent();
                if !records.is_empty() {
                    touch(&mut records, &mut chance);
                }
                if client.tcp.write_all(&records).await.is_err() {
                    break;
                }
            }
            let _ = client.tcp.shutdown().await;
        };
        let serving = async {
            if let Ok(mut records) = Records::accept(server, hello, far).await {
                let mut read = Vec::new();
                let _ = records.read_to_end(&mut read).await;
                assert_eq!(read, b"");
            }
        };
        let ended = timeout(Duration::from_secs(20), async {
            tokio::join!(shaking, serving)
        });
        assert!(ended.await.is_ok(), "nothing moves any more: {seed}");
    }
}

#[tokio::test]
async fn nothing_is_read_before_the_handshake_is_finished() {
    for version in VERSIONS {
        let (server, client) = configs(version);
        let (mut client, hello, far) = greeting(client).await;
        let sending = async {
            assert!(client.tcp.readable().await.is_ok());
            client.send(&plain(23, b"too early")).await;
            client
        };
        let (mut client, accepted) = tokio::join!(sending, Records::accept(server, hello, far));
        assert!(accepted.is_err());
        let told = loop {
            match client.receive().await {
                Ok(true) => {}
                other => break other,
            }
        };
        assert!(told.is_err(), "an alert: {told:?}");
    }
}

#[tokio::test]
async fn whoever_greets_again_is_refused() {
    let (mut tcp, mut forge, mut records) = connected_with_forge(&TLS13).await;
    let sent = [
        forge.record(23, b"one"),
        forge.record(22, &[1, 0, 0, 0]),
        forge.record(23, b"two"),
    ];
    tcp.write_all(&sent.concat()).await.expect("open");
    let (read, error) = read_until_error(&mut records).await;
    assert_eq!(read, b"one");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_read() {
    for version in VERSIONS {
        let (server, client) = configs(version);
        let (mut client, hello, far) = greeting(client).await;
        let shaking = async {
            while client.tls.is_handshaking() {
                let mut records = client.unsent();
                client.send(&records).await;
                assert!(client.receive().await.expect("good records"));
                if version.version == ProtocolVersion::TLSv1_3 && !client.tls.is_handshaking() {
                    records = client.encrypted(b"one");
                    records.extend(client.encrypted(&some_bytes(30_000)));
                    client.tls.send_close_notify();
                    records.extend(client.unsent());
                    client.send(&records).await;
                    client.tcp.shutdown().await.expect("open");
                }
            }
            if version.version == ProtocolVersion::TLSv1_2 {
                let mut records = client.encrypted(b"one");
                records.extend(client.encrypted(&some_bytes(30_000)));
                client.tls.send_close_notify();
                records.extend(client.unsent());
                client.send(&records).await;
                client.tcp.shutdown().await.expect("open");
            }
            client
        };
        let serving = async {
            let records = Records::accept(server, hello, far).await;
            let mut records = records.map_err(|(error, _)| error).expect("it is good");
            let mut read = Vec::new();
            records.read_to_end(&mut read).await.expect("an end");
            read
        };
        let (_client, read) = tokio::join!(shaking, serving);
        assert!(read == [b"one", &some_bytes(30_000)[..]].concat());
    }
}

#[tokio::test]
async fn early_data_is_not_read_whoever_promised_to() {
    let (server, client) = configs(&TLS13);
    let mut promising = ServerConfig::clone(&server);
    promising.max_early_data_size = 16_384;
    let mut early = ClientConfig::clone(&client);
    early.enable_early_data = true;
    let early = Arc::new(early);
    for count in [1, 100, 3000] {
        let (mut client, mut records) =
            connected_as(Arc::new(promising.clone()), Arc::clone(&early)).await;
        records
            .write_all(b"behind the tickets")
            .await
            .expect("open");
        client.read_exactly(18).await;

        let (mut client, mut hello, far) = greeting(Arc::clone(&early)).await;
        let mut writer = client.tls.early_data().expect("it was promised");
        writer.write_all(&vec![b'!'; count]).expect("room");
        hello.extend(client.unsent());
        let shaking = async {
            while client.tls.is_handshaking() {
                assert!(client.receive().await.expect("good records"));
            }
            let records = client.encrypted(b"late");
            client.send(&records).await;
            client
        };
        let serving = async {
            let records = Records::accept(Arc::clone(&server), hello, far).await;
            let mut records = records.map_err(|(error, _)| error).expect("it is good");
            let mut read = [0; 64];
            let count = records.read(&mut read).await.expect("good records");
            assert_eq!(&read[..count], b"late");
        };
        let (client, ()) = tokio::join!(shaking, serving);
        assert!(!client.tls.is_early_data_accepted(), "{count}");
    }
}

/// The same suites, with keys that are good for so few records.
fn with_short_keys(config: &ServerConfig, records: u64) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(config.crypto_provider());
    let common = |of: &CipherSuiteCommon| CipherSuiteCommon {
        suite: of.suite,
        hash_provider: of.hash_provider,
        confidentiality_limit: records,
    };
    for suite in &mut provider.cipher_suites {
        *suite = match *suite {
            SupportedCipherSuite::Tls12(of) => {
                SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                    common: common(&of.common),
                    prf_provider: of.prf_provider,
                    kx: of.kx,
                    sign: of.sign,
                    aead_alg: of.aead_alg,
                })))
            }
            SupportedCipherSuite::Tls13(of) => {
                SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                    common: common(&of.common),
                    hkdf_provider: of.hkdf_provider,
                    aead_alg: of.aead_alg,
                    quic: of.quic,
                })))
            }
        };
    }
    Arc::new(provider)
}

async fn connected_with_short_keys(
    version: &'static SupportedProtocolVersion,
) -> (Client, Records) {
    let ca = TestCa::new("internal");
    let leaf = ca.issue(Leaf::server(&["localhost"]));
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("a key");
    let provider = with_short_keys(&configs(version).0, 11);
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(leaf.chain.clone(), key)
        .expect("a certificate and its key");
    let mut roots = RootCertStore::empty();
    roots.add(ca.root.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(Arc::clone(super::provider()))
        .with_protocol_versions(&[version])
        .expect("suites")
        .with_root_certificates(roots)
        .with_no_client_auth();
    connected_as(Arc::new(server), Arc::new(client)).await
}

#[tokio::test]
async fn worn_keys_are_replaced_or_the_connection_ends_in_order() {
    let (mut client, mut records) = connected_with_short_keys(&TLS13).await;
    let bytes = some_bytes(5 * SIZE + 3);
    let (read, written) = tokio::join!(client.read_exactly(bytes.len()), async {
        records.write_all(&bytes).await?;
        records.flush().await
    });
    written.expect("new keys");
    assert!(read == bytes);

    // TLS 1.2 has no new keys. What was sealed before goes out, and the end is said.
    let (mut client, mut records) = connected_with_short_keys(&TLS12).await;
    let long = vec![7; 9000];
    let slices = [&b"a"[..], &long, b"b", &long, b"c", &long].map(io::IoSlice::new);
    let error = loop {
        match records.write_vectored(&slices).await {
            Ok(count) => assert_ne!(count, 0),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let _ = records.shutdown().await;
    while client.receive().await.expect("good records") {}
    let state = client.tls.process_new_packets().expect("good records");
    assert!(state.peer_has_closed());
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Whoever reads may be another task than whoever writes.
#[tokio::test]
async fn whoever_waits_to_write_is_woken_whoever_reads_meanwhile() {
    let (mut client, mut records) = connected(&TLS13).await;
    let (writer, reader) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    // As if all before had just been taken, and the socket had no room for this.
    records.queued = vec![0; 64 << 20];
    let waker = Waker::from(Arc::clone(&writer));
    let written = Pin::new(&mut records).poll_write(&mut Context::from_waker(&waker), b"answer");
    assert!(written.is_pending());
    let sent = client.encrypted(b"one");
    client.send(&sent).await;
    records.tcp.readable().await.expect("open");
    let waker = Waker::from(reader);
    let mut byte = [0; 3];
    let mut buf = ReadBuf::new(&mut byte);
    let read = Pin::new(&mut records).poll_read(&mut Context::from_waker(&waker), &mut buf);
    assert!(read.is_ready() && buf.filled() == b"one");
    let woken = timeout(Duration::from_secs(5), async {
        let mut bytes = vec![0; 1 << 20];
        while !writer.0.load(std::sync::atomic::Ordering::SeqCst) {
            let _ = timeout(Duration::from_millis(10), client.tcp.read(&mut bytes)).await;
        }
    });
    assert!(woken.await.is_ok(), "the writer is forgotten");
}
