//! Whether one of nginx's servers lets through what another of them vouches for.
//!
//! Judged only where both stand in one file: includes, conditions and variables are not followed.

use crate::cause::Cause;
use crate::doctor::file::{FileSeen, Judgement};
use crate::finding::{Finding, Side};

/// Finds servers without client certificates that pass requests to the same place as one with them, and leave in what a client
/// wrote into the header that the other one sets.
pub(super) fn judge(file: &FileSeen, text: &str, judgement: &mut Judgement) {
    let servers = servers(text);
    for vouching in servers.iter().filter(|server| server.asks) {
        for header in &vouching.identity_headers {
            let open = servers.iter().find(|server| {
                server.is_open() && server.shares_upstream(vouching) && !server.sets(header)
            });
            let Some(open) = open else { continue };
            let (path, listens) = (&file.path, open.listens());
            let message = format!(
                "nginx's configuration {path} has a server ({listens}) that asks for no client certificate and passes requests to the same place as one that does, without clearing {header}: whoever connects there writes it"
            );
            let finding = Finding::fault(Cause::IdentityHeaderSpoofable, Side::Server, message)
                .with("file", path)
                .with("header", header)
                .with("listen", listens)
                .with_fix(format!("proxy_set_header {header} \"\";"));
            judgement.find(finding);
            return;
        }
    }
}

/// A `server` block, with what stands in its locations.
#[derive(Debug, Default)]
struct Server {
    listens: Vec<String>,
    /// `ssl_verify_client` is anything but `off`.
    asks: bool,
    /// Somebody is kept out by other means.
    is_guarded: bool,
    upstreams: Vec<String>,
    headers: Vec<String>,
    /// Those whose value comes from the client's certificate.
    identity_headers: Vec<String>,
}

impl Server {
    fn take(&mut self, words: &[&str]) {
        let Some((&name, values)) = words.split_first() else {
            return;
        };
        let first = values.first().copied().unwrap_or_default();
        match name {
            "listen" => self.listens.push(values.join(" ")),
            "ssl_verify_client" => self.asks = first != "off",
            "allow" | "deny" | "auth_basic" | "auth_request" | "auth_jwt" | "internal" => {
                self.is_guarded = true;
            }
            // Nothing else in the block is reached.
            "return" => self.is_guarded |= first.starts_with("30"),
            // What is included may set the header.
            "include" => self.is_guarded |= !first.ends_with("mime.types"),
            "proxy_pass" => self.upstreams.push(first.trim_end_matches('/').to_owned()),
            "proxy_set_header" => {
                self.headers.push(first.to_owned());
                if values
                    .iter()
                    .skip(1)
                    .any(|value| value.contains("$ssl_client_"))
                {
                    self.identity_headers.push(first.to_owned());
                }
            }
            _ => {}
        }
    }

    /// Whether anybody from elsewhere may connect, without a certificate.
    fn is_open(&self) -> bool {
        let is_local = |listen: &String| {
            ["127.", "localhost", "[::1]", "unix:"]
                .iter()
                .any(|local| listen.starts_with(local))
        };
        let is_reached = self.listens.is_empty() || !self.listens.iter().all(is_local);
        // In plaintext `ssl_verify_client` of whatever is around it does not count.
        let is_plain = !self.listens.iter().any(|listen| listen.contains(" ssl"));
        is_plain && is_reached && !self.is_guarded
    }

    fn shares_upstream(&self, other: &Self) -> bool {
        self.upstreams
            .iter()
            .any(|upstream| !upstream.contains('$') && other.upstreams.contains(upstream))
    }

    fn sets(&self, header: &str) -> bool {
        self.headers
            .iter()
            .any(|known| known.eq_ignore_ascii_case(header))
    }

    fn listens(&self) -> String {
        match self.listens.first() {
            Some(listen) => format!("listen {listen}"),
            None => "listen 80, by default".to_owned(),
        }
    }
}

/// Every `server` block of a configuration.
fn servers(text: &str) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    let mut depth = 0_usize;
    // What every server inherits.
    let mut around = Server::default();
    // The depth within the server that is open.
    let mut inside: Option<usize> = None;
    let plain: Vec<&str> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .collect();
    let plain = plain.join("\n");
    for statement in plain.split_inclusive(['{', '}', ';']) {
        let words: Vec<&str> = statement
            .trim_end_matches(['{', '}', ';'])
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']))
            .collect();
        match statement.as_bytes().last() {
            Some(b'{') => {
                depth += 1;
                if words == ["server"] && inside.is_none() && servers.len() < MAX_SERVERS {
                    servers.push(Server::default());
                    inside = Some(depth);
                }
            }
            Some(b'}') => {
                if inside == Some(depth) {
                    inside = None;
                }
                depth = depth.saturating_sub(1);
            }
            _ => match (inside, servers.last_mut()) {
                (Some(_), Some(server)) => server.take(&words),
                _ => around.take(&words),
            },
        }
    }
    for server in &mut servers {
        server.headers.extend_from_slice(&around.headers);
        server.is_guarded |= around.is_guarded;
    }
    servers
}

/// Each is compared with each; a hosting company has as many.
const MAX_SERVERS: usize = 1000;
