//! What the certificates of a kind must look like, as data.

mod narrowing;
mod pattern;
mod sources;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::certificate::KeyAlgorithm;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::tbs::{ExtraExtension, Usage};

use super::{Actor, Denied, IssuerRole, Profile};

pub use self::narrowing::{InvalidProfile, Narrowing};
pub(super) use self::pattern::is_under;
pub use self::pattern::{CommonNamePattern, IpRange, UriPrefix};
pub use self::sources::{Source, SourceRules};
pub use self::usage::{FurtherKeyUsage, Purpose};
use crate::access::PathPattern;
use countersign_pki::name::DnsName;

/// Every kind of certificate there is: the built-in ones, as they are or narrowed, and those of the configuration.
#[derive(Clone, Debug)]
pub struct Profiles {
    // Shared with every certificate that is being issued: lists of names can be long.
    rules: BTreeMap<Profile, Arc<ProfileRules>>,
    /// By a node's name, those that its listeners may have certificates for.
    bound: BTreeMap<TypedName, Vec<TypedName>>,
}

impl Profiles {
    /// The built-in ones.
    pub fn built_in() -> Self {
        let rules =
            BuiltIn::ALL.map(|like| (like.profile(), Arc::new(ProfileRules::built_in(like))));
        Self {
            rules: rules.into_iter().collect(),
            bound: BTreeMap::new(),
        }
    }

    /// The listeners of `node` may have certificates for these names, and for no others.
    pub fn bind(&mut self, node: TypedName, names: Vec<TypedName>) {
        self.bound.insert(node, names);
    }

    /// The first of `names` that nobody has bound to `node`.
    pub(super) fn unbound<'a>(
        &self,
        node: &TypedName,
        names: &'a [TypedName],
    ) -> Option<&'a TypedName> {
        let bound = self.bound.get(node).map_or(&[][..], Vec::as_slice);
        names.iter().find(|name| !bound.contains(name))
    }

    /// What there is of `profile`.
    pub fn find(&self, profile: &Profile) -> Result<&Arc<ProfileRules>, Denied> {
        self.rules.get(profile).ok_or_else(|| {
            let why = if profile.is_reserved() {
                format!("profile {profile} is reserved: there are no such certificates to ask for")
            } else {
                format!("profile {profile} is not known; profiles are {self}")
            };
            Denied::Request { why }
        })
    }

    /// What binds `actor`: what the authority issues to itself (the certificates of its own gateway) is as the built-in profile
    /// has it, for a configuration says what others may ask for.
    pub(super) fn binding(
        &self,
        actor: &Actor,
        profile: &Profile,
    ) -> Result<Arc<ProfileRules>, Denied> {
        let own = BuiltIn::ALL
            .into_iter()
            .find(|like| *actor == Actor::Authority && like.profile() == *profile);
        match own {
            Some(like) => Ok(Arc::new(ProfileRules::built_in(like))),
            None => self.find(profile).cloned(),
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ProfileRules> {
        self.rules.values().map(|rules| &**rules)
    }
}

impl fmt::Display for Profiles {
    /// `client, device, … and workload`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let can_be_asked_for = |profile: &&Profile| !OF_THE_AUTHORITY.contains(profile);
        let names = self.rules.keys().filter(can_be_asked_for);
        let names: Vec<&str> = names.map(Profile::as_str).collect();
        match names.split_last() {
            Some((last, [])) => f.write_str(last),
            Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
            None => Ok(()),
        }
    }
}

/// What the certificates of a kind must look like.
///
/// Invariant: a kind can do nothing that the built-in one it is like cannot do. Only `ProfileRules::built_in` and
/// [`Profiles::configure`] make these, and the latter only narrows; which issuer signs is never a matter of configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileRules {
    profile: Profile,
    like: BuiltIn,
    keys: Vec<KeyType>,
    default_lifetime: Duration,
    max_lifetime: Duration,
    names: NameRules,
    same_key_renewal: bool,
    usage: Usage,
    sources: SourceRules,
    extensions: Vec<ExtraExtension>,
}

