//! What the lines of a configuration set, whichever server it is.

use super::others;
use crate::doctor::question::TlsVersion;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Apache,
    Envoy,
    HaProxy,
    Nginx,
    Other(&'static str),
}

impl Server {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Apache => "Apache",
            Self::Envoy => "Envoy",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Other(name) => name,
        }
    }
}

/// How a server asks for client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    No,
    Optional(String),
    /// Over TLS, and without it nothing.
    OrPlaintext(String),
    Required,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that a line says, or does not"
)]
pub(super) struct Settings {
    pub(super) server: Server,
    pub(super) asking: Option<Asking>,
    /// How many intermediates are let through, and how that is written.
    pub(super) depth: Option<(usize, String)>,
    pub(super) versions: Option<(Vec<TlsVersion>, String)>,
    /// Whether it passes requests on, and names of the header lines that carry the identity.
    pub(super) proxies: bool,
    pub(super) sets_identity: bool,
    /// It names whom to trust for clients, which is of no other use.
    pub(super) names_cas: bool,
    /// A rule of its own turns away whom the handshake lets in.
    pub(super) checks_by_rule: bool,
    /// How errors of verification are passed over.
    pub(super) ignores: Option<String>,
    /// Apache asks for some paths, after the handshake.
    pub(super) asks_for_paths: Option<String>,
    /// Within a section for some paths.
    pub(super) in_paths: usize,
}

impl Settings {
    /// `None`: it is no configuration that is known here.
    pub(super) fn read(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text
            .lines()
            .take(MAX_LINES)
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
            .collect();
        let has = |word: &str| lines.iter().any(|line| line.contains(word));
        let starts = |word: &str| {
            let word = word.to_ascii_lowercase();
            lines
                .iter()
                .any(|line| line.to_ascii_lowercase().starts_with(&word))
        };
        let server = match () {
            () if starts("ssl_certificate")
                || starts("ssl_verify_client")
                || starts("ssl_client_certificate") =>
            {
                Server::Nginx
            }
            () if starts("SSLEngine")
                || starts("SSLVerifyClient")
                || starts("SSLCACertificateFile") =>
            {
                Server::Apache
            }
            () if starts("bind ") && has(" ssl") => Server::HaProxy,
            () if has("common_tls_context") || has("require_client_certificate") => Server::Envoy,
            () => {
                let (name, asking) = others::read(&lines)?;
                return Some(Self {
                    asking: Some(asking),
                    ..Self::of(Server::Other(name))
                });
            }
        };
        let mut settings = Self::of(server);
        for line in &lines {
            match server {
                Server::Nginx => settings.nginx(line),
                Server::Apache => settings.apache(line),
                Server::HaProxy => settings.haproxy(line),
                Server::Envoy => settings.envoy(line),
                Server::Other(_) => {}
            }
        }
        settings.defaults();
        Some(settings)
    }

    fn of(server: Server) -> Self {
        Self {
            server,
            asking: None,
            depth: None,
            versions: None,
            proxies: false,
            sets_identity: false,
            names_cas: false,
            checks_by_rule: false,
            ignores: None,
            asks_for_paths: None,
            in_paths: 0,
        }
    }

    fn nginx(&mut self, line: &str) {
        for directive in line.split(';') {
            let mut words = directive
                .split_whitespace()
                .skip_while(|word| matches!(*word, "{" | "server" | "http" | "}"))
                .skip_while(|word| *word == "location" || word.starts_with('/'))
                .skip_while(|word| *word == "{");
            let Some(name) = words.next() else { continue };
            let values: Vec<&str> = words.collect();
            let first = values.first().copied().unwrap_or_default();
            match name {
                "ssl_verify_client" => {
                    self.ask(match first {
                        "on" => Asking::Required,
                        "off" => Asking::No,
                        other => Asking::Optional(format!("ssl_verify_client {other}")),
                    });
                }
                // OpenSSL counts intermediates, and so does nginx.
                "ssl_verify_depth" => {
                    self.let_through(first, directive.trim());
                }
                "ssl_client_certificate" => self.names_cas = true,
                "if" | "map" => self.checks_by_rule |= directive.contains("$ssl_client_verify"),
                "ssl_protocols" => self.speak(versions(&values, directive)),
                "proxy_pass" | "grpc_pass" => self.proxies = true,
                "proxy_set_header" | "grpc_set_header" | "fastcgi_param" | "uwsgi_param" => {
                    self.sets_identity |= directive.contains("$ssl_client_");
                }
                _ => {}
            }
        }
    }

