//! A folder in which OpenSSL makes what people have: CAs, certificates, keys, lists, right and wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::installation::countersign;
use crate::json::array;

/// Extensions of a CA.
pub(crate) const CA: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
/// Extensions of a client.
pub(crate) const CLIENT: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.example\n";
/// Extensions of a server.
pub(crate) const SERVER: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:api.example,DNS:*.w.example,IP:10.0.0.1,IP:::1\n";

/// The folder, gone with the value, with a root `root`, an intermediate `inter` below it, another root `other`, a client and a server of
/// the root (`client`, `server`), and a client of the intermediate (`leaf`, with its chain in `chain.pem`).
pub(crate) struct Workshop {
    folder: TempDir,
    openssl: PathBuf,
}

impl Workshop {
    pub(crate) fn new(openssl: PathBuf) -> Self {
        let workshop = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            openssl,
        };
        workshop.root("root", "/O=Acme/CN=Acme Root CA");
        workshop.root("other", "/O=Partner/CN=Partner CA");
        workshop.issue("inter", "/O=Acme/CN=Acme Issuing CA", "root", CA);
        workshop.issue("client", "/O=Acme/CN=client", "root", CLIENT);
        workshop.issue("server", "/O=Acme/CN=api.example", "root", SERVER);
        workshop.issue("leaf", "/O=Acme/CN=client", "inter", CLIENT);
        workshop.join(&["leaf.pem", "inter.pem"], "chain.pem");
        workshop
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `openssl WORDS`, which must succeed.
    #[track_caller]
    pub(crate) fn openssl(&self, line: &str) {
        self.openssl_words(&line.split_whitespace().collect::<Vec<_>>());
    }

