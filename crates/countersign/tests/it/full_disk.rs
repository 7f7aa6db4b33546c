//! A full disk refuses issuing, corrupts nothing, and heals by itself.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::pem;
use countersign_pki::publication::PublicationUrl;
use countersign_testkit::ephemeral;
use countersign_testkit::process::Process;

use crate::installation::{Answer, Installation, binary, text};
use crate::peers::peer;
use crate::publishing::{configuration, fetch};

#[test]
fn full_disk_refuses_issuing_with_its_name_reads_go_on_and_it_heals_by_itself() {
    let installation = Installation::empty();
    let Some(disk) = SmallDisk::mount(installation.path("disk")) else {
        println!("SKIPPED a full disk: no file system can be mounted here");
        return;
    };
    let state = disk.path.join("state");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--state", text(&state)]);
        Answer::of(&mut command)
    };
    let number = std::cell::Cell::new(0);
    let issue = || {
        number.set(number.get() + 1);
        let name = format!("client-{}", number.get());
        let out = installation.path(&name);
        (run(&["issue", "client", &name, "--out", text(&out)]), name)
    };
    assert_eq!(run(&["init"]).code, Some(0));
    let free = [
        "up",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--state",
        text(&state),
    ];
    let process = Process::start(binary(), &free);
    let (first, kept) = issue();
    assert_eq!(first.code, Some(0), "{first:#?}");

    for round in 0..3 {
        let filler = disk.fill();
        let mut answered = Vec::new();
        // The write-ahead log may have room that it has taken before.
        let refused = loop {
            let (answer, name) = issue();
            if answer.code != Some(0) {
                break answer;
            }
            answered.push(name);
            assert!(answered.len() < 500, "the disk does not fill");
        };
        refused.assert_fault(
            3,
            &["the disk that holds inventory", "is full", "free space"],
        );
        let revoked = run(&["revoke", &kept]);
        revoked.assert_fault(3, &["is full"]);
        let backup = run(&["ca", "backup", text(&installation.path("none.tar"))]);
        backup.assert_fault(3, &["is full"]);
        assert!(!installation.path("none.tar").exists());
        // Whoever asks is answered.
        for name in answered.iter().chain([&kept]) {
            let shown = run(&["show", name]);
            assert_eq!(shown.code, Some(0), "round {round}, {name}: {shown:#?}");
        }
        assert_eq!(run(&["list"]).code, Some(0));
        assert_eq!(run(&["status"]).code, Some(0));
        assert_eq!(run(&["audit", "verify"]).code, Some(0));
        fs::remove_file(filler).expect("removes");
        let (again, _) = issue();
        assert_eq!(again.code, Some(0), "round {round}: {again:#?}");
    }
    process.kill();
    assert_eq!(run(&["audit", "verify"]).code, Some(0));
    let (after, _) = issue();
    assert_eq!(after.code, Some(0), "{after:#?}");
}

/// Lists and OCSP as the public asks for them.
struct Public<'a> {
    openssl: &'a Path,
    ca: PathBuf,
    intermediate: PathBuf,
    certificate: PathBuf,
    url: String,
}

impl Public<'_> {
    fn assert_served(&self, when: &str) {
        let pem = fs::read(&self.intermediate).expect("readable");
        let intermediate = Certificate::parse(&pem::decode_all(&pem).expect("PEM")[0].der);
        let intermediate = intermediate.expect("a certificate");
        let path = PublicationUrl::complete_list_path(&intermediate);
        let list = ParsedCrl::parse(&fetch(&format!("{}{path}", self.url))).expect("a CRL");
        assert!(list.verify(&intermediate).is_ok(), "{when}");
        let mut command = Command::new(self.openssl);
        let url = format!("{}/ocsp", self.url);
        command.args([
            "ocsp",
            "-url",
            &url,
            "-CAfile",
            text(&self.ca),
            "-verify_other",
        ]);
        command
            .arg(&self.intermediate)
            .arg("-issuer")
            .arg(&self.intermediate);
        let answer = Answer::of(command.arg("-cert").arg(&self.certificate));
        assert_eq!(answer.code, Some(0), "{when}: {answer:#?}");
        assert!(
            answer.all().contains("cert.pem: good\n"),
            "{when}: {answer:#?}"
        );
    }
}

