//! Records that no client of rustls sends, and more of them than anybody needs.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::*;

/// Both ends, and what makes records of any type with the client's keys; the client itself sends no more then.
pub(super) async fn connected_with_forge(
    version: &'static SupportedProtocolVersion,
) -> (TcpStream, Forge, Records) {
    let (server, client) = configs(version);
    let mut config = ClientConfig::clone(&client);
    config.enable_secret_extraction = true;
    let (client, records) = connected_as(server, Arc::new(config)).await;
    let ExtractedSecrets {
        tx: (seq, keys), ..
    } = client.tls.dangerous_extract_secrets().expect("enabled");
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = keys else {
        panic!("not what rustls prefers");
    };
    let forge = Forge {
        is_tls13: version.version == ProtocolVersion::TLSv1_3,
        key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key")),
        iv: iv.as_ref().try_into().expect("12 bytes"),
        seq,
    };
    (client.tcp, forge, records)
}

pub(super) struct Forge {
    is_tls13: bool,
    key: LessSafeKey,
    iv: [u8; 12],
    seq: u64,
}

impl Forge {
    pub(super) fn record(&mut self, content_type: u8, plaintext: &[u8]) -> Vec<u8> {
        let seq = self.seq.to_be_bytes();
        self.seq += 1;
        let mut sealed = plaintext.to_vec();
        let mut nonce = self.iv;
        let added = |len: usize| u16::try_from(len).expect("a record").to_be_bytes();
        if self.is_tls13 {
            // RFC 8446 §5.2, §5.3.
            sealed.push(content_type);
            nonce[4..]
                .iter_mut()
                .zip(seq)
                .for_each(|(it, seq)| *it ^= seq);
            let [high, low] = added(sealed.len() + 16);
            let header = [23, 3, 3, high, low];
            self.seal(nonce, &header, &mut sealed);
            [&header[..], &sealed].concat()
        } else {
            // RFC 5246 §6.2.3.3, RFC 5288 §3.
            nonce[4..].copy_from_slice(&seq);
            let [high, low] = added(plaintext.len());
            let known = [&seq[..], &[content_type, 3, 3, high, low]].concat();
            self.seal(nonce, &known, &mut sealed);
            let [high, low] = added(8 + sealed.len());
            [&[content_type, 3, 3, high, low], &seq[..], &sealed].concat()
        }
    }

    fn seal(&self, nonce: [u8; 12], known: &[u8], sealed: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let done = self
            .key
            .seal_in_place_append_tag(nonce, Aad::from(known), sealed);
        done.expect("short enough");
    }
}

#[tokio::test]
async fn forged_records_are_read_like_any() {
    for version in VERSIONS {
        let (mut tcp, mut forge, mut records) = connected_with_forge(version).await;
        tcp.write_all(&forge.record(23, b"one"))
            .await
            .expect("open");
        // As many empty ones as rustls takes.
        for _ in 0..30 {
            tcp.write_all(&forge.record(23, b"")).await.expect("open");
        }
        tcp.write_all(&forge.record(23, b"two"))
            .await
            .expect("open");
        let mut read = [0; 6];
        records.read_exact(&mut read).await.expect("good records");
        assert_eq!(&read, b"onetwo");
    }
}

