//! What the process asks of the kernel, in which order: no kill can show that something is on the disk, since the page cache
//! outlives the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::process::Process;

use crate::fleet::Fleet;
use crate::installation::{Answer, Installation, binary, text};
use crate::peers::peer;

/// What strace(1) has written down.
struct Trace {
    strace: PathBuf,
    file: PathBuf,
}

impl Trace {
    fn new(test: &str, installation: &Installation) -> Option<Self> {
        Some(Self {
            strace: peer(test, "strace")?,
            file: installation.path("system-calls"),
        })
    }

    /// The binary with `arguments`, observed. It is our child itself: the observer is detached from it.
    fn command(&self, calls: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.strace);
        command.args(["-D", "-f", "-qq", "-yy", "-s", "200", "-e"]);
        command.arg(format!("trace={calls}"));
        command.args([
            Path::new("-o"),
            self.file.as_path(),
            Path::new("--"),
            binary(),
        ]);
        command.args(arguments).arg("--json");
        command
    }

    /// The calls that have returned, in the order in which they did.
    fn returned(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.file).expect("strace writes it");
        let mut unfinished: Vec<(&str, &str)> = Vec::new();
        let mut returned = Vec::new();
        for line in text.lines() {
            let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
            let call = call.trim_start();
            if let Some(begin) = call.strip_suffix("<unfinished ...>") {
                unfinished.push((thread, begin));
            } else if call.starts_with("<... ") {
                let at = unfinished.iter().position(|(of, _)| *of == thread);
                let begin = at.map_or("", |at| unfinished.swap_remove(at).1);
                returned.push(format!("{begin} {call}"));
            } else {
                returned.push(call.to_owned());
            }
        }
        returned
    }
}

fn is_synced(call: &str, file: &str) -> bool {
    (call.starts_with("fsync(") || call.starts_with("fdatasync("))
        && call.contains(file)
        && call.ends_with("= 0")
}

#[test]
fn what_is_answered_is_on_the_disk() {
    let installation = Installation::new();
    let Some(trace) = Trace::new("what_is_answered_is_on_the_disk", &installation) else {
        return;
    };
    let state = installation.state();
    let calls = "fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg";
    let arguments = ["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let arguments = [&arguments[..], &["--state", text(&state)]].concat();
    let process = Process::try_start_as(trace.command(calls, &arguments)).expect("it starts");
    // More than one of each: the first change after a start begins a log, which is synchronised in any case.
    for name in ["one", "two", "three"] {
        installation.issue("client", name, &[]);
    }
    for name in ["one", "two"] {
        installation.ok(&["revoke", name]);
    }
    assert!(process.interrupt().success());

    let calls = trace.returned();
    let mut asked = 0;
    for (at, call) in calls.iter().enumerate() {
        if !call.contains("\"POST /v1/issue ") && !call.contains("\"POST /v1/revoke ") {
            continue;
        }
        asked += 1;
        let answered = calls[at..]
            .iter()
            .position(|call| call.contains("\"HTTP/1.1 200 OK"))
            .map(|behind| at + behind)
            .expect("it was answered");
        assert!(
            (calls[at..answered].iter()).any(|call| is_synced(call, "inventory.db-wal")),
            "answered before it was on the disk: {:#?}",
            &calls[at..=answered]
        );
    }
    assert_eq!(asked, 5, "{calls:#?}");
}

#[test]
fn what_a_node_confirms_is_on_its_disk() {
    let fleet = Fleet::new();
    let Some(trace) = Trace::new("what_a_node_confirms_is_on_its_disk", &fleet.gateway) else {
        return;
    };
    let _authority = fleet.run_authority("");
    let configuration = fleet.gateway_toml("gw-1", "");
    let configuration = fleet.gateway.write("countersign.toml", &configuration);
    let state = fleet.gateway.state();
    let arguments = ["run", "-c", text(&configuration), "--state", text(&state)];
    let process = Process::try_start_as(trace.command("fsync,fdatasync", &arguments));
    let _process = process.expect("it starts");
    fleet.authority.issue("client", "you", &[]);
    let log = |calls: &[String]| {
        let of_log = calls.iter().filter(|call| is_synced(call, "/gateway/feed"));
        of_log.count()
    };
    let before = log(&trace.returned());
    let receipt = fleet.authority.json(&["revoke", "you", "--wait"]);
    assert_eq!(receipt["nodes"][1]["confirmed"], true, "{receipt}");
    let after = log(&trace.returned());
    assert!(after > before, "confirmed, and not synchronised");
}

#[test]
fn who_unseals_a_key_cannot_be_dumped() {
    let installation = Installation::new();
    let Some(trace) = Trace::new("who_unseals_a_key_cannot_be_dumped", &installation) else {
        return;
    };
    let state = installation.state();
    let copy = installation.path("backup.age");
    let elsewhere = installation.path("elsewhere");
    for arguments in [
        &["init", "--state", text(&elsewhere)][..],
        &["issue", "client", "you", "--state", text(&state)],
        &["ca", "crl", "--root", "--state", text(&state)],
        &["ca", "backup", text(&copy), "--state", text(&state)],
    ] {
        let mut command = trace.command("prctl,prlimit64,openat", arguments);
        let answer = Answer::of(command.current_dir(installation.path("")));
        assert_eq!(answer.code, Some(0), "{arguments:?} {answer:#?}");
        let calls = trace.returned();
        let place = |what: &str| calls.iter().position(|call| call.contains(what));
        let core = place("RLIMIT_CORE, {rlim_cur=0, rlim_max=0}");
        let dumpable = place("PR_SET_DUMPABLE, SUID_DUMP_DISABLE");
        // Before anything of the authority is looked at.
        let opened = place(text(&state)).or_else(|| place(text(&elsewhere)));
        assert!(
            core.is_some() && core < opened && dumpable.is_some() && dumpable < opened,
            "{arguments:?}: {calls:#?}"
        );
    }
}
