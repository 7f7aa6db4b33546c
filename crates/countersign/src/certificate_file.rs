//! Certificates and what else PKI files hold, read from a path in PEM or DER.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use countersign_pki::certificate::Certificate;
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
    let bytes = Zeroizing::new(fs::read(path).map_err(|error| fault(path, &error))?);
    // DER begins with a SEQUENCE, PEM with anything but.
    if bytes.first() == Some(&0x30) {
        return Ok(Contents::Der(bytes));
    }
    Ok(Contents::Pem(
        pem::decode_all(&bytes).map_err(|error| fault(path, &error))?,
    ))
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

/// What is wrong with a file that a person named.
pub(crate) fn fault(path: &Path, why: &dyn Display) -> Fault {
    Fault::configuration(format_args!("{}: {why}", path.display()))
}
