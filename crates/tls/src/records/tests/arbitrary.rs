//! What two peers say to each other arrives, however it is cut and whoever does what when.

use std::time::Duration;

use tokio::io::{Interest, ReadHalf, WriteHalf, split};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::*;

/// `SplitMix64`.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound.max(1)).expect("small");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("small")
    }

    /// Mostly small, and sometimes up to `most`.
    pub(super) fn size(&mut self, most: usize) -> usize {
        let most = [1, 30, 2000, 17_000, most][self.below(5)].min(most);
        self.below(most + 1)
    }
}

/// More of them find more.
const SEEDS: std::ops::Range<u64> = 1250..1262;

/// What one says from its `start`-th byte on: no two places are alike for long.
fn speech(start: usize, count: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(0x9e37_79b1) >> 13).to_le_bytes()[0];
    (start..start + count).map(byte).collect()
}

async fn listens_to(seed: u64, reader: &mut ReadHalf<Records>) -> usize {
    let (mut chance, mut heard) = (Chance(seed ^ 1), 0);
    loop {
        let mut buffer = vec![0; chance.size(70_000).max(1)];
        let count = reader.read(&mut buffer).await.expect("good records");
        if count == 0 {
            return heard;
        }
        assert!(buffer[..count] == speech(heard, count), "at {heard}");
        heard += count;
        for _ in 0..chance.below(4) {
            tokio::task::yield_now().await;
        }
    }
}

async fn speaks(seed: u64, total: usize, writer: &mut WriteHalf<Records>) {
    let (mut chance, mut said) = (Chance(seed ^ 2), 0);
    while said < total {
        let bytes = speech(said, chance.size(80_000).min(total - said));
        let (mut slices, mut rest) = (Vec::new(), &bytes[..]);
        for _ in 0..chance.below(40) {
            // Around the lengths at which slices are records of their own.
            let near = [8192, 11_264, 16_384][chance.below(3)] + chance.below(3) - 1;
            let count = [0, near, chance.size(9000)][chance.below(3)].min(rest.len());
            let (slice, behind) = rest.split_at(count);
            slices.push(io::IoSlice::new(slice));
            rest = behind;
        }
        slices.push(io::IoSlice::new(rest));
        said += match chance.below(3) {
            0 => writer.write(&bytes).await.expect("open"),
            1 => writer.write_vectored(&slices).await.expect("open"),
            _ => {
                writer.flush().await.expect("open");
                0
            }
        };
        for _ in 0..chance.below(3) {
            tokio::task::yield_now().await;
        }
    }
    writer.shutdown().await.expect("open");
}

/// Says `total` bytes, hears everything, and how much that was.
async fn client(seed: u64, total: usize, mut client: Client) -> usize {
    // The first byte came with the handshake.
    let (mut chance, mut said, mut heard) = (Chance(seed ^ 3), 1, 0);
    let (mut unsent, mut has_closed, mut has_ended) = (Vec::new(), false, false);
    let is_tls13 = client.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    while !(has_closed && unsent.is_empty() && has_ended) {
        if unsent.is_empty() && !has_closed {
            match chance.below(10) {
                0 if is_tls13 => client.tls.refresh_traffic_keys().expect("TLS 1.3"),
                _ if said < total => {
                    let count = chance.size(40_000).min(total - said);
                    let count = client.tls.writer().write(&speech(said, count));
                    said += count.expect("some room");
                }
                _ => {
                    client.tls.send_close_notify();
                    has_closed = true;
                }
            }
            unsent = client.unsent();
        }
        let mut interest = None;
        if !has_ended {
            interest = Some(Interest::READABLE);
        }
        if !unsent.is_empty() {
            let writable = Interest::WRITABLE;
            interest = Some(interest.map_or(writable, |it: Interest| it | writable));
        }
        let Some(interest) = interest else { continue };
        let ready = client.tcp.ready(interest).await.expect("open");
        if ready.is_writable() && !unsent.is_empty() {
            let piece = chance.size(50_000).clamp(1, unsent.len());
            if let Ok(count) = client.tcp.try_write(&unsent[..piece]) {
                unsent.drain(..count);
            }
        }
        if ready.is_readable() && !has_ended && chance.below(3) > 0 {
            let mut bytes = vec![0; chance.size(50_000).max(1)];
            let Ok(count) = client.tcp.try_read(&mut bytes) else {
                continue;
            };
            has_ended = count == 0;
            let mut unread = &bytes[..count];
            while !unread.is_empty() {
                client.tls.read_tls(&mut unread).expect("room");
                let state = client.tls.process_new_packets().expect("good records");
                let mut read = vec![0; state.plaintext_bytes_to_read()];
                client.tls.reader().read_exact(&mut read).expect("there");
                assert!(read == speech(heard, read.len()), "at {heard}");
                heard += read.len();
            }
        }
        tokio::task::yield_now().await;
    }
    let state = client.tls.process_new_packets().expect("good records");
    assert!(state.peer_has_closed(), "an end that was meant");
    heard
}

