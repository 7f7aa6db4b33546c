//! CA keys at rest.

use countersign_authority::sealed::{KeyDerivation, SealError, seal, unseal};
use countersign_authority::secret::Secret;
use countersign_store::issuer::IssuerRole;

use crate::fixture::CHEAP;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn sealed() -> String {
    seal(
        &secret("the key"),
        IssuerRole::Root,
        &secret("passphrase"),
        CHEAP,
    )
    .expect("seals")
}

fn open(sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    unseal(sealed, IssuerRole::Root, &secret("passphrase")).map(|key| key.expose().to_vec())
}

#[test]
fn sealed_key_opens_with_its_passphrase_and_no_other() {
    let sealed = sealed();
    assert_eq!(open(sealed.as_bytes()), Ok(b"the key".to_vec()));
    let wrong =
        unseal(sealed.as_bytes(), IssuerRole::Root, &secret("Passphrase")).expect_err("wrong");
    assert_eq!(wrong, SealError::WrongPassphrase);
}

#[test]
fn no_two_files_are_alike() {
    assert_ne!(sealed(), sealed());
}

#[test]
fn change_of_any_byte_is_refused() {
    let sealed = sealed().into_bytes();
    for at in 0..sealed.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = sealed.clone();
            changed[at] ^= flip;
            assert!(open(&changed).is_err(), "byte {at} of {}", sealed.len());
        }
        assert!(open(&sealed[..at]).is_err(), "cut at {at}");
    }
    for suffix in ["\n", " ", "x", "="] {
        assert!(open(&[&sealed, suffix.as_bytes()].concat()).is_err());
    }
}

#[test]
fn key_of_another_issuer_is_refused() {
    let other = unseal(
        sealed().as_bytes(),
        IssuerRole::Operator,
        &secret("passphrase"),
    )
    .expect_err("another");
    assert_eq!(
        other,
        SealError::OtherRole {
            role: IssuerRole::Operator
        }
    );
    let renamed = sealed().replace("role root", "role operator");
    let renamed = unseal(
        renamed.as_bytes(),
        IssuerRole::Operator,
        &secret("passphrase"),
    )
    .expect_err("its header is sealed too");
    assert_eq!(renamed, SealError::WrongPassphrase);
}

#[test]
fn hostile_file_cannot_ask_for_more_than_a_gibibyte() {
    for price in [
        "argon2id 104857600 1 1",
        "argon2id 8 4000000000 1",
        "argon2id 8 1 9",
        "argon2id 0 0 0",
        "argon2id 1 1 1",
    ] {
        let hostile = sealed().replace("argon2id 8 1 1", price);
        assert!(
            matches!(open(hostile.as_bytes()), Err(SealError::Price { .. })),
            "{price}"
        );
    }
    for damaged in [
        "argon2id 8 1",
        "argon2id 8 1 1 1",
        "argon2id -8 1 1",
        "scrypt 8 1 1",
        "argon2id 99999999999 1 1",
    ] {
        let hostile = sealed().replace("argon2id 8 1 1", damaged);
        assert!(
            matches!(open(hostile.as_bytes()), Err(SealError::Malformed { .. })),
            "{damaged}"
        );
    }
    assert!(matches!(
        open(&vec![b'x'; 1 << 20]),
        Err(SealError::Malformed { .. })
    ));
}

#[test]
fn price_of_guessing_is_that_of_the_rfc() {
    assert_eq!(
        KeyDerivation::default(),
        KeyDerivation {
            memory_kib: 65_536,
            passes: 3,
            lanes: 1
        }
    );
}
