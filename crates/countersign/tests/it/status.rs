//! What OpenSSL and nginx make of OCSP responses and CRLs as `pki` writes them, and `pki` of their requests.

mod crl;
mod ocsp;
mod stapling;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::Uri;
use countersign_pki::pem;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, ToBeSigned, Usage};
use countersign_pki::time::UnixTime;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use tempfile::TempDir;

use crate::installation::Answer;

const ECDSA: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const DAY: Duration = Duration::from_hours(24);

/// A CA whose key the test holds, and a folder for what OpenSSL reads.
struct Ca {
    folder: TempDir,
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate of the CA in a file.
struct Holder {
    certificate: Certificate,
    key: KeyPair,
    file: PathBuf,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let root = template(
            "CN=Status Root",
            &key,
            1,
            Usage::Authority { path_len: None },
        );
        let root = Template {
            not_before: now().minus(3 * DAY),
            not_after: now().plus(30 * DAY),
            ..root
        };
        let certificate = signed(&root.to_be_self_signed(ECDSA).expect("encodes"), &key);
        let ca = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            certificate,
            key,
        };
        ca.write_pem("ca.pem", "CERTIFICATE", ca.certificate.der());
        ca
    }

    /// The CA's certificate in PEM.
    fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the folder is writable");
        path
    }

    fn write_pem(&self, name: &str, label: &str, der: &[u8]) -> PathBuf {
        self.write(name, pem::encode(label, der).as_bytes())
    }

    /// A leaf with this serial number, whose CRL is at `crl`.
    fn leaf(&self, number: u8, crl: Option<&str>) -> Holder {
        let sources = StatusSources {
            crl: crl.map(uri),
            ..StatusSources::default()
        };
        let usage = Usage::Leaf {
            server_auth: true,
            client_auth: true,
        };
        self.holder(&format!("CN=leaf {number}"), number, usage, sources)
    }

    fn responder(&self) -> Holder {
        self.holder(
            "CN=OCSP responder",
            200,
            Usage::OcspResponder,
            StatusSources::default(),
        )
    }

    fn holder(&self, subject: &str, number: u8, usage: Usage, sources: StatusSources) -> Holder {
        let key = KeyPair::generate().expect("a key");
        let template = Template {
            status_sources: sources,
            extra_extensions: Vec::new(),
            ..template(subject, &key, number, usage)
        };
        let to_be_signed = template
            .to_be_signed(&self.certificate, ECDSA)
            .expect("encodes");
        let certificate = signed(&to_be_signed, &self.key);
        let file = self.write_pem(&format!("{number}.pem"), "CERTIFICATE", certificate.der());
        Holder {
            certificate,
            key,
            file,
        }
    }
}

impl Holder {
    fn key_file(&self) -> PathBuf {
        let file = self.file.with_extension("key");
        fs::write(&file, self.key.serialize_pem()).expect("the folder is writable");
        file
    }
}

fn template(subject: &str, key: &KeyPair, number: u8, usage: Usage) -> Template {
    Template {
        subject: DistinguishedName::parse(subject).expect("a name of the test"),
        subject_alt_names: Vec::new(),
        spki_der: key.subject_public_key_info(),
        not_before: now().minus(2 * DAY),
        not_after: now().plus(20 * DAY),
        serial: SerialNumber::from_random([number; 20]),
        usage,
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    }
}

fn signed(to_be_signed: &ToBeSigned, key: &KeyPair) -> Certificate {
    let signature = key.sign(to_be_signed.bytes()).expect("a signature");
    Certificate::parse(&to_be_signed.complete(&signature)).expect("what was built decodes")
}

fn uri(text: &str) -> Uri {
    Uri::parse(text).expect("a URI of the test")
}

fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    UnixTime::from_seconds(since.as_secs())
}

fn run(openssl: &Path, arguments: &[&str]) -> Answer {
    Answer::of(Command::new(openssl).args(arguments))
}
