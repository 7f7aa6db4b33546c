//! What a server sends in clear, as the doctor's own prober reads it: the same however it arrives, and never more than its bounds.

use countersign_diagnose::doctor::target::End;
use countersign_probe::server::raw::{Heard, Reader};

#[test]
fn flight_is_the_same_however_it_is_split() {
    // A good one gets through, or the rest would show nothing.
    let (heard, end) = read([&flight(&[0xc0, 0x2b], &[1, 2, 3])[..]]);
    assert_eq!((heard.cipher, heard.chain.len()), (0xc02b, 1));
    assert_eq!(end, Some(End::Open));
    bolero::check!()
        .with_type::<(bool, Vec<u8>, Vec<u8>, Vec<u8>)>()
        .for_each(|(is_flight, bytes, certificate, lengths)| {
            let whole = if *is_flight {
                [flight(&[0x00, 0x2f], certificate), bytes.clone()].concat()
            } else {
                bytes.clone()
            };
            let (at_once, end) = read([&whole[..]]);
            let (split, end_of_split) = read(pieces(&whole, lengths));
            assert_eq!(at_once, split);
            assert_eq!(end, end_of_split);
            assert!(at_once.chain.iter().map(|der| der.0.len()).sum::<usize>() <= whole.len());
        });
}

fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Heard, Option<End>) {
    let mut reader = Reader::default();
    let end = pieces.into_iter().find_map(|piece| reader.push(piece));
    (reader.heard().clone(), end)
}

/// `ServerHello` of TLS 1.2, a chain of one, `ServerHelloDone`.
fn flight(cipher: &[u8], certificate: &[u8]) -> Vec<u8> {
    let certificate = &certificate[..certificate.len().min(1000)];
    let hello = [&[3, 3][..], &[7; 32], &[0], cipher, &[0]].concat();
    let chain = [&length(certificate.len())[..], certificate].concat();
    let chain = [&length(chain.len())[..], &chain].concat();
    [message(2, &hello), message(11, &chain), message(14, &[])].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let message = [&[kind][..], &length(body.len()), body].concat();
    [&[22, 3, 3][..], &length(message.len())[1..], &message].concat()
}

fn length(bytes: usize) -> [u8; 3] {
    let [.., high, middle, low] = bytes.to_be_bytes();
    [high, middle, low]
}

/// The same bytes in pieces of these lengths, and the rest in one.
fn pieces<'b>(bytes: &'b [u8], lengths: &[u8]) -> Vec<&'b [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for length in lengths {
        let (piece, after) = rest.split_at(usize::from(*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}
