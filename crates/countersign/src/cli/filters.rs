//! Which certificates are meant: the options that lists, revocations and releases share.

use clap::Args;
use countersign_authority::api::{ListQuery, Selection};

use super::arguments::label;

/// Filters: all that are given have to hold.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArguments {
    /// With this name of any kind; one `*` at its beginning or end makes it a pattern
    #[arg(long, value_name = "NAME|PATTERN")]
    name: Option<String>,
    /// With this subject alternative name, or one like it
    #[arg(long, value_name = "NAME|PATTERN")]
    san: Option<String>,
    /// With exactly this name, such as dns:api.example.com
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// Of the issuer with this DN or CN
    #[arg(long, value_name = "DN|CN")]
    issuer: Option<String>,
    /// Of this profile; `imported` means certificates of others
    #[arg(long)]
    profile: Option<String>,
    /// With this serial number
    #[arg(long)]
    serial: Option<String>,
    /// With this SHA-256 of the certificate
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// With this SHA-256 of the public key
    #[arg(long, value_name = "SHA256")]
    spki: Option<String>,
    /// Asked for by this one: uid:N, operator:NAME, authority, or the name of a holder
    #[arg(long, value_name = "WHO")]
    issued_by: Option<String>,
    /// Whose identity has this owner (`countersign label`)
    #[arg(long)]
    owner: Option<String>,
    /// Whose identity has this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

impl FilterArguments {
    /// For a list, which says the rest.
    pub(crate) fn query(&self) -> ListQuery {
        let Selection {
            name,
            san,
            identity,
            issuer,
            profile,
            serial,
            fingerprint,
            spki,
            issued_by,
            owner,
            labels,
        } = self.selection();
        ListQuery {
            name,
            san,
            identity,
            issuer,
            profile,
            serial,
            fingerprint,
            spki,
            issued_by,
            owner,
            labels,
            ..ListQuery::default()
        }
    }

    /// For a revocation or a release.
    pub(crate) fn selection(&self) -> Selection {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Selection {
            name: self.name.clone(),
            san: self.san.clone(),
            identity: self.identity.clone(),
            issuer: self.issuer.clone(),
            profile: self.profile.clone(),
            serial: self.serial.clone(),
            fingerprint: self.fingerprint.clone(),
            spki: self.spki.clone(),
            issued_by: self.issued_by.clone(),
            owner: self.owner.clone(),
            labels: (!labels.is_empty()).then(|| labels.join("\n")),
        }
    }

    /// Whether one of them means one certificate, one key or one name; the others mean as many as there are.
    pub(crate) fn is_narrow(&self) -> bool {
        self.serial.is_some()
            || self.fingerprint.is_some()
            || self.spki.is_some()
            || self.identity.is_some()
    }
}
