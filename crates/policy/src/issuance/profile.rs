//! The name of a kind of certificate.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Denied;

/// The name of a kind of certificate: 1 to 40 lower-case letters, digits and hyphens, the first one a letter. What such a
/// certificate looks like, and whether there are any, is for [`Profiles`](super::Profiles) to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Profile(Cow<'static, str>);

impl Profile {
    /// A certificate of a CA that was adopted, of a kind that no profile has.
    pub const ADOPTED: Self = Self(Cow::Borrowed("adopted"));
    /// serverAuth; NAME is the first SAN. The authority's own ports; from the operator issuer, for the authority alone.
    pub const AUTHORITY: Self = Self(Cow::Borrowed("authority"));
    /// clientAuth, for minutes, under names that no rule admits: whoever lets one in lets in too many. For admins.
    pub const CANARY: Self = Self(Cow::Borrowed("canary"));
    /// The same with serverAuth alone: no client's certificate.
    pub const CANARY_SERVER: Self = Self(Cow::Borrowed("canary-server"));
    /// clientAuth; NAME is the CN.
    pub const CLIENT: Self = Self(Cow::Borrowed("client"));
    /// clientAuth; NAME is the CN of a thing.
    pub const DEVICE: Self = Self(Cow::Borrowed("device"));
    /// A CA below the root, which issues leaves only; for admins.
    pub const INTERMEDIATE: Self = Self(Cow::Borrowed("intermediate"));
    /// Gateways, agents and replicas; from the operator issuer, for admins.
    pub const NODE: Self = Self(Cow::Borrowed("node"));
    /// `id-kp-OCSPSigning`; answers for the issuer of leaves, for the authority's own process alone.
    pub const OCSP_RESPONDER: Self = Self(Cow::Borrowed("ocsp-responder"));
    /// Who may use the admin API; from the operator issuer, for admins.
    pub const OPERATOR: Self = Self(Cow::Borrowed("operator"));
    /// serverAuth and clientAuth; NAME is the first DNS SAN.
    pub const PEER: Self = Self(Cow::Borrowed("peer"));
    /// clientAuth; NAME is an e-mail address, or the CN of somebody who has one.
    pub const PERSON: Self = Self(Cow::Borrowed("person"));
    /// serverAuth; NAME is the first DNS SAN.
    pub const SERVER: Self = Self(Cow::Borrowed("server"));
    /// serverAuth and clientAuth; NAME is the one SPIFFE ID.
    pub const WORKLOAD: Self = Self(Cow::Borrowed("workload"));

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only an admin gets such certificates, and no configuration says anything of them.
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str())
    }

    /// The name that this one could be taken for, though it is another: one that is reserved or built in, or a word that
    /// stands for something else where profiles are listed.
    pub(super) fn resembles(&self) -> Option<&'static str> {
        let own = skeleton(&self.0);
        RESERVED
            .into_iter()
            .chain(BUILT_IN)
            .chain(TAKEN)
            .find(|other| *other != self.as_str() && skeleton(other) == own)
    }

    /// Whether the word stands for something else where profiles are listed.
    pub(super) fn is_taken(&self) -> bool {
        TAKEN.contains(&self.as_str())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Profile {
    type Err = Denied;

    fn from_str(text: &str) -> Result<Self, Denied> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = text.len() <= MAX_BYTES
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(good);
        if fits {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(Denied::Request {
                why: format!(
                    "{:?} is not the name of a profile: it has 1 to {MAX_BYTES} lower-case letters, digits and hyphens",
                    text.chars().take(MAX_BYTES).collect::<String>()
                ),
            })
        }
    }
}

impl TryFrom<String> for Profile {
    type Error = Denied;

    fn try_from(text: String) -> Result<Self, Denied> {
        text.parse()
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> Self {
        profile.0.into_owned()
    }
}

/// What is left of a name when those who read it quickly have read it: no hyphens, letters for the digits and pairs that
/// look like them.
fn skeleton(name: &str) -> String {
    let letters: String = name
        .chars()
        .filter(|letter| *letter != '-')
        .map(|letter| match letter {
            '0' => 'o',
            '1' | 'i' => 'l',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            '8' => 'b',
            other => other,
        })
        .collect();
    letters
        .replace("rn", "m")
        .replace("vv", "w")
        .replace("cl", "d")
}

/// For admins alone, or for the authority's own process.
const RESERVED: [&str; 7] = [
    "authority",
    "operator",
    "node",
    "intermediate",
    "canary",
    "canary-server",
    "ocsp-responder",
];

const BUILT_IN: [&str; 6] = ["server", "client", "peer", "workload", "device", "person"];

/// In lists, `imported` stands for the certificates of others and `adopted` for what a CA issued that was adopted; the root is nobody's to ask for.
const TAKEN: [&str; 3] = ["adopted", "imported", "root"];

/// Lists have a column for them.
const MAX_BYTES: usize = 40;
