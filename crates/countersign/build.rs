//! How the binary is linked.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // Addresses that are relative to where the program is loaded take a bit each instead of 24 bytes, a megabyte less in all. glibc knows
    // that since 2.36; who builds with an earlier one has an earlier linker, which warns and goes on.
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
