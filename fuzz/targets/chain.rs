//! The verifier: no arrangement of a peer's certificates is accepted without an anchor.

use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use rustls_pki_types::CertificateDer;

#[test]
fn altered_chain_is_accepted_only_as_the_unaltered_one() {
    let (anchor, good) = (read(ROOT), [read(LEAF), read(INTERMEDIATE)]);
    let anchor = Certificate::parse(&anchor).expect("the root of the corpus");
    let now = anchor.not_before();
    let bundle =
        TrustBundle::new(BundleName::internal(), None, vec![anchor], now).expect("a bundle");
    let verifier = Verifier::new(vec![Arc::new(bundle)], Limits::default()).expect("a verifier");
    let verify = |chain: &[Vec<u8>], now: UnixTime| {
        let chain: Vec<CertificateDer<'_>> =
            chain.iter().map(|der| der.as_slice().into()).collect();
        verifier.verify(
            &chain,
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            now,
        )
    };
    let now = now.plus(std::time::Duration::from_hours(1));
    assert!(verify(&good, now).is_ok(), "the corpus is a good chain");
    bolero::check!()
        .with_type::<(u8, u16, u8, Vec<u8>)>()
        .for_each(|(which, at, mask, extra)| {
            let mut chain = good.to_vec();
            let certificate = &mut chain[usize::from(which & 1)];
            let at = usize::from(*at) % certificate.len();
            certificate[at] ^= mask;
            if which & 2 != 0 {
                chain.push(extra.clone());
            }
            let altered = *mask != 0;
            if let Ok(peer) = verify(&chain, now) {
                assert!(
                    !altered,
                    "byte {at} of certificate {} changed by {mask:#x}",
                    which & 1
                );
                assert_eq!(peer.chain()[0], good[0]);
            }
        });
}

fn read(pem_text: &str) -> Vec<u8> {
    pem::decode_all(pem_text.as_bytes())
        .expect("PEM")
        .remove(0)
        .der
}

pub(crate) const ROOT: &str = include_str!("chain/root.pem");
const INTERMEDIATE: &str = include_str!("chain/intermediate.pem");
const LEAF: &str = include_str!("chain/leaf.pem");
