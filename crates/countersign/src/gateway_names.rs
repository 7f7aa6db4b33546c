//! Names given to the gateway with `--name`: each stays on its certificate, also when a later `up` does not give it again.
//!
//! They have a file of their own. The certificate holds host names and addresses, too, and a container has another host
//! name at each start: kept, they would pile up until no certificate can be issued.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{fs, io};

use countersign_authority::state::StateFolder;
use countersign_pki::name::{DnsName, TypedName};
use countersign_runtime::atomic_file::write_atomic;

use crate::certificate_file::certificate_in;
use crate::fault::Fault;

/// Names given before that still fit beside `wanted`, oldest first. What does not fit is forgotten, the oldest first: what
/// is kept is never why a gateway cannot start.
pub(crate) fn kept(state: &StateFolder, wanted: &[TypedName]) -> Vec<DnsName> {
    let known = match fs::read_to_string(file(state)) {
        Ok(text) => text
            .lines()
            .filter_map(|line| DnsName::parse(line.trim()).ok())
            .collect(),
        Err(_) => of_certificate(state),
    };
    fitting(known, wanted)
}

/// Writes down `kept` and `given`.
pub(crate) fn remember(
    state: &StateFolder,
    kept: &[DnsName],
    given: &[DnsName],
) -> Result<(), Fault> {
    let mut names: Vec<&DnsName> = kept.iter().filter(|name| !given.contains(name)).collect();
    names.extend(given);
    let mut text = String::new();
    for name in names {
        writeln!(text, "{name}").expect("a String takes everything");
    }
    let path = file(state);
    let unchanged = fs::read_to_string(&path).is_ok_and(|known| known == text);
    if unchanged {
        return Ok(());
    }
    write_atomic(&path, text.as_bytes(), 0o644).map_err(|error: io::Error| {
        Fault::world(format_args!("cannot write {}: {error}", path.display()))
    })
}

/// Of a gateway from before there was the file. Host names of containers have no dot: they come first, to go first.
fn of_certificate(state: &StateFolder) -> Vec<DnsName> {
    let Ok(certificate) = certificate_in(&state.gateway_certificate()) else {
        return Vec::new();
    };
    let mut names: Vec<DnsName> = certificate
        .subject_alt_names()
        .iter()
        .filter_map(|name| match name {
            TypedName::Dns(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.sort_by_key(|name| name.to_string().contains('.'));
    names
}

fn fitting(known: Vec<DnsName>, wanted: &[TypedName]) -> Vec<DnsName> {
    let mut kept: Vec<DnsName> = known
        .into_iter()
        .filter(|name| !wanted.contains(&TypedName::Dns(name.clone())))
        .collect();
    let room = MOST_NAMES.saturating_sub(wanted.len());
    let surplus = kept.len().saturating_sub(room);
    kept.drain(..surplus);
    kept
}

fn file(state: &StateFolder) -> PathBuf {
    state.path().join("gateway").join("names")
}

/// `policy` issues no certificate with more.
const MOST_NAMES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(text: &str) -> DnsName {
        DnsName::parse(text).expect("a name")
    }

    #[test]
    fn oldest_names_make_room() {
        let known: Vec<_> = (0..120).map(|at| dns(&format!("n{at}.example"))).collect();
        let wanted = [
            TypedName::Dns(dns("localhost")),
            TypedName::Dns(dns("n119.example")),
        ];
        let kept = fitting(known, &wanted);
        assert_eq!(kept.len(), 98);
        assert_eq!(kept.first(), Some(&dns("n21.example")));
        assert_eq!(kept.last(), Some(&dns("n118.example")));
    }

    #[test]
    fn more_names_than_fit_keep_none() {
        let wanted: Vec<_> = (0..101)
            .map(|at| TypedName::Dns(dns(&format!("n{at}.example"))))
            .collect();
        assert_eq!(fitting(vec![dns("old.example")], &wanted), []);
    }

    #[test]
    fn names_given_again_are_the_newest() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::prepare(&folder.path().join("state")).expect("a state");
        fs::create_dir_all(state.path().join("gateway")).expect("writable");
        remember(&state, &[], &[dns("a.example"), dns("b.example")]).expect("written");
        let known = kept(&state, &[]);
        assert_eq!(known, [dns("a.example"), dns("b.example")]);
        remember(&state, &known, &[dns("a.example")]).expect("written");
        assert_eq!(kept(&state, &[]), [dns("b.example"), dns("a.example")]);
    }
}
