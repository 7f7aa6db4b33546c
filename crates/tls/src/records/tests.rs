mod arbitrary;
mod forged;
mod held;
mod hostile;

use std::io::{Read, Write};

use countersign_runtime::lent::SIZE;
use countersign_testkit::pki::{Leaf, TestCa};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::provider::provider;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client whose records are in the test's hands.
struct Client {
    tls: ClientConnection,
    tcp: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// These bytes as the client would send them, with whatever it has to say first.
    fn encrypted(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(bytes).expect("room");
        self.unsent()
    }

    fn unsent(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("a vector");
        }
        records
    }

    async fn send(&mut self, records: &[u8]) {
        self.tcp.write_all(records).await.expect("open");
    }

    /// Reads once. `false`: the socket has ended.
    async fn receive(&mut self) -> Result<bool, Error> {
        let mut bytes = vec![0; 64 * 1024];
        let count = self.tcp.read(&mut bytes).await.unwrap_or(0);
        let mut unread = &bytes[..count];
        while !unread.is_empty() {
            self.tls.read_tls(&mut unread).expect("room");
            let plaintext = self.tls.process_new_packets()?.plaintext_bytes_to_read();
            let start = self.read.len();
            self.read.resize(start + plaintext, 0);
            let taken = self.tls.reader().read_exact(&mut self.read[start..]);
            taken.expect("it is there");
        }
        Ok(count > 0)
    }

    async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.receive().await.expect("good records"), "an end");
        }
        self.read.drain(..count).collect()
    }
}

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let ca = TestCa::new("internal");
    let leaf = ca.issue(Leaf::server(&["localhost"]));
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("a key");
    let server = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[version])
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(leaf.chain.clone(), key)
        .expect("a certificate and its key");
    let mut roots = RootCertStore::empty();
    roots.add(ca.root.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[version])
        .expect("suites")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Both ends of a finished handshake.
async fn connected(version: &'static SupportedProtocolVersion) -> (Client, Records) {
    let (server, client) = configs(version);
    connected_as(server, client).await
}

async fn connected_as(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> (Client, Records) {
    let (mut client, hello, far) = greeting(client).await;
    let shaking = async {
        while client.tls.is_handshaking() {
            assert!(client.receive().await.expect("good records"));
            let records = client.unsent();
            client.send(&records).await;
        }
        client
    };
    let (client, records) = tokio::join!(shaking, Records::accept(server, hello, far));
    (
        client,
        records.map_err(|(error, _)| error).expect("it is good"),
    )
}

/// A client that is connected, its hello, and the server's end.
async fn greeting(config: Arc<ClientConfig>) -> (Client, Vec<u8>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(config, name).expect("a client");
    let mut client = Client {
        tls,
        tcp: near.expect("connected"),
        read: Vec::new(),
    };
    let hello = client.unsent();
    let (far, _) = far.expect("accepted");
    // As whoever accepts does.
    far.set_nodelay(true).expect("open");
    (client, hello, far)
}

async fn bounded<T>(waiting: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), waiting);
    ended.await.expect("nothing moves any more")
}

/// What is read before whatever ends it.
async fn read_until_error(records: &mut Records) -> (Vec<u8>, io::Error) {
    let mut all = Vec::new();
    let error = records.read_to_end(&mut all).await.expect_err("no end");
    (all, error)
}

fn some_bytes(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

fn is_at_rest(records: &Records) -> bool {
    matches!(records.received, Received::Nothing)
        && records.sending.is_none()
        && records.plaintext.capacity() == 0
        && records.queued.capacity() == 0
}

async fn is_silent(records: &mut Records) -> bool {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    let polled =
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *records).poll_read(cx, &mut buf)));
    polled.await.is_pending()
}

