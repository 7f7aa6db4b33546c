//! The working tree as the checks see it: source files by their path from the root, and cargo's view of the crates.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, ensure};

/// Folders that hold our own Rust. `bench` is a workspace of its own, but its names are held to the same rule.
const OURS: [&str; 4] = ["bench", "crates", "fuzz", "xtask"];

/// Folders inside those that hold no source of ours: build output, benchmark runs, fuzz corpora.
const NOT_SOURCE: [&str; 3] = ["__fuzz__", "run", "target"];

/// One of our `.rs` files.
pub(crate) struct SourceFile {
    /// From the root, with `/`: `crates/pki/src/lib.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The root of the repository, wherever `cargo run` was called.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask stands in the root")
        .to_owned()
}

/// Every `.rs` file of ours, sorted by path.
pub(crate) fn sources(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = OURS
        .iter()
        .map(|name| root.join(name))
        .filter(|folder| folder.is_dir())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !NOT_SOURCE.contains(&&*name) {
                folders.push(path);
            } else if path.is_file() && path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let path = path
                    .strip_prefix(root)?
                    .to_string_lossy()
                    .replace('\\', "/");
                files.push(SourceFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// What cargo prints for `arguments`, run at the root by the cargo that runs us.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(root)
        .output()
        .context("starting cargo")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo {}: {stderr}",
        arguments.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}
