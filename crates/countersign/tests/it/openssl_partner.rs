//! A partner with a CA of its own, run with `openssl ca` as its manual has it: certificates, revocations, lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::pki::TestIdentity;
use tempfile::TempDir;

use crate::installation::{Answer, text};

/// A root that issues clients itself.
pub(crate) struct Partner {
    openssl: PathBuf,
    folder: TempDir,
}

impl Partner {
    /// `subject` such as `/CN=Acme CA`.
    pub(crate) fn new(openssl: &Path, subject: &str) -> Self {
        let partner = Self {
            openssl: openssl.to_owned(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        fs::write(partner.path("index.txt"), "").expect("writable");
        fs::write(partner.path("serial"), "1001\n").expect("writable");
        fs::write(partner.path("crlnumber"), "1001\n").expect("writable");
        partner.configure("");
        partner.ok(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "365",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            subject,
            "-config",
            "openssl.cnf",
            "-extensions",
            "root",
        ]);
        partner
    }

    /// A CA below this one, which keeps its certificate as `NAME.pem`, `name` being how it is called.
    pub(crate) fn below(&self, name: &str) -> Self {
        let below = Self::new(&self.openssl, &format!("/CN={name}"));
        let (csr, pem) = (format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let key = below.path("ca.key");
        self.ok(&[
            "req",
            "-new",
            "-key",
            text(&key),
            "-config",
            "openssl.cnf",
            "-out",
            &csr,
            "-subj",
            &subject,
        ]);
        self.ok(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "openssl.cnf",
            "-extensions",
            "root",
            "-in",
            &csr,
            "-out",
            &pem,
        ]);
        fs::copy(self.path(&pem), below.path("ca.pem")).expect("writable");
        below
    }

    /// `list`: lines of the section that says what lists have in them.
    pub(crate) fn configure(&self, list: &str) {
        let crlnumber = if list.contains("without-number") {
            ""
        } else {
            "crlnumber = crlnumber\n"
        };
        let list = list.replace("without-number", "");
        let text = format!(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nserial = serial\n{crlnumber}new_certs_dir = .\n\
             certificate = ca.pem\nprivate_key = ca.key\ndefault_md = sha256\ndefault_days = 30\ndefault_crl_days = 7\n\
             policy = any\nx509_extensions = client\nunique_subject = no\ncrl_extensions = list\n\
             [any]\ncommonName = supplied\n\
             [client]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = clientAuth\n\
             authorityKeyIdentifier = keyid\n\
             [root]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n\
             [req]\ndistinguished_name = dn\n[dn]\n\
             [list]\nauthorityKeyIdentifier = keyid\n{list}\n"
        );
        fs::write(self.path("openssl.cnf"), text).expect("writable");
    }

    /// A client certificate.
    pub(crate) fn issue(&self, name: &str) -> TestIdentity {
        let (key, csr, pem) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.pem"),
        );
        let subject = format!("/CN={name}");
        self.ok(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-config",
            "openssl.cnf",
            "-keyout",
            &key,
            "-out",
            &csr,
            "-subj",
            &subject,
        ]);
        self.ok(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "openssl.cnf",
            "-in",
            &csr,
            "-out",
            &pem,
        ]);
        TestIdentity::read(&self.path(&pem), &self.path(&key))
    }

    /// It stands on the lists to come.
    pub(crate) fn revoke(&self, name: &str) {
        let pem = format!("{name}.pem");
        self.ok(&["ca", "-config", "openssl.cnf", "-revoke", &pem]);
    }

    /// The next list, in PEM.
    pub(crate) fn list(&self, options: &[&str]) -> String {
        let fixed = [
            "ca",
            "-config",
            "openssl.cnf",
            "-gencrl",
            "-out",
            "list.pem",
        ];
        self.ok(&[&fixed, options].concat());
        fs::read_to_string(self.path("list.pem")).expect("a list")
    }

    /// The next list, in DER.
    pub(crate) fn list_der(&self) -> Vec<u8> {
        self.list(&[]);
        self.ok(&[
            "crl", "-in", "list.pem", "-outform", "DER", "-out", "list.der",
        ]);
        fs::read(self.path("list.der")).expect("a list")
    }

    /// Its certificate, in PEM.
    pub(crate) fn root(&self) -> String {
        fs::read_to_string(self.path("ca.pem")).expect("a root")
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.openssl);
        let answer = Answer::of(
            command
                .args(arguments)
                .current_dir(text(self.folder.path())),
        );
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:#?}");
    }
}
