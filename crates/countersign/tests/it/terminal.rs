//! What a person's terminal gets to see: no name and no path of somebody else's making can steer it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::doctor_files::workshop::Workshop;
use crate::installation::{Answer, Installation, binary, countersign, text};
use crate::peers::peer;

/// Colours the rest of the screen, writes from right to left, and is a control character of eight bits.
const EVIL: &str = "\u{1b}[31mred\u{202e}\u{9b}m";

/// Every command that takes a path or a name, with that one.
const COMMANDS: &[&[&str]] = &[
    &["api-key", "new", EVIL, "--for", "cn:you"],
    &["api-key", "new", "key", "--for", EVIL],
    &["audit", "verify", "--file", EVIL],
    &["break-glass", "print", EVIL],
    &["ca", "adopt", "--intermediate", EVIL, "--key", EVIL],
    &["ca", "adopt", "--p12", EVIL],
    &["ca", "backup", "EVIL/EVIL"],
    &["ca", "crl", "import", EVIL],
    &["ca", "prune", "--state", EVIL],
    &["ca", "restore", EVIL],
    &["ca", "resume", "--crl", EVIL],
    &["scan", "--config", EVIL],
    &["config", "check", EVIL],
    &["doctor", "--password-file", EVIL, "--cert", EVIL],
    &["explain", EVIL],
    &["export", "pem", EVIL],
    &["import", EVIL],
    &["init", "--name", EVIL],
    &["init", "--state", EVIL, "--passphrase-file", EVIL],
    &["inspect", EVIL],
    &["issue", "client", EVIL, "--passphrase-file", EVIL],
    &["issue", "client", "you", "--csr", EVIL],
    &["issue", EVIL, "you"],
    &["issue", "--batch", EVIL],
    &["label", EVIL, "env=prod"],
    &["list", "--profile", EVIL],
    &["list", "--state", EVIL],
    &["policy", "check", EVIL],
    &["policy", "readiness", "--state", EVIL],
    &["policy", "replay", EVIL],
    &["release", EVIL],
    &["renew", EVIL],
    &["revoke", EVIL, "--yes"],
    &["run", "-c", EVIL],
    &["show", EVIL],
    &["status", "--state", EVIL],
    &["up", "--name", EVIL],
    &["verify", "--cert", EVIL, "--trust", EVIL],
    &[EVIL],
];

#[test]
fn no_command_passes_terminal_sequences_of_paths_and_names_on() {
    let installation = Installation::new();
    for arguments in COMMANDS {
        let evil: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replace("EVIL", EVIL))
            .collect();
        let mut arguments: Vec<&str> = evil.iter().map(String::as_str).collect();
        let answer = installation.run(&arguments);
        assert_ne!(answer.code, Some(0), "{arguments:?}: {answer:#?}");
        assert_shown(&answer, &arguments);
        arguments.push("--json");
        let answer = installation.run(&arguments);
        assert_shown(&answer, &arguments);
        let fault = answer.stderr.lines().find(|line| line.starts_with('{'));
        let fault = fault.unwrap_or_else(|| panic!("{arguments:?}: {answer:#?}"));
        serde_json::from_str::<serde_json::Value>(fault)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {fault}"));
    }
}

#[test]
fn answers_about_files_with_such_names_are_shown_too() {
    let installation = Installation::new();
    let issued = installation.issue("client", "you", &[]);
    let certificate = std::fs::read_to_string(issued.certificate()).expect("readable");
    let file = installation.write(&format!("{EVIL}.pem"), &certificate);
    let folder = installation.path(EVIL);
    for arguments in [
        &["inspect", text(&file)][..],
        &["import", text(&file)],
        &["show", text(&file)],
        &["issue", "client", "two", "--out", text(&folder)],
        &["renew", text(&folder)],
        &["revoke", text(&file), "--yes"],
    ] {
        assert_shown(&installation.run(arguments), arguments);
    }
}

#[test]
fn every_command_is_tried_with_such_a_name() {
    let installation = Installation::empty();
    let help = installation.ok(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: BTreeSet<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    let tried: BTreeSet<&str> = COMMANDS.iter().map(|arguments| arguments[0]).collect();
    let missing: Vec<_> = commands.difference(&tried).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[track_caller]
fn assert_shown(answer: &Answer, arguments: &[&str]) {
    for text in [&answer.stdout, &answer.stderr] {
        let steering = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steering), "{arguments:?}: {answer:#?}");
    }
}

