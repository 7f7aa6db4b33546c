//! Whether each file can be used as what it was named as.

mod store;

use countersign_pki::material::{Container, KeyFormat, MAX_BYTES, MAX_PIECES, Material, Oddity};

use super::{Access, FileSeen, Judgement, Role};
use crate::cause::Cause;
use crate::doctor::Observations;
use crate::doctor::question::Scheme;
use crate::doctor::shell_word::quoted;
use crate::finding::{Finding, RuledOut};

pub(super) fn judge(observations: &Observations, judgement: &mut Judgement) {
    let asks_libpq = observations
        .question
        .target
        .as_ref()
        .is_some_and(|target| target.scheme == Some(Scheme::Postgres));
    for file in &observations.files {
        let form = Form { file, observations };
        if !form.is_readable(judgement) {
            continue;
        }
        // Of whatever else is at hand nobody said how it is used.
        if file.role == Role::Other {
            if let Some(finding) = form.shut_elsewhere() {
                judgement.find(finding);
            }
            continue;
        }
        form.encoding(judgement);
        form.damage(judgement);
        form.kind(judgement);
        if file.role.is_key() || (file.role.is_certificate() && !file.material.keys.is_empty()) {
            form.permissions(asks_libpq, judgement);
        }
    }
}

/// What strict readers have against a file whose contents are judged all the same.
pub(super) fn objections(observations: &Observations, judgement: &mut Judgement) {
    for file in &observations.files {
        let form = Form { file, observations };
        form.encoding(judgement);
        form.damage(judgement);
        // DER has its readers, and what belongs into a file without a role nobody knows.
        if file.role != Role::Other && file.material.container != Container::Der {
            form.kind(judgement);
        }
    }
}

/// What is wrong with a file that can be read, whatever it is for.
pub(super) fn alone(file: &FileSeen, observations: &Observations, judgement: &mut Judgement) {
    let form = Form { file, observations };
    form.encoding(judgement);
    form.damage(judgement);
    let material = &file.material;
    let shut = match material.keystore {
        Some(_) => form.shut_store(),
        None => material.keys.iter().find_map(|key| form.shut_key(key)),
    };
    if let Some(finding) = shut {
        // That a key is under a password is as it should be.
        let is_kept = finding.cause == Cause::KeyEncrypted;
        judgement.find(if is_kept { finding.note() } else { finding });
    }
    if material.container == Container::Base64
        && let Some(finding) = form.not_pem("x509")
    {
        judgement.find(finding);
    }
    if material.keys.iter().any(|key| !key.is_encrypted()) && material.keystore.is_none() {
        form.permissions(false, judgement);
    }
}

struct Form<'a> {
    file: &'a FileSeen,
    observations: &'a Observations,
}