impl ProfileRules {
    fn built_in(like: BuiltIn) -> Self {
        Self {
            profile: like.profile(),
            like,
            keys: KeyType::ALL.to_vec(),
            default_lifetime: like.default_lifetime(),
            max_lifetime: like.max_lifetime(),
            names: NameRules {
                wildcard: like.may_have_wildcards(),
                ..NameRules::default()
            },
            same_key_renewal: true,
            usage: like.usage(),
            sources: SourceRules::default(),
            extensions: Vec::new(),
        }
    }

    /// Its name.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The built-in one that it is, or is like.
    pub fn like(&self) -> BuiltIn {
        self.like
    }

    /// Who signs.
    pub fn issued_by(&self) -> IssuerRole {
        self.like.issued_by()
    }

    /// The keys that are certified.
    pub fn keys(&self) -> &[KeyType] {
        &self.keys
    }

    /// How long a certificate lives when the request does not say.
    pub fn default_lifetime(&self) -> Duration {
        self.default_lifetime
    }

    /// The longest life that can be asked for.
    pub fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// Which names, beyond their kinds.
    pub fn names(&self) -> &NameRules {
        &self.names
    }

    /// Whether the next certificate of an identity may have the key of one before.
    pub fn allows_same_key(&self) -> bool {
        self.same_key_renewal
    }

    /// What the key may be used for.
    pub fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// Where it says to look for its revocation and its issuer.
    pub fn sources(&self) -> &SourceRules {
        &self.sources
    }

    /// What every certificate carries beside its own.
    pub fn extensions(&self) -> &[ExtraExtension] {
        &self.extensions
    }

    /// What NAME was, and the other SANs, of a certificate with these names.
    pub fn name_of(&self, names: &[TypedName]) -> (String, Vec<TypedName>) {
        let kinds: &[NameKind] = match self.like.naming() {
            Naming::CommonName => &[NameKind::Cn],
            Naming::Host => &[NameKind::Dns, NameKind::Ip],
            // The CN of somebody whose address is their name says the address, unless it is too long for a CN.
            Naming::Person => &[NameKind::Cn, NameKind::Email],
            Naming::Spiffe => &[NameKind::Spiffe],
        };
        let first = kinds
            .iter()
            .find_map(|kind| names.iter().find(|name| name.kind() == *kind))
            .or_else(|| names.iter().find(|name| kinds.contains(&name.kind())));
        // A host's NAME is its first SAN, whether that is a DNS name or an address.
        let first = match self.like.naming() {
            Naming::Host => names.iter().find(|name| kinds.contains(&name.kind())),
            _ => first,
        };
        let bare = first.map(TypedName::bare).unwrap_or_default();
        let is_name = |name: &TypedName| {
            Some(name) == first
                || (self.like.naming() == Naming::Person
                    && name.kind() == NameKind::Email
                    && name.bare() == bare)
        };
        let is_further = |name: &&TypedName| is_subject_alt_name(name) && !is_name(name);
        let further = names.iter().filter(is_further).cloned().collect();
        (bare, further)
    }
}

/// The kinds that there are without a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// See [`Profile::AUTHORITY`].
    Authority,
    /// See [`Profile::CANARY`].
    Canary,
    /// See [`Profile::CANARY_SERVER`].
    CanaryServer,
    /// See [`Profile::CLIENT`].
    Client,
    /// See [`Profile::DEVICE`].
    Device,
    /// See [`Profile::INTERMEDIATE`].
    Intermediate,
    /// See [`Profile::NODE`].
    Node,
    /// See [`Profile::OCSP_RESPONDER`].
    OcspResponder,
    /// See [`Profile::OPERATOR`].
    Operator,
    /// See [`Profile::PEER`].
    Peer,
    /// See [`Profile::PERSON`].
    Person,
    /// See [`Profile::SERVER`].
    Server,
    /// See [`Profile::WORKLOAD`].
    Workload,
}