    fn apache(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let values: Vec<&str> = words.collect();
        let first = values.first().copied().unwrap_or_default();
        match &*name {
            "sslverifyclient" if self.in_paths > 0 && first.eq_ignore_ascii_case("require") => {
                self.asks_for_paths = Some(line.to_owned());
            }
            "sslverifyclient" => {
                self.ask(match &*first.to_ascii_lowercase() {
                    "require" => Asking::Required,
                    "none" => Asking::No,
                    _ => Asking::Optional(line.to_owned()),
                });
            }
            "sslverifydepth" => {
                // The root counts, too: 0 takes certificates that are their own root, 1 those straight from one.
                let depth = first.parse().map(|depth: usize| depth.saturating_sub(1));
                if let Ok(depth) = depth {
                    self.let_through(&depth.to_string(), line);
                }
            }
            "sslprotocol" => self.speak(apache_versions(&values, line)),
            "require" | "sslrequire" => {
                let line = line.to_ascii_lowercase();
                self.checks_by_rule |=
                    line.contains("ssl-verify-client") || line.contains("ssl_client_verify");
            }
            section if PATHS.iter().any(|path| section.starts_with(path)) => self.in_paths += 1,
            section if section.starts_with("</") => {
                let is_of_paths = PATHS
                    .iter()
                    .any(|path| section[2..].starts_with(&path[1..]));
                self.in_paths = self.in_paths.saturating_sub(usize::from(is_of_paths));
            }
            "proxypass" => self.proxies = true,
            "requestheader" => self.sets_identity |= line.contains("SSL_CLIENT_"),
            _ => {}
        }
    }

    fn haproxy(&mut self, line: &str) {
        let is_rule = line.contains(" deny") || line.contains(" reject");
        self.checks_by_rule |= is_rule
            && ["ssl_c_", "ssl_fc_has_crt"]
                .iter()
                .any(|it| line.contains(it));
        if !line.starts_with("bind ") || !line.contains(" ssl") {
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|it| *it == word)?;
            words.get(at + 1).copied()
        };
        self.ask(match after("verify") {
            Some("required") => Asking::Required,
            Some("optional") => Asking::Optional("verify optional".to_owned()),
            _ => Asking::No,
        });
        self.names_cas |= after("ca-file").is_some() && after("verify").is_none();
        for name in ["ca-ignore-err", "crt-ignore-err"] {
            if after(name) == Some("all") {
                self.ignores = Some(format!("{name} all"));
            }
        }
        let lowest = after("ssl-min-ver").and_then(TlsVersion::parse);
        let highest = after("ssl-max-ver").and_then(TlsVersion::parse);
        if lowest.is_some() || highest.is_some() {
            let between = |version: &TlsVersion| {
                lowest.is_none_or(|lowest| *version >= lowest)
                    && highest.is_none_or(|highest| *version <= highest)
            };
            let versions = ALL_VERSIONS.into_iter().filter(between).collect();
            self.speak(Some((versions, "ssl-min-ver, ssl-max-ver".to_owned())));
        }
    }

    fn envoy(&mut self, line: &str) {
        let Some((name, value)) = line.trim_start_matches("- ").split_once(':') else {
            return;
        };
        let value = value.trim().trim_matches(['"', ',']);
        match name.trim().trim_matches('"') {
            "require_client_certificate" => {
                self.ask(if value == "true" {
                    Asking::Required
                } else {
                    Asking::Optional("require_client_certificate: false".to_owned())
                });
            }
            "trust_chain_verification" if value == "ACCEPT_UNTRUSTED" => {
                self.ignores = Some(line.to_owned());
            }
            // Envoy hands it to OpenSSL's depth, which counts intermediates.
            "max_verify_depth" => {
                self.let_through(value, line);
            }
            _ => {}
        }
    }

    /// Of several hosts nobody knows which is meant: the one that asks most counts, so that another is no fault of it.
    fn ask(&mut self, asking: Asking) {
        let strength = |asking: &Asking| match asking {
            Asking::No => 0,
            Asking::Optional(_) | Asking::OrPlaintext(_) => 1,
            Asking::Required => 2,
        };
        if self
            .asking
            .as_ref()
            .is_none_or(|known| strength(known) < strength(&asking))
        {
            self.asking = Some(asking);
        }
    }

    /// The same of depths: the largest.
    fn let_through(&mut self, depth: &str, written: &str) {
        let Ok(depth) = depth.parse() else { return };
        if self.depth.as_ref().is_none_or(|(known, _)| *known < depth) {
            self.depth = Some((depth, written.to_owned()));
        }
    }

    /// The same of versions: all.
    fn speak(&mut self, more: Option<(Vec<TlsVersion>, String)>) {
        match (&mut self.versions, more) {
            (Some((versions, written)), Some((more, also))) => {
                let new: Vec<_> = more
                    .into_iter()
                    .filter(|it| !versions.contains(it))
                    .collect();
                if !new.is_empty() {
                    versions.extend(new);
                    *written = format!("{written}; {also}");
                }
            }
            (none @ None, more) => *none = more,
            (Some(_), None) => {}
        }
    }

    /// What holds where nothing is said.
    fn defaults(&mut self) {
        let is_asked = matches!(self.asking, Some(Asking::Required | Asking::Optional(_)));
        if self.depth.is_none() && is_asked && matches!(self.server, Server::Apache | Server::Nginx)
        {
            let (name, let_through) = match self.server {
                Server::Apache => ("SSLVerifyDepth", 0),
                _ => ("ssl_verify_depth", 1),
            };
            self.depth = Some((let_through, format!("{name} is not set, which means 1")));
        }
        if self.server == Server::Envoy && self.asking.is_none() {
            self.asking = Some(Asking::Optional(
                "require_client_certificate is not set".to_owned(),
            ));
        }
        if self.asking.is_none() {
            self.asking = Some(Asking::No);
        } else {
            // What is said is meant.
            self.names_cas &= self.server == Server::HaProxy;
        }
        match (&self.asking, &self.ignores) {
            (Some(Asking::Optional(_)), _) if self.checks_by_rule => {
                self.asking = Some(Asking::Required);
            }
            (Some(Asking::Required), Some(how)) if !self.checks_by_rule => {
                self.asking = Some(Asking::Optional(how.clone()));
            }
            _ => {}
        }
        if self.asks_for_paths.is_some() && self.asking != Some(Asking::No) {
            self.asks_for_paths = None;
        }
    }
}

