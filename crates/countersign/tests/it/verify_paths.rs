//! `countersign verify`: the path, each check of it and the paths not taken, out of what OpenSSL makes; and what OpenSSL says of the same.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::doctor_files::workshop::{CA, CLIENT, SERVER, Workshop};
use crate::installation::countersign;
use crate::json::array;
use crate::peers::peer;

/// What is put to both.
struct Case<'a> {
    side: &'a str,
    cert: &'a str,
    trust: &'a str,
    untrusted: Option<&'a str>,
    crl: Option<&'a str>,
}

impl<'a> Case<'a> {
    fn client(cert: &'a str, trust: &'a str) -> Self {
        Self {
            side: "client",
            cert,
            trust,
            untrusted: None,
            crl: None,
        }
    }

    fn with(self, untrusted: &'a str) -> Self {
        Self {
            untrusted: Some(untrusted),
            ..self
        }
    }

    fn ask(&self, at: &Workshop) -> Value {
        let mut line = vec!["verify", "--json", "--as", self.side, "--cert", self.cert];
        line.extend(["--trust", self.trust]);
        for (flag, value) in [("--untrusted", self.untrusted), ("--crl", self.crl)] {
            line.extend(value.into_iter().flat_map(|value| [flag, value]));
        }
        let answer = countersign(at.path(), &line);
        let verdict: Value = serde_json::from_str(&answer.stdout)
            .unwrap_or_else(|error| panic!("{line:?}: {error}: {answer:#?}"));
        let is_valid = verdict["valid"].as_bool();
        assert_eq!(answer.code, Some(i32::from(is_valid != Some(true))));
        assert_eq!(is_valid, Some(self.is_good_by_openssl(at)), "{verdict:#}");
        verdict
    }

