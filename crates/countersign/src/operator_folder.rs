//! The folder of an operator, as `countersign issue operator NAME --out DIR` writes it, and the authority that it leads to.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_agent::port_url::AdminUrl;
use countersign_authority::client::AdminClient;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::{UnixTime, spoken};
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_tls::connector::{Connector, ConnectorSettings, Versions};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use zeroize::Zeroizing;

use crate::certificate_file::{certificate_in, certificates_in};
use crate::fault::Fault;
use crate::identity_files::{AUTHORITY_URL, CA, CERTIFICATE, KEY};

/// An operator, and the authority that is asked.
#[derive(Clone, Debug)]
pub(crate) struct OperatorFolder {
    folder: PathBuf,
    url: AdminUrl,
}

impl OperatorFolder {
    /// Asks at `url`; left out, where the folder says.
    pub(crate) fn open(folder: PathBuf, url: Option<AdminUrl>) -> Result<Self, Fault> {
        let url = match url {
            Some(url) => url,
            None => kept_url(&folder)?,
        };
        Ok(Self { folder, url })
    }

    /// Where the authority is.
    pub(crate) fn url(&self) -> &AdminUrl {
        &self.url
    }

    /// Its certificate, as far as it can be read.
    pub(crate) fn presented(&self) -> Option<Fingerprint> {
        let certificate = certificate_in(&self.folder.join(CERTIFICATE));
        certificate
            .ok()
            .map(|certificate| certificate.fingerprint())
    }

    /// Who speaks for the operator. Only the operator issuer of its folder vouches for the authority.
    pub(crate) fn client(&self) -> Result<AdminClient, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let credentials = self.credentials(now)?;
        let path = self.folder.join(CA);
        let anchors = certificates_in(&path).map_err(|fault| fault.or_hint(ISSUE_OPERATOR))?;
        let trust =
            TrustBundle::new(BundleName::operators(), None, anchors, now).map_err(|error| {
                Fault::configuration(error)
                    .about(&path)
                    .hint(ISSUE_OPERATOR)
            })?;
        let verifier = Verifier::new(vec![Arc::new(trust)], Limits::default())
            .map_err(|error| Fault::configuration(error).about(&path))?;
        let settings = ConnectorSettings {
            host: self.url.host().to_owned(),
            port: self.url.port(),
            names: Vec::new(),
            versions: Versions::Tls13,
            feed_life: None,
            verifier: Arc::new(verifier),
            alpn: vec![b"http/1.1".to_vec()],
            connect_timeout: CONNECT_TIMEOUT,
        };
        let enforcement = Enforcement::new(RevocationIndex::default(), Arc::new(SystemClock));
        let connector = Connector::new(
            settings,
            Some(SharedCredentials::new(credentials)),
            enforcement,
        )
        .map_err(|error| Fault::configuration(error).hint(NAME_AUTHORITY))?;
        Ok(AdminClient::elsewhere(connector))
    }

    fn credentials(&self, now: UnixTime) -> Result<Credentials, Fault> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            fs::read(&path).map_err(|error| {
                Fault::configuration(format_args!("{}: {error}", path.display()))
                    .hint(ISSUE_OPERATOR)
            })
        };
        let (chain, key) = (read(CERTIFICATE)?, Zeroizing::new(read(KEY)?));
        let credentials = Credentials::from_pem(&chain, &key).map_err(|invalid| {
            Fault::configuration(&invalid)
                .about(&self.folder)
                .hint(invalid.cause.fix())
        })?;
        let ended = credentials.leaf().not_after();
        if ended < now {
            return Err(Fault::configuration(format_args!(
                "{}: the operator's certificate expired {} ago (not_after {ended}, now {now})",
                self.folder.display(),
                spoken(now.since(ended))
            ))
            .hint(ISSUE_OPERATOR));
        }
        Ok(credentials)
    }
}

fn kept_url(folder: &Path) -> Result<AdminUrl, Fault> {
    let path = folder.join(AUTHORITY_URL);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if folder.is_dir() => Fault::configuration(format_args!(
            "{} does not say where its authority is",
            folder.display()
        ))
        .hint(NAME_AUTHORITY),
        ErrorKind::NotFound => {
            Fault::configuration(format_args!("there is no folder {}", folder.display()))
                .hint(ISSUE_OPERATOR)
        }
        _ => Fault::configuration(format_args!("{}: {error}", path.display())),
    })?;
    let url = text.trim().parse();
    url.map_err(|error| {
        Fault::configuration(error)
            .about(&path)
            .hint(NAME_AUTHORITY)
    })
}

const ISSUE_OPERATOR: &str =
    "an admin makes the folder of an operator: `countersign issue operator NAME --out DIR`";
const NAME_AUTHORITY: &str = "name the authority with `--authority https://HOST:PORT` or COUNTERSIGN_AUTHORITY: the address of its [authority.admin]";
/// As for any connection that somebody waits for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
