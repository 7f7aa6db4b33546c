//! The passphrase of the CA keys: typed at a real terminal, passed by a service manager, in a file; and which of them comes first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::installation::{Answer, Installation, binary, text};
use crate::peers::peer;

const TYPED: &str = "correct horse battery";

#[test]
fn typed_passphrase_opens_the_keys_and_is_never_shown() {
    let test = "typed_passphrase_opens_the_keys_and_is_never_shown";
    let Some(terminal) = Terminal::of(test, Installation::empty()) else {
        return;
    };
    let slip = terminal.run(&["init", "--ask-passphrase"], &[TYPED, "corect horse"]);
    slip.assert(2, &["the two passphrases differ", "--ask-passphrase"]);
    let nothing = terminal.run(&["init", "--ask-passphrase"], &[""]);
    nothing.assert(2, &["no passphrase was typed"]);
    let made = terminal.run(&["init", "--ask-passphrase"], &[TYPED, TYPED]);
    made.assert(0, &["Passphrase of the CA keys: ", "The same again: "]);
    let state = terminal.installation.state();
    assert!(!state.join("ca/passphrase").exists());

    let issue = ["issue", "client", "you", "--ask-passphrase"];
    terminal.run(&issue, &[TYPED]).assert(0, &["you"]);
    // The operator issuer's key is unsealed later, by what was typed at the start.
    let node = ["issue", "node", "edge", "--ask-passphrase"];
    terminal.run(&node, &[TYPED]).assert(0, &["edge"]);
    // There is no file with it: it is asked for without being told to.
    let plain = ["issue", "client", "grace"];
    terminal.run(&plain, &[TYPED]).assert(0, &["grace"]);
    let wrong = terminal.run(&["issue", "client", "eve"], &["wrong horse"]);
    wrong.assert(2, &["it is the wrong one", "--ask-passphrase"]);
    assert!(!terminal.installation.path("eve").exists());
}

#[test]
fn who_interrupts_a_question_gets_the_terminal_back_as_it_was() {
    let test = "who_interrupts_a_question_gets_the_terminal_back_as_it_was";
    let Some(python) = peer(test, "python3") else {
        return;
    };
    let installation = Installation::empty();
    let mut command = Command::new(python);
    command.args(["-c", IMPATIENT, text(binary()), "init", "--ask-passphrase"]);
    command.env("COUNTERSIGN_STATE", installation.state());
    let answer = Answer::of(command.current_dir(installation.path(".")));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let told: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    // By the signal, as any other program would.
    assert_eq!(told["code"], -2, "{told}");
    assert_eq!(told["before"], told["after"], "{told}");
    assert!(!installation.state().join("ca").exists());
}

