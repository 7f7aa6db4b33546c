//! A CA as people have it: made and run with the openssl command, its files in one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installation::{Answer, Installation, text};
use crate::peers::peer;

/// Root and issuing CA in a folder of their own beside the state.
pub(super) struct OpensslCa {
    openssl: PathBuf,
    pub(super) folder: PathBuf,
}

pub(super) const P256: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(super) const P384: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub(super) const P521: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
pub(super) const ED25519: &[&str] = &["ED25519"];
pub(super) const RSA1024: &[&str] = &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
pub(super) const RSA2048: &[&str] = &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub(super) const RSA4096: &[&str] = &["RSA", "-pkeyopt", "rsa_keygen_bits:4096"];

impl OpensslCa {
    /// The tools alone; `None`: there is no openssl here.
    pub(super) fn bare(test: &str, installation: &Installation) -> Option<Self> {
        let openssl = peer(test, "openssl")?;
        let folder = installation.path("old");
        fs::create_dir(&folder).expect("a new folder");
        fs::create_dir(folder.join("newcerts")).expect("a new folder");
        let ca = Self { openssl, folder };
        ca.write("openssl.cnf", CONFIGURATION);
        ca.write("index.txt", "");
        ca.write("serial", "1000\n");
        ca.write("crlnumber", "2A\n");
        Some(ca)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path of a file, as an argument.
    pub(super) fn file(&self, name: &str) -> String {
        text(&self.path(name)).to_owned()
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("writable");
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Answer {
        let mut command = Command::new(&self.openssl);
        Answer::of(command.args(arguments).current_dir(&self.folder))
    }

    #[track_caller]
    pub(super) fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, Some(0), "openssl {arguments:?}: {answer:#?}");
        answer.stdout
    }

    pub(super) fn key(&self, name: &str, kind: &[&str]) {
        let file = format!("{name}.key");
        self.ok(&[&["genpkey", "-out", &file, "-algorithm"], kind].concat());
    }

    /// `NAME.pem`, signed by its own key, with a section of the configuration.
    pub(super) fn root(&self, name: &str, kind: &[&str], extensions: &str) {
        self.root_with(name, kind, extensions, &[]);
    }

    pub(super) fn root_with(&self, name: &str, kind: &[&str], extensions: &str, options: &[&str]) {
        self.key(name, kind);
        let (key, out) = (format!("{name}.key"), format!("{name}.pem"));
        let fixed = [
            "req",
            "-x509",
            "-new",
            "-config",
            "openssl.cnf",
            "-extensions",
            extensions,
            "-key",
            &key,
            "-subj",
            "/O=Old Corp/CN=Old Root",
            "-days",
            "3650",
            "-out",
            &out,
        ];
        self.ok(&[&fixed, options].concat());
    }

    /// `NAME.pem` with a new key, signed by `above`.
    pub(super) fn issued(
        &self,
        name: &str,
        kind: &[&str],
        above: &str,
        extensions: &str,
        subject: &str,
    ) {
        self.issued_with(name, kind, above, extensions, subject, &["-days", "1800"]);
    }

    pub(super) fn issued_with(
        &self,
        name: &str,
        kind: &[&str],
        above: &str,
        extensions: &str,
        subject: &str,
        options: &[&str],
    ) {
        self.key(name, kind);
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        self.ok(&[
            "req",
            "-new",
            "-config",
            "openssl.cnf",
            "-key",
            &key,
            "-subj",
            subject,
            "-out",
            &csr,
        ]);
        self.sign(&csr, name, above, extensions, options);
    }

    /// `NAME.pem` for a request, signed by `above`.
    pub(super) fn sign(
        &self,
        csr: &str,
        name: &str,
        above: &str,
        extensions: &str,
        options: &[&str],
    ) {
        let (ca, key) = (format!("{above}.pem"), format!("{above}.key"));
        let out = format!("{name}.pem");
        let fixed = [
            "x509",
            "-req",
            "-in",
            csr,
            "-CA",
            &ca,
            "-CAkey",
            &key,
            "-extfile",
            "openssl.cnf",
            "-extensions",
            extensions,
            "-out",
            &out,
        ];
        self.ok(&[&fixed, options].concat());
    }

    /// `int.pem` with times of its own, for the request that there is.
    pub(super) fn dated(&self, from: &str, to: &str) {
        self.redated("int", "sub", [from, to]);
    }

