//! Keystores and encrypted keys: shut, outdated, or without what they are named for.

use countersign_pki::material::{KeyFormat, KeyPiece, Lock};

use super::{Form, Role};
use crate::cause::Cause;
use crate::doctor::shell_word::quoted;
use crate::finding::Finding;

impl Form<'_> {
    /// A keystore of certificates alone: whoever is to show one of them cannot sign with it.
    pub(super) fn without_key(&self) -> Option<Finding> {
        let material = self.material();
        if !material.keys.is_empty() || self.file.role != Role::ClientCertificate {
            return None;
        }
        let (kind, path) = (material.container.as_str(), quoted(&self.file.path));
        let finding = self.fault(
            Cause::ClientCertNotSent,
            &format!("is {kind} of certificates alone: without an entry that holds the private key as well no program sends any"),
        );
        Some(
            finding
                .with("certificates", material.certificates.len())
                .with_fix("openssl pkcs12 -export -in client-chain.pem -inkey client.key -name client -out client.p12")
                .with_fix(format!("keytool -list -keystore {path}: it must say PrivateKeyEntry")),
        )
    }

    /// A keystore in which Java finds nobody to trust, since what it holds are its own certificates.
    pub(super) fn trusts_nobody(&self) -> Option<Finding> {
        let material = self.material();
        if material.certificates.iter().any(|piece| piece.is_trusted) {
            return None;
        }
        let (kind, path) = (material.container.as_str(), quoted(&self.file.path));
        let finding = self
            .fault(
                Cause::TrustBundleEmpty,
                &format!("is {kind} without an entry for a trusted certificate: Java trusts nobody by it (the trustAnchors parameter must be non-empty)"),
            )
            .with("certificates", material.certificates.len())
            .with_fix(format!(
                "keytool -importcert -noprompt -alias ca -file ca.pem -keystore {path}"
            ));
        // Others than Java take whatever certificates there are.
        Some(if material.keys.is_empty() {
            finding.risk()
        } else {
            finding
        })
    }

    /// A keystore that could not be opened, or one that others could not.
    pub(super) fn shut_store(&self) -> Option<Finding> {
        let material = self.material();
        let kind = material.container.as_str();
        match material.keystore.as_ref()? {
            // Certificates of JKS can be read without it.
            Lock::NeedsPassword if !material.certificates.is_empty() => None,
            Lock::NeedsPassword => Some(
                self.fault(
                    Cause::KeyEncrypted,
                    &format!("is {kind} under a password, and none was given"),
                )
                .with_fix("give --password-file FILE to have it judged"),
            ),
            Lock::WrongPassword => Some(self.fault(
                Cause::KeyPasswordWrong,
                &format!("is {kind}, and no password that was given opens it"),
            )),
            Lock::Unread {
                scheme,
                is_legacy: true,
            } => Some(self.legacy(scheme)),
            Lock::Open => material.legacy.map(|scheme| self.legacy(scheme)),
            // Certificates of JKS were read without it.
            Lock::Unread { .. } if !material.certificates.is_empty() => None,
            Lock::Unread { scheme, .. } => Some(
                self.fault(
                    Cause::KeyEncrypted,
                    &format!("is {kind} under {scheme}, which is not opened here: what is in it is not judged"),
                )
                .note()
                .with("scheme", scheme),
            ),
            Lock::Unreadable { why } => Some(self.fault(
                Cause::FileNotPem,
                &format!("is {kind} that cannot be read: {why}"),
            )),
        }
    }

    fn legacy(&self, scheme: &str) -> Finding {
        let path = quoted(&self.file.path);
        self.fault(
            Cause::Pkcs12Legacy,
            &format!("is PKCS#12 protected by {scheme}"),
        )
        .with("scheme", scheme)
        .with_fix(format!(
            "openssl pkcs12 -legacy -in {path} -nodes | openssl pkcs12 -export -out new.p12"
        ))
    }

    /// A keystore or key of which only its password was told.
    pub(super) fn shut_elsewhere(&self) -> Option<Finding> {
        let material = self.material();
        let finding = match material.keystore {
            Some(_) => self.shut_store()?,
            None => self.shut_key(material.keys.first()?)?,
        };
        // The password may be that of a file whose use was named.
        let mut files = self.observations.files.iter();
        let has_another = files.any(|file| {
            file.role != Role::Other
                && (file.material.keystore.is_some() || !file.material.keys.is_empty())
        });
        let is_refused = finding.cause == Cause::KeyPasswordWrong && !has_another;
        Some(if is_refused { finding } else { finding.note() })
    }

    pub(super) fn shut_key(&self, key: &KeyPiece) -> Option<Finding> {
        let path = quoted(&self.file.path);
        match &key.lock {
            Lock::NeedsPassword => Some(
                self.fault(
                    Cause::KeyEncrypted,
                    "holds an encrypted key, and no password was given",
                )
                .with_fix(format!("openssl pkey -in {path} -out plain.key"))
                .with_fix("or give --password-file FILE if the program has the password"),
            ),
            Lock::WrongPassword => Some(self.fault(
                Cause::KeyPasswordWrong,
                "holds an encrypted key, and no password that was given opens it",
            )),
            // What the standard does not allow is refused by every program; OpenSSH's format has a sentence of its own.
            Lock::Unreadable { why }
                if self.material().keystore.is_none() && key.format != KeyFormat::OpenSsh =>
            {
                Some(self.fault(
                    Cause::FileNotPem,
                    &format!("holds an encrypted key that cannot be read: {why}"),
                ))
            }
            // Whoever reads a keystore by its entries was told of the keystore.
            Lock::Unread { scheme, .. } if self.material().keystore.is_none() => Some(
                self.fault(
                    Cause::KeyEncrypted,
                    &format!("holds a key encrypted by {scheme}, which is not opened here: neither the password nor whether the key belongs to its certificate is judged"),
                )
                .note()
                .with("scheme", scheme)
                .with_fix(format!("openssl pkey -in {path} -aes256 -out current.key")),
            ),
            Lock::Open | Lock::Unread { .. } | Lock::Unreadable { .. } => None,
        }
    }
}
