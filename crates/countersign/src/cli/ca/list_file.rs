//! A revocation list out of a file, in PEM or DER.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use countersign_pki::crl::ParsedCrl;
use countersign_pki::pem::{self, InvalidPem};

use crate::fault::Fault;

/// Its DER.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let bytes = read_bytes(path)?;
    // DER begins with a SEQUENCE, which begins no PEM.
    let blocks = match bytes.first() {
        Some(0x30) => Err(InvalidPem::NotPem),
        _ => pem::decode_lists(&bytes),
    };
    let der = match blocks {
        Ok(blocks) => match <[pem::Block; 1]>::try_from(blocks) {
            Ok([block]) if block.label == "X509 CRL" => block.der,
            _ => return Err(not_one(path, "exactly one X509 CRL")),
        },
        Err(InvalidPem::TooLarge { most, .. }) => {
            let what = format!("at most {} MiB of PEM", most >> 20);
            return Err(not_one(path, &what));
        }
        Err(_) => bytes,
    };
    match ParsedCrl::parse(&der) {
        Ok(_) => Ok(der),
        Err(error) => Err(Fault::configuration(format_args!(
            "{} is no CRL: {error}",
            path.display()
        ))
        .hint("nothing was told yet; `countersign inspect FILE` says what a file holds")),
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Fault::configuration(format_args!("cannot read {}: {error}", path.display()))
            .hint("nothing was told yet: name a file that is there")
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(not_one(path, "less than 256 MiB"));
    }
    Ok(bytes)
}

fn not_one(path: &Path, what: &str) -> Fault {
    Fault::configuration(format_args!("{} does not hold {what}", path.display()))
        .hint("nothing was told yet: give each list in a file of its own")
}

/// As much as the admin API takes.
const MAX_FILE: u64 = 256 * 1024 * 1024;