#[test]
fn full_disk_ends_neither_lists_nor_ocsp_not_even_when_the_process_starts_again() {
    let test = "full_disk_ends_neither_lists_nor_ocsp_not_even_when_the_process_starts_again";
    let installation = Installation::empty();
    let (Some(openssl), Some(disk)) = (
        peer(test, "openssl"),
        SmallDisk::mount(installation.path("disk")),
    ) else {
        println!("SKIPPED a full disk: no file system can be mounted here");
        return;
    };
    let state = disk.path.join("state");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--state", text(&state)]);
        Answer::of(&mut command)
    };
    let public = ephemeral::address();
    let url = format!("http://{public}/pki");
    let rules = "[authority.profile.server]\ndns_suffix = [\"corp.example\"]\n";
    let strict = "[authority.profile.server]\ndns_suffix = [\"very.corp.example\"]\n";
    let start = |rules: &str| {
        let toml = rules.to_owned() + &configuration(public, &url);
        let file = installation.write("countersign.toml", &toml);
        Process::start(
            binary(),
            &["run", "-c", text(&file), "--state", text(&state)],
        )
    };
    assert_eq!(run(&["init"]).code, Some(0));
    let process = start(rules);
    let out = installation.path("client");
    let issued = run(&["issue", "client", "early", "--out", text(&out)]);
    assert_eq!(issued.code, Some(0), "{issued:#?}");
    let asked = Public {
        openssl: &openssl,
        ca: out.join("ca.pem"),
        intermediate: state.join("ca/intermediate.pem"),
        certificate: out.join("cert.pem"),
        url: url.clone(),
    };
    asked.assert_served("at first");

    let filler = disk.fill();
    let issue = |name: &str| {
        let out = installation.path("late");
        run(&["issue", "server", name, "--force", "--out", text(&out)])
    };
    // The write-ahead log may have room that it has taken before.
    let refused = (0..500).map(|_| issue("www.corp.example"));
    let refused = refused.into_iter().find(|it| it.code != Some(0));
    refused.expect("it fills").assert_fault(3, &["is full"]);
    asked.assert_served("while the disk is full");
    process.kill();
    let process = start(rules);
    asked.assert_served("after a start on the full disk");
    assert_eq!(run(&["status"]).code, Some(0));
    process.kill();

    // Rules that cannot be kept: whoever finds nobody serving would go by the former ones.
    let process = start(strict);
    asked.assert_served("with rules that cannot be kept");
    let unkept = ["cannot be kept", "profiles.toml", "have space"];
    issue("www.very.corp.example").assert_fault(3, &unkept);
    let status = run(&["status"]);
    assert_eq!(status.code, Some(1), "{status:#?}");
    assert!(status.stdout.contains(unkept[0]), "{status:#?}");
    fs::remove_file(filler).expect("removes");
    process.wait_for_log(&["certificates are issued again"]);
    let issued = issue("www.very.corp.example");
    assert_eq!(issued.code, Some(0), "{issued:#?}");
    issue("www.corp.example").assert_fault(2, &["dns_suffix"]);
    asked.assert_served("when there is room again");
    process.kill();
    issue("www.corp.example").assert_fault(2, &["dns_suffix"]);
}

/// A file system of a few MiB.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).expect("creates");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    /// Takes every byte there is.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.path.join("filler");
        let mut file = fs::File::create(&filler).expect("creates");
        for size in [65_536, 4096, 512, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the process above may be on its way out.
        let _ = unmount(&self.path);
    }
}

fn unmount(path: &Path) -> std::io::Result<std::process::Output> {
    Command::new("umount").arg("-l").arg(path).output()
}