    #[track_caller]
    pub(crate) fn openssl_words(&self, words: &[&str]) {
        let output = Command::new(&self.openssl)
            .args(words)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words:?}: {said}");
    }

    /// A self-signed CA.
    pub(crate) fn root(&self, name: &str, subject: &str) {
        let usage = "keyUsage=critical,keyCertSign,cRLSign";
        self.self_signed(
            name,
            subject,
            "ec:P-256",
            &["basicConstraints=critical,CA:TRUE", usage],
        );
    }

    pub(crate) fn self_signed(&self, name: &str, subject: &str, key: &str, extensions: &[&str]) {
        self.key(name, key);
        let (key, out) = (format!("{name}.key"), format!("{name}.pem"));
        let mut words = vec![
            "req", "-x509", "-key", &key, "-out", &out, "-days", "3000", "-subj", subject,
        ];
        for extension in extensions {
            words.extend(["-addext", extension]);
        }
        self.openssl_words(&words);
    }

    /// A new key in PKCS#8: `ec:P-256`, `rsa:1024`.
    pub(crate) fn key(&self, name: &str, kind: &str) {
        let (algorithm, size) = kind.split_once(':').expect("a kind and a size");
        let option = match algorithm {
            "rsa" => format!("RSA -pkeyopt rsa_keygen_bits:{size}"),
            _ => format!("EC -pkeyopt ec_paramgen_curve:{size}"),
        };
        self.openssl(&format!("genpkey -algorithm {option} -out {name}.key"));
    }

    /// A certificate with a new key on P-256.
    pub(crate) fn issue(&self, name: &str, subject: &str, issuer: &str, extensions: &str) {
        self.key(name, "ec:P-256");
        self.certify(name, subject, issuer, extensions, "-days 365");
    }

    /// A certificate of a key that is there.
    pub(crate) fn certify(
        &self,
        name: &str,
        subject: &str,
        issuer: &str,
        extensions: &str,
        options: &str,
    ) {
        self.request(name, subject);
        let mut line = format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -out {name}.pem {options}"
        );
        if !extensions.is_empty() {
            let identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
            self.write(&format!("{name}.ext"), format!("{extensions}{identifiers}"));
            line = format!("{line} -extfile {name}.ext");
        }
        self.openssl(&line);
    }

    fn request(&self, name: &str, subject: &str) {
        let (key, out) = (format!("{name}.key"), format!("{name}.csr"));
        self.openssl_words(&["req", "-new", "-key", &key, "-subj", subject, "-out", &out]);
    }

    /// A certificate of these times (`YYYYMMDDHHMMSSZ`).
    pub(crate) fn dated(
        &self,
        name: &str,
        subject: &str,
        issuer: &str,
        section: &str,
        times: (&str, &str),
    ) {
        self.key(name, "ec:P-256");
        self.request(name, subject);
        self.authority();
        let signer = if issuer == name {
            format!("-selfsign -keyfile {name}.key")
        } else {
            format!("-cert {issuer}.pem -keyfile {issuer}.key")
        };
        let (start, end) = times;
        self.openssl(&format!(
            "ca -batch -config ca.cnf {signer} -in {name}.csr -out {name}.pem -notext -extensions {section} -startdate {start} -enddate {end}"
        ));
    }

    /// A CRL of `issuer`; `revoked` is a certificate of it.
    pub(crate) fn list(&self, name: &str, issuer: &str, revoked: Option<&str>, options: &str) {
        self.authority();
        self.write("index.txt", "");
        let signer = format!("-config ca.cnf -cert {issuer}.pem -keyfile {issuer}.key");
        if let Some(revoked) = revoked {
            self.openssl(&format!("ca {signer} -revoke {revoked}.pem"));
        }
        self.openssl(&format!("ca {signer} -gencrl -out {name} {options}"));
    }

    fn authority(&self) {
        if !self.path().join("ca.cnf").exists() {
            self.write("ca.cnf", AUTHORITY);
            self.write("index.txt", "");
            self.write("serial", "1000\n");
            self.write("crlnumber", "01\n");
        }
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), contents).expect("the folder is writable");
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).expect("a file that was made")
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).expect("PEM")
    }

    /// One file after the other.
    pub(crate) fn join(&self, names: &[&str], out: &str) {
        let all: Vec<Vec<u8>> = names.iter().map(|name| self.bytes(name)).collect();
        self.write(out, all.concat());
    }

    /// What the doctor says of these arguments.
    #[track_caller]
    pub(crate) fn answer(&self, line: &[&str]) -> (Option<i32>, Value) {
        let answer = countersign(self.path(), &[&["doctor", "--json"], line].concat());
        let value = serde_json::from_str(&answer.stdout);
        (
            answer.code,
            value.unwrap_or_else(|_| panic!("{line:?}: {answer:#?}")),
        )
    }

    /// The root cause is `cause`, as a fault.
    #[track_caller]
    pub(crate) fn fault(&self, line: &str, cause: &str) {
        self.fault_of(&line.split_whitespace().collect::<Vec<_>>(), cause);
    }

    #[track_caller]
    pub(crate) fn fault_of(&self, line: &[&str], cause: &str) {
        let (code, answer) = self.answer(line);
        let first = &answer["findings"][0];
        let told = (
            code,
            first["cause"].as_str(),
            first["severity"].as_str(),
            answer["healthy"].as_bool(),
        );
        assert_eq!(
            told,
            (Some(1), Some(cause), Some("fault"), Some(false)),
            "{line:?}: {answer:#}"
        );
        assert!(
            array(&first["fix"]).iter().all(Value::is_string),
            "{answer:#}"
        );
        assert!(!first["message"].as_str().expect("a sentence").is_empty());
    }

    /// No fault; whatever else is there to know is `risks`.
    #[track_caller]
    pub(crate) fn healthy(&self, line: &str) {
        self.healthy_of(&line.split_whitespace().collect::<Vec<_>>());
    }

    #[track_caller]
    pub(crate) fn healthy_of(&self, line: &[&str]) {
        let (code, answer) = self.answer(line);
        assert_eq!(
            (code, answer["healthy"].as_bool()),
            (Some(0), Some(true)),
            "{line:?}: {answer:#}"
        );
    }

    /// No fault, and `cause` as a risk.
    #[track_caller]
    pub(crate) fn risk(&self, line: &str, cause: &str) {
        self.sound(line, cause, "risk");
    }

    /// No fault, and `cause` as a note.
    #[track_caller]
    pub(crate) fn note(&self, line: &str, cause: &str) {
        self.sound(line, cause, "note");
    }

    #[track_caller]
    fn sound(&self, line: &str, cause: &str, severity: &str) {
        let line: Vec<_> = line.split_whitespace().collect();
        let (code, answer) = self.answer(&line);
        let first = &answer["findings"][0];
        let told = (code, first["cause"].as_str(), first["severity"].as_str());
        assert_eq!(
            told,
            (Some(0), Some(cause), Some(severity)),
            "{line:?}: {answer:#}"
        );
    }
}

const AUTHORITY: &str = "\
[ca]
default_ca = one
[one]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
organizationName = optional
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";
