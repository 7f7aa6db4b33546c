//! Exported audit logs, as somebody hands them in to be verified.

use bolero::TypeGenerator;
use countersign_store::audit::verify::{Extent, verify};

/// Three transactions of a real authority.
const LOG: &[u8] = include_bytes!("audit/log.jsonl");

#[test]
fn log_that_is_whole_contains_its_own_head_and_no_other() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(whole) = verify(bytes, None, Extent::Whole) else {
            return;
        };
        let head = whole.head.parse().expect("a digest");
        assert_eq!(verify(bytes, Some(head), Extent::Whole).ok(), Some(whole));
        let other = "5c".repeat(32).parse().expect("a digest");
        assert!(verify(bytes, Some(other), Extent::Whole).is_err());
    });
}

#[derive(Debug, TypeGenerator)]
enum Edit {
    Change { place: usize, byte: u8 },
    Insert { place: usize, byte: u8 },
    Remove { place: usize },
    RemoveLine { line: usize },
    RepeatLine { line: usize, at: usize },
}

#[test]
fn log_that_was_edited_is_whole_only_if_it_is_the_same_or_cut_off_at_a_link() {
    let lines: Vec<&[u8]> = LOG.split_inclusive(|&byte| byte == b'\n').collect();
    bolero::check!().with_type::<Vec<Edit>>().for_each(|edits| {
        let mut log: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        for edit in edits {
            apply(edit, &mut log);
        }
        let log = log.concat();
        if verify(log.as_slice(), None, Extent::Whole).is_ok() {
            assert!(is_beginning(&log), "{}", log.escape_ascii());
        }
    });
}

/// White space and the order of keys of a link are not hashed; a link is what its values are.
fn is_beginning(log: &[u8]) -> bool {
    let values = |log: &[u8]| -> Vec<Option<serde_json::Value>> {
        log.split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).ok())
            .collect()
    };
    values(LOG).starts_with(&values(log))
}

fn apply(edit: &Edit, log: &mut Vec<Vec<u8>>) {
    if log.is_empty() {
        return;
    }
    let count = log.len();
    let mut bytes = |place: usize, change: &dyn Fn(&mut Vec<u8>, usize)| {
        let line = &mut log[place % count];
        let within = place / count;
        if !line.is_empty() {
            let within = within % line.len();
            change(line, within);
        }
    };
    match *edit {
        Edit::Change { place, byte } => bytes(place, &|line, within| line[within] = byte),
        Edit::Insert { place, byte } => bytes(place, &|line, within| line.insert(within, byte)),
        Edit::Remove { place } => bytes(place, &|line, within| {
            line.remove(within);
        }),
        Edit::RemoveLine { line } => drop(log.remove(line % count)),
        Edit::RepeatLine { line, at } => {
            let copy = log[line % count].clone();
            log.insert(at % count, copy);
        }
    }
}
