//! The checks of `xtask tidy`. Each is a pure function from text or lists to faults, in a file of its own with
//! examples that fail; this file feeds them from the tree.

mod arrows;
mod borders;
mod built;
mod docs;
mod guards;
mod lengths;
mod names;
mod purity;
mod run;

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::tree;

/// Everything that is wrong with the tree at `root`, one sentence each.
pub(crate) fn faults(root: &Path) -> anyhow::Result<Vec<String>> {
    let sources = tree::sources(root)?;
    let mut faults = Vec::new();
    for file in &sources {
        faults.extend(names::check(&file.path, &file.text));
        faults.extend(lengths::check(&file.path, &file.text));
        faults.extend(borders::check(&file.path, &file.text));
        faults.extend(docs::check(&file.path, &file.text));
    }
    for page in ["ARCHITECTURE.md", "docs/lessons.md"] {
        let texts = sources.iter().map(|file| file.text.as_str());
        faults.extend(guards::check(page, &read(root, page)?, texts));
    }
    let metadata = tree::cargo(root, &["metadata", "--no-deps", "--format-version", "1"])?;
    let crates = arrows::crates(&metadata)?;
    faults.extend(arrows::check(&crates));
    faults.extend(run::check(&metadata)?);
    faults.extend(purity::check(root)?);
    faults.extend(purity::unrepeated(
        &read(root, "clippy.toml")?,
        &read(root, "pure.clippy.toml")?,
    ));
    let built = tree::cargo(
        root,
        &["tree", "--workspace", "--target", "all", "--prefix", "none"],
    )?;
    faults.extend(built::check(&built));
    Ok(faults)
}

fn read(root: &Path, name: &str) -> anyhow::Result<String> {
    fs::read_to_string(root.join(name)).with_context(|| name.to_owned())
}
