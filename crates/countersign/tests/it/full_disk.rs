//! A full disk refuses issuing, corrupts nothing, and heals by itself.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::process::Process;

use crate::installation::{Answer, Installation, binary, text};

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

/// A file system of a few MiB.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).expect("creates");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    /// Takes every byte there is.
    fn fill(&self) -> PathBuf {
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