#[test]
fn nobody_is_asked_by_a_program_or_without_a_terminal() {
    let test = "nobody_is_asked_by_a_program_or_without_a_terminal";
    let Some(terminal) = Terminal::of(test, Installation::new()) else {
        return;
    };
    let installation = &terminal.installation;
    fs::remove_file(installation.state().join("ca/passphrase")).expect("removable");
    for arguments in [
        &["issue", "client", "you", "--json"][..],
        &["issue", "client", "you", "--ask-passphrase", "--json"],
    ] {
        let answer = terminal.run(arguments, &[]);
        answer.assert(2, &["passphrase", "hint"]);
        assert!(!answer.seen.contains("Passphrase of"), "{answer:#?}");
    }
    // Another session: no terminal at all.
    let setsid = Command::new("setsid")
        .args([
            "--wait",
            text(binary()),
            "issue",
            "client",
            "you",
            "--ask-passphrase",
        ])
        .env("COUNTERSIGN_STATE", installation.state())
        .current_dir(installation.path("."))
        .output();
    let output = setsid.expect("util-linux");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for words in [
        "no terminal",
        "--passphrase-file FILE",
        "countersign-passphrase",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    installation
        .run(&["issue", "client", "you"])
        .assert_fault(2, &["passphrase", "--ask-passphrase"]);
}

#[test]
fn credential_of_the_service_comes_after_the_file_that_is_named_and_before_the_own_one() {
    let installation = Installation::empty();
    let folder = installation.path("credentials");
    fs::create_dir(&folder).expect("a new folder");
    let credential = folder.join("countersign-passphrase");
    let write = |path: &Path, secret: &str| {
        fs::write(path, secret).expect("writable");
        fs::set_permissions(path, fs::Permissions::from_mode(0o400)).expect("own file");
    };
    write(&credential, TYPED);
    let named = installation.write("named", TYPED);
    let run = |arguments: &[&str]| {
        Answer::of(
            Command::new(binary())
                .args(arguments)
                .env("COUNTERSIGN_STATE", installation.state())
                .env("CREDENTIALS_DIRECTORY", &folder)
                .current_dir(installation.path(".")),
        )
    };
    let answer = run(&["init"]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let own = installation.state().join("ca/passphrase");
    assert!(!own.exists());
    let issue = ["issue", "client", "you", "--out", "you"];
    assert_eq!(run(&issue).code, Some(0));
    installation
        .run(&["issue", "client", "eve"])
        .assert_fault(2, &["passphrase"]);

    // Before the state folder's.
    write(&own, "another");
    assert_eq!(run(&["renew", "you", "--out", "next"]).code, Some(0));
    // After the one that is named, right or wrong.
    fs::remove_file(&credential).expect("removable");
    write(&credential, "wrong");
    run(&["issue", "client", "eve"]).assert_fault(2, &["it is the wrong one"]);
    let issue = ["issue", "client", "ada", "--passphrase-file", text(&named)];
    assert_eq!(run(&issue).code, Some(0));
    // A service with other credentials alone.
    fs::remove_file(&credential).expect("removable");
    run(&["issue", "client", "eve"]).assert_fault(2, &["it is the wrong one"]);
}

/// A person before a terminal, played by Python's pty.
struct Terminal {
    python: std::path::PathBuf,
    installation: Installation,
}

/// What the terminal showed.
#[derive(Debug)]
struct Seen {
    code: i64,
    seen: String,
}

impl Terminal {
    fn of(test: &str, installation: Installation) -> Option<Self> {
        let python = peer(test, "python3")?;
        Some(Self {
            python,
            installation,
        })
    }

    /// Types a line at each question. Whatever was typed must not be seen.
    #[track_caller]
    fn run(&self, arguments: &[&str], typed: &[&str]) -> Seen {
        let lines = serde_json::to_string(typed).expect("JSON");
        let mut command = Command::new(&self.python);
        command.args(["-c", PERSON, &lines, text(binary())]);
        command.args(arguments);
        command.env("COUNTERSIGN_STATE", self.installation.state());
        let answer = Answer::of(command.current_dir(self.installation.path(".")));
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let told: Value = serde_json::from_str(&answer.stdout).expect("JSON");
        let seen = Seen {
            code: told["code"].as_i64().expect("a number"),
            seen: told["seen"].as_str().expect("a text").to_owned(),
        };
        for line in typed.iter().filter(|line| !line.is_empty()) {
            assert!(!seen.seen.contains(line), "{seen:#?}");
        }
        seen
    }
}

impl Seen {
    #[track_caller]
    fn assert(&self, code: i64, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for word in words {
            assert!(self.seen.contains(word), "{word}: {self:#?}");
        }
    }
}

const PERSON: &str = r"
import json, os, pty, sys, termios
lines, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen = b''
def more():
    global seen
    try:
        read = os.read(terminal, 4096)
    except OSError:
        read = b''
    seen += read
    return read
for line in lines:
    start = len(seen)
    while not (seen[start:].endswith(b': ') and b'Passphrase' in seen):
        if not more():
            break
    if termios.tcgetattr(terminal)[3] & termios.ECHO:
        seen += b'<< the terminal echoes >>' + line.encode()
    os.write(terminal, line.encode() + b'\n')
while more():
    pass
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps({'code': code, 'seen': seen.decode()}))
";

/// Stops it in the middle of a line.
const IMPATIENT: &str = r"
import json, os, pty, sys, termios
command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
before = termios.tcgetattr(terminal)[3]
seen = b''
while not seen.endswith(b': '):
    seen += os.read(terminal, 4096)
during = termios.tcgetattr(terminal)[3]
assert during != before and not during & termios.ECHO
os.write(terminal, b'half\x03')
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
after = termios.tcgetattr(terminal)[3]
print(json.dumps({'code': code, 'before': before, 'after': after}))
";
