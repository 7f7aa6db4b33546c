//! Chores of this repository that are written in Rust.
//!
//! `cargo run -p xtask -- tidy` checks what neither the compiler nor clippy can: which crate may use which, names,
//! lengths, borders. It reads the tree and changes nothing. Read first: [`tidy::faults`].

mod tidy;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- tidy";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ["tidy"] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let faults = tidy::faults(&tree::root())?;
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if faults.is_empty() {
        println!("tidy: no fault");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} faults", faults.len());
    Ok(ExitCode::FAILURE)
}
