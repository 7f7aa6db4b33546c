//! The committed pages are the generated ones, each cause has one, and their links lead somewhere.

#![expect(
    clippy::disallowed_methods,
    reason = "comparing committed pages needs files, regenerating them needs a switch"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use countersign_diagnose::cause::{Cause, cause_page, reference_page};

use crate::prose;

const INDEX: &str = "docs/reference/causes.md";
const PAGES: &str = "docs/reference/causes";
const PROSE: &str = "crates/diagnose/causes";

#[test]
fn committed_pages_are_the_generated_ones_and_there_are_no_others() {
    let pages = generated();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(root().join(PAGES)).expect("the pages' folder can be made");
        for (page, text) in &pages {
            fs::write(root().join(page), text).expect("the page can be written");
        }
    }
    for (page, text) in &pages {
        let committed = fs::read_to_string(root().join(page)).unwrap_or_default();
        assert!(
            committed == *text,
            "{page} is not what the code and crates/diagnose/causes say; \
             run `UPDATE_DOCS=1 cargo test -p countersign-diagnose` and commit it"
        );
    }
    check_names(PAGES);
}

#[test]
fn every_cause_has_its_prose_and_nothing_else_has() {
    check_names(PROSE);
}

#[test]
fn every_prose_has_its_sections_and_its_look_alikes() {
    let faults: Vec<_> = Cause::ALL
        .iter()
        .filter_map(|&cause| {
            let fault = prose::fault(cause, &prose_of(cause))?;
            Some(format!("{PROSE}/{cause}.md: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn links_of_the_pages_lead_to_pages() {
    let pages = generated();
    for (page, text) in &pages {
        for target in prose::link_targets(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let is_there = if file.is_empty() {
                text.contains(&format!("\n### {anchor}\n"))
            } else {
                let path = resolved(page, file);
                pages.contains_key(&path) || root().join(path).is_file()
            };
            assert!(is_there, "{page}: {target} leads nowhere");
        }
    }
}

/// Each page's path from the root of the repository, and its text.
fn generated() -> BTreeMap<String, String> {
    let pages = Cause::ALL
        .iter()
        .map(|&cause| (cause.page().to_owned(), cause_page(cause, &prose_of(cause))));
    let index = (INDEX.to_owned(), reference_page());
    pages.chain([index]).collect()
}

/// Where `target` leads from `page`.
fn resolved(page: &str, target: &str) -> String {
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// One file for each cause, by its slug, and no other.
fn check_names(folder: &str) {
    let slugs: BTreeSet<_> = Cause::ALL.iter().map(|it| format!("{it}.md")).collect();
    let found: BTreeSet<_> = fs::read_dir(root().join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string())
        .map(|name| name.expect("a name in UTF-8"))
        .collect();
    let missing: Vec<_> = slugs.difference(&found).collect();
    let stray: Vec<_> = found.difference(&slugs).collect();
    assert!(
        missing.is_empty() && stray.is_empty(),
        "{folder} lacks {missing:?}, and no cause is called {stray:?}"
    );
}

fn prose_of(cause: Cause) -> String {
    let file = format!("{PROSE}/{cause}.md");
    fs::read_to_string(root().join(&file)).unwrap_or_else(|fault| panic!("{file}: {fault}"))
}

#[test]
fn links_are_followed_from_their_page() {
    for (target, expected) in [
        ("x.md", "docs/reference/causes/x.md"),
        ("../causes.md", INDEX),
        ("../../guide/y.md", "docs/guide/y.md"),
    ] {
        assert_eq!(resolved("docs/reference/causes/a.md", target), expected);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
