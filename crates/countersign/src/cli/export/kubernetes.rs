//! A Secret of type `kubernetes.io/tls`, as YAML.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::pem;
use zeroize::Zeroizing;

use super::material::Material;
use crate::fault::Fault;

/// A name that Kubernetes takes for a Secret: a DNS subdomain in lower case (RFC 1123).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretName(String);

impl SecretName {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "a Secret's name is at most 253 lower-case letters, digits, hyphens and periods, \
                 a letter or digit at each end of a part"
                    .to_owned(),
            )
        }
    }

    /// `spiffe://example.com/ns/prod/api` becomes `example.com-ns-prod-api`.
    pub(super) fn of_certificate(name: &str) -> Result<Self, Fault> {
        let folder = crate::identity_files::folder_name(name).to_lowercase();
        Self::parse(&folder.replace(['_', ' '], "-")).map_err(|_| {
            Fault::configuration(format_args!("{folder:?} cannot be the name of a Secret"))
                .hint("choose one with `--name NAME`")
        })
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A namespace: one DNS label in lower case.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("a namespace is at most 63 lower-case letters, digits and hyphens, a letter or digit at each end".to_owned())
    }
}

/// The manifest. Names are quoted, since `1e3` and `true` are other types in YAML; what is quoted holds letters, digits,
/// hyphens and periods alone, and base64 needs no quotes.
pub(super) fn manifest(
    name: &SecretName,
    namespace: Option<&str>,
    material: &Material,
) -> Result<Zeroizing<String>, Fault> {
    let chain: String = material
        .chain
        .iter()
        .map(|it| pem::encode("CERTIFICATE", it.der()))
        .collect();
    let key = material.key()?.to_pem();
    let encoded_key = Zeroizing::new(STANDARD.encode(key.as_bytes()));
    // Made large enough at once: a text that grows leaves copies behind.
    let mut yaml = Zeroizing::new(String::with_capacity(MAX_MANIFEST));
    yaml.push_str("apiVersion: v1\nkind: Secret\nmetadata:\n");
    push_line(&mut yaml, "  name: ", &format!("\"{name}\""));
    if let Some(namespace) = namespace {
        push_line(&mut yaml, "  namespace: ", &format!("\"{namespace}\""));
    }
    yaml.push_str("type: kubernetes.io/tls\ndata:\n");
    push_line(&mut yaml, "  tls.crt: ", &STANDARD.encode(chain));
    push_line(&mut yaml, "  tls.key: ", &encoded_key);
    if let Some(root) = &material.root {
        let root = pem::encode("CERTIFICATE", root.der());
        push_line(&mut yaml, "  ca.crt: ", &STANDARD.encode(root));
    }
    Ok(yaml)
}

fn push_line(yaml: &mut String, key: &str, value: &str) {
    yaml.push_str(key);
    yaml.push_str(value);
    yaml.push('\n');
}

fn is_label(text: &str) -> bool {
    let is_end = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.len() <= MAX_LABEL
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;
/// A chain, a key of RSA 4096 and a root have some 20 KiB in base64; the API server takes 1 MiB.
const MAX_MANIFEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        for name in ["a", "api.example.com", "1e3", &"a".repeat(63)] {
            assert!(SecretName::parse(name).is_ok(), "{name}");
        }
        let long = ["a".repeat(63).as_str(); 5].join(".");
        for name in [
            "",
            "A",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "a\nkind: x",
            "a\"",
            "a b",
            &"a".repeat(64),
            &long,
        ] {
            assert!(SecretName::parse(name).is_err(), "{name}");
            assert!(namespace(name).is_err(), "{name}");
        }
        assert!(namespace("prod").is_ok() && namespace("a.b").is_err());
    }

    #[test]
    fn name_of_a_certificate_becomes_one_where_it_can() {
        let check = |name, expected: Option<&str>| {
            let found = SecretName::of_certificate(name)
                .ok()
                .map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check(
            "spiffe://example.com/ns/prod/api",
            Some("example.com-ns-prod-api"),
        );
        check("Ada Lovelace", Some("ada-lovelace"));
        check("*.example.com", Some("wildcard.example.com"));
        check("Ölpumpe", None);
    }
}
