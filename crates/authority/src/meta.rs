//! `meta.json`: what init was told and later starts need.

use std::path::Path;

use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::api::rfc3339;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    pub(crate) trust_domain: TrustDomain,
    #[serde(with = "rfc3339")]
    pub(crate) created_at: UnixTime,
    pub(crate) subject: String,
}

impl Meta {
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings are JSON");
        text.push('\n');
        text
    }

    pub(crate) fn load(path: &Path) -> std::io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}
