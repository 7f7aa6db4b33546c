//! What browsers keep certificates in: NSS, and Chromium on top of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::process::Process;

use super::{folder, site};
use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::peer;

/// A user's home with an NSS database in it.
struct Home {
    folder: PathBuf,
    certutil: PathBuf,
    pk12util: PathBuf,
}

impl Home {
    fn new(test: &str, installation: &Installation) -> Option<Self> {
        let home = Self {
            folder: installation.path("home"),
            certutil: peer(test, "certutil")?,
            pk12util: peer(test, "pk12util")?,
        };
        fs::create_dir_all(home.folder.join(".pki/nssdb")).expect("made");
        home.run(&home.certutil, &["-N", "--empty-password"]);
        Some(home)
    }

    fn database(&self) -> String {
        format!("sql:{}", text(&self.folder.join(".pki/nssdb")))
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let answer = Answer::of(
            Command::new(program)
                .args(arguments)
                .args(["-d", &self.database()])
                .env("HOME", &self.folder),
        );
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:#?}");
        answer.stdout
    }

    fn trust(&self, ca: &Path) {
        self.run(
            &self.certutil,
            &["-A", "-n", "root", "-t", "CT,,", "-i", text(ca)],
        );
    }

    fn import(&self, pkcs12: &Path, password_file: &Path) -> String {
        let arguments = ["-i", text(pkcs12), "-w", text(password_file), "-K", ""];
        self.run(&self.pk12util, &arguments)
    }
}

#[test]
fn nss_imports_key_and_chain() {
    let (installation, ada) = site();
    let Some(home) = Home::new("nss_imports_key_and_chain", &installation) else {
        return;
    };
    installation.ok(&[
        "export",
        "p12",
        text(ada.folder()),
        "--password-file",
        "pw",
        "--out",
        "ada.p12",
    ]);
    let said = home.import(&installation.path("ada.p12"), &installation.path("pw"));
    assert!(said.contains("IMPORT SUCCESSFUL"), "{said}");
    let keys = home.run(&home.certutil, &["-K"]);
    assert!(keys.contains(" ec ") && keys.contains("ada"), "{keys}");
    let listed = home.run(&home.certutil, &["-L"]);
    assert!(
        listed.contains("u,u,u") && listed.contains("Countersign Issuing CA"),
        "{listed}"
    );
}

#[test]
fn chromium_authenticates_with_the_imported_identity() {
    let name = "chromium_authenticates_with_the_imported_identity";
    let (installation, _) = site();
    let (Some(chromium), Some(home)) = (peer(name, "chromium"), Home::new(name, &installation))
    else {
        return;
    };
    let gateway = installation.up(&[]);
    let you = Issued::of_first_run(&gateway);
    let Some(_policy) = Policy::new(name, &gateway) else {
        return;
    };
    home.trust(&you.ca());
    let visit = || {
        let page = format!("https://localhost:{}/", gateway.gateway().port());
        let profile = installation.path("profile");
        Answer::of(
            Command::new(&chromium)
                .args([
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                ])
                .arg(format!("--user-data-dir={}", text(&profile)))
                .args(["--timeout=20000", "--dump-dom", &page])
                .current_dir(folder(&installation))
                .env("HOME", &home.folder),
        )
    };
    // The demo service shows whom it sees.
    let without = visit();
    assert!(!without.stdout.contains("cn:you"), "{without:#?}");
    installation.ok(&[
        "export",
        "p12",
        text(you.folder()),
        "--password-file",
        "pw",
        "--out",
        "you.p12",
    ]);
    home.import(&installation.path("you.p12"), &installation.path("pw"));
    let with = visit();
    assert!(with.stdout.contains("cn:you"), "{with:#?}");
}

/// Chromium shows a certificate without asking only where an administrator says so; gone with the value.
struct Policy {
    file: PathBuf,
}

impl Policy {
    fn new(test: &str, gateway: &Process) -> Option<Self> {
        let folder = Path::new("/etc/chromium/policies/managed");
        let file = folder.join(format!("countersign-test-{}.json", std::process::id()));
        let pattern = format!(
            r#"{{"pattern":"https://localhost:{}","filter":{{}}}}"#,
            gateway.gateway().port()
        );
        let policy = serde_json::json!({ "AutoSelectCertificateForUrls": [pattern] }).to_string();
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, policy));
        if let Err(error) = written {
            println!(
                "SKIPPED {test}: {} cannot be written: {error}",
                file.display()
            );
            return None;
        }
        Some(Self { file })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}