    /// `NAME.pem` of the root, with times of its own and a section of the configuration, for the request that there is.
    pub(super) fn redated(&self, name: &str, extensions: &str, [from, to]: [&str; 2]) {
        let (csr, out) = (format!("{name}.csr"), format!("{name}.pem"));
        self.ok(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "openssl.cnf",
            "-cert",
            "root.pem",
            "-keyfile",
            "root.key",
            "-extensions",
            extensions,
            "-startdate",
            from,
            "-enddate",
            to,
            "-in",
            &csr,
            "-out",
            &out,
        ]);
    }

    /// The serial number in `NAME.pem`, as openssl writes it.
    pub(super) fn serial(&self, name: &str) -> String {
        let serial = self.ok(&["x509", "-in", &format!("{name}.pem"), "-noout", "-serial"]);
        serial.trim().trim_start_matches("serial=").to_owned()
    }

    /// A client certificate by `openssl ca`, which enters it into `newcerts` and `index.txt`.
    pub(super) fn client(&self, name: &str) {
        self.key(name, P256);
        let (key, csr, out) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.pem"),
        );
        let subject = format!("/CN={name}");
        self.ok(&[
            "req",
            "-new",
            "-config",
            "openssl.cnf",
            "-key",
            &key,
            "-subj",
            &subject,
            "-out",
            &csr,
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
            &out,
        ]);
    }

    pub(super) fn revoke(&self, name: &str) {
        let file = format!("{name}.pem");
        self.ok(&[
            "ca",
            "-config",
            "openssl.cnf",
            "-revoke",
            &file,
            "-crl_reason",
            "keyCompromise",
        ]);
    }

    /// A CRL of the CA called `ca` into `out`; `int` is the one whose database there is.
    pub(super) fn crl(&self, ca: &str, out: &str) {
        self.crl_with(ca, out, &[]);
    }

    /// The same with a thisUpdate and a nextUpdate of its own.
    pub(super) fn dated_crl(&self, ca: &str, out: &str, [from, to]: [&str; 2]) {
        self.crl_with(ca, out, &["-crl_lastupdate", from, "-crl_nextupdate", to]);
    }

    pub(super) fn crl_with(&self, ca: &str, out: &str, options: &[&str]) {
        let (certificate, key) = (format!("{ca}.pem"), format!("{ca}.key"));
        let fixed = [
            "ca",
            "-gencrl",
            "-config",
            "openssl.cnf",
            "-cert",
            &certificate,
            "-keyfile",
            &key,
            "-out",
            out,
        ];
        self.ok(&[&fixed, options].concat());
    }

    /// A CRL of a CA that has a database of its own, in which nothing is revoked.
    pub(super) fn empty_crl(&self, ca: &str, out: &str) {
        let index = fs::read_to_string(self.path("index.txt")).expect("readable");
        self.write("index.txt", "");
        self.crl(ca, out);
        self.write("index.txt", &index);
    }

    /// `openssl verify` with whatever else; its answer.
    pub(super) fn verify(&self, root: &Path, lists: &Path, chain: &Path) -> Answer {
        self.run(&[
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CAfile",
            text(root),
            "-CRLfile",
            text(lists),
            "-untrusted",
            text(chain),
            text(chain),
        ])
    }
}

const CONFIGURATION: &str = "
[req]
distinguished_name = dn
prompt = no
[dn]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[root_only]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[policy]
basicConstraints = critical,CA:TRUE,pathlen:1
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[sub]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[lax_root]
basicConstraints = CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[no_usage_root]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
[lax]
basicConstraints = CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[no_usage]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[no_subject_key]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = none
authorityKeyIdentifier = keyid
[no_authority_key]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = none
[no_cert_sign]
basicConstraints = critical,CA:TRUE
keyUsage = critical,cRLSign,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[no_crl_sign]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[unknown_critical]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
1.2.3.4.5 = critical,ASN1:NULL
[constrained]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
nameConstraints = critical,permitted;DNS:corp.example,excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ca]
default_ca = authority
[authority]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = newcerts
certificate = int.pem
private_key = int.key
default_md = default
default_days = 90
default_crl_days = 30
unique_subject = no
policy = anything
x509_extensions = client
crl_extensions = crl
[anything]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[crl_of_users]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical,@users
[users]
onlyuser = TRUE
";
