//! Fuzz targets: one for each parser and state machine that sees a peer's bytes.
//!
//! The targets are tests in `targets/`; this library is empty, and holds what two of them share. It is never shipped.
//! Read `fuzz/README.md` first.