/// What NAME becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The CN.
    CommonName,
    /// The first SAN, a DNS name or an address, and the CN once more where it fits.
    Host,
    /// An e-mail SAN and the CN; or the CN of somebody whose address is a further SAN.
    Person,
    /// The one SPIFFE ID; there is no subject.
    Spiffe,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Authority,
        Self::Canary,
        Self::CanaryServer,
        Self::Client,
        Self::Device,
        Self::Intermediate,
        Self::Node,
        Self::OcspResponder,
        Self::Operator,
        Self::Peer,
        Self::Person,
        Self::Server,
        Self::Workload,
    ];

    /// Its name.
    pub const fn profile(self) -> Profile {
        match self {
            Self::Authority => Profile::AUTHORITY,
            Self::Canary => Profile::CANARY,
            Self::CanaryServer => Profile::CANARY_SERVER,
            Self::Client => Profile::CLIENT,
            Self::Device => Profile::DEVICE,
            Self::Intermediate => Profile::INTERMEDIATE,
            Self::Node => Profile::NODE,
            Self::OcspResponder => Profile::OCSP_RESPONDER,
            Self::Operator => Profile::OPERATOR,
            Self::Peer => Profile::PEER,
            Self::Person => Profile::PERSON,
            Self::Server => Profile::SERVER,
            Self::Workload => Profile::WORKLOAD,
        }
    }

    /// What NAME becomes.
    pub const fn naming(self) -> Naming {
        match self {
            Self::Client
            | Self::Device
            | Self::Intermediate
            | Self::Node
            | Self::OcspResponder
            | Self::Operator => Naming::CommonName,
            Self::Authority | Self::Canary | Self::CanaryServer | Self::Peer | Self::Server => {
                Naming::Host
            }
            Self::Person => Naming::Person,
            Self::Workload => Naming::Spiffe,
        }
    }

    /// The kinds of SANs that it may have.
    pub const fn alt_names(self) -> &'static [NameKind] {
        match self {
            Self::Client => &[
                NameKind::Dns,
                NameKind::Email,
                NameKind::Spiffe,
                NameKind::Uri,
            ],
            Self::Canary | Self::CanaryServer => &[NameKind::Dns, NameKind::Spiffe],
            Self::Device => &[NameKind::Dns, NameKind::Uri],
            Self::Intermediate | Self::Node | Self::OcspResponder => &[],
            Self::Authority | Self::Peer | Self::Server => &[NameKind::Dns, NameKind::Ip],
            Self::Operator | Self::Person => &[NameKind::Email],
            Self::Workload => &[NameKind::Dns, NameKind::Ip, NameKind::Spiffe],
        }
    }

    /// Who signs. The operator issuer is the anchor of the admin, feed and acknowledgement ports, so nothing but nodes and
    /// operators may come from it, and the root signs CAs alone.
    pub const fn issued_by(self) -> IssuerRole {
        match self {
            Self::Intermediate => IssuerRole::Root,
            Self::Authority | Self::Node | Self::Operator => IssuerRole::Operator,
            Self::Canary
            | Self::CanaryServer
            | Self::Client
            | Self::Device
            | Self::OcspResponder
            | Self::Peer
            | Self::Person
            | Self::Server
            | Self::Workload => IssuerRole::Intermediate,
        }
    }

    /// Whether its names are a canary's, and nobody's else.
    pub(super) const fn is_canary(self) -> bool {
        matches!(self, Self::Canary | Self::CanaryServer)
    }

    /// A host's names may be wildcards; who shows a client certificate is one, not many.
    pub(super) const fn may_have_wildcards(self) -> bool {
        matches!(self, Self::Peer | Self::Server | Self::Workload)
    }

    /// Workloads are given theirs anew all the time, so a lost key is of little use, and so are nodes; those of clients,
    /// servers and people may be copied by hand into places that nobody visits for weeks, and 90 days is what those have
    /// learnt to live with (Let's Encrypt). Devices are visited once a year.
    const fn default_lifetime(self) -> Duration {
        Duration::from_secs(match self {
            Self::Canary | Self::CanaryServer => 5 * 60,
            Self::Client | Self::Operator | Self::Peer | Self::Person | Self::Server => 90 * DAY_S,
            Self::Device => 365 * DAY_S,
            Self::Intermediate => 5 * 365 * DAY_S,
            Self::Authority | Self::Node => 30 * DAY_S,
            // Nobody looks up the revocation of a responder (RFC 6960 §4.2.2.2.1); it is renewed at half of it.
            Self::OcspResponder => 7 * DAY_S,
            Self::Workload => DAY_S,
        })
    }

    const fn max_lifetime(self) -> Duration {
        match self {
            Self::Canary | Self::CanaryServer => Duration::from_mins(10),
            Self::Intermediate => MAX_ISSUER_LIFETIME,
            _ => MAX_LIFETIME,
        }
    }

    /// What a certificate is for. Nodes and the authority come from one issuer, so neither can do what the other does: no
    /// node passes for the authority before other nodes, and the authority's ports pass for no node.
    pub(super) const fn usage(self) -> Usage {
        let (server_auth, client_auth) = match self {
            Self::Canary
            | Self::Client
            | Self::Device
            | Self::Node
            | Self::Operator
            | Self::Person => (false, true),
            Self::Intermediate => return Usage::Authority { path_len: Some(0) },
            Self::OcspResponder => return Usage::OcspResponder,
            Self::Peer | Self::Workload => (true, true),
            Self::Authority | Self::CanaryServer | Self::Server => (true, false),
        };
        Usage::Leaf {
            server_auth,
            client_auth,
        }
    }
}

