//! `countersign inspect FILE`: whatever people have is decoded, and remarked on with the doctor's findings.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::doctor_files::workshop::{CA, CLIENT, SERVER, Workshop};
use crate::installation::countersign;
use crate::json::array;
use crate::peers::peer;

impl Workshop {
    /// What is in these files, and what was remarked: cause and severity, ranked.
    #[track_caller]
    fn inspect(&self, words: &str) -> (Vec<String>, Vec<(String, String)>) {
        let line: Vec<&str> = ["inspect", "--json"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        let answer = countersign(self.path(), &line);
        assert_eq!(answer.code, Some(0), "{words}: {answer:#?}");
        let items: Value = serde_json::from_str(&answer.stdout).expect("JSON");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut kinds: Vec<String> = array(&items).iter().map(|it| word(&it["type"])).collect();
        let mut findings = Vec::new();
        if let Some(last) = array(&items).last().filter(|it| it["type"] == "findings") {
            kinds.pop();
            for finding in array(&last["findings"]) {
                for part in ["message", "side"] {
                    assert!(!word(&finding[part]).is_empty(), "{finding:#}");
                }
                assert!(!array(&finding["fix"]).is_empty(), "{finding:#}");
                findings.push((word(&finding["cause"]), word(&finding["severity"])));
            }
            let healthy = findings.iter().all(|(_, severity)| severity != "fault");
            assert_eq!(last["healthy"], healthy, "{items:#}");
        }
        (kinds, findings)
    }

    /// It holds these, and nothing is to be said of it.
    #[track_caller]
    fn plain(&self, words: &str, kinds: &[&str]) {
        let (found, findings) = self.inspect(words);
        assert_eq!(found, kinds, "{words}");
        assert_eq!(findings, [], "{words}");
    }

    /// It holds these, and this is said first.
    #[track_caller]
    fn remarked(&self, words: &str, kinds: &[&str], cause: &str, severity: &str) {
        let (found, findings) = self.inspect(words);
        assert_eq!(found, kinds, "{words}");
        let first = findings
            .first()
            .map(|(cause, severity)| (&**cause, &**severity));
        assert_eq!(first, Some((cause, severity)), "{words}: {findings:?}");
    }
}

fn workshop(test: &str) -> Option<Workshop> {
    let at = peer(test, "openssl").map(Workshop::new)?;
    let folder = fs::read_dir(at.path()).expect("readable");
    for entry in folder.filter_map(Result::ok) {
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(entry.path(), private).expect("ours");
    }
    Some(at)
}

#[test]
fn every_form_of_the_same_things_is_decoded() {
    let Some(at) = workshop("every_form_is_decoded") else {
        return;
    };
    let chain = ["certificate", "certificate"];
    at.plain("chain.pem", &chain);
    at.plain("client.key", &["key"]);
    at.plain("root.pem", &["certificate"]);
    at.openssl("x509 -in client.pem -outform DER -out client.der");
    at.plain("client.der", &["certificate"]);
    at.openssl("crl2pkcs7 -nocrl -certfile chain.pem -outform DER -out chain.p7b");
    at.plain("chain.p7b", &chain);
    at.openssl("crl2pkcs7 -nocrl -certfile chain.pem -out chain.p7");
    at.plain("chain.p7", &chain);
    at.openssl("req -new -key client.key -subj /CN=x -out x.csr");
    at.plain("x.csr", &["certificate-request"]);
    at.list("good.crl", "root", None, "-crldays 30");
    at.plain("good.crl", &["crl"]);
    at.openssl("pkey -in client.key -pubout -out client.pub");
    at.plain("client.pub", &["key"]);
    let text = format!("issued by the CA team\r\n{}", at.text("chain.pem"));
    at.write("commented.pem", text.replace('\n', "\r\n"));
    at.plain("commented.pem", &chain);

    at.write("password", "secret\n");
    at.openssl("pkcs12 -export -in leaf.pem -inkey leaf.key -certfile inter.pem -passout file:password -out new.p12");
    let store = ["pkcs12", "key", "certificate", "certificate"];
    for flag in ["--password-file", "--in-password-file"] {
        at.plain(&format!("new.p12 {flag} password"), &store);
    }
    at.openssl("pkcs12 -export -legacy -in leaf.pem -inkey leaf.key -certfile inter.pem -passout file:password -out old.p12");
    at.remarked(
        "old.p12 --password-file password",
        &store,
        "pkcs12-legacy",
        "fault",
    );
    at.openssl("pkey -in client.key -aes256 -passout file:password -out sealed.key");
    at.remarked("sealed.key", &["key"], "key-encrypted", "note");
    at.plain("sealed.key --password-file password", &["key"]);
    at.write("wrong", "another\n");
    at.remarked(
        "sealed.key --password-file wrong",
        &["key"],
        "key-password-wrong",
        "fault",
    );
}

#[test]
fn what_spoils_a_file_is_named_and_the_rest_decoded() {
    let Some(at) = workshop("what_spoils_a_file") else {
        return;
    };
    let (leaf, inter) = (at.text("leaf.pem"), at.text("inter.pem"));
    let chain = ["certificate", "certificate"];
    at.write("glued.pem", format!("{}{inter}", leaf.trim_end()));
    at.remarked("glued.pem", &chain, "pem-glued", "fault");
    at.write("bom.pem", format!("\u{feff}{leaf}"));
    at.remarked("bom.pem", &["certificate"], "file-encoding", "fault");
    let wide: Vec<u8> = "\u{feff}"
        .chars()
        .chain(leaf.chars())
        .flat_map(|c| (c as u16).to_le_bytes())
        .collect();
    at.write("wide.pem", wide);
    at.remarked("wide.pem", &["certificate"], "file-encoding", "fault");
    let base64: String = leaf
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    at.write("bare.pem", base64);
    at.remarked("bare.pem", &["certificate"], "file-not-pem", "fault");
    at.write(
        "damaged.pem",
        format!("{leaf}{}", inter.replacen("MII", "!!!", 1)),
    );
    let (kinds, findings) = at.inspect("damaged.pem");
    assert_eq!(kinds.first().map(String::as_str), Some("certificate"));
    assert!(
        findings.iter().any(|(_, severity)| severity == "fault"),
        "{findings:?}"
    );
    at.write("nothing.pem", inter.replacen("MII", "!!!", 1));
    for (name, words) in [
        ("nothing.pem", "block 1"),
        ("password", "neither certificate, request, CRL nor key"),
    ] {
        at.write("password", "secret\n");
        let answer = countersign(at.path(), &["inspect", name]);
        answer.assert_fault(2, &[name, words]);
    }
}

#[test]
fn what_certificates_say_of_themselves_is_judged_as_the_doctor_does() {
    let Some(at) = workshop("what_certificates_say") else {
        return;
    };
    let one = ["certificate"];
    at.write(
        "swapped.pem",
        format!("{}{}", at.text("inter.pem"), at.text("leaf.pem")),
    );
    let two = ["certificate", "certificate"];
    at.remarked("swapped.pem", &two, "chain-wrong-order", "fault");
    let past = ("20200101000000Z", "20210101000000Z");
    at.dated("old", "/O=Acme/CN=old", "root", "client", past);
    at.remarked("old.pem", &one, "leaf-expired", "fault");
    at.dated("gone", "/O=Acme/CN=Gone Root", "gone", "root", past);
    at.remarked("gone.pem", &one, "root-expired", "fault");
    at.join(&["gone.pem", "root.pem"], "bundle.pem");
    at.remarked("bundle.pem", &two, "root-expired", "risk");
    at.dated("aged", "/O=Acme/CN=Aged CA", "root", "issuing", past);
    at.issue("under", "/O=Acme/CN=under", "aged", CLIENT);
    at.join(&["under.pem", "aged.pem"], "aged-chain.pem");
    at.remarked("aged-chain.pem", &two, "intermediate-expired", "fault");
    at.dated(
        "early",
        "/O=Acme/CN=early",
        "root",
        "client",
        ("20900101000000Z", "20910101000000Z"),
    );
    at.remarked("early.pem", &one, "not-yet-valid", "fault");
    at.key("weak", "rsa:1024");
    at.certify("weak", "/O=Acme/CN=weak", "root", CLIENT, "-days 30");
    at.remarked("weak.pem", &one, "weak-key", "fault");
    at.key("sha1", "ec:P-256");
    at.certify("sha1", "/O=Acme/CN=sha1", "root", CLIENT, "-days 30 -sha1");
    at.remarked("sha1.pem", &one, "weak-signature", "fault");
    at.issue(
        "in-cn",
        "/CN=api.example",
        "root",
        "extendedKeyUsage=serverAuth\n",
    );
    at.remarked("in-cn.pem", &one, "san-missing", "fault");
    let critical = format!("{SERVER}1.2.3.4=critical,DER:0500\n");
    at.issue("strange", "/CN=api.example", "root", &critical);
    at.remarked("strange.pem", &one, "malformed-certificate", "fault");
    at.issue(
        "code",
        "/CN=signer",
        "root",
        "extendedKeyUsage=codeSigning\n",
    );
    at.remarked("code.pem", &one, "eku-missing-clientauth", "note");
    at.issue(
        "mute",
        "/O=Acme/CN=Mute CA",
        "root",
        &CA.replace("keyCertSign,", ""),
    );
    at.remarked("mute.pem", &one, "issuer-cannot-sign", "fault");
    at.write(
        "mixed.pem",
        format!("{}{}", at.text("client.pem"), at.text("leaf.key")),
    );
    at.openssl("pkey -in leaf.key -out /dev/null");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(at.path().join("mixed.pem"), private).expect("ours");
    at.remarked(
        "mixed.pem",
        &["certificate", "key"],
        "key-cert-mismatch",
        "fault",
    );
}

#[test]
fn lists_and_open_keys_are_remarked_on_and_sound_ones_are_not() {
    let Some(at) = workshop("lists_and_open_keys") else {
        return;
    };
    at.list(
        "stale.crl",
        "root",
        None,
        "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z",
    );
    at.remarked("stale.crl", &["crl"], "crl-expired", "fault");
    at.list("good.crl", "root", None, "-crldays 30");
    at.join(&["root.pem", "good.crl"], "with-list.pem");
    at.plain("with-list.pem", &["certificate", "crl"]);
    at.list("revoked.crl", "root", Some("client"), "-crldays 30");
    at.join(&["client.pem", "root.pem", "revoked.crl"], "revoked.pem");
    at.remarked(
        "revoked.pem",
        &["certificate", "certificate", "crl"],
        "certificate-revoked",
        "fault",
    );
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(at.path().join("client.key"), open).expect("ours");
    at.remarked("client.key", &["key"], "key-permissions", "risk");
    at.plain("leaf.key", &["key"]);
}

#[test]
fn a_folder_is_decoded_file_by_file_and_people_read_the_same_findings() {
    let Some(at) = workshop("a_folder_is_decoded") else {
        return;
    };
    let folder = at.path().join("ca");
    fs::create_dir(&folder).expect("writable");
    for name in ["root.pem", "other.pem"] {
        fs::copy(at.path().join(name), folder.join(name)).expect("copied");
    }
    fs::write(folder.join("README"), "nothing of ours").expect("written");
    at.plain("ca", &["file", "certificate", "file", "certificate"]);
    fs::write(
        folder.join("bom.pem"),
        format!("\u{feff}{}", at.text("root.pem")),
    )
    .expect("written");
    let (kinds, findings) = at.inspect("ca");
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert_eq!(findings[0].0, "file-encoding");
    let told = countersign(at.path(), &["inspect", "ca"]).stdout;
    for words in [
        "fault: file-encoding\n",
        "\n  fix: ",
        "\n  more: docs/reference/causes/file-encoding.md\n",
    ] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
    let doctor = countersign(at.path(), &["doctor", "--ca", "ca/bom.pem"]).stdout;
    let line = |text: &str, of: &str| {
        let found = text.lines().find(|line| line.contains(of));
        found.map(str::to_owned)
    };
    for of in ["byte order mark", "sed -i"] {
        let (told, doctor) = (line(&told, of), line(&doctor, of));
        let told = told.expect("told").replace("the file ", "");
        let doctor = doctor
            .expect("told")
            .replace("the client's trust bundle ", "");
        assert_eq!(told.trim(), doctor.trim());
    }
    fs::create_dir(at.path().join("none")).expect("writable");
    countersign(at.path(), &["inspect", "none"]).assert_fault(2, &["none", "no file"]);
}
