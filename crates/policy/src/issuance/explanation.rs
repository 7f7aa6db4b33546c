//! Why a certificate says what it says, for people who ask before they issue.

use countersign_pki::certificate::Certificate;
use countersign_pki::name::TypedName;
use countersign_pki::time::spoken;

use super::{Approved, BACKDATE, Profile, Request};

/// One field of a certificate, and what it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// As RFC 5280 calls it.
    pub field: &'static str,
    /// What it says.
    pub value: String,
    /// Half a sentence.
    pub why: String,
}

impl Approved {
    /// Every field that the request, the profile or the issuer decided; `request` and `issuer` are those it was authorized
    /// by.
    pub fn because(&self, request: &Request, issuer: &Certificate) -> Vec<Because> {
        let preview = &self.preview;
        let profile = self.profile;
        let because = |field, value: String, why: String| Because { field, value, why };
        let mut fields = vec![
            because(
                "issuer",
                issuer.subject().to_string(),
                "the issuer of leaves".to_owned(),
            ),
            because(
                "notBefore",
                preview.not_before().to_string(),
                why_begins(preview, issuer),
            ),
            because(
                "notAfter",
                preview.not_after().to_string(),
                why_ends(request, preview, issuer),
            ),
            because(
                "subject",
                preview.subject().to_string(),
                why_subject(profile, preview).to_owned(),
            ),
        ];
        if !preview.subject_alt_names().is_empty() {
            let names = preview.subject_alt_names().iter();
            let names: Vec<String> = names.map(TypedName::to_string).collect();
            let why = match profile {
                Profile::Client | Profile::OcspResponder => "asked for",
                Profile::Peer | Profile::Server => "NAME, then what was asked for",
                Profile::Workload => {
                    "NAME under the authority's trust domain, then what was asked for"
                }
            };
            fields.push(because("subjectAltName", names.join(", "), why.to_owned()));
        }
        let purposes = preview.extended_key_usage();
        let purposes = purposes.map_or_else(Vec::new, |purposes| {
            [
                (purposes.server_auth, "serverAuth"),
                (purposes.client_auth, "clientAuth"),
            ]
            .into_iter()
            .filter(|(listed, _)| *listed)
            .map(|(_, name)| name)
            .collect()
        });
        fields.push(because(
            "extendedKeyUsage",
            purposes.join(", "),
            format!("what profile {profile} is for"),
        ));
        fields
    }
}

fn why_begins(preview: &Certificate, issuer: &Certificate) -> String {
    if preview.not_before() == issuer.not_before() {
        "its issuer begins then".to_owned()
    } else {
        format!(
            "up to {} ago, since clocks of peers run behind",
            spoken(BACKDATE)
        )
    }
}

fn why_ends(request: &Request, preview: &Certificate, issuer: &Certificate) -> String {
    let asked = match request.lifetime {
        Some(lifetime) => format!("{} as asked for", spoken(lifetime)),
        None => format!(
            "{}, the default of profile {}",
            spoken(request.profile.default_lifetime()),
            request.profile
        ),
    };
    if preview.not_after() == issuer.not_after() {
        format!("{asked}, cut to the end of its issuer")
    } else {
        asked
    }
}

fn why_subject(profile: Profile, preview: &Certificate) -> &'static str {
    match profile {
        Profile::Client => "NAME is a client's common name",
        Profile::OcspResponder => "the authority's own",
        Profile::Workload => "none: a workload is its SPIFFE ID",
        Profile::Peer | Profile::Server if preview.subject().is_empty() => {
            "none: NAME is longer than a common name can be"
        }
        Profile::Peer | Profile::Server => "NAME once more, for people; clients do not look at it",
    }
}
