//! JKS, Java's keystore format until Java 9: certificates to trust, for programs that take nothing newer.
//!
//! Keys are not written: JKS hides them under a few rounds of SHA-1 and an exclusive or, which a stolen file does not survive.
//! A key goes into PKCS#12, which every Java since 8 reads, under the name JKS too.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::certificate::Certificate;
use crate::password::Password;
use crate::time::UnixTime;

/// A keystore of trusted certificates, each under its alias. The password proves that the file was not changed, no more.
pub fn trust_store(
    anchors: &[(String, Certificate)],
    password: &Password,
    created_at: UnixTime,
) -> Vec<u8> {
    let mut store = Vec::new();
    store.extend_from_slice(&MAGIC.to_be_bytes());
    store.extend_from_slice(&VERSION.to_be_bytes());
    store.extend_from_slice(&length(anchors.len()));
    for (alias, certificate) in anchors {
        store.extend_from_slice(&TRUSTED_CERTIFICATE.to_be_bytes());
        put_text(&mut store, &alias.to_ascii_lowercase());
        store.extend_from_slice(&created_at.seconds().saturating_mul(1000).to_be_bytes());
        put_text(&mut store, "X.509");
        store.extend_from_slice(&length(certificate.der().len()));
        store.extend_from_slice(certificate.der());
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&password.utf16());
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend_from_slice(digest.finish().as_ref());
    store
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("certificates are far below 4 GiB")
        .to_be_bytes()
}

/// Java's `writeUTF`, for ASCII: two bytes of length, then the text.
fn put_text(store: &mut Vec<u8>, text: &str) {
    let ascii: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'-'))
        .take(usize::from(u16::MAX))
        .collect();
    let len = u16::try_from(ascii.len()).expect("cut to what fits");
    store.extend_from_slice(&len.to_be_bytes());
    store.extend_from_slice(&ascii);
}

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