    fn is_good_by_openssl(&self, at: &Workshop) -> bool {
        let purpose = if self.side == "client" {
            "sslclient"
        } else {
            "sslserver"
        };
        let mut line = vec!["verify", "-purpose", purpose, "-CAfile", self.trust];
        line.extend(self.untrusted.into_iter().flat_map(|it| ["-untrusted", it]));
        line.extend(
            self.crl
                .into_iter()
                .flat_map(|it| ["-crl_check", "-CRLfile", it]),
        );
        line.push(self.cert);
        let mut command = Command::new("openssl");
        command.args(line).current_dir(at.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("openssl starts").success()
    }

    /// Every check has passed, or was not asked for; the subjects of the path, and the causes of the paths not taken.
    #[track_caller]
    fn good(&self, at: &Workshop) -> (Vec<String>, Vec<String>) {
        let verdict = self.ask(at);
        assert_eq!(verdict["valid"], true, "{verdict:#}");
        for check in array(&verdict["checks"]) {
            assert_ne!(check["result"], "failed", "{verdict:#}");
        }
        let path = array(&verdict["path"]);
        assert_eq!(path.last().expect("a path")["anchor"], true);
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let others = array(&verdict["other_paths"]).iter();
        (
            path.iter().map(|step| word(&step["subject"])).collect(),
            others.map(|it| word(&it["finding"]["cause"])).collect(),
        )
    }

    /// This check alone names the cause of the refusal, which is a finding too.
    #[track_caller]
    fn bad(&self, at: &Workshop, cause: &str, check: &str) -> Value {
        let verdict = self.ask(at);
        assert_eq!(verdict["cause"], cause, "{verdict:#}");
        let finding = &verdict["findings"][0];
        assert_eq!(finding["cause"], cause, "{verdict:#}");
        assert_eq!(finding["severity"], "fault", "{verdict:#}");
        let named: Vec<_> = array(&verdict["checks"])
            .iter()
            .filter(|it| it["cause"] == cause)
            .map(|it| (it["check"].as_str(), it["result"].as_str()))
            .collect();
        assert_eq!(named, [(Some(check), Some("failed"))], "{verdict:#}");
        verdict
    }
}

fn workshop(test: &str) -> Option<Workshop> {
    peer(test, "openssl").map(Workshop::new)
}

const PAST: (&str, &str) = ("20200101000000Z", "20210101000000Z");

#[test]
fn paths_not_taken_are_told_with_their_cause() {
    let Some(at) = workshop("paths_not_taken") else {
        return;
    };
    let plain = Case::client("leaf.pem", "root.pem").with("inter.pem");
    let (path, others) = plain.good(&at);
    assert_eq!(
        path,
        [
            "CN=client,O=Acme",
            "CN=Acme Issuing CA,O=Acme",
            "CN=Acme Root CA,O=Acme"
        ]
    );
    assert_eq!(others, [""; 0]);
    // A new root, and the expired certificate under which the old one vouched for its key.
    at.root("new", "/O=Acme/CN=New Root CA");
    at.dated("unused", "/O=Acme/CN=unused", "root", "client", PAST);
    at.openssl_words(&[
        "req",
        "-new",
        "-key",
        "new.key",
        "-subj",
        "/O=Acme/CN=New Root CA",
        "-out",
        "cross.csr",
    ]);
    at.openssl("ca -batch -preserveDN -config ca.cnf -cert root.pem -keyfile root.key -in cross.csr -out cross.pem -notext -extensions issuing -startdate 20200101000000Z -enddate 20210101000000Z");
    at.issue("of-new", "/O=Acme/CN=of-new", "new", CLIENT);
    at.join(&["root.pem", "new.pem"], "both.pem");
    let crossed = Case::client("of-new.pem", "both.pem").with("cross.pem");
    let (path, others) = crossed.good(&at);
    assert_eq!(path, ["CN=of-new,O=Acme", "CN=New Root CA,O=Acme"]);
    assert_eq!(others, ["intermediate-expired"]);
    Case::client("of-new.pem", "root.pem")
        .with("cross.pem")
        .bad(&at, "intermediate-expired", "validity");
    // Two intermediates of one name.
    at.issue("twin", "/O=Acme/CN=Acme Issuing CA", "root", CA);
    at.join(&["twin.pem", "inter.pem"], "twins.pem");
    let (path, others) = Case::client("leaf.pem", "root.pem")
        .with("twins.pem")
        .good(&at);
    assert_eq!(path.len(), 3);
    assert_eq!(others, ["same-name-different-key-ca"]);
    let strange = Case::client("leaf.pem", "root.pem")
        .with("twin.pem")
        .ask(&at);
    assert_eq!(strange["valid"], false);
}

#[test]
fn the_check_that_fails_is_the_one_that_openssl_fails_by() {
    let Some(at) = workshop("the_check_that_fails") else {
        return;
    };
    at.dated("aged", "/O=Acme/CN=Aged CA", "root", "issuing", PAST);
    at.issue("under", "/O=Acme/CN=under", "aged", CLIENT);
    Case::client("under.pem", "root.pem").with("aged.pem").bad(
        &at,
        "intermediate-expired",
        "validity",
    );
    at.dated("old", "/O=Acme/CN=old", "root", "client", PAST);
    Case::client("old.pem", "root.pem").bad(&at, "leaf-expired", "validity");

    let short = CA.replace("CA:TRUE", "CA:TRUE,pathlen:0");
    at.issue("short", "/O=Acme/CN=Short CA", "root", &short);
    at.issue("below", "/O=Acme/CN=Below CA", "short", CA);
    at.issue("deep", "/O=Acme/CN=deep", "below", CLIENT);
    at.join(&["below.pem", "short.pem"], "deep-chain.pem");
    Case::client("deep.pem", "root.pem")
        .with("deep-chain.pem")
        .bad(&at, "pathlen-exceeded", "basic constraints");
    at.issue("shallow", "/O=Acme/CN=shallow", "short", CLIENT);
    Case::client("shallow.pem", "root.pem")
        .with("short.pem")
        .good(&at);

    let narrow = format!("{CA}nameConstraints=critical,permitted;DNS:example.com\n");
    at.issue("narrow", "/O=Acme/CN=Narrow CA", "root", &narrow);
    at.issue("outside", "/O=Acme/CN=outside", "narrow", CLIENT);
    Case::client("outside.pem", "root.pem")
        .with("narrow.pem")
        .bad(&at, "name-constraints-violated", "name constraints");

    let as_server = Case {
        side: "server",
        ..Case::client("client.pem", "root.pem")
    };
    as_server.bad(&at, "eku-missing-serverauth", "extended key usage");
    at.issue("web", "/O=Acme/CN=web", "root", SERVER);
    Case::client("web.pem", "root.pem").bad(&at, "eku-missing-clientauth", "extended key usage");

    at.list("revoked.crl", "root", Some("client"), "-crldays 30");
    at.list("good.crl", "root", None, "-crldays 30");
    let listed = |crl| Case {
        crl: Some(crl),
        ..Case::client("client.pem", "root.pem")
    };
    let verdict = listed("revoked.crl").bad(&at, "certificate-revoked", "revocation");
    assert_eq!(verdict["revocation_checked"], true);
    let good = listed("good.crl").ask(&at);
    let checks = array(&good["checks"]).iter();
    let revocation = checks.filter(|it| it["check"] == "revocation");
    let detail: Vec<_> = revocation.map(|it| it["detail"].to_string()).collect();
    assert!(detail[0].contains("good.crl"), "{detail:?}");
    Case::client("client.pem", "other.pem").bad(&at, "client-ca-not-trusted", "trust");
}

#[test]
fn people_read_path_checks_and_the_finding_as_the_doctor_tells_it() {
    let Some(at) = workshop("people_read_path") else {
        return;
    };
    at.issue("twin", "/O=Acme/CN=Acme Issuing CA", "root", CA);
    at.join(&["twin.pem", "inter.pem"], "twins.pem");
    let line = |cert: &'static str| {
        [
            "verify",
            "--as",
            "client",
            "--trust",
            "root.pem",
            "--untrusted",
            "twins.pem",
            "--cert",
            cert,
        ]
    };
    let told = countersign(at.path(), &line("leaf.pem")).stdout;
    for words in [
        "\npath\n  leaf    CN=client,O=Acme, by CN=Acme Issuing CA,O=Acme, serial ",
        "\n  anchor  CN=Acme Root CA,O=Acme",
        "\nchecks\n  trust               passed: ",
        "\n  revocation          not asked: no CRL was given\n",
        "\nanother path\n",
        "  refused  same-name-different-key-ca: the key of CN=Acme Issuing CA,O=Acme (serial ",
    ] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
    let told = countersign(at.path(), &line("server.pem")).stdout;
    for words in [
        "refused  eku-missing-clientauth  ",
        "\n  extended key usage  failed: ",
        "\nfault: eku-missing-clientauth\n",
        "\n  more: docs/reference/causes/eku-missing-clientauth.md\n",
    ] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
}
