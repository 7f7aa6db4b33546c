//! What a connection holds while somebody waits.

use super::*;

#[tokio::test]
async fn whoever_stops_within_a_record_holds_no_more_than_was_sent() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let record = client.encrypted(&some_bytes(1000));
        let (last, before) = record.split_last().expect("some");
        // One byte at a time, too.
        for (at, byte) in before.iter().enumerate().take(30) {
            client.send(&[*byte]).await;
            records.tcp.readable().await.expect("open");
            assert!(is_silent(&mut records).await, "{at}");
        }
        client.send(&before[30..]).await;
        while !matches!(&records.received, Received::Held(held) if held.len() == before.len()) {
            records.tcp.readable().await.expect("open");
            assert!(is_silent(&mut records).await);
        }
        client.send(&[*last]).await;
        let mut read = [0; 1000];
        records.read_exact(&mut read).await.expect("a good record");
        assert_eq!(&read[..], some_bytes(1000));
        assert!(is_silent(&mut records).await && is_at_rest(&records));
    }
}

#[tokio::test]
async fn beginning_of_a_record_behind_what_is_read_holds_no_buffer() {
    for version in VERSIONS {
        // Behind the handshake, where nobody may read for long.
        let (server, config) = configs(version);
        let (mut client, hello, far) = greeting(config).await;
        let shaking = async {
            while client.tls.is_handshaking() {
                assert!(client.receive().await.expect("good records"));
                let mut records = client.unsent();
                if !records.is_empty()
                    && (version.version == ProtocolVersion::TLSv1_2 || !client.tls.is_handshaking())
                {
                    records.push(23);
                }
                client.send(&records).await;
            }
            client
        };
        let (mut client, records) = tokio::join!(shaking, Records::accept(server, hello, far));
        let mut records = records.map_err(|(error, _)| error).expect("it is good");
        assert!(
            matches!(&records.received, Received::Held(held) if held[..] == [23]),
            "{version:?}"
        );

        // Behind a record, and behind several, of which one is read.
        let first = client.encrypted(b"question");
        client.send(&first[1..]).await;
        let mut read = [0; 8];
        records.read_exact(&mut read).await.expect("a good record");
        let mut all = [client.encrypted(b"question"), client.encrypted(b"more")].concat();
        let rest = client.encrypted(b"rest");
        all.push(rest[0]);
        client.send(&all).await;
        records.read_exact(&mut read).await.expect("a good record");
        assert_eq!(&read, b"question");
        assert!(!matches!(&records.received, Received::Lent(_)));
        records
            .read_exact(&mut read[..4])
            .await
            .expect("a good record");
        assert_eq!(&read[..4], b"more");
        assert!(matches!(&records.received, Received::Held(held) if held[..] == rest[..1]));
        client.send(&rest[1..]).await;
        records
            .read_exact(&mut read[..4])
            .await
            .expect("a good record");
        assert!(is_silent(&mut records).await && is_at_rest(&records));
    }
}

#[tokio::test]
async fn whoever_reads_slowly_is_waited_for_with_one_buffer_and_gets_all_and_the_end() {
    for version in VERSIONS {
        let (mut client, mut records) = connected(version).await;
        let bytes = some_bytes(3 * SIZE);
        let mut expected = Vec::new();
        loop {
            let writing =
                |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut records).poll_write(cx, &bytes));
            match std::future::poll_fn(writing).await {
                Poll::Ready(count) => expected.extend_from_slice(&bytes[..count.expect("open")]),
                Poll::Pending => break,
            }
        }
        assert!(records.sending.is_some() && records.queued.is_empty());
        let (ended, read) = tokio::join!(records.shutdown(), async {
            let mut read = Vec::new();
            while read.len() < expected.len() {
                let count = client.tls.read_tls(&mut Few(&client.tcp)).unwrap_or(0);
                if count == 0 {
                    client.tcp.readable().await.expect("open");
                    continue;
                }
                let state = client.tls.process_new_packets().expect("good records");
                let start = read.len();
                read.resize(start + state.plaintext_bytes_to_read(), 0);
                let taken = client.tls.reader().read_exact(&mut read[start..]);
                taken.expect("it is there");
            }
            read
        });
        ended.expect("open");
        assert!(read == expected);
        while client.receive().await.expect("good records") {}
        let state = client.tls.process_new_packets().expect("good records");
        assert!(state.peer_has_closed());
    }
}
