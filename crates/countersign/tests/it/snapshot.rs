//! Output compared with the committed text.

use crate::installation::{Installation, text};

/// Compares with the committed text, in which what differs from run to run is masked.
pub(crate) fn snapshot(name: &str, installation: &Installation, said: &str) {
    let folder = installation.path("");
    let folder = text(&folder).trim_end_matches('/').to_owned();
    let said = said.replace(&folder, "[folder]");
    insta::with_settings!({
        filters => vec![
            (r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", "[certificate]"),
            (r"\b[0-9A-Fa-f]{64}\b", "[fingerprint]"),
            (r"\b([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}\b", "[fingerprint]"),
            (r"\b[0-9A-Fa-f]{32,40}\b", "[serial]"),
            (r"\b([0-9A-Fa-f]{2}:){15,19}[0-9A-Fa-f]{2}\b", "[serial]"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?", "[time]"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"localhost:\d+", "localhost:[port]"),
            (r"\b\d+ ms\b", "[n] ms"),
            (r"process \d+", "process [id]"),
            (r"process      \d+", "process      [id]"),
            (r"(in |\()\d+ (y|d|h|min|s)( \d+ (d|h|min|s))?\b( left)?", "$1[left]"),
            (r"uid \d+", "uid [n]"),
            (r"issuing      (the CA key is being unsealed|ready)", "issuing      [in a moment or now]"),
            // The host's own name, where it is a DNS name.
            (r"for localhost, 127\.0\.0\.1, ::1(, \S+)?", "for localhost, 127.0.0.1, ::1[, host]"),
            (r#""ip:::1"(,"dns:[^"]+")?"#, r#""ip:::1"[,"dns:host"]"#),
            (r"gateway@\S+", "gateway@[host]"),
            (r"\b[0-9a-z]{6}-[0-9a-z]{6,}\b", "[refusal]"),
        ],
        omit_expression => true,
        prepend_module_to_snapshot => false,
    }, { insta::assert_snapshot!(name, said) });
}