/// Apache's sections for some paths of a host.
const PATHS: [&str; 3] = ["<location", "<directory", "<files"];

fn versions(words: &[&str], written: &str) -> Option<(Vec<TlsVersion>, String)> {
    let versions: Vec<_> = words
        .iter()
        .filter_map(|word| TlsVersion::parse(word))
        .collect();
    (!versions.is_empty()).then(|| (versions, written.trim().to_owned()))
}

/// `all -SSLv3 +TLSv1.2`.
fn apache_versions(words: &[&str], written: &str) -> Option<(Vec<TlsVersion>, String)> {
    let mut enabled: Vec<TlsVersion> = Vec::new();
    for word in words {
        let (is_added, name) = match word.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, word.trim_start_matches('+')),
        };
        let meant: Vec<TlsVersion> = if name.eq_ignore_ascii_case("all") {
            ALL_VERSIONS.to_vec()
        } else {
            TlsVersion::parse(name).into_iter().collect()
        };
        enabled.retain(|version| !meant.contains(version));
        if is_added {
            enabled.extend(meant);
        }
    }
    (!enabled.is_empty()).then(|| (enabled, written.trim().to_owned()))
}

const ALL_VERSIONS: [TlsVersion; 4] = [
    TlsVersion::Tls10,
    TlsVersion::Tls11,
    TlsVersion::Tls12,
    TlsVersion::Tls13,
];

/// A configuration of everything has some thousands.
const MAX_LINES: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, asking: &Asking, depth: Option<usize>) {
        let settings = Settings::read(text).expect("a configuration");
        assert_eq!(settings.asking.as_ref(), Some(asking), "{text}");
        assert_eq!(settings.depth.map(|(depth, _)| depth), depth, "{text}");
    }

    #[test]
    fn another_host_of_the_same_file_is_no_fault_of_the_one_that_asks() {
        check(
            "server {\nssl_certificate a; ssl_verify_client on; ssl_verify_depth 3;\n}\n\
             server {\nssl_certificate b; ssl_verify_client off; ssl_verify_depth 1;\n}",
            &Asking::Required,
            Some(3),
        );
        check(
            "bind :443 ssl crt a verify required ca-file b\nbind :8404 ssl crt a\n",
            &Asking::Required,
            None,
        );
        check(
            "SSLEngine on\nSSLVerifyClient require\n<Location /open>\nSSLVerifyClient none\n</Location>\n",
            &Asking::Required,
            Some(0),
        );
        check(
            "SSLEngine on\nSSLVerifyClient require\nSSLVerifyDepth 3\n",
            &Asking::Required,
            Some(2),
        );
        check(
            "ssl_certificate a;\nssl_verify_client off;\n",
            &Asking::No,
            None,
        );
        check(
            "ssl_certificate a;\nssl_verify_client off;\nssl_verify_client optional;\n",
            &Asking::Optional("ssl_verify_client optional".to_owned()),
            Some(1),
        );
    }

    #[test]
    fn versions_of_several_hosts_are_all_spoken() {
        let text = "ssl_certificate a;\nssl_protocols TLSv1.2;\nssl_protocols TLSv1.3;\n";
        let settings = Settings::read(text).expect("a configuration");
        let (versions, written) = settings.versions.expect("two");
        assert_eq!(versions, [TlsVersion::Tls12, TlsVersion::Tls13]);
        assert_eq!(written, "ssl_protocols TLSv1.2; ssl_protocols TLSv1.3");
    }
}
