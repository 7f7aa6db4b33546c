//! What is exported is what the programs that it is for take: OpenSSL, Java, NSS, Chromium, `HAProxy`, nginx, Python, kubectl.

mod browser;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files::every_file;
use crate::installation::{Answer, Installation, Issued, binary, countersign, text};
use crate::peers::peer;

/// What `pw` holds.
const PASSWORD: &str = "correct horse";

/// An installation with an identity and a password file.
fn site() -> (Installation, Issued) {
    let installation = Installation::new();
    installation.write("pw", &format!("{PASSWORD}\n"));
    let ada = installation.issue("client", "ada", &[]);
    (installation, ada)
}

fn program(path: &Path, folder: &Path, arguments: &[&str]) -> Answer {
    Answer::of(Command::new(path).args(arguments).current_dir(folder))
}

fn folder(installation: &Installation) -> PathBuf {
    installation
        .path("pw")
        .parent()
        .expect("a folder")
        .to_owned()
}

fn inspect(installation: &Installation, file: &str, password: &str, extra: &[&str]) -> Answer {
    let line = [&["inspect", file, "--in-password-file", password], extra].concat();
    countersign(&folder(installation), &line)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn openssl_opens_the_pkcs12_of_every_kind_of_key() {
    let Some(openssl) = peer("openssl_opens_the_pkcs12_of_every_kind_of_key", "openssl") else {
        return;
    };
    let (installation, _) = site();
    for kind in ["p256", "ed25519", "rsa2048"] {
        let issued = installation.issue("client", kind, &["--key", kind]);
        let out = format!("{kind}.p12");
        installation.ok(&[
            "export",
            "p12",
            text(issued.folder()),
            "--password-file",
            "pw",
            "--out",
            &out,
        ]);
        assert_eq!(mode(&installation.path(&out)), 0o600);
        let run = |arguments: &[&str]| program(&openssl, &folder(&installation), arguments);
        let common = ["pkcs12", "-in", &out, "-passin", "file:pw"];
        let shown = run(&[&common[..], &["-info", "-nodes"]].concat());
        assert_eq!(shown.code, Some(0), "{shown:#?}");
        for words in [
            "MAC: sha256, Iteration 250000",
            "PBES2, PBKDF2, AES-256-CBC, Iteration 250000, PRF hmacWithSHA256",
            &format!("friendlyName: {kind}"),
        ] {
            assert!(shown.all().contains(words), "{words}: {shown:#?}");
        }
        assert_eq!(
            shown.stdout.matches("BEGIN CERTIFICATE").count(),
            3,
            "{shown:#?}"
        );
        let key = run(&[&common[..], &["-nocerts", "-nodes"]].concat()).stdout;
        installation.write("out.pem", &key);
        let public = |file: &str| run(&["pkey", "-in", file, "-pubout"]).stdout;
        let written = public(text(&issued.key()));
        assert!(written.starts_with("-----BEGIN PUBLIC KEY"));
        assert_eq!(public("out.pem"), written);
    }
}

#[test]
fn java_takes_the_identity_and_both_truststores() {
    let Some(keytool) = peer("java_takes_the_identity_and_both_truststores", "keytool") else {
        return;
    };
    let (installation, ada) = site();
    let ada = text(ada.folder());
    for (form, extra, out) in [
        ("p12", &[][..], "ada.p12"),
        ("p12", &["--trust"], "trust.p12"),
        ("jks", &[], "trust.jks"),
    ] {
        let line = ["export", form, ada, "--password-file", "pw", "--out", out];
        installation.ok(&[&line[..], extra].concat());
    }
    let run = |arguments: &[&str]| program(&keytool, &folder(&installation), arguments);
    let list = |store: &str, kind: &str, words: &[&str]| {
        let language = "-J-Duser.language=en";
        let shown = run(&[
            language,
            "-list",
            "-v",
            "-keystore",
            store,
            "-storepass",
            PASSWORD,
        ]);
        assert_eq!(shown.code, Some(0), "{shown:#?}");
        for word in [&[kind][..], words].concat() {
            assert!(shown.stdout.contains(word), "{word}: {shown:#?}");
        }
    };
    let trusted = [
        "contains 1 entry",
        "Entry type: trustedCertEntry",
        "Alias name: countersign root ca",
    ];
    list(
        "ada.p12",
        "Keystore type: PKCS12",
        &[
            "PrivateKeyEntry",
            "Certificate chain length: 3",
            "Alias name: ada",
        ],
    );
    list("trust.p12", "Keystore type: PKCS12", &trusted);
    list("trust.jks", "Keystore type: JKS", &trusted);
    let wrong = run(&["-list", "-keystore", "ada.p12", "-storepass", "wrong pass"]);
    assert_ne!(wrong.code, Some(0));
    // Into a store that Java writes itself: it reads the key, and both formats.
    for store in ["ada.p12", "trust.jks"] {
        let imported = run(&[
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            store,
            "-srcstorepass",
            PASSWORD,
            "-destkeystore",
            "java.p12",
            "-deststorepass",
            PASSWORD,
        ]);
        assert_eq!(imported.code, Some(0), "{imported:#?}");
    }
    // What Java wrote is read here.
    let shown: serde_json::Value =
        serde_json::from_str(&inspect(&installation, "java.p12", "pw", &["--json"]).stdout)
            .expect("JSON");
    let entries = shown[0]["entries"].as_array().expect("entries");
    let of = |kind: &str| entries.iter().filter(|it| it["kind"] == kind).count();
    assert_eq!((of("key"), of("trusted-certificate")), (1, 1), "{shown:#}");
}

#[test]
fn one_pem_file_serves_python_haproxy_and_nginx() {
    let installation = Installation::new();
    let api = installation.issue("server", "api.example.test", &[]);
    let out = installation.path("api.pem");
    installation.ok(&["export", "pem", text(api.folder()), "--out", text(&out)]);
    assert_eq!(mode(&out), 0o600);
    let written = fs::read_to_string(&out).expect("readable");
    let labels: Vec<&str> = written
        .lines()
        .filter(|line| line.starts_with("-----BEGIN"))
        .collect();
    assert_eq!(
        labels,
        [
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PRIVATE KEY-----"
        ]
    );
    assert!(written.starts_with(&fs::read_to_string(api.certificate()).expect("readable")));
    let name = "one_pem_file_serves_python_haproxy_and_nginx";
    if let Some(python) = peer(name, "python3") {
        let load =
            "import ssl, sys; ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(sys.argv[1])";
        let loaded = program(&python, &folder_of(&out), &["-c", load, text(&out)]);
        assert_eq!(loaded.code, Some(0), "{loaded:#?}");
    }
    if let Some(haproxy) = peer(name, "haproxy") {
        let config = installation.write(
            "haproxy.cfg",
            &format!("defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
                      frontend f\n bind 127.0.0.1:1 ssl crt {}\n", text(&out)),
        );
        let checked = program(&haproxy, &folder_of(&out), &["-c", "-f", text(&config)]);
        assert_eq!(checked.code, Some(0), "{checked:#?}");
    }
    if let Some(nginx) = peer(name, "nginx") {
        let config = installation.write(
            "nginx.conf",
            &format!("pid nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ listen 127.0.0.1:1 ssl; \
                      ssl_certificate {0}; ssl_certificate_key {0}; }} }}\n", text(&out)),
        );
        let prefix = folder_of(&out);
        let checked = program(
            &nginx,
            &prefix,
            &["-t", "-p", text(&prefix), "-c", text(&config)],
        );
        // Port 1 is not bound by a check; whoever is not root is told so, and the certificate is read before.
        assert!(
            checked.code == Some(0) || checked.stderr.contains("bind()"),
            "{checked:#?}"
        );
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().expect("a file has a folder").to_owned()
}

#[test]
fn manifest_is_a_secret_that_kubectl_reads() {
    let Some(kubectl) = peer("manifest_is_a_secret_that_kubectl_reads", "kubectl") else {
        return;
    };
    let (installation, ada) = site();
    let ada_folder = text(ada.folder());
    installation.ok(&[
        "export",
        "k8s",
        ada_folder,
        "--name",
        "1e3",
        "--namespace",
        "true",
        "--out",
        "s.yaml",
    ]);
    assert_eq!(mode(&installation.path("s.yaml")), 0o600);
    // A change that needs no cluster makes kubectl read the manifest by the type's own schema.
    let read = program(
        &kubectl,
        &folder(&installation),
        &["label", "--local", "-f", "s.yaml", "read=yes", "-o", "json"],
    );
    assert_eq!(read.code, Some(0), "{read:#?}");
    let secret: serde_json::Value = serde_json::from_str(&read.stdout).expect("JSON");
    assert_eq!(secret["kind"], "Secret");
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["name"], "1e3");
    assert_eq!(secret["metadata"]["namespace"], "true");
    for (field, file) in [
        ("tls.crt", ada.certificate()),
        ("tls.key", ada.key()),
        ("ca.crt", ada.ca()),
    ] {
        let encoded = secret["data"][field].as_str().expect("a field");
        let decoded = decode(encoded);
        assert_eq!(decoded, fs::read(file).expect("readable"), "{field}");
    }
    for bad in [
        ["--name", "Upper"],
        ["--name", "a\nkind: x"],
        ["--namespace", "a.b"],
    ] {
        let refused = installation
            .run(&[&["export", "k8s", ada_folder, "--out", "t.yaml"], &bad[..]].concat());
        refused.assert_fault(2, &["lower-case"]);
    }
    assert!(!installation.path("t.yaml").exists());
}

fn decode(base64: &str) -> Vec<u8> {
    let wrapped = format!("-----BEGIN X-----\n{base64}\n-----END X-----\n");
    let blocks = countersign_pki::pem::decode_all(wrapped.as_bytes()).expect("base64");
    blocks.into_iter().next().expect("one block").der
}

#[test]
fn inventory_gives_certificate_and_chain_and_the_file_the_key() {
    let (installation, ada) = site();
    let moved = installation.path("elsewhere.pem");
    fs::copy(ada.key(), &moved).expect("copied");
    let serial = installation.json(&["show", "ada"])["certificates"][0]["serial"]
        .as_str()
        .expect("a serial")
        .to_owned();
    let key = ["--key", "elsewhere.pem"];
    let chain = fs::read_to_string(ada.certificate()).expect("readable");
    for what in ["ada", "cn:ada", &serial] {
        installation.ok(&[
            &["export", "pem", what, "--out", "x.pem", "--force"],
            &key[..],
        ]
        .concat());
        let written = fs::read_to_string(installation.path("x.pem")).expect("readable");
        assert!(written.starts_with(&chain), "{what}");
    }
    installation.ok(&["export", "pem", "ada", "--no-key", "--out", "chain.pem"]);
    assert_eq!(
        fs::read_to_string(installation.path("chain.pem")).expect("readable"),
        chain
    );
    // The next certificate has another key: the key says which is meant, no key leaves it open.
    installation.ok(&["renew", text(ada.folder())]);
    let renewed = fs::read_to_string(ada.certificate()).expect("readable");
    installation
        .run(&["export", "pem", "ada", "--no-key", "--out", "y.pem"])
        .assert_fault(2, &["2 valid certificates", "serial number"]);
    installation.ok(&[
        "export",
        "pem",
        "ada",
        "--key",
        text(&ada.key()),
        "--out",
        "new.pem",
    ]);
    let new = fs::read_to_string(installation.path("new.pem")).expect("readable");
    assert!(new.starts_with(&renewed) && !new.starts_with(&chain));
    installation.ok(&[&["export", "pem", "ada", "--out", "old.pem"], &key[..]].concat());
    assert!(
        fs::read_to_string(installation.path("old.pem"))
            .expect("readable")
            .starts_with(&chain)
    );
    // A revoked one is nobody's any more.
    installation.ok(&["revoke", &serial]);
    installation
        .run(&[&["export", "pem", &serial, "--out", "z.pem"], &key[..]].concat())
        .assert_fault(1, &["revoked"]);
}

#[test]
fn key_that_is_missing_or_another_is_refused_and_nothing_written() {
    let (installation, ada) = site();
    let other = installation.issue("client", "other", &[]);
    let before = every_file(&folder(&installation));
    let (ada_folder, other_key) = (text(ada.folder()), other.key());
    let check = |arguments: &[&str], code: i32, words: &[&str]| {
        for form in ["p12", "pem", "k8s"] {
            let mut line = vec!["export", form];
            line.extend_from_slice(arguments);
            if form == "p12" {
                line.extend(["--password-file", "pw"]);
            }
            installation.run(&line).assert_fault(code, words);
        }
    };
    check(
        &[ada_folder, "--key", text(&other_key)],
        2,
        &["not that of the certificate", "--key"],
    );
    check(
        &["ada", "--key", text(&other_key)],
        2,
        &["none of the 1 certificates", "key"],
    );
    check(&["ada"], 2, &["no private key", "--key"]);
    check(&["nobody", "--key", text(&other_key)], 1, &["nobody"]);
    check(&[ada_folder, "--key", "missing.pem"], 2, &["missing.pem"]);
    check(&[text(&ada.ca())], 2, &["not that of the certificate"]);
    assert_eq!(every_file(&folder(&installation)), before);
}

#[test]
fn what_is_there_is_kept_unless_it_may_go_and_links_are_not_followed() {
    let (installation, ada) = site();
    let ada = text(ada.folder());
    let precious = installation.write("precious", "kept");
    installation.write("ada.p12", "kept");
    let export = |extra: &[&str]| {
        installation.run(&[&["export", "p12", ada, "--password-file", "pw"], extra].concat())
    };
    export(&[]).assert_fault(2, &["ada.p12 exists already", "--force"]);
    std::os::unix::fs::symlink(&precious, installation.path("link")).expect("linked");
    export(&["--out", "link"]).assert_fault(2, &["exists already"]);
    assert_eq!(export(&["--out", "link", "--force"]).code, Some(0));
    assert_eq!(fs::read_to_string(&precious).expect("readable"), "kept");
    assert_eq!(mode(&installation.path("link")), 0o600);
    assert_eq!(
        fs::read_to_string(installation.path("ada.p12")).expect("readable"),
        "kept"
    );
    export(&["--out", "no/such/folder.p12"]).assert_fault(3, &["cannot write"]);
}

#[test]
fn password_is_chosen_in_a_file_or_made_and_never_on_a_line() {
    let (installation, ada) = site();
    let ada = text(ada.folder());
    let export = |extra: &[&str]| installation.run(&[&["export", "p12", ada], extra].concat());
    let made = export(&["--password-out", "new-pw", "--out", "a.p12"]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let password = fs::read_to_string(installation.path("new-pw")).expect("readable");
    assert_eq!(password.trim_end().len(), 24);
    assert_eq!(mode(&installation.path("new-pw")), 0o600);
    assert!(!made.all().contains(password.trim_end()), "{made:#?}");
    let shown = inspect(&installation, "a.p12", "new-pw", &[]).stdout;
    assert!(
        shown.contains("HMAC-SHA-256, 250000 iterations") && shown.contains("CN=ada"),
        "{shown}"
    );
    // Its own password file is not overwritten, and none is left where the rest fails.
    export(&["--password-out", "new-pw", "--out", "b.p12"]).assert_fault(3, &["new-pw"]);
    export(&["--password-out", "lost", "--out", "no/b.p12"]).assert_fault(3, &["cannot write"]);
    assert!(!installation.path("lost").exists() && !installation.path("b.p12").exists());
    installation.write("empty", "\n");
    installation.write("umlaut", "pässword\n");
    installation.write("two", "a\nb\n");
    for (file, words) in [
        ("empty", "is empty"),
        ("umlaut", "ASCII"),
        ("two", "one line"),
        ("missing", "missing"),
    ] {
        export(&["--password-file", file, "--out", "c.p12"]).assert_fault(2, &[words]);
    }
    let refused = export(&["--password", "x"]);
    assert_eq!(refused.code, Some(2));
    assert!(!installation.path("c.p12").exists());
}

/// Without a terminal nobody can be asked, and a log is no place for a password.
#[test]
fn without_a_terminal_a_password_has_to_be_named() {
    let Some(setsid) = peer("without_a_terminal_a_password_has_to_be_named", "setsid") else {
        return;
    };
    let (installation, ada) = site();
    let ada = text(ada.folder());
    let detached = |arguments: &[&str]| {
        let line = [&["--wait", text(binary())], arguments].concat();
        program(&setsid, &folder(&installation), &line)
    };
    detached(&["export", "p12", ada]).assert_fault(2, &["no terminal", "--password-out"]);
    installation.ok(&["export", "p12", ada, "--password-file", "pw"]);
    detached(&["inspect", "ada.p12"]).assert_fault(2, &["no terminal", "--in-password-file"]);
}

/// OpenSSL beside the files, which has to succeed.
fn openssl_does(openssl: &Path, installation: &Installation, arguments: &[&str]) {
    let answer = program(openssl, &folder(installation), arguments);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
}

/// Runs the rest of its arguments on a terminal of their own, and answers each question with a line of its first.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b""
for answer in sys.argv[1].split("\n"):
    while not shown.endswith(b": "):
        shown += os.read(terminal, 1024)
    shown += b"[asked]"
    os.write(terminal, answer.encode() + b"\n")
try:
    while more := os.read(terminal, 1024):
        shown += more
except OSError:
    pass
print(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn terminal_is_asked_twice_and_shows_nothing_of_the_answer() {
    let name = "terminal_is_asked_twice_and_shows_nothing_of_the_answer";
    let Some(python) = peer(name, "python3") else {
        return;
    };
    let (installation, ada) = site();
    let ada = text(ada.folder());
    let ask = |answers: &str, arguments: &[&str]| {
        let line = [&["-c", ON_A_TERMINAL, answers, text(binary())], arguments].concat();
        let answer = program(&python, &folder(&installation), &line);
        assert!(!answer.all().contains("hunter"), "{answer:#?}");
        answer
    };
    let differ = ask(
        "hunter2\nhunter3",
        &["export", "p12", ada, "--out", "a.p12"],
    );
    assert_eq!(differ.code, Some(2), "{differ:#?}");
    assert!(differ.stdout.contains("differ"), "{differ:#?}");
    assert!(!installation.path("a.p12").exists());
    let chosen = ask(
        "hunter2\nhunter2",
        &["export", "p12", ada, "--out", "a.p12"],
    );
    assert_eq!(chosen.code, Some(0), "{chosen:#?}");
    let shown = ask("hunter2", &["inspect", "a.p12"]);
    assert!(shown.stdout.contains("CN=ada"), "{shown:#?}");
    // Nothing typed: one is made and shown, once.
    let made = ask("", &["export", "p12", ada, "--out", "b.p12"]);
    let (_, password) = made.stdout.split_once("password: ").expect("shown");
    let password = password.lines().next().expect("a line").trim();
    installation.write("made", password);
    assert_eq!(inspect(&installation, "b.p12", "made", &[]).code, Some(0));
}

#[test]
fn keys_are_taken_in_every_usual_form_and_encrypted() {
    let name = "keys_are_taken_in_every_usual_form_and_encrypted";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let (installation, ada) = site();
    let (key, certificate) = (ada.key(), ada.certificate());
    let (key, certificate) = (text(&key), text(&certificate));
    let lock = ["pkcs8", "-topk8", "-in", key, "-passout", "file:pw", "-out"];
    openssl_does(
        &openssl,
        &installation,
        &[&lock[..], &["locked.pem"]].concat(),
    );
    openssl_does(
        &openssl,
        &installation,
        &["ec", "-in", key, "-out", "sec1.pem"],
    );
    let der = ["ec", "-in", key, "-outform", "DER", "-out", "sec1.der"];
    openssl_does(&openssl, &installation, &der);
    let original = fs::read_to_string(key).expect("readable");
    for (file, extra) in [
        ("locked.pem", &["--in-password-file", "pw"][..]),
        ("sec1.pem", &[]),
        ("sec1.der", &[]),
    ] {
        let line = ["export", "pem", certificate, "--key", file, "--out"];
        installation.ok(&[&line[..], &["x.pem", "--force"], extra].concat());
        let written = fs::read_to_string(installation.path("x.pem")).expect("readable");
        assert!(written.ends_with(&original), "{file}");
    }
    installation.write("wrong", "wrong\n");
    let line = ["export", "pem", certificate, "--key", "locked.pem", "--out"];
    installation
        .run(&[&line[..], &["y.pem", "--in-password-file", "wrong"]].concat())
        .assert_fault(2, &["locked.pem", "password", "wrong one"]);
    assert!(!installation.path("y.pem").exists());
}

#[test]
fn pkcs12_of_openssl_is_taken_unless_its_encryption_is_of_the_past() {
    let name = "pkcs12_of_openssl_is_taken_unless_its_encryption_is_of_the_past";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let (installation, ada) = site();
    let (key, certificate, ca) = (ada.key(), ada.certificate(), ada.ca());
    let (key, certificate, ca) = (text(&key), text(&certificate), text(&ca));
    let pack = [
        "pkcs12",
        "-export",
        "-in",
        certificate,
        "-inkey",
        key,
        "-certfile",
        ca,
        "-passout",
        "file:pw",
        "-out",
    ];
    openssl_does(&openssl, &installation, &[&pack[..], &["new.p12"]].concat());
    openssl_does(
        &openssl,
        &installation,
        &[&pack[..], &["nomac.p12", "-nomac"]].concat(),
    );
    openssl_does(
        &openssl,
        &installation,
        &[&pack[..], &["old.p12", "-legacy"]].concat(),
    );
    let whole = fs::read_to_string(certificate).expect("readable")
        + &fs::read_to_string(key).expect("readable");
    for file in ["new.p12", "nomac.p12"] {
        let line = ["export", "pem", file, "--in-password-file", "pw", "--out"];
        installation.ok(&[&line[..], &["x.pem", "--force"]].concat());
        let written = fs::read_to_string(installation.path("x.pem")).expect("readable");
        assert_eq!(written, whole, "{file}");
    }
    installation
        .run(&[
            "export",
            "pem",
            "old.p12",
            "--in-password-file",
            "pw",
            "--out",
            "y.pem",
        ])
        .assert_fault(2, &["40-bit RC2", "-legacy"]);
    installation.write("wrong", "wrong\n");
    inspect(&installation, "new.p12", "wrong", &[]).assert_fault(2, &["password does not open it"]);
    assert!(!installation.path("y.pem").exists());
}
