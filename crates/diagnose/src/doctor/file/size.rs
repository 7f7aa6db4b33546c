//! How much is sent.

use countersign_pki::chain::Purpose;

use super::{Judgement, Party};
use crate::cause::Cause;
use crate::finding::Finding;

pub(super) fn judge(party: &Party<'_>, judgement: &mut Judgement) {
    let path = &party.file.path;
    let side = party.side();
    let largest = party.chain.iter().map(|piece| piece.der.len()).max();
    let whole: usize = party.chain.iter().map(|piece| piece.der.len() + 3).sum();
    if whole > MAX_HANDSHAKE {
        let message = format!(
            "the chain in {path} has {whole} bytes; rustls and Go take {MAX_HANDSHAKE} in a handshake message, OpenSSL 102400"
        );
        let finding = Finding::fault(Cause::HandshakeTooLarge, side, message);
        judgement.find(finding.with("bytes", whole).with("file", path));
    } else if let Some(largest) = largest.filter(|&largest| largest > MAX_CERTIFICATE) {
        let message =
            format!("a certificate in {path} has {largest} bytes, which many programs refuse");
        let finding = Finding::fault(Cause::CertificateTooLarge, side, message);
        judgement.find(finding.with("bytes", largest).with("file", path).risk());
    }
    let sent = party.chain.len();
    if sent > MAX_CHAIN {
        let message = format!(
            "{path} has {sent} certificates to send; Java takes {MAX_CHAIN} of a client and 10 of a server"
        );
        let finding = Finding::fault(Cause::ChainTooDeep, side, message).with("sent", sent);
        judgement.find(if sent > MAX_CHAIN_ANYWHERE {
            finding
        } else {
            finding.risk()
        });
    }
    if party.purpose == Purpose::ClientAuth {
        names(party, judgement);
    }
}

/// The names of the CAs that a server asks for a certificate with (RFC 8446 §4.2.4).
fn names(party: &Party<'_>, judgement: &mut Judgement) {
    let anchors = party.anchors();
    let bytes: usize = anchors
        .filter_map(|(_, piece)| piece.certificate())
        .map(|anchor| anchor.subject_der().len() + 2)
        .sum();
    if bytes <= LONG_LIST {
        return;
    }
    let message = format!(
        "the names of the client-CA bundle have {bytes} bytes, which the server sends to every client: \
         a list has room for {MAX_LIST}, and Java takes {LONG_LIST}"
    );
    let finding = Finding::fault(Cause::HandshakeTooLarge, party.other_side(), message);
    let finding = finding.with("bytes", bytes);
    judgement.find(if bytes > MAX_LIST {
        finding
    } else {
        finding.risk()
    });
}

/// rustls and Go: a handshake message of 64 KiB.
const MAX_HANDSHAKE: usize = 64 * 1024;
/// What a gateway of ours takes; a leaf in use has 2 KiB.
const MAX_CERTIFICATE: usize = 16 * 1024;
/// Java's `jdk.tls.server.maxInboundCertificateChainLength`.
const MAX_CHAIN: usize = 8;
/// Its counterpart for clients.
const MAX_CHAIN_ANYWHERE: usize = 10;
/// The list's own length has 16 bits.
const MAX_LIST: usize = 65_535;
/// Java's `jdk.tls.maxHandshakeMessageSize`.
const LONG_LIST: usize = 32_768;
