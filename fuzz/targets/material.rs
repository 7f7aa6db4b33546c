//! Whatever is in a file that somebody hands to the doctor.

use countersign_pki::material::{MAX_PIECES, Material};
use countersign_pki::password::Password;

/// The one of most keystores, and none.
const PASSWORDS: [&str; 2] = ["changeit", ""];

#[test]
fn whatever_is_in_a_file_is_read_within_its_bounds() {
    let passwords = PASSWORDS.map(|text| Password::parse(text).expect("a password"));
    bolero::check!().for_each(|bytes: &[u8]| {
        let material = Material::read(bytes, &passwords);
        let counted = material.certificates.len()
            + material.keys.len()
            + material.requests.len()
            + material.lists.len()
            + material.others.len();
        assert!(counted <= material.len() && material.len() <= MAX_PIECES);
        assert!(material.oddities.len() <= MAX_PIECES + 8);
        // Nothing is made up: what is found was in the file, in whatever form.
        let held: usize = material.certificates.iter().map(|it| it.der.len()).sum();
        assert!(held <= bytes.len());
        // No key shows itself, whoever prints what was read.
        let shown = format!("{material:?}");
        for key in &material.keys {
            let Some(secret) = key.pkcs8() else { continue };
            assert!(secret.len() <= bytes.len());
            assert!(!shown.contains(&format!("{secret:?}")));
        }
    });
}

#[test]
fn the_same_in_another_encoding_is_the_same() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let plain = Material::read(bytes, &[]);
        // What is binary is no text in another encoding.
        if !text.is_ascii() || text.contains('\0') || !text.starts_with("-----BEGIN ") {
            return;
        }
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
        let wide = Material::read(&wide, &[]);
        assert_eq!(plain.len(), wide.len());
        assert_eq!(plain.container, wide.container);
    });
}
