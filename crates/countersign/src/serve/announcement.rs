//! What `up` and `run` say when they are ready: lines to paste for people, one line of JSON for programs.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use countersign_authority::state::StateFolder;
use countersign_diagnose::doctor::shell_word;
use countersign_runtime::config::address::LocalAddress;
use serde::Serialize;

use super::Source;
use crate::birth::{Born, FIRST_IDENTITY};
use crate::cli::arguments::Globals;
use crate::fault::Fault;
use crate::identity_files::{CERTIFICATE, KEY};

/// The facts of a process that is ready.
pub(crate) struct Announcement {
    ready: Ready,
    born: Option<Born>,
    upstream: Option<String>,
    /// The folder of the first identity, whether it is there or not.
    you: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
struct Ready {
    event: &'static str,
    gateway: Option<SocketAddr>,
    metrics: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<SocketAddr>,
    state: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<Vec<SocketAddr>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    egress: Vec<LocalAddress>,
}

/// Where a process is reached.
pub(crate) struct Addresses {
    pub(crate) gateway: Vec<SocketAddr>,
    pub(crate) egress: Vec<LocalAddress>,
    pub(crate) metrics: SocketAddr,
    pub(crate) public: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) feed: Option<SocketAddr>,
}

impl Announcement {
    /// Of a process that is reached at `addresses`.
    pub(crate) fn new(
        source: &Source,
        state: &StateFolder,
        has_authority: bool,
        addresses: Addresses,
        born: Option<Born>,
    ) -> Self {
        let Addresses {
            gateway,
            egress,
            metrics,
            public,
            admin,
            feed,
        } = addresses;
        let you = state.identity(FIRST_IDENTITY);
        let (certificate, key) = (you.join(CERTIFICATE), you.join(KEY));
        // Taken away, they do not come back by themselves.
        let has_you = has_authority && certificate.is_file() && key.is_file();
        let upstream = match source {
            Source::CommandLine(configuration) => {
                let routes = configuration
                    .gateway
                    .listener
                    .iter()
                    .flat_map(|listener| &listener.route);
                routes.map(|route| route.upstream.to_string()).next()
            }
            Source::File(_) => None,
        };
        let ready = Ready {
            event: "ready",
            gateway: gateway.first().copied(),
            metrics,
            public,
            admin,
            feed,
            state: state.path().to_owned(),
            ca: has_authority.then(|| state.ca_pem()),
            client_cert: has_you.then_some(certificate),
            client_key: has_you.then_some(key),
            listeners: upstream.is_none().then_some(gateway),
            egress,
        };
        Self {
            ready,
            born,
            upstream,
            you,
        }
    }

    /// Says it.
    pub(crate) fn print(&self, globals: &Globals) -> Result<(), Fault> {
        let default_state = globals.environment.state(None).ok();
        globals.output().answer(&self.ready, |ready| {
            let state =
                (default_state.as_deref() != Some(&ready.state)).then_some(ready.state.as_path());
            match &self.upstream {
                Some(upstream) => banner(ready, self.born.as_ref(), upstream, state, &self.you),
                None => served(ready),
            }
        })
    }
}

fn served(ready: &Ready) -> String {
    let addresses: Vec<String> = ready
        .listeners
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let public = ready.public.map_or_else(String::new, |address| {
        format!("  public       http://{address}\n")
    });
    let admin = ready.admin.map_or_else(String::new, |address| {
        format!("  admin        https://{address}\n")
    });
    let feed = ready.feed.map_or_else(String::new, |address| {
        format!("  feed         https://{address}\n")
    });
    let mut egress = String::new();
    for address in &ready.egress {
        // Writing to a String cannot fail.
        let _ = writeln!(egress, "  egress       {address}");
    }
    let role = if addresses.is_empty() && !ready.egress.is_empty() {
        "programs of this host".to_owned()
    } else if addresses.is_empty() {
        "the authority".to_owned()
    } else {
        format!("on {}", addresses.join(", "))
    };
    format!(
        "serving {role}\n  metrics      http://{}/metrics\n{egress}{public}{admin}{feed}  state        {}\n",
        ready.metrics,
        ready.state.display()
    )
}

