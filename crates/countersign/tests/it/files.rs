//! What lies in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::installation::text;

/// Every regular file below a folder with its bytes.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = every_file(folder).into_iter().filter(|path| path.is_file());
    files
        .map(|path| (text(&path).to_owned(), fs::read(&path).expect("readable")))
        .collect()
}

/// Everything below a folder that is no folder, sorted.
pub(crate) fn every_file(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
