use std::collections::BTreeSet;

use super::message::Tells;
use super::*;

mod front;
mod healthy;
mod language;
mod program;
mod whole;

/// `slug of side`, or `none`.
fn first(log: &str) -> String {
    read(log.as_bytes()).candidates.first().map_or_else(
        || "none".to_owned(),
        |first| {
            let side = match first.side {
                Accused::Client => "client",
                Accused::Server => "server",
                Accused::Either => "either",
            };
            format!("{} of {side}", first.cause)
        },
    )
}

fn check(log: &str, expected: &str) {
    assert_eq!(first(log), expected, "{log}\n{:#?}", read(log.as_bytes()));
}

fn check_all(lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        check(line, expected);
    }
}

#[test]
fn every_message_is_there_once_and_can_be_found() {
    let mut known = BTreeSet::new();
    for (product, row) in tables::rows() {
        assert!(
            known.insert(lines::folded(row.words)),
            "{product:?} {:?} is there twice",
            row.words
        );
        assert!(
            pattern::Pattern::new(row.words).can_be_found(),
            "{:?}",
            row.words
        );
        if matches!(row.tells, Tells::Fault(_) | Tells::Code) {
            assert!(!row.source.is_empty(), "{:?} has no source", row.words);
        }
    }
}

#[test]
fn there_are_messages_enough() {
    let faults = tables::rows().filter(|(_, row)| matches!(row.tells, Tells::Fault(_)));
    assert!(faults.count() >= 250);
}

#[test]
fn hostile_input_is_bounded() {
    let long = vec![b'a'; 10 << 20];
    assert_eq!(read(&long).lines, 1);
    let messages = b"x509: certificate signed by unknown authority ".repeat(200_000);
    let reading = read(&messages);
    assert_eq!((reading.lines, reading.candidates.len() < 30), (1, true));
    let empty = b"\n".repeat(1_000_000);
    let reading = read(&empty);
    assert_eq!(reading.lines + reading.unread_lines, 1_000_000);
    for odd in [
        &b"\x00\x01\x1b[31m\xff\xfe\x80"[..],
        b"\xff\xfe",
        b"\xfe\xff\xd8\x00",
        b"",
        b"\x1b[",
    ] {
        assert_eq!(read(odd).candidates, []);
    }
}

#[test]
fn hostile_text_is_shown_harmless() {
    let reading = read("curl: (60) SSL certificate problem: \u{1b}]0;x\u{7}certificate has expired \u{202e}\u{200b}".as_bytes());
    let shown = &reading.candidates[0];
    for text in [&shown.line, &shown.message] {
        assert!(
            !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
    }
}

#[test]
fn utf16_of_windows_is_read() {
    let text: Vec<u8> = "\u{feff}SEC_E_UNTRUSTED_ROOT\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(read(&text).candidates[0].cause, Cause::ServerCaNotTrusted);
}

#[test]
fn reading_is_serialisable() {
    let json = serde_json::to_value(read(
        b"curl: (60) SSL certificate problem: certificate has expired",
    ))
    .unwrap();
    let first = &json["candidates"][0];
    assert_eq!(first["cause"], "leaf-expired");
    assert_eq!(first["side"], "server");
    assert_eq!(first["confidence"], "certain");
    assert_eq!(first["line_number"], 1);
    assert!(first["source"].as_str().unwrap().starts_with("openssl"));
}
