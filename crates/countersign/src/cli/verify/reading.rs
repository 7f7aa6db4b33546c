//! The files that a chain is verified from, read as the doctor reads them.

use std::path::Path;

use countersign_diagnose::doctor::file::Role;
use countersign_diagnose::doctor::{FileSeen, Observations, Question, objections_to_form};
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::Purpose;
use countersign_pki::material::{Lock, Material, Oddity};
use countersign_pki::password::Password;
use countersign_pki::time::UnixTime;

use crate::certificate_file::{self, fault};
use crate::fault::Fault;
use crate::password::PasswordSource;

/// Reads files, and remembers what their reader must know of them.
pub(super) struct Reader {
    /// What programs that are stricter would refuse.
    pub(super) notes: Vec<String>,
    purpose: Purpose,
    now: UnixTime,
    source: PasswordSource,
    password: Option<Password>,
}

/// What becomes of a file of which only a part can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Incomplete {
    /// Less is trusted, or known, for it: the rest is used.
    Used,
    /// Another certificate would be judged than is meant, or a revocation be missed.
    Refused,
}

impl Reader {
    pub(super) fn new(
        purpose: Purpose,
        password_file: Option<&Path>,
        now: UnixTime,
    ) -> Result<Self, Fault> {
        let source = PasswordSource::of(password_file);
        let password = password_file.map(|file| source.get(file)).transpose()?;
        Ok(Self {
            notes: Vec::new(),
            purpose,
            now,
            source,
            password,
        })
    }

    /// Every certificate of a file that is trusted.
    pub(super) fn anchors(&mut self, path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
        let role = match self.purpose {
            Purpose::ClientAuth => Role::ClientCa,
            Purpose::ServerAuth => Role::Ca,
        };
        let file = self.read(path, role, Incomplete::Used)?;
        Ok(certificates(&file.material))
    }

    /// The certificate that is judged, then those that were sent along.
    pub(super) fn chain(&mut self, path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
        let role = match self.purpose {
            Purpose::ClientAuth => Role::ClientCertificate,
            Purpose::ServerAuth => Role::ServerCertificate,
        };
        let file = self.read(path, role, Incomplete::Refused)?;
        let mut chain = certificates(&file.material);
        // A keystore has no order: its key says which certificate is meant.
        if file.material.keystore.is_some() {
            let key = file.material.keys.iter().find_map(|key| key.spki);
            let mut pieces = file.material.certificates.iter();
            let of_key = pieces.position(|piece| {
                key.is_some() && piece.certificate().map(Certificate::spki) == key
            });
            if let Some(at) = of_key {
                chain[..=at].rotate_right(1);
            }
        }
        Ok(chain)
    }

    /// Further intermediates.
    pub(super) fn untrusted(&mut self, path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
        let file = self.read(path, Role::Other, Incomplete::Used)?;
        Ok(certificates(&file.material))
    }

    /// Every CRL of a file.
    pub(super) fn lists(&mut self, path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
        let file = self.read(path, Role::Crl, Incomplete::Refused)?;
        let lists = file.material.lists.iter();
        Ok(lists.map(|piece| piece.der.clone()).collect())
    }

    /// A file that holds something of what its role wants.
    fn read(&mut self, path: &Path, role: Role, incomplete: Incomplete) -> Result<FileSeen, Fault> {
        let bytes = certificate_file::bytes(path)
            .map_err(|fault| fault.or_hint("name a file that can be read"))?;
        let mut material = Material::read(&bytes, self.passwords());
        let is_shut = material.keystore == Some(Lock::NeedsPassword);
        if is_shut && material.certificates.is_empty() && self.password.is_none() {
            self.password = Some(self.source.get(path)?);
            material = Material::read(&bytes, self.passwords());
        }
        let file = FileSeen::read(role, path.to_string_lossy(), material);
        let observations = Observations {
            now: self.now,
            question: Question::default(),
            files: vec![file.clone()],
            target: None,
            logs: Vec::new(),
            sources: None,
        };
        let objections = objections_to_form(&observations);
        let material = &file.material;
        let is_empty = match role {
            Role::Crl => material.lists.is_empty(),
            _ => material.certificates.is_empty(),
        };
        let is_partial = material
            .oddities
            .iter()
            .any(|it| matches!(it, Oddity::Cut | Oddity::Damaged { .. }));
        if is_empty || (is_partial && incomplete == Incomplete::Refused) {
            let why = objections.first().map_or_else(
                || {
                    let container = material.container.as_str();
                    fault(
                        path,
                        &format_args!("the file holds no certificate: it is {container}"),
                    )
                },
                |it| Fault::configuration(format_args!("{} ({})", it.message(), it.cause)),
            );
            return Err(why.hint("`countersign inspect FILE` shows what is in a file"));
        }
        let noted = objections.iter().map(|it| {
            let (message, cause) = (it.message(), it.cause);
            format!("note: {message}, which is read here and refused elsewhere ({cause})")
        });
        self.notes.extend(noted);
        Ok(file)
    }

    fn passwords(&self) -> &[Password] {
        self.password.as_slice()
    }
}

fn certificates(material: &Material) -> Vec<Vec<u8>> {
    let pieces = material.certificates.iter();
    pieces.map(|piece| piece.der.clone()).collect()
}
