//! PKCS#12 files and encrypted keys, as anybody may hand them in.

use countersign_pki::password::Password;
use countersign_pki::pbes2;
use countersign_pki::pkcs12::Contents;

/// Of the files in the corpus, and none.
const PASSWORDS: [&str; 3] = ["cryptography", "1234", ""];

#[test]
fn opened_file_is_within_its_bounds() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for password in PASSWORDS {
            let password = Password::parse(password).expect("a password");
            let Ok(contents) = Contents::open(bytes, &password) else {
                continue;
            };
            assert!(Contents::is_one(bytes));
            let held = contents
                .certificates
                .iter()
                .map(|it| it.certificate.der().len());
            let keys = contents.keys.iter().map(|it| it.pkcs8.len());
            assert!(held.chain(keys).sum::<usize>() <= bytes.len());
        }
    });
}

#[test]
fn opened_key_is_shorter_than_its_file() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let password = Password::parse("1234").expect("a password");
        if let Ok(key) = pbes2::open_private_key(bytes, &password) {
            assert!(key.len() < bytes.len());
        }
    });
}
