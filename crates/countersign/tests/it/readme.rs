//! The transcripts in the README and in the guide are what the commands print.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_diagnose::refusal::RefusalId;
use countersign_testkit::ephemeral;

use crate::installation::{binary, text};

#[test]
fn readme_transcript_is_what_the_commands_print() {
    play_page("README.md");
}

#[test]
fn guide_to_backups_is_what_the_commands_print() {
    play_page("docs/guide/backup-and-restore.md");
}

#[test]
fn guide_to_provisioning_is_what_the_commands_print() {
    play_page("docs/guide/provisioning.md");
}

#[test]
fn commands_of_the_guide_to_incidents_do_what_it_says() {
    play_page("docs/guide/incident-response.md");
}

#[test]
fn guide_page_on_profiles_is_what_the_commands_print() {
    play_page("docs/guide/profiles-and-names.md");
}

#[test]
fn guide_page_on_other_machines_is_what_the_commands_print() {
    play_page("docs/guide/gateways-on-other-machines.md");
}

/// Every transcript of a page, in one session.
fn play_page(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(page);
    let text = fs::read_to_string(path).expect("there is such a page");
    let transcripts: Vec<&str> = transcripts(&text).collect();
    assert!(!transcripts.is_empty(), "{page} has no ```console block");
    let mut session = Session::new();
    for transcript in transcripts {
        session
            .play(transcript)
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[test]
fn runner_accepts_what_is_so() {
    let check = |transcript: &str| {
        Session::new()
            .play(transcript)
            .unwrap_or_else(|difference| panic!("{difference}"));
    };
    check("$ echo one\none\n$ printf 'a\\nb\\nc\\n'\na\n...\nc\n$ true\n");
    check("$ echo error: no >&2; false\nerror: no\n");
    check(
        "$ echo serial 0A1B2C3D4E5F60718293A4B5C6D7E8F901020304\nserial 0F00000000000000000000000000000000000000\n",
    );
    check("$ echo until 2026-01-02T03:04:05Z\nuntil 2027-10-20T10:20:30Z\n");
    check(
        "$ echo gateway@one confirmed after 12 ms: done\ngateway@other confirmed after 0 ms: done\n",
    );
    check("$ echo listening on 127.0.0.1:40123\nlistening on 127.0.0.1:8443\n");
    check("$ printf 'up\\n'; exec sleep 1000 &\nup\n$ echo beside it\nbeside it\n");
    // What a shell continues on the next line is one command.
    check("$ echo one \\\n    two\none two\n");
}

#[test]
fn runner_drives_the_binary_in_the_background() {
    let transcript = "$ cargo run --release -- up --listen 127.0.0.1:0 --metrics 127.0.0.1:0 &\n...\n\
                      Ctrl-C drains and stops\n\n$ cargo run --release -- list\n\
                      NAME PROFILE STATUS NOT AFTER SERIAL\n...\n";
    Session::new()
        .play(transcript)
        .unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn runner_refuses_what_is_not_so() {
    let check = |transcript: &str| {
        let difference = Session::new().play(transcript);
        assert!(difference.is_err(), "{transcript:?} was accepted");
    };
    check("$ echo one\ntwo\n");
    check("$ echo one\n");
    check("$ true\none\n");
    check("$ false\n");
    check("$ echo error: no >&2; false\n...\n");
    check("$ printf 'a\\nb\\n'\na\n");
    check("$ printf 'a\\nb\\n'\n...\nc\n");
    check("$ echo status 200\nstatus 403\n");
    check("output without a command\n");
    check("$ echo down; exit 1 &\nup\n");
}

#[test]
fn blocks_of_the_readme_are_found() {
    let readme = "# x\n```console\n$ a\nb\n```\n```sh\n$ c\n```\n```console ignore\n$ d\n```\n";
    assert_eq!(
        transcripts(readme).collect::<Vec<_>>(),
        ["$ a\nb\n", "$ d\n"]
    );
}

/// A folder, a state, and what was started in the background.
pub(crate) struct Session {
    folder: tempfile::TempDir,
    /// Stands for the documented port, which others may be using.
    gateway: SocketAddr,
    /// The same, of the feed.
    feed: SocketAddr,
    background: Vec<Child>,
}

/// A command and what it prints.
struct Step {
    command: String,
    expected: Vec<String>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            gateway: ephemeral::address(),
            feed: ephemeral::address(),
            background: Vec::new(),
        }
    }

    /// Plays each step; the first difference ends it.
    pub(crate) fn play(&mut self, transcript: &str) -> Result<(), String> {
        for step in steps(transcript)? {
            match step.command.strip_suffix('&') {
                Some(command) => self.start(command.trim_end(), &step)?,
                None => self.run(&step)?,
            }
        }
        Ok(())
    }

    /// A file that the reader has written.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is ours");
    }

    fn run(&self, step: &Step) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let outcome = self.run_once(step);
            // A refusal is on record when its client has gone, which the command before does not wait for.
            let may_change = step.command.contains("countersign explain");
            if outcome.is_ok() || !may_change || begun.elapsed() > HANG {
                return outcome;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn run_once(&self, step: &Step) -> Result<(), String> {
        // One file for both outputs keeps their order.
        let output = self.path("output");
        let file = fs::File::create(&output).expect("the folder is ours");
        let twin = file.try_clone().expect("a file can be shared");
        let status = self.shell(&step.command).stdout(file).stderr(twin).status();
        let status = status.expect("sh starts");
        let came = fs::read_to_string(output).expect("readable");
        compare(step, &came, true)?;
        // Where the page shows no line of it, that it worked is all that it claims.
        if !status.success() && step.expected.iter().all(|line| line == "...") {
            return Err(format!(
                "$ {}\nended with {status}, it printed:\n{came}",
                step.command
            ));
        }
        Ok(())
    }

    /// In the background: goes on when everything that is expected has been printed.
    fn start(&mut self, command: &str, step: &Step) -> Result<(), String> {
        let output = self.path(&format!("background-{}", self.background.len()));
        let file = fs::File::create(&output).expect("the folder is ours");
        let twin = file.try_clone().expect("a file can be shared");
        let child = self
            .shell(&format!("exec {command}"))
            .stdout(file)
            .stderr(twin)
            .spawn()
            .expect("sh starts");
        self.background.push(child);
        let child = self.background.last_mut().expect("just pushed");
        let begun = Instant::now();
        loop {
            let has_ended = child.try_wait().expect("our child").is_some();
            let came = fs::read_to_string(&output).expect("readable");
            let difference = compare(step, &came, false);
            // A file has no event to wait for.
            if difference.is_ok() || has_ended || begun.elapsed() > HANG {
                return difference;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &in_this_build(command, self.gateway, self.feed)])
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        shell
            .env("COUNTERSIGN_STATE", self.path("state"))
            .env("NO_COLOR", "1");
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The blocks that are transcripts.
pub(crate) fn transcripts(readme: &str) -> impl Iterator<Item = &str> {
    let blocks = readme.split("\n```console").skip(1);
    blocks
        .filter_map(|block| block.split_once('\n'))
        .filter_map(|(_, block)| block.split("```").next())
}

fn steps(transcript: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for line in transcript.lines() {
        let is_continued = steps
            .last()
            .is_some_and(|step| step.command.ends_with('\\'));
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (None, Some(step)) if is_continued => {
                step.command.pop();
                step.command.push_str(line.trim_start());
            }
            (Some(command), _) => steps.push(Step {
                command: command.trim_end().to_owned(),
                expected: Vec::new(),
            }),
            (None, Some(step)) => step.expected.push(masked(line)),
            (None, None) if line.trim().is_empty() => {}
            (None, None) => return Err(format!("{line:?} comes before any command")),
        }
    }
    for step in &mut steps {
        // An empty line before the next command is for the eye.
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
    }
    Ok(steps)
}

/// The reader's command, run with the binary under test.
fn in_this_build(command: &str, gateway: SocketAddr, feed: SocketAddr) -> String {
    let binary = text(binary());
    let words = command
        .replace("cargo run --release --quiet --", "countersign")
        .replace("cargo run --release --", "countersign");
    let replaced = words
        .replace("./target/release/countersign", "countersign")
        .replace("target/release/countersign", "countersign");
    let replaced = if replaced.contains("--listen") {
        replaced
    } else {
        let ports = format!("countersign up --listen {gateway} --metrics 127.0.0.1:0");
        replaced
            .replace("countersign up", &ports)
            .replace(":8443", &format!(":{}", gateway.port()))
            .replace(":9444", &format!(":{}", feed.port()))
    };
    format!("countersign() {{ '{binary}' \"$@\"; }}; {replaced}")
        .replace("exec countersign", &format!("exec '{binary}'"))
}

fn compare(step: &Step, came: &str, whole: bool) -> Result<(), String> {
    let mut came: Vec<String> = came.lines().map(masked).collect();
    while came.last().is_some_and(String::is_empty) {
        came.pop();
    }
    if matches(&step.expected, &came, whole) {
        return Ok(());
    }
    Err(format!(
        "$ {}\nthe transcript says:\n{}\nit printed:\n{}\n",
        step.command,
        step.expected.join("\n"),
        came.join("\n")
    ))
}

/// `...` stands for any lines. `whole`: nothing may follow.
fn matches(expected: &[String], came: &[String], whole: bool) -> bool {
    match expected.split_first() {
        None => !whole || came.is_empty(),
        Some((line, rest)) if line == "..." => {
            (0..=came.len()).any(|skip| matches(rest, &came[skip..], whole))
        }
        Some((line, rest)) => came
            .split_first()
            .is_some_and(|(first, came)| first == line && matches(rest, came, whole)),
    }
}

/// What differs from run to run, put behind a mask: serials and fingerprints, times and lengths of time, ports, paths,
/// this host's name, and the blanks that align columns.
pub(crate) fn masked(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let masked = words.iter().enumerate().map(|(at, word)| {
        let is_length = words.get(at + 1).is_some_and(|unit| unit.starts_with("ms"));
        if is_length && word.bytes().all(|byte| byte.is_ascii_digit()) {
            "[number]".to_owned()
        } else {
            masked_word(word)
        }
    });
    masked.collect::<Vec<_>>().join(" ")
}

fn masked_word(word: &str) -> String {
    let start = word
        .find(|c: char| c.is_alphanumeric() || c == '/')
        .unwrap_or(0);
    let end = word
        .rfind(|c: char| c.is_alphanumeric() || c == '/')
        .map_or(word.len(), |last| {
            last + word[last..].chars().next().map_or(1, char::len_utf8)
        });
    let (before, rest) = word.split_at(start);
    let (inner, after) = rest.split_at(end.max(start) - start);
    format!("{before}{}{after}", masked_inner(inner))
}

fn masked_inner(word: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
    if hex && word.chars().filter(char::is_ascii_hexdigit).count() >= 16 {
        return "[hex]".to_owned();
    }
    let is_time =
        word.len() >= 10 && word.as_bytes()[4] == b'-' && digits(&word[..4]) && digits(&word[5..7]);
    if is_time || (word.len() >= 5 && word.split(':').all(digits) && word.contains(':')) {
        return "[time]".to_owned();
    }
    if let Some(number) = ["ms", "s", "d", "h"]
        .iter()
        .find_map(|unit| word.strip_suffix(unit))
        && digits(number)
    {
        return "[duration]".to_owned();
    }
    if word.starts_with('/') && word.len() > 1 {
        return "[path]".to_owned();
    }
    if word.parse::<RefusalId>().is_ok() {
        return "[refusal]".to_owned();
    }
    if word.starts_with("gateway@") {
        return "gateway@[host]".to_owned();
    }
    match word.rsplit_once(':') {
        Some((host, port)) if digits(port) && host.contains("127.0.0.1") => {
            format!("{host}:[port]")
        }
        Some((host, rest)) if host.contains("127.0.0.1") => {
            let port_end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            if port_end == 0 {
                word.to_owned()
            } else {
                format!("{host}:[port]{}", &rest[port_end..])
            }
        }
        _ => word.to_owned(),
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_mins(1);