/// Which names of each kind; `None`: any. A kind that the built-in profile does not have stays out whatever stands here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameRules {
    /// DNS names that are one of these or end in one at a dot.
    pub dns_suffixes: Option<Vec<DnsName>>,
    /// Whether a DNS name may be a wildcard.
    pub wildcard: bool,
    /// Addresses in one of these.
    pub ip_ranges: Option<Vec<IpRange>>,
    /// Paths of SPIFFE IDs, under the authority's own trust domain.
    pub spiffe_paths: Option<Vec<PathPattern>>,
    /// What stands behind the @.
    pub email_domains: Option<Vec<DnsName>>,
    /// How URIs begin.
    pub uri_prefixes: Option<Vec<UriPrefix>>,
    /// Common names.
    pub common_names: Option<Vec<CommonNamePattern>>,
}

/// A kind of key that is certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RFC 8410.
    Ed25519,
    /// RFC 9881, security category 2.
    MlDsa44,
    /// RFC 9881, security category 3.
    MlDsa65,
    /// RFC 9881, security category 5.
    MlDsa87,
    /// RSA from so many bits to 4096: longer keys only make every handshake slower.
    Rsa {
        /// At least.
        bits: usize,
    },
}

impl KeyType {
    /// What some peers accept, and none has broken.
    pub const ALL: [Self; 7] = [
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::Rsa { bits: 2048 },
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    pub(super) fn admits(self, key: &KeyAlgorithm) -> bool {
        match (self, key) {
            (Self::P256, KeyAlgorithm::Ec { curve, .. }) => curve == "P-256",
            (Self::P384, KeyAlgorithm::Ec { curve, .. }) => curve == "P-384",
            (Self::Ed25519, KeyAlgorithm::Ed25519)
            | (Self::MlDsa44, KeyAlgorithm::MlDsa44)
            | (Self::MlDsa65, KeyAlgorithm::MlDsa65)
            | (Self::MlDsa87, KeyAlgorithm::MlDsa87) => true,
            (Self::Rsa { bits: least }, KeyAlgorithm::Rsa { bits }) => {
                (least..=MAX_RSA_BITS).contains(bits)
            }
            _ => false,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa44 => f.write_str("ML-DSA-44"),
            Self::MlDsa65 => f.write_str("ML-DSA-65"),
            Self::MlDsa87 => f.write_str("ML-DSA-87"),
            Self::Rsa { bits: MAX_RSA_BITS } => f.write_str("RSA 4096"),
            Self::Rsa { bits } => write!(f, "RSA {bits} to {MAX_RSA_BITS}"),
        }
    }
}

fn is_subject_alt_name(name: &TypedName) -> bool {
    matches!(
        name.kind(),
        NameKind::Spiffe | NameKind::Dns | NameKind::Ip | NameKind::Email | NameKind::Uri
    )
}

const MAX_RSA_BITS: usize = 4096;

const DAY_S: u64 = 86_400;

/// For every leaf profile: Apple's clients refuse server certificates of longer life, of private CAs too (support page
/// 103769), and a client's that lived longer would be one that nobody knows how to renew.
pub const MAX_LIFETIME: Duration = Duration::from_secs(825 * DAY_S);

/// Of a CA below the root: as long as a root lives that nobody chose a life for.
const MAX_ISSUER_LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY_S);

/// What nobody but the authority gets.
const OF_THE_AUTHORITY: [Profile; 2] = [Profile::AUTHORITY, Profile::OCSP_RESPONDER];
