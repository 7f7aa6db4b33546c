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
    let parse = |der: &[u8]| Certificate::parse(der).map_err(|error| fault(path, &error));
    match read(path)? {
        Contents::Der(der) => parse(&der),
        Contents::Pem(blocks) => match blocks.iter().find(|block| block.label == "CERTIFICATE") {
            Some(block) => parse(&block.der),
            None => Err(fault(path, &"the file holds no certificate")),
        },
    }
}

/// What is wrong with a file that a person named.
pub(crate) fn fault(path: &Path, why: &dyn Display) -> Fault {
    Fault::configuration(format_args!("{}: {why}", path.display()))
}
