//! An upstream that is spoken to over TLS: how it is verified, and what it is shown.

use std::fmt;
use std::hash::{Hash, Hasher};

use countersign_diagnose::refusal::Refusal;
use countersign_tls::connector::{Connected, Connector, ConnectorSettings};
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::enforcement::Enforcement;

use crate::plan::{trust_the_same, trusts_as_much};

/// Two are the same, and may share connections, if whoever is accepted by one is accepted by the other and sees the same
/// certificate.
#[derive(Clone)]
pub(crate) struct TlsTarget {
    pub(crate) settings: ConnectorSettings,
    /// Whether it is asked for TLS as PostgreSQL wants to be, before TLS begins.
    pub(crate) asks_first: bool,
    /// What it is shown if it asks.
    pub(crate) credentials: Option<SharedCredentials>,
}

impl TlsTarget {
    /// As a URL writes it.
    pub(crate) fn host(&self) -> String {
        let host = &self.settings.host;
        if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        }
    }

    /// Whoever calls has a limit of time for all of it.
    pub(super) async fn connect(
        &self,
        enforcement: &Enforcement,
        header: &[u8],
    ) -> Result<(Connected, Connector), Box<Refusal>> {
        let connector = Connector::new(
            self.settings.clone(),
            self.credentials.clone(),
            enforcement.clone(),
        )
        .expect("the host was tried when the configuration was loaded");
        let connector = if self.asks_first {
            connector.asking_first()
        } else {
            connector
        };
        let connected = connector.connect_behind(header).await?;
        Ok((connected, connector))
    }

    /// Whether whoever was accepted there by `before` would be accepted now. What it is shown, and how long without the feed, is
    /// for the connections that come, and so is what the two speak.
    pub(crate) fn still_accepts(&self, before: &Self) -> bool {
        let (now, then) = (&self.settings, &before.settings);
        (&now.host, now.port, &now.names) == (&then.host, then.port, &then.names)
            && self.asks_first == before.asks_first
            && trusts_as_much(&now.verifier, &then.verifier)
    }
}

impl PartialEq for TlsTarget {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.settings, &other.settings);
        let shown = |target: &Self| {
            target
                .credentials
                .as_ref()
                .map(|it| it.leaf().fingerprint())
        };
        (
            &one.host,
            one.port,
            &one.names,
            one.versions,
            &one.alpn,
            one.feed_life,
        ) == (
            &two.host,
            two.port,
            &two.names,
            two.versions,
            &two.alpn,
            two.feed_life,
        ) && trust_the_same(&one.verifier, &two.verifier)
            && self.asks_first == other.asks_first
            && shown(self) == shown(other)
    }
}

impl Eq for TlsTarget {}

impl Hash for TlsTarget {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.settings.host, self.settings.port).hash(state);
    }
}

impl fmt::Debug for TlsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TlsTarget({}:{})",
            self.settings.host, self.settings.port
        )
    }
}