#[tokio::test]
async fn flood_of_what_says_nothing_ends_the_connection() {
    const WARNING: u8 = 1;
    let mut cases: Vec<(_, u8, Vec<u8>)> = Vec::new();
    for version in VERSIONS {
        cases.push((version, 23, vec![]));
        // `user_canceled`, the one that TLS 1.3 has left.
        cases.push((version, 21, vec![WARNING, 90]));
        // A message that never ends, in the smallest pieces.
        cases.push((version, 22, vec![11]));
    }
    // `hello_request`'s counterpart: asking for another handshake.
    cases.push((&TLS12, 22, vec![1, 0, 0, 0]));
    for (version, content_type, plaintext) in cases {
        let case = format!("{content_type} {plaintext:?} {:?}", version.version);
        let (mut tcp, mut forge, mut records) = connected_with_forge(version).await;
        let mut flood = forge.record(23, b"before");
        for _ in 0..5000 {
            flood.extend(forge.record(content_type, &plaintext));
        }
        flood.extend(forge.record(23, b"behind"));
        let sending = tokio::spawn(async move {
            // Not all of it is taken.
            let _ = tcp.write_all(&flood).await;
            tcp
        });
        let (read, error) = read_until_error(&mut records).await;
        assert_eq!(read, b"before", "{case}");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{case}");
        assert!(records.read(&mut [0]).await.is_err(), "{case}");
        drop(records);
        sending.await.expect("no panic");
    }
}

#[tokio::test]
async fn flood_of_plain_change_cipher_spec_ends_the_connection() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let mut flood = client.encrypted(b"before");
        flood.extend([20, 3, 3, 0, 1, 1].repeat(100));
        flood.extend(client.encrypted(b"behind"));
        client.send(&flood).await;
        let (read, error) = read_until_error(&mut records).await;
        assert_eq!(read, b"before");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn flood_of_new_keys_ends_the_connection_and_few_are_answered_once() {
    let (mut client, mut records) = connected(&TLS13).await;
    assert!(is_silent(&mut records).await);
    assert!(client.receive().await.expect("tickets"));
    for round in 0..20 {
        let mut updates = Vec::new();
        for _ in 0..20 {
            client.tls.refresh_traffic_keys().expect("TLS 1.3");
            updates.extend(client.unsent());
        }
        updates.extend(client.encrypted(&[round]));
        client.send(&updates).await;
        let mut read = [0];
        records.read_exact(&mut read).await.expect("good records");
        assert_eq!(read, [round]);
        assert!(is_silent(&mut records).await && is_at_rest(&records));
    }
    // One answer to all of them: a record of 27 bytes.
    records.write_all(b"answer").await.expect("open");
    let mut answer = [0; 512];
    let count = client.tcp.read(&mut answer).await.expect("open");
    assert_eq!(count, 27 + 22 + b"answer".len());
    client.tls.read_tls(&mut &answer[..count]).expect("room");
    let state = client.tls.process_new_packets().expect("good records");
    assert_eq!(state.plaintext_bytes_to_read(), 6);

    for _ in 0..40 {
        client.tls.refresh_traffic_keys().expect("TLS 1.3");
        let update = client.unsent();
        client.send(&update).await;
    }
    let (read, error) = read_until_error(&mut records).await;
    assert_eq!(read, b"");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

/// rustls remembers where in its bytes it stopped, and panics if they are not there the next time.
#[tokio::test]
async fn whoever_writes_behind_an_unfinished_message_does_not_fall() {
    for version in VERSIONS {
        // An empty piece of a message; the beginning of one.
        for piece in [&[][..], &[11, 0, 1]] {
            let (mut tcp, mut forge, mut records) = connected_with_forge(version).await;
            tcp.write_all(&forge.record(22, piece)).await.expect("open");
            records.tcp.readable().await.expect("open");
            assert!(is_silent(&mut records).await);
            records.write_all(b"answer").await.expect("open");
            if piece.is_empty() {
                let rest = [forge.record(23, b"more"), forge.record(23, b"and more")].concat();
                tcp.write_all(&rest).await.expect("open");
                let mut read = [0; 2];
                records.read_exact(&mut read).await.expect("good records");
                records.write_all(b"answer").await.expect("open");
                let mut read = [0; 10];
                records.read_exact(&mut read).await.expect("good records");
                assert_eq!(&read, b"reand more");
            }
            tcp.shutdown().await.expect("open");
            assert_eq!(
                read_until_error(&mut records).await.1.kind(),
                io::ErrorKind::UnexpectedEof
            );
            records.write_all(b"answer").await.expect("open");
            records.shutdown().await.expect("open");
        }
    }
}