#[tokio::test]
async fn what_passes_is_what_was_sent_and_nothing_is_held_behind_it() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        assert!(is_silent(&mut records).await && is_at_rest(&records));
        for count in [1, 16 * 1024, 16 * 1024 + 1, SIZE, 5 * SIZE + 3] {
            let bytes = some_bytes(count);
            let sent: Vec<u8> = bytes
                .chunks(SIZE / 2)
                .flat_map(|it| client.encrypted(it))
                .collect();
            let (tcp, mut read) = (&mut client.tcp, vec![0; count]);
            let (sent, received) =
                tokio::join!(tcp.write_all(&sent), records.read_exact(&mut read));
            sent.expect("open");
            received.expect("good records");
            assert!(read == bytes, "{count} there");
            let (back, written) = tokio::join!(client.read_exactly(count), async {
                records.write_all(&read).await?;
                records.flush().await
            });
            written.expect("open");
            assert!(back == bytes, "{count} back");
            assert!(
                is_silent(&mut records).await && is_at_rest(&records),
                "{count}"
            );
        }
    }
}

#[tokio::test]
async fn what_could_not_go_out_in_time_goes_with_the_flush() {
    let (mut client, mut records) = connected(&TLS13).await;
    assert!(is_silent(&mut records).await && is_at_rest(&records));
    let bytes = some_bytes(SIZE);
    while records.sending.is_none() {
        let written = std::future::poll_fn(|cx| Pin::new(&mut records).poll_write(cx, &bytes));
        written.await.expect("open");
    }
    records.queued = some_bytes(31);
    // Whoever reads wants it out, and cannot wait.
    assert!(is_silent(&mut records).await && !records.queued.is_empty());
    let (ended, flushed) = tokio::join!(
        async {
            let mut taken = vec![0; SIZE];
            loop {
                let waiting = std::time::Duration::from_millis(200);
                match tokio::time::timeout(waiting, client.tcp.read(&mut taken)).await {
                    Ok(count) => assert!(count.expect("open") > 0),
                    Err(_) => return,
                }
            }
        },
        bounded(records.flush())
    );
    let () = ended;
    flushed.expect("open");
    assert!(is_at_rest(&records));
}

#[tokio::test]
async fn slices_go_out_in_order_whatever_there_is_of_them() {
    let (mut client, mut records) = connected(&TLS13).await;
    let slices: [&[u8]; 4] = [b"", b"head", b"", b"body"];
    let slices = slices.map(io::IoSlice::new);
    assert_eq!(records.write_vectored(&slices).await.expect("open"), 8);
    assert_eq!(client.read_exactly(8).await, b"headbody");
    let large = some_bytes(SIZE);
    let slices = [io::IoSlice::new(b"head"), io::IoSlice::new(&large)];
    let written = records.write_vectored(&slices).await.expect("open");
    assert_eq!(written, SIZE);
    let expected = [b"head", &large[..SIZE - 4]].concat();
    assert!(client.read_exactly(written).await == expected);
}

#[tokio::test]
async fn tickets_go_out_with_what_follows_or_when_nothing_does() {
    let (mut client, mut records) = connected(&TLS13).await;
    assert!(!records.queued.is_empty());
    assert_eq!(records.write(b"answer").await.expect("open"), 6);
    assert!(is_at_rest(&records));
    // In one piece, as it was sent.
    assert!(client.receive().await.expect("good records"));
    assert_eq!(
        (client.tls.tls13_tickets_received(), &client.read[..]),
        (2, &b"answer"[..])
    );

    let (mut client, mut records) = connected(&TLS13).await;
    assert!(is_silent(&mut records).await && is_at_rest(&records));
    assert!(client.receive().await.expect("good records"));
    assert_eq!(client.tls.tls13_tickets_received(), 2);

    let (mut client, mut records) = connected(&TLS13).await;
    client.tls.send_close_notify();
    let end = client.unsent();
    client.send(&end).await;
    records.tcp.readable().await.expect("open");
    assert_eq!(records.read(&mut [0]).await.expect("an end"), 0);
    records.flush().await.expect("open");
    let nothing = client
        .tcp
        .try_read(&mut [0])
        .expect_err("nothing was written");
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    records.shutdown().await.expect("open");
    assert!(client.receive().await.expect("good records"));
    assert_eq!(client.tls.tls13_tickets_received(), 2);
    assert!(
        client
            .tls
            .process_new_packets()
            .expect("good records")
            .peer_has_closed()
    );

    // Where the client waits for it, nothing waits.
    let (_client, records) = connected(&TLS12).await;
    assert!(is_at_rest(&records));
}

