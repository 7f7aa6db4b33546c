//! What a person's terminal gets to see: no name and no path of somebody else's making can steer it.

use std::collections::BTreeSet;

use crate::installation::{Answer, Installation, text};

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
