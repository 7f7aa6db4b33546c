//! Files of certificates and keys that could not be used.

use crate::cause::Cause;
use crate::log::message::{Meaning, either};

pub(in crate::log) static KEY_MISMATCH: Meaning = Meaning::same(
    "the private key does not belong to the certificate",
    &[
        either(Cause::KeyCertMismatch),
        either(Cause::ChainWrongOrder).possible(),
        either(Cause::RotationHalfApplied).possible(),
    ],
);

pub(in crate::log) static NO_PEM: Meaning = Meaning::same(
    "no PEM block was found in a file",
    &[
        either(Cause::FileNotPem).likely(),
        either(Cause::FileEncoding).possible(),
        either(Cause::FilesSwapped).possible(),
        either(Cause::TrustBundleEmpty).possible(),
        either(Cause::FileIsCsr).possible(),
    ],
);

pub(in crate::log) static NO_CERTIFICATE_PEM: Meaning = Meaning::same(
    "no certificate was found in a PEM file",
    &[
        either(Cause::FileNotPem).likely(),
        either(Cause::FilesSwapped).possible(),
        either(Cause::FileIsCsr).possible(),
        either(Cause::FileEncoding).possible(),
    ],
);

pub(in crate::log) static NO_KEY_PEM: Meaning = Meaning::same(
    "no private key was found in a PEM file",
    &[
        either(Cause::FileNotPem).likely(),
        either(Cause::FilesSwapped).likely(),
        either(Cause::KeyEncrypted).possible(),
        either(Cause::FileEncoding).possible(),
    ],
);

pub(in crate::log) static SWAPPED: Meaning = Meaning::same(
    "a certificate stands where the key belongs, or the key where the certificate belongs",
    &[either(Cause::FilesSwapped)],
);

pub(in crate::log) static CSR: Meaning = Meaning::same(
    "a certificate request stands where a certificate belongs",
    &[either(Cause::FileIsCsr)],
);

pub(in crate::log) static GLUED: Meaning = Meaning::same(
    "the end of a PEM block is not where it should be",
    &[
        either(Cause::PemGlued),
        either(Cause::FileEncoding).possible(),
    ],
);

pub(in crate::log) static BASE64: Meaning = Meaning::same(
    "the Base64 of a PEM block is broken",
    &[
        either(Cause::MalformedCertificate).likely(),
        either(Cause::PemGlued).likely(),
        either(Cause::FileEncoding).possible(),
    ],
);

pub(in crate::log) static NOT_PEM: Meaning = Meaning::same(
    "a file is in another format than the program reads",
    &[
        either(Cause::FileNotPem).likely(),
        either(Cause::MalformedCertificate).possible(),
        either(Cause::KeyPasswordWrong).possible(),
    ],
);

pub(in crate::log) static ENCRYPTED: Meaning = Meaning::same(
    "the private key is encrypted, and the program has no passphrase",
    &[
        either(Cause::KeyEncrypted),
        either(Cause::KeyPasswordWrong).possible(),
    ],
);

pub(in crate::log) static PASSWORD: Meaning = Meaning::same(
    "the passphrase of a key or keystore is wrong",
    &[
        either(Cause::KeyPasswordWrong),
        either(Cause::KeyEncrypted).possible(),
    ],
);

pub(in crate::log) static DECRYPTION: Meaning = Meaning::same(
    "a key or keystore could not be decrypted",
    &[
        either(Cause::KeyPasswordWrong).likely(),
        either(Cause::KeyEncrypted).possible(),
        either(Cause::Pkcs12Legacy).possible(),
    ],
);

pub(in crate::log) static LEGACY: Meaning = Meaning::same(
    "a PKCS#12 file is encrypted in a way that current libraries refuse",
    &[
        either(Cause::Pkcs12Legacy),
        either(Cause::KeyPasswordWrong).possible(),
    ],
);

pub(in crate::log) static LEGACY_OR_PASSWORD: Meaning = Meaning::same(
    "a PKCS#12 file could not be opened",
    &[
        either(Cause::KeyPasswordWrong).likely(),
        either(Cause::Pkcs12Legacy).likely(),
    ],
);

pub(in crate::log) static PERMISSIONS: Meaning = Meaning::same(
    "a key file is open to others, or closed to the program",
    &[either(Cause::KeyPermissions)],
);

pub(in crate::log) static MISSING: Meaning = Meaning::same(
    "a file of the configuration cannot be read",
    &[
        either(Cause::FileMissing),
        either(Cause::KeyPermissions).possible(),
    ],
);

pub(in crate::log) static UNUSABLE_CERTIFICATE: Meaning = Meaning::same(
    "the program could not use its own certificate file",
    &[
        either(Cause::FileNotPem).possible(),
        either(Cause::FileMissing).possible(),
        either(Cause::KeyPasswordWrong).possible(),
        either(Cause::KeyCertMismatch).possible(),
    ],
)
.wrapper();

pub(in crate::log) static UNUSABLE_KEY: Meaning = Meaning::same(
    "the program could not use its own private key",
    &[
        either(Cause::KeyCertMismatch).likely(),
        either(Cause::KeyEncrypted).possible(),
        either(Cause::FileNotPem).possible(),
        either(Cause::FileMissing).possible(),
    ],
)
.wrapper();

pub(in crate::log) static UNUSABLE_BUNDLE: Meaning = Meaning::same(
    "the program could not read its trust bundle",
    &[
        either(Cause::FileMissing).likely(),
        either(Cause::TrustBundleEmpty).likely(),
        either(Cause::FileNotPem).possible(),
    ],
)
.wrapper();

pub(in crate::log) static UNOPENED: Meaning = Meaning::same(
    "a file of the configuration could not be opened",
    &[
        either(Cause::FileMissing).likely(),
        either(Cause::KeyPermissions).possible(),
    ],
)
.wrapper();