/// Both ends of a finished handshake, over sockets that take little at a time.
async fn connected_narrowly(
    configs: &(Arc<ServerConfig>, Arc<ClientConfig>),
    chance: &mut Chance,
) -> (Client, Records) {
    let listening = TcpSocket::new_v4().expect("a socket");
    if chance.below(2) == 0 {
        listening.set_send_buffer_size(4096).expect("a size");
        listening.set_recv_buffer_size(4096).expect("a size");
    }
    listening
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let listener = listening.listen(1).expect("bound");
    let (near, far) = tokio::join!(
        TcpStream::connect(listener.local_addr().expect("bound")),
        listener.accept()
    );
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = Client {
        tls: ClientConnection::new(Arc::clone(&configs.1), name).expect("a client"),
        tcp: near.expect("connected"),
        read: Vec::new(),
    };
    let hello = client.unsent();
    let shaking = async {
        while client.tls.is_handshaking() {
            assert!(client.receive().await.expect("good records"));
            if client.tls.is_handshaking() {
                let records = client.unsent();
                client.send(&records).await;
            }
        }
        // The end of the handshake and the first of what follows come together.
        let records = client.encrypted(&speech(0, 1));
        client.send(&records).await;
        client
    };
    let (client, records) = tokio::join!(
        shaking,
        Records::accept(Arc::clone(&configs.0), hello, far.expect("accepted").0)
    );
    (
        client,
        records.map_err(|(error, _)| error).expect("it is good"),
    )
}

async fn round(seed: u64, configs: &(Arc<ServerConfig>, Arc<ClientConfig>), is_apart: bool) {
    let mut chance = Chance(seed);
    let (client_end, records) = connected_narrowly(configs, &mut chance).await;
    let (there, back) = (chance.size(400_000).max(1), chance.size(400_000));
    let (mut reader, mut writer) = split(records);
    let says = async move {
        speaks(seed, back, &mut writer).await;
        writer
    };
    let listens = async move { (listens_to(seed, &mut reader).await, reader) };
    let ((heard, reader), writer, heard_back) = if is_apart {
        let (listens, says) = (tokio::spawn(listens), tokio::spawn(says));
        let (listens, says, heard) = tokio::join!(listens, says, client(seed, there, client_end));
        (listens.expect("no panic"), says.expect("no panic"), heard)
    } else {
        tokio::join!(listens, says, client(seed, there, client_end))
    };
    assert_eq!((heard, heard_back), (there, back));
    let records = reader.unsplit(writer);
    assert!(is_at_rest(&records));
}

#[tokio::test]
async fn whatever_is_said_arrives_however_it_is_cut() {
    let configs = VERSIONS.map(configs);
    for seed in SEEDS {
        let is_tls13 = usize::from(seed % 2 == 0);
        let rounds = round(seed, &configs[is_tls13], seed % 4 >= 2);
        let ended = timeout(Duration::from_secs(30), rounds).await;
        assert!(ended.is_ok(), "nothing moves any more: {seed}");
    }
}