#[tokio::test]
async fn whatever_is_written_has_room_behind_what_goes_ahead() {
    let (long, short) = (some_bytes(8192), some_bytes(1));
    let slices: Vec<_> = (0..20)
        .flat_map(|_| [io::IoSlice::new(&short), io::IoSlice::new(&long)])
        .collect();
    for ahead in [MAX_AHEAD, MAX_AHEAD + 1] {
        let (_client, mut records) = connected(&TLS13).await;
        records.queued = some_bytes(ahead);
        let written = records.write_vectored(&slices).await.expect("room");
        assert_eq!(written, SIZE, "{ahead}");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_no_end_and_what_is_behind_an_end_is_not_read() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let record = client.encrypted(b"half");
        client.send(&record).await;
        client.tcp.shutdown().await.expect("open");
        let mut read = [0; 4];
        records.read_exact(&mut read).await.expect("it came before");
        for _ in 0..2 {
            let end = records.read(&mut read).await.expect_err("no end");
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        }

        let (mut client, mut records) = connected(version).await;
        let mut all = client.encrypted(b"all");
        client.tls.send_close_notify();
        all.extend(client.unsent());
        // Whatever it is that follows, it is not even looked at.
        all.extend(some_bytes(50));
        client.send(&all).await;
        let mut read = Vec::new();
        records.read_to_end(&mut read).await.expect("an end");
        assert_eq!(read, b"all");
        // The other way is open still.
        records.write_all(b"answer").await.expect("open");
        records.shutdown().await.expect("open");
        assert!(records.write_all(b"more").await.is_err());
        assert_eq!(client.read_exactly(6).await, b"answer");
        while client.receive().await.expect("good records") {}
        let state = client.tls.process_new_packets().expect("good records");
        assert!(state.peer_has_closed());
    }
}

#[tokio::test]
async fn record_that_was_touched_is_refused_and_the_client_is_told() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let mut sent = client.encrypted(b"good");
        let mut touched = client.encrypted(b"touched");
        *touched.last_mut().expect("some") ^= 1;
        sent.extend(touched);
        sent.extend(client.encrypted(b"behind"));
        client.send(&sent).await;
        let mut read = [0; 64];
        assert_eq!(records.read(&mut read).await.expect("good"), 4);
        let error = records.read(&mut read).await.expect_err("touched");
        let inner = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        assert_eq!(inner, Some(&Error::DecryptError));
        assert!(
            records.read(&mut read).await.is_err(),
            "and nothing after it"
        );
        assert!(records.write_all(b"more").await.is_err());
        let told = client.receive().await.expect_err("an alert");
        assert_eq!(
            told,
            Error::AlertReceived(rustls::AlertDescription::BadRecordMac)
        );
    }
}

/// Whoever reads has not come so far, and may never.
#[tokio::test]
async fn record_that_whoever_writes_finds_touched_is_told_of_behind_what_was_queued() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let mut sent = client.encrypted(b"good");
        let mut touched = client.encrypted(b"touched");
        *touched.last_mut().expect("some") ^= 1;
        sent.extend(touched);
        client.send(&sent).await;
        let mut read = [0];
        assert_eq!(records.read(&mut read).await.expect("good"), 1);
        assert!(records.write(b"answer").await.is_err());
        // What came before is read, and then nothing is waited for.
        let (rest, error) = bounded(read_until_error(&mut records)).await;
        assert_eq!(
            (&rest[..], error.kind()),
            (&b"ood"[..], io::ErrorKind::InvalidData)
        );
        let hearing = async {
            while client.receive().await? {}
            Ok(())
        };
        assert_eq!(
            bounded(hearing).await,
            Err(Error::AlertReceived(rustls::AlertDescription::BadRecordMac))
        );
    }
}

#[tokio::test]
async fn keys_change_while_bytes_wait_to_be_sent() {
    let (mut client, mut records) = connected(&TLS13).await;
    // Until the client's socket takes no more.
    let bytes = some_bytes(SIZE);
    let mut written = 0;
    while records.sending.is_none() {
        written += records.write(&bytes).await.expect("open");
    }
    client.tls.refresh_traffic_keys().expect("TLS 1.3");
    let update = client.encrypted(b"under new keys");
    client.send(&update).await;
    let mut read = [0; 14];
    records.read_exact(&mut read).await.expect("good records");
    assert_eq!(&read, b"under new keys");
    // What was encrypted before goes out before, and what follows under new keys, too.
    let (received, sent) = tokio::join!(client.read_exactly(written + 5), async {
        records.write_all(b"after").await?;
        records.flush().await
    });
    sent.expect("open");
    assert!(received[..written].chunks(SIZE).all(|it| it == bytes));
    assert_eq!(&received[written..], b"after");
}

