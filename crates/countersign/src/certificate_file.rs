//! Certificates and what else PKI files hold, read from a path in PEM or DER.

use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::MAX_ROWS_BYTES;
use countersign_pki::pem::{self, Block};
use zeroize::Zeroizing;

use crate::fault::Fault;

/// A file's contents.
pub(crate) enum Contents {
    /// One DER structure, of a kind still to be found out.
    Der(Zeroizing<Vec<u8>>),
    /// PEM blocks, in order.
    Pem(Vec<Block>),
}

/// Reads a file. What is wrong with it is the fault of whoever named it.
pub(crate) fn read(path: &Path) -> Result<Contents, Fault> {
    let bytes = read_at_most(MAX_BYTES, path)?;
    // DER begins with a SEQUENCE, PEM with anything but.
    if bytes.first() == Some(&0x30) {
        return Ok(Contents::Der(bytes));
    }
    Ok(Contents::Pem(
        pem::decode_all(&bytes).map_err(|error| fault(path, &error))?,
    ))
}

/// A file's bytes, whatever they are.
pub(crate) fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    read_at_most(MAX_BYTES, path)
}

fn read_at_most(max_bytes: u64, path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let unreadable = |error| fault(path, &error);
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    // Made large enough at once: a vector that grows leaves copies of a key behind. What is no file says nothing of its length.
    let capacity = usize::try_from(length.min(max_bytes)).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > max_bytes {
        let why = format!("the file has more than {max_bytes} bytes");
        return Err(fault(path, &why)
            .hint("no certificate, key or list is that long: name the file that holds it"));
    }
    Ok(bytes)
}

/// The first certificate of a file.
pub(crate) fn certificate_in(path: &Path) -> Result<Certificate, Fault> {
    ders(path)?
        .first()
        .ok_or_else(|| fault(path, &"the file holds no certificate"))
        .and_then(|der| parse(path, der))
}

/// Every certificate of a file, one at least.
pub(crate) fn certificates_in(path: &Path) -> Result<Vec<Certificate>, Fault> {
    let ders = ders(path)?;
    if ders.is_empty() {
        return Err(fault(path, &"the file holds no certificate"));
    }
    ders.iter().map(|der| parse(path, der)).collect()
}

fn ders(path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    Ok(match read(path)? {
        Contents::Der(der) => vec![der.to_vec()],
        Contents::Pem(blocks) => blocks
            .into_iter()
            .filter(|block| block.label == "CERTIFICATE")
            .map(|block| block.der)
            .collect(),
    })
}

fn parse(path: &Path, der: &[u8]) -> Result<Certificate, Fault> {
    Certificate::parse(der).map_err(|error| fault(path, &error))
}

/// The longest that is read is a CRL in DER, whose rows have at most [`MAX_ROWS_BYTES`], and a head.
const MAX_BYTES: u64 = MAX_ROWS_BYTES as u64 + (1 << 20);

/// What is wrong with a file that a person named.
pub(crate) fn fault(path: &Path, why: &dyn Display) -> Fault {
    Fault::configuration(format_args!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_read_up_to_a_bound_and_one_without_an_end_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        std::fs::write(&path, [b'x'; 1000]).expect("writable");
        let whole = read_at_most(1000, &path).expect("it fits");
        assert_eq!(*whole, [b'x'; 1000]);
        for (max_bytes, path) in [(999, &*path), (1000, Path::new("/dev/zero"))] {
            let fault = read_at_most(max_bytes, path).expect_err("too long");
            let expected = format!(
                "{}: the file has more than {max_bytes} bytes",
                path.display()
            );
            assert_eq!(fault.sentence(), expected);
        }
        assert!(read_at_most(1000, folder.path()).is_err());
    }
}