impl Form<'_> {
    fn fault(&self, cause: Cause, what: &str) -> Finding {
        let (role, path) = (self.file.role, &self.file.path);
        let message = format!("{} {path} {what}", role.called());
        Finding::fault(cause, role.side(), message)
            .with("file", path)
            .with("flag", role.flag())
    }

    fn material(&self) -> &Material {
        &self.file.material
    }

    fn is_readable(&self, judgement: &mut Judgement) -> bool {
        let role = self.file.role;
        let path = quoted(&self.file.path);
        let finding = match &self.file.access {
            Access::Read => return true,
            Access::Empty if role.is_trust() => {
                self.fault(Cause::TrustBundleEmpty, "is empty: it holds no certificate")
            }
            Access::Empty => self.fault(Cause::FileMissing, "is empty"),
            Access::Missing => self.fault(Cause::FileMissing, "does not exist"),
            Access::Directory => self
                .fault(Cause::FileMissing, "is a folder, not a file")
                .with_fix(format!("ls -l {path}")),
            Access::NotAFile => self.fault(Cause::FileMissing, "is no regular file"),
            Access::Denied if role.is_key() => self
                .fault(Cause::KeyPermissions, "cannot be read: permission denied")
                .with_fix(format!("ls -l {path}")),
            Access::Denied => self
                .fault(Cause::FileMissing, "cannot be read: permission denied")
                .with_fix(format!("ls -l {path}")),
            Access::Failed(why) => {
                self.fault(Cause::FileMissing, &format!("cannot be read: {why}"))
            }
        };
        let finding = if role == Role::Other {
            finding.note()
        } else {
            finding
        };
        judgement.find(finding);
        false
    }

    fn encoding(&self, judgement: &mut Judgement) {
        let path = quoted(&self.file.path);
        for oddity in &self.material().oddities {
            let finding = match oddity {
                Oddity::ByteOrderMark => self
                    .fault(
                        Cause::FileEncoding,
                        "has a byte order mark before a BEGIN line, so that it is none",
                    )
                    .with_fix(format!(r"sed -i 's/\xef\xbb\xbf//' {path}")),
                Oddity::Utf16 => self
                    .fault(Cause::FileEncoding, "is UTF-16, two bytes a character")
                    .with_fix(format!("iconv -f UTF-16 -t ASCII {path} > ascii.pem")),
                Oddity::CarriageReturns => self
                    .fault(
                        Cause::FileEncoding,
                        "ends its lines with carriage returns alone, so that all of it is one line",
                    )
                    .with_fix(format!(r"tr '\r' '\n' < {path} > unix.pem")),
                Oddity::NotAscii { block } => self
                    .fault(
                        Cause::FileEncoding,
                        &format!("has characters in block {block} that only look like those of PEM, as word processors and web pages put them"),
                    )
                    .with("block", block)
                    .with_fix(format!("grep -nP '[^\\x00-\\x7F]' {path}")),
                Oddity::BlankLine { block } => self
                    .fault(
                        Cause::FileNotPem,
                        &format!("has an empty line within block {block}, where OpenSSL stops reading"),
                    )
                    .with("block", block)
                    .with_fix(format!("sed -i '/^[[:space:]]*$/d' {path}")),
                Oddity::Mislabelled { block, label } if self.has_use_for_mislabelled() => {
                    let finding = self
                        .fault(
                            Cause::FileNotPem,
                            &format!("has something else in block {block} than its label {label} says, and programs go by the label"),
                        )
                        .with("block", block)
                        .with("label", label);
                    // OpenSSL goes by what a key is; Java, Go and rustls by what it is called.
                    if label.ends_with("PRIVATE KEY") && !self.material().keys.is_empty() {
                        finding.risk()
                    } else {
                        finding
                    }
                }
                Oddity::Glued { block } => self
                    .fault(
                        Cause::PemGlued,
                        &format!(
                            "has the END line of block {} and the BEGIN line of block {block} in one line",
                            block - 1
                        ),
                    )
                    .with("block", block)
                    .with_fix(format!("sed -i 's/-----BEGIN/\\n&/g; s/^\\n//' {path}")),
                Oddity::Escaped => self.fault(
                    Cause::FileNotPem,
                    r"has \n written out where lines should end, as in JSON or an environment file",
                ),
                Oddity::Indented { block } => self
                    .fault(
                        Cause::FileNotPem,
                        &format!("has block {block} indented or behind other text: BEGIN and END must begin their lines"),
                    )
                    .with("block", block)
                    .with_fix(format!("sed -i 's/^[ \\t]*//' {path}")),
                Oddity::OneLine { block } => self
                    .fault(
                        Cause::FileNotPem,
                        &format!("has BEGIN, base64 or END of block {block} on one line: each needs lines of its own"),
                    )
                    .with("block", block),
                Oddity::Cut => self
                    .fault(
                        Cause::CertificateTooLarge,
                        &format!(
                            "is too long to be read whole: its first {} MiB are judged, and of what is in them {MAX_PIECES} pieces at most",
                            MAX_BYTES >> 20
                        ),
                    )
                    .note(),
                Oddity::ByteOrderMarkBeforeText
                | Oddity::CrLf
                | Oddity::Damaged { .. }
                | Oddity::Mislabelled { .. } => continue,
            };
            judgement.find(finding);
        }
    }

    /// Whether a program looks for what stands under a wrong label.
    fn has_use_for_mislabelled(&self) -> bool {
        let material = self.material();
        let role = self.file.role;
        if !role.is_trust() {
            return role != Role::Crl;
        }
        let wrong = material.oddities.iter();
        let wrong = wrong.filter(|it| matches!(it, Oddity::Mislabelled { .. }));
        wrong.count() >= material.certificates.len()
    }

    fn damage(&self, judgement: &mut Judgement) {
        for oddity in &self.material().oddities {
            let Oddity::Damaged { block, label, why } = oddity else {
                continue;
            };
            let is_key = label.ends_with("PRIVATE KEY") || self.file.role.is_key();
            // What frames a block is no certificate's.
            let is_frame = why.contains(" line ") && !why.contains("before its");
            let cause = if is_key || is_frame {
                Cause::FileNotPem
            } else {
                Cause::MalformedCertificate
            };
            let finding = self
                .fault(cause, &format!("has a damaged block {block}: {why}"))
                .with("block", block)
                .with("label", label);
            judgement.find(finding);
        }
    }

    fn kind(&self, judgement: &mut Judgement) {
        let role = self.file.role;
        let finding = match () {
            () if role.is_certificate() => self.certificate(),
            () if role.is_key() => self.key(),
            () if role.is_trust() => self.trust(),
            () => self.list(),
        };
        match finding {
            Some(finding) => judgement.find(finding),
            None if role.is_certificate() => {
                let held = self.material().certificates.len();
                let because = format!("{} holds {held} certificates", self.file.path);
                judgement.rule_out(RuledOut::new(Cause::FileNotPem, because));
            }
            None => {}
        }
    }

    fn has_key_file(&self) -> bool {
        let wanted = match self.file.role {
            Role::ServerCertificate => Role::ServerKey,
            _ => Role::ClientKey,
        };
        let mut others = self.observations.files.iter();
        others.any(|other| other.role == wanted && other.path != self.file.path)
    }

    fn certificate(&self) -> Option<Finding> {
        let material = self.material();
        if material.certificates.is_empty() {
            return self.no_certificate();
        }
        match material.container {
            Container::Pkcs12 | Container::Jks if !self.has_key_file() => {
                self.without_key().or_else(|| self.shut_store())
            }
            _ => self.not_pem("x509"),
        }
    }

    /// What there is instead.
    fn no_certificate(&self) -> Option<Finding> {
        let material = self.material();
        if !material.requests.is_empty() {
            let path = quoted(&self.file.path);
            return Some(
                self.fault(
                    Cause::FileIsCsr,
                    "holds a certificate request, not a certificate",
                )
                .with_fix(format!("openssl req -in {path} -noout -subject")),
            );
        }
        if material.keystore.is_some() {
            return self.shut_store();
        }
        if !material.keys.is_empty() {
            let key_flag = match self.file.role {
                Role::ServerCertificate => "--server-key",
                _ => "--key",
            };
            return Some(
                self.fault(
                    Cause::FilesSwapped,
                    "holds a private key and no certificate",
                )
                .with("other_flag", key_flag),
            );
        }
        if self.is_explained() {
            return None;
        }
        Some(self.fault(
            Cause::FileNotPem,
            &format!("holds no certificate: it is {}", self.contents()),
        ))
    }

    fn key(&self) -> Option<Finding> {
        let material = self.material();
        let Some(key) = material.keys.first() else {
            return self.no_key();
        };
        if let Some(finding) = self.shut_store() {
            return Some(finding);
        }
        if let Some(finding) = self.shut_key(key) {
            return Some(finding);
        }
        if key.format == KeyFormat::OpenSsh {
            return Some(self.fault(
                Cause::FileNotPem,
                "is in OpenSSH's own format, which nothing in TLS reads",
            ));
        }
        self.not_pem("pkey")
    }

    fn no_key(&self) -> Option<Finding> {
        let material = self.material();
        if material.keystore.is_some() {
            return self.shut_store();
        }
        if !material.certificates.is_empty() {
            return Some(self.fault(
                Cause::FilesSwapped,
                "holds a certificate and no private key",
            ));
        }
        if !material.requests.is_empty() {
            return Some(self.fault(
                Cause::FileIsCsr,
                "holds a certificate request and no private key",
            ));
        }
        if self.is_explained() {
            return None;
        }
        Some(self.fault(
            Cause::FileNotPem,
            &format!("holds no private key: it is {}", self.contents()),
        ))
    }

    fn trust(&self) -> Option<Finding> {
        let material = self.material();
        if !material.certificates.is_empty() {
            return match material.container {
                Container::Pkcs12 | Container::Jks => {
                    self.trusts_nobody().or_else(|| self.shut_store())
                }
                _ => self.not_pem("x509"),
            };
        }
        if !material.requests.is_empty() {
            return Some(self.fault(
                Cause::FileIsCsr,
                "holds a certificate request, not a certificate",
            ));
        }
        if material.keystore.is_some() {
            return self.shut_store();
        }
        if self.is_explained() {
            return None;
        }
        Some(self.fault(
            Cause::TrustBundleEmpty,
            &format!("holds no certificate: it is {}", self.contents()),
        ))
    }

    fn list(&self) -> Option<Finding> {
        let material = self.material();
        if !material.lists.is_empty() {
            // Authorities publish them so (RFC 5280 §5); nginx, HAProxy and PostgreSQL want PEM.
            return self.not_pem("crl").map(Finding::risk);
        }
        (!self.is_explained()).then(|| {
            self.fault(
                Cause::CrlMissing,
                &format!("holds no CRL: it is {}", self.contents()),
            )
        })
    }

    fn not_pem(&self, command: &str) -> Option<Finding> {
        let material = self.material();
        let path = quoted(&self.file.path);
        let fix = match material.container {
            Container::Der => {
                format!("openssl {command} -inform DER -in {path} -out converted.pem")
            }
            Container::Base64 => {
                format!("base64 -d {path} | openssl {command} -inform DER -out converted.pem")
            }
            Container::Pkcs7 => {
                format!("openssl pkcs7 -inform DER -in {path} -print_certs -out converted.pem")
            }
            Container::Pkcs12 => format!("openssl pkcs12 -in {path} -nodes -out converted.pem"),
            Container::Jks => format!(
                "keytool -importkeystore -srckeystore {path} -destkeystore converted.p12 -deststoretype PKCS12"
            ),
            Container::Pem if self.is_pkcs7_alone() => {
                format!("openssl pkcs7 -in {path} -print_certs -out converted.pem")
            }
            _ => return None,
        };
        let kind = match material.container {
            Container::Pem => "PKCS#7",
            other => other.as_str(),
        };
        Some(
            self.fault(
                Cause::FileNotPem,
                &format!("is {kind} where PEM is expected"),
            )
            .with("is", kind)
            .with_fix(fix),
        )
    }

    /// Certificates of a PEM file, none of which has a block of its own.
    fn is_pkcs7_alone(&self) -> bool {
        self.material().is_pkcs7_alone()
    }

    /// Whether encoding or damage say already why there is nothing in it.
    fn is_explained(&self) -> bool {
        self.material()
            .oddities
            .iter()
            .any(|oddity| !matches!(oddity, Oddity::CrLf | Oddity::ByteOrderMarkBeforeText))
    }

    fn contents(&self) -> String {
        let material = self.material();
        match material.others.first() {
            Some(other) => format!("PEM of {}", other.label),
            None if !material.lists.is_empty() => "a CRL".to_owned(),
            None => material.container.as_str().to_owned(),
        }
    }

    fn permissions(&self, asks_libpq: bool, judgement: &mut Judgement) {
        let Some(mode) = self.file.mode else { return };
        let bits = mode & 0o777;
        let path = quoted(&self.file.path);
        let about = |finding: Finding| {
            finding
                .with("mode", format_args!("{bits:04o}"))
                .with_fix(format!("chmod 600 {path}"))
        };
        if bits & 0o400 == 0 {
            judgement.find(about(self.fault(
                Cause::KeyPermissions,
                &format!("cannot be read by its own user (mode {bits:04o})"),
            )));
        } else if asks_libpq && bits & 0o077 != 0 && self.file.role == Role::ClientKey {
            judgement.find(about(self.fault(
                Cause::KeyPermissions,
                &format!("can be read by others (mode {bits:04o}), which libpq refuses"),
            )));
        } else if bits & 0o007 != 0 {
            judgement.find(about(
                self.fault(
                    Cause::KeyPermissions,
                    &format!("can be read by everybody on this machine (mode {bits:04o})"),
                )
                .risk(),
            ));
        } else {
            let because = format!("{} has mode {bits:04o}", self.file.path);
            judgement.rule_out(RuledOut::new(Cause::KeyPermissions, because));
        }
    }
}