#[tokio::test]
async fn refused_hello_gets_its_alert() {
    let (server, _) = configs(&TLS13);
    let (_, client) = configs(&TLS12);
    let (mut client, hello, far) = greeting(client).await;
    let refused = Records::accept(server, hello, far).await;
    let (error, _socket) = refused.map(drop).expect_err("no version in common");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let told = client.receive().await.expect_err("an alert");
    assert_eq!(
        told,
        Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
    );
}

#[tokio::test]
async fn whoever_ends_within_a_record_is_cut_off() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let mut sent = client.encrypted(b"whole");
        let half = client.encrypted(&some_bytes(1000));
        sent.extend(&half[..500]);
        client.send(&sent).await;
        client.tcp.shutdown().await.expect("open");
        let (read, error) = read_until_error(&mut records).await;
        assert_eq!(read, b"whole");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // It hears what there is to say, and the end.
        records.write_all(b"answer").await.expect("open");
        records.shutdown().await.expect("open");
        assert_eq!(client.read_exactly(6).await, b"answer");
        while client.receive().await.expect("good records") {}
        let state = client.tls.process_new_packets().expect("good records");
        assert!(state.peer_has_closed());
    }
}

#[tokio::test]
async fn records_are_read_in_any_pieces_while_others_are_written() {
    let sizes = [
        1,
        16 * 1024,
        5,
        16 * 1024,
        16 * 1024,
        300,
        16 * 1024,
        9000,
        2,
        16 * 1024,
    ];
    for version in VERSIONS {
        for room in [1, 7, 4096, 16 * 1024, 70_000] {
            let (mut client, mut records) = connected(version).await;
            let sent: Vec<u8> = sizes
                .iter()
                .flat_map(|size| client.encrypted(&some_bytes(*size)))
                .collect();
            let expected: Vec<u8> = sizes.iter().flat_map(|size| some_bytes(*size)).collect();
            let tcp = &mut client.tcp;
            let reading = async {
                let (mut read, mut buffer) = (Vec::new(), vec![0; room]);
                let mut written = 0;
                while read.len() < expected.len() {
                    let count = records.read(&mut buffer).await.expect("good records");
                    assert_ne!(count, 0);
                    read.extend_from_slice(&buffer[..count]);
                    if read.len() / 4096 > written {
                        written += 1;
                        records.write_all(b"!").await.expect("open");
                    }
                    assert!(records.plaintext.len() <= SIZE);
                }
                (read, written)
            };
            let (sent, (read, written)) = tokio::join!(tcp.write_all(&sent), reading);
            sent.expect("open");
            assert!(read == expected, "{room}");
            assert_eq!(client.read_exactly(written).await, vec![b'!'; written]);
            assert!(is_silent(&mut records).await && is_at_rest(&records));
        }
    }
}

/// Reads few bytes at a time.
struct Few<'a>(&'a TcpStream);

impl Read for Few<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(1000);
        self.0.try_read(&mut buf[..room])
    }
}

#[tokio::test]
async fn handshake_comes_a_byte_at_a_time() {
    for version in VERSIONS {
        let (server, client) = configs(version);
        let (mut client, hello, far) = greeting(client).await;
        client.tcp.set_nodelay(true).expect("open");
        let shaking = async {
            while client.tls.is_handshaking() {
                assert!(client.receive().await.expect("good records"));
                for byte in client.unsent() {
                    client.send(&[byte]).await;
                    tokio::task::yield_now().await;
                }
            }
            for byte in client.encrypted(b"all") {
                client.send(&[byte]).await;
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            let records = Records::accept(server, hello, far).await;
            let mut records = records.map_err(|(error, _)| error).expect("it is good");
            let mut read = [0; 3];
            records.read_exact(&mut read).await.expect("good records");
            assert_eq!(&read, b"all");
        };
        tokio::join!(shaking, reading);
    }
}
