//! What every test of adoption begins with: a CA as openssl makes one, beside a state folder that has no authority yet.

use std::fs;
use std::process::Command;

use countersign_testkit::process::Process;
use serde_json::Value;

use super::openssl_ca::{OpensslCa, P256};
use crate::installation::{Answer, Installation, text};

/// A listener that admits everybody whom the authority vouches for.
pub(super) const GATEWAY: &str = "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n\
    [[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
    [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n";

/// The algorithms of a root's and an issuing CA's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kinds {
    pub(super) root: &'static [&'static str],
    pub(super) issuing: &'static [&'static str],
}

impl Kinds {
    pub(super) const P256: Self = Self {
        root: P256,
        issuing: P256,
    };
}

/// The subject of `int.pem`.
pub(super) const ISSUING: &str = "/O=Old Corp/CN=Old Issuing CA";

/// Said of a CA of which no list is given.
pub(super) const NOTHING_REVOKED: &str = "--nothing-revoked";

/// A CA of openssl, and whoever is to adopt it.
pub(super) struct Scene {
    pub(super) installation: Installation,
    pub(super) ca: OpensslCa,
}

impl Scene {
    /// The tools alone; `None`: there is no openssl here.
    pub(super) fn bare(test: &str) -> Option<Self> {
        Self::beside(test, Installation::empty())
    }

    /// The tools beside a state folder that is as it is.
    pub(super) fn beside(test: &str, installation: Installation) -> Option<Self> {
        let ca = OpensslCa::bare(test, &installation)?;
        Some(Self { installation, ca })
    }

    /// `root.pem`, `root.key`.
    pub(super) fn of_root(test: &str, kind: &[&str]) -> Option<Self> {
        let scene = Self::bare(test)?;
        scene.ca.root("root", kind, "root");
        Some(scene)
    }

    /// `root.pem`, `root.key`, `int.pem`, `int.key`.
    pub(super) fn new(test: &str, kinds: Kinds) -> Option<Self> {
        let scene = Self::of_root(test, kinds.root)?;
        scene
            .ca
            .issued("int", kinds.issuing, "root", "sub", ISSUING);
        Some(scene)
    }

    /// `ca adopt` with these arguments alone.
    pub(super) fn adopt(&self, arguments: &[&str]) -> Answer {
        self.installation
            .run(&[&["ca", "adopt"], arguments].concat())
    }

    /// `ca adopt` of `int.pem`, `int.key` and `root.pem`, with whatever else.
    pub(super) fn adopt_issuing(&self, further: &[&str]) -> Answer {
        let [int, key, root] = ["int.pem", "int.key", "root.pem"].map(|name| self.ca.file(name));
        let fixed = ["--intermediate", &int, "--key", &key, "--root", &root];
        self.adopt(&[&fixed, further].concat())
    }

    /// The same, which goes well; what it says.
    #[track_caller]
    pub(super) fn adopted(&self, further: &[&str]) -> Value {
        let answer = self.adopt_issuing(&[further, &["--json"]].concat());
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        serde_json::from_str(&answer.stdout).expect("JSON")
    }

    /// The same, refused with these words; nothing is in place then.
    #[track_caller]
    pub(super) fn refused(&self, further: &[&str], words: &[&str]) {
        self.assert_refused(&self.adopt_issuing(further), words);
    }

    /// Refused with these words, and nothing is in place.
    #[track_caller]
    pub(super) fn assert_refused(&self, answer: &Answer, words: &[&str]) {
        answer.assert_fault(2, words);
        assert!(!self.installation.state().join("format").exists());
    }

    pub(super) fn import(&self, list: &str) -> Answer {
        let list = self.ca.file(list);
        self.installation.run(&["ca", "crl", "import", &list])
    }

    /// Every list there is, in one file: its path.
    pub(super) fn lists(&self) -> std::path::PathBuf {
        let lists = self.installation.path("all.crl");
        self.installation.ok(&["ca", "crl", "--out", text(&lists)]);
        lists
    }

    /// What openssl makes of a chain, by the root and the lists of the authority as they are now.
    pub(super) fn verify(&self, chain: &std::path::Path) -> Answer {
        let root = self.installation.state().join("ca.pem");
        self.ca.verify(&root, &self.lists(), chain)
    }

    #[track_caller]
    pub(super) fn assert_verifies(&self, chain: &std::path::Path) {
        let verified = self.verify(chain);
        assert_eq!(verified.code, Some(0), "{verified:#?}");
    }

    #[track_caller]
    pub(super) fn assert_revoked(&self, chain: &std::path::Path) {
        let verified = self.verify(chain);
        assert!(
            verified.all().contains("certificate revoked"),
            "{verified:#?}"
        );
    }

    /// Leaf, then what stands above it, as a client has to send it.
    pub(super) fn chained(&self, name: &str) -> String {
        let read = |file: &str| fs::read_to_string(self.ca.path(file)).expect("readable");
        let chain = read(&format!("{name}.pem")) + &read("int.pem");
        self.ca.write(&format!("{name}-chain.pem"), &chain);
        self.ca.file(&format!("{name}-chain.pem"))
    }

    pub(super) fn statuses(&self, name: &str) -> Vec<String> {
        let listed = self.installation.certificates(&["--name", name]);
        let status = |it: &Value| it["status"].as_str().expect("a status").to_owned();
        listed.iter().map(status).collect()
    }
}

/// `curl` to the gateway with a certificate chain and its key: the exit code, and what it said.
pub(super) fn curl(gateway: &Process, root: &str, certificate: &str, key: &str) -> Answer {
    let url = format!("https://localhost:{}/", gateway.gateway().port());
    Answer::of(Command::new("curl").args([
        "--silent",
        "--show-error",
        "--fail",
        "--cacert",
        root,
        "--cert",
        certificate,
        "--key",
        key,
        &url,
    ]))
}
