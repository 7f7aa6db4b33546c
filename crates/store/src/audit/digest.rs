//! SHA-256 in pieces, as 64 lower-case hexadecimal digits.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};

/// Of what has been hashed so far.
pub(crate) struct Digest(Context);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// One more line of a log, with its line feed.
    pub(crate) fn line(&mut self, line: &[u8]) {
        self.update(line);
        self.update(b"\n");
    }

    pub(crate) fn finish(self) -> String {
        let mut digits = String::with_capacity(64);
        for byte in self.0.finish().as_ref() {
            write!(digits, "{byte:02x}").expect("a String takes everything");
        }
        digits
    }
}