/// Runs a command on a terminal of so many columns and prints what it shows.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    size = struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0)
    fcntl.ioctl(1, termios.TIOCSWINSZ, size)
    os.execv(sys.argv[2], sys.argv[2:])
shown = b""
try:
    while more := os.read(terminal, 4096):
        shown += more
except OSError:
    pass
os.waitpid(pid, 0)
sys.stdout.write(shown.decode().replace("\r\n", "\n"))
"#;

/// What is shown on a terminal of so many columns.
fn on_a_terminal(at: &Workshop, python: &Path, columns: u16, plain: bool, line: &[&str]) -> String {
    let mut command = Command::new(python);
    command.args(["-c", ON_A_TERMINAL, &columns.to_string(), text(binary())]);
    command
        .args(line)
        .current_dir(at.path())
        .env_remove("COLUMNS");
    command.env_remove("NO_COLOR");
    if plain {
        command.env("NO_COLOR", "1");
    }
    let output = command.output().expect("python starts");
    String::from_utf8(output.stdout).expect("text")
}

/// Without the sequences of colours, which have to be of those that can be read on black and on white.
fn uncoloured(shown: &str) -> String {
    let mut plain = String::new();
    let mut rest = shown;
    while let Some((before, behind)) = rest.split_once("\u{1b}[") {
        let (sequence, after) = behind.split_once('m').expect("a sequence of colours");
        let known = ["0", "1;31", "1;32", "1;34", "1;35", "1;36"];
        assert!(known.contains(&sequence), "{sequence} in {shown}");
        plain.push_str(before);
        rest = after;
    }
    plain + rest
}

#[test]
fn lines_fit_a_terminal_and_commands_to_paste_stay_whole() {
    let test = "lines_fit_a_terminal";
    let (Some(openssl), Some(python)) = (peer(test, "openssl"), peer(test, "python3")) else {
        return;
    };
    let at = Workshop::new(openssl);
    let doctor = [
        "doctor",
        "--cert",
        "leaf.pem",
        "--key",
        "leaf.key",
        "--client-ca",
        "root.pem",
        "--file",
        "inter.pem",
    ];
    at.write("bom.pem", format!("\u{feff}{}", at.text("chain.pem")));
    let verify = [
        "verify", "--as", "client", "--cert", "leaf.pem", "--trust", "root.pem",
    ];
    let commands: [(&[&str], &str); 3] = [
        (&doctor, "fault: chain-missing-intermediate"),
        (&["inspect", "bom.pem"], "fault: file-encoding"),
        (&verify, "refused  c"),
    ];
    for (line, words) in commands {
        let piped = countersign(at.path(), line).stdout;
        assert!(
            !piped.contains('\u{1b}') && piped.contains(words),
            "{piped}"
        );
        for columns in [80, 60] {
            let shown = on_a_terminal(&at, &python, columns, false, line);
            assert!(shown.contains("\u{1b}[1;31m"), "{shown}");
            let plain = uncoloured(&shown);
            assert!(plain.contains(words), "{words} in {plain}");
            let is_command = |line: &&str| {
                let words = line.trim_start_matches([' ']).trim_start_matches("fix: ");
                let starts = ["cat ", "sed ", "openssl ", "tr ", "iconv ", "more: "];
                starts.iter().any(|it| words.starts_with(it))
            };
            let mut lines = plain.lines().filter(|line| !is_command(line));
            let wide = lines.find(|line| line.chars().count() > usize::from(columns));
            assert_eq!(wide, None, "{columns} columns: {plain}");
            for command in piped.lines().filter(is_command) {
                assert!(plain.lines().any(|line| line == command), "{command}");
            }
            // Nothing is lost by it; the time goes on, and what was a year becomes days and hours.
            let is_kept = |c: &char| !c.is_whitespace() && !c.is_ascii_digit();
            let squeezed = |text: &str| {
                let kept: String = text.chars().filter(is_kept).collect();
                let without_units =
                    (kept.split("left)")).map(|it| it.trim_end_matches(['y', 'd', 'h']));
                without_units.collect::<Vec<_>>().join("left)")
            };
            assert_eq!(squeezed(&plain), squeezed(&piped));
        }
        let plain = on_a_terminal(&at, &python, 80, true, line);
        assert!(!plain.contains('\u{1b}'), "NO_COLOR: {plain}");
    }
}
