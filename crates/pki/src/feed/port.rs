//! The feed port as nodes and the authority both know it: paths, and what is said there besides the stream.

use serde::{Deserialize, Serialize};

/// `GET` with `history` and `after`, or with neither: a stream of [`Frame`](super::Frame)s.
pub const FEED: &str = "/v1/feed";
/// `POST`: [`AcknowledgementOf`](super::AcknowledgementOf) in.
pub const ACKNOWLEDGEMENT: &str = "/v1/feed/acknowledgement";
/// `POST`: [`Leaving`] in.
pub const LEAVE: &str = "/v1/feed/leave";
/// `POST`: [`NextCertificate`] in, [`Certified`] out.
pub const RENEW: &str = "/v1/node/renew";
/// `POST`: [`ListenerCertificate`] in, [`Certified`] out.
pub const CERTIFICATE: &str = "/v1/node/certificate";

/// The header by which a request that issues can be made again (draft-ietf-httpapi-idempotency-key-header): the same key
/// and the same body get the same certificate.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The kind of problem that says that the same request, under the same key, is being answered.
pub const IN_FLIGHT: &str = "urn:countersign:in-flight";

/// The node ends in order: nobody waits for it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    /// The stream that it has heard.
    pub place: u64,
}

/// The node asks for its own next certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextCertificate {
    /// PKCS#10 in PEM: the key, possession proved. Its names mean nothing.
    pub csr: String,
}

/// The node asks for a certificate for its listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerCertificate {
    /// PKCS#10 in PEM: the key, possession proved. Its names mean nothing.
    pub csr: String,
    /// Typed names (`dns:…`, `ip:…`), at least one. Each must be bound to the node.
    pub names: Vec<String>,
    /// How long, in seconds; the profile's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u64>,
}

/// A certificate, leaf first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certified {
    /// In PEM, without the root.
    pub chain_pem: String,
}

/// What a refusal on the feed port says (RFC 9457), as far as a node reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The fault, as a sentence.
    pub detail: String,
    /// What to do.
    #[serde(default)]
    pub hint: Option<String>,
    /// Of which kind; left out, the status says it.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}
