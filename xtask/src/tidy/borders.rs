//! What may appear in the source of which crate.

/// Words, where they may stand (prefixes of paths), and why.
const BORDERS: &[Border] = &[
    Border {
        words: &["use rustls;", "use tokio_rustls;", "rustls::"],
        at: &["crates/tls/", "crates/probe/", "crates/testkit/"],
        why: "rustls types stay behind tls and probe",
    },
    Border {
        words: &["rusqlite"],
        at: &["crates/store/"],
        why: "SQL stays in store",
    },
    Border {
        words: &["env::var", "env::{var"],
        at: &["crates/countersign/src/env.rs"],
        why: "the environment is read in crates/countersign/src/env.rs alone",
    },
];

struct Border {
    words: &'static [&'static str],
    at: &'static [&'static str],
    why: &'static str,
}

/// Faults in one file of a crate's source; tests and the crates that are never shipped are free.
pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("crates/") || !path.contains("/src/") {
        return Vec::new();
    }
    let crossed = |line: &str, border: &&Border| {
        !border.at.iter().any(|allowed| path.starts_with(allowed))
            && border.words.iter().any(|word| line.contains(word))
    };
    let code = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim_start().starts_with("//"));
    code.flat_map(|(line, number)| {
        let faults = BORDERS.iter().filter(move |border| crossed(line, border));
        faults.map(move |border| format!("{path}:{number}: {}", border.why))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(path: &str, line: &str, expected: bool) {
        let faults = check(path, line);
        assert_eq!(faults.is_empty(), expected, "{path} {line}: {faults:?}");
    }

    #[test]
    fn rustls_stays_behind_tls_and_probe() {
        check_line(
            "crates/tls/src/acceptor.rs",
            "use rustls::ServerConfig;",
            true,
        );
        check_line(
            "crates/probe/src/client.rs",
            "use tokio_rustls::TlsConnector;",
            true,
        );
        check_line(
            "crates/testkit/src/lib.rs",
            "use rustls::ClientConfig;",
            true,
        );
        check_line(
            "crates/pki/src/chain.rs",
            "use rustls_pki_types::CertificateDer;",
            true,
        );
        check_line(
            "crates/proxy/tests/bypass.rs",
            "use rustls::ClientConfig;",
            true,
        );
        check_line(
            "crates/proxy/src/accept.rs",
            "/// what `rustls::ServerConfig` calls …",
            true,
        );
        check_line(
            "crates/proxy/src/accept.rs",
            "use rustls::ServerConfig;",
            false,
        );
        check_line(
            "crates/proxy/src/accept.rs",
            "    fn of(stream: &tokio_rustls::server::TlsStream) {}",
            false,
        );
        check_line("crates/countersign/src/main.rs", "use rustls;", false);
    }

    #[test]
    fn sql_stays_in_store() {
        check_line(
            "crates/store/src/inventory.rs",
            "use rusqlite::Connection;",
            true,
        );
        check_line(
            "crates/authority/src/issue.rs",
            "use rusqlite::Connection;",
            false,
        );
    }

    #[test]
    fn environment_is_read_in_one_file() {
        check_line(
            "crates/countersign/src/env.rs",
            "std::env::var_os(\"COUNTERSIGN_STATE\")",
            true,
        );
        check_line(
            "crates/countersign/src/state.rs",
            "let home = env::var(\"HOME\");",
            false,
        );
        check_line(
            "crates/runtime/src/log.rs",
            "use std::env::{var, args};",
            false,
        );
        check_line(
            "crates/runtime/src/log.rs",
            "env!(\"CARGO_PKG_VERSION\")",
            true,
        );
    }

    #[test]
    fn fault_names_the_line() {
        let faults = check(
            "crates/proxy/src/accept.rs",
            "//! Accepts.\n\nuse rusqlite::Row;\n",
        );
        assert_eq!(faults, ["crates/proxy/src/accept.rs:3: SQL stays in store"]);
    }
}