fn banner(
    ready: &Ready,
    born: Option<&Born>,
    upstream: &str,
    state: Option<&Path>,
    you: &Path,
) -> String {
    let url = ready.gateway.map_or_else(String::new, url_of);
    let paste = |path: &Path| shell_word::quoted(&path.to_string_lossy());
    let ca = ready.ca.as_deref().map_or_else(String::new, paste);
    let state_flag = state.map_or_else(String::new, |state| format!(" --state {}", paste(state)));
    let first = match (&ready.client_cert, &ready.client_key) {
        (Some(cert), Some(key)) => format!(
            "a request that works:\n  curl --cacert {ca} --cert {} --key {} {url}",
            paste(cert),
            paste(key)
        ),
        _ => format!(
            "issue an identity to try it with:\n  countersign issue client {FIRST_IDENTITY} --out {}{state_flag}",
            paste(you)
        ),
    };
    let upstream = if upstream == "demo" {
        "the built-in demo service"
    } else {
        upstream
    };
    let born = born.map_or_else(String::new, |born| born.text() + "\n");
    format!(
        "{born}serving {url} for {upstream}; every client must show a certificate\n  \
           metrics      http://{metrics}/metrics\n  \
           state        {folder}\n\n\
         {first}\n\
         one that is refused:\n  curl --cacert {ca} {url}\n\
         issue another identity:\n  countersign issue client order-service{state_flag}\n\
         revoke it:\n  countersign revoke order-service --wait{state_flag}\n\
         Ctrl-C drains and stops\n",
        metrics = ready.metrics,
        folder = ready.state.display(),
    )
}

/// A URL that a client on this host can use and that the gateway's certificate covers.
fn url_of(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("https://localhost:{}/", address.port())
    } else {
        format!("https://{address}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_ones_that_the_certificate_covers() {
        let check = |address: &str, url: &str| {
            assert_eq!(url_of(address.parse().expect("an address")), url);
        };
        check("127.0.0.1:8443", "https://127.0.0.1:8443/");
        check("0.0.0.0:443", "https://localhost:443/");
        check("[::]:8443", "https://localhost:8443/");
        check("[::1]:8443", "https://[::1]:8443/");
    }

    #[test]
    fn identity_that_is_not_there_is_issued_first() {
        let ready = Ready {
            event: "ready",
            gateway: Some(([127, 0, 0, 1], 8443).into()),
            metrics: ([127, 0, 0, 1], 9443).into(),
            public: None,
            admin: None,
            feed: None,
            state: "/s".into(),
            ca: Some("/s/ca.pem".into()),
            client_cert: None,
            client_key: None,
            listeners: None,
            egress: Vec::new(),
        };
        let you = Path::new("/s/identities/you");
        let said = banner(&ready, None, "demo", Some(Path::new("/s")), you);
        assert!(!said.contains("--cert "), "{said}");
        assert!(
            said.contains("countersign issue client you --out /s/identities/you --state /s\n"),
            "{said}"
        );
    }

    #[test]
    fn ready_line_of_up_has_exactly_the_documented_keys() {
        let ready = Ready {
            event: "ready",
            gateway: Some(([127, 0, 0, 1], 8443).into()),
            metrics: ([127, 0, 0, 1], 9443).into(),
            public: None,
            admin: None,
            feed: None,
            state: "/s".into(),
            ca: Some("/s/ca.pem".into()),
            client_cert: Some("/s/identities/you/cert.pem".into()),
            client_key: Some("/s/identities/you/key.pem".into()),
            listeners: None,
            egress: Vec::new(),
        };
        assert_eq!(
            serde_json::to_string(&ready).expect("JSON"),
            r#"{"event":"ready","gateway":"127.0.0.1:8443","metrics":"127.0.0.1:9443","state":"/s","ca":"/s/ca.pem","client_cert":"/s/identities/you/cert.pem","client_key":"/s/identities/you/key.pem"}"#
        );
    }
}
