//! The stable names of mTLS faults: one slug, one meaning, one fix.
//!
//! Refusals, metric labels and the doctor's findings use these names and no others. A slug, once released, keeps its
//! meaning for ever: logs, alerts and dashboards are built on it. A case that none fits adds a row to the table below,
//! with its class, meaning and fix, a test that provokes it, and the text of its page (`crates/diagnose/causes`); then
//! `docs/reference/causes.md` and the pages are regenerated.

mod class;
mod page;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::class::Class;
pub use self::page::{cause_page, reference_page};
use crate::evidence::printable;

/// Each row: variant = slug, what a refused client is told ([`Class`]), what the operator is told, what to do.
macro_rules! causes {
    ($($name:ident = $slug:literal, $class:ident, $meaning:literal, $fix:literal;)+) => {
        /// Why two sides of mTLS do not accept each other, or accept each other wrongly.
        ///
        /// Written and read (text and serde alike) as its slug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $(#[doc = concat!("`", $slug, "`: ", $meaning)] $name,)+
        }

        impl Cause {
            /// Every cause, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable name, in kebab case.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// What is wrong, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What the person responsible should do.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)+ }
            }

            /// Where its page is, from the root of the repository: how it shows, how to confirm it, how to fix it.
            ///
            /// The pages' text is no part of the library: [`meaning`](Self::meaning) and [`fix`](Self::fix) are what a
            /// reader without network has.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => concat!("docs/reference/causes/", $slug, ".md"),)+ }
            }

            /// All that a refused client may learn of the cause.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }
        }

        impl FromStr for Cause {
            type Err = UnknownCause;

            fn from_str(slug: &str) -> Result<Self, UnknownCause> {
                match slug {
                    $($slug => Ok(Self::$name),)+
                    _ => Err(UnknownCause { slug: printable(slug, MAX_QUOTED_BYTES) }),
                }
            }
        }
    };
}

causes! {
    Healthy = "healthy", Availability,
        "Both sides would accept each other.",
        "Nothing to fix.";
    ChainMissingIntermediate = "chain-missing-intermediate", Certificate,
        "The sender's chain stops before an issuer that the receiver holds.",
        "Append the intermediate certificate to the sender's certificate file, leaf first.";
    ChainWrongOrder = "chain-wrong-order", Certificate,
        "The certificate file does not start with the leaf.",
        "Reorder the file: leaf, then each issuer in turn; leave the root out.";
    IntermediateExpired = "intermediate-expired", Certificate,
        "The leaf is valid, an intermediate above it is not.",
        "Get the renewed intermediate from the CA and replace it in the chain file.";
    RootExpired = "root-expired", Certificate,
        "The trust anchor itself is past its end.",
        "Install the renewed root in the receiver's trust bundle.";
    IssuerNotACa = "issuer-not-a-ca", Certificate,
        "The issuing certificate is not marked CA:TRUE.",
        "Reissue the CA certificate with basicConstraints CA:TRUE, then the leaves.";
    IssuerCannotSign = "issuer-cannot-sign", Certificate,
        "The issuing CA's keyUsage lacks keyCertSign.",
        "Reissue the CA certificate with keyCertSign in keyUsage.";
    IssuerEkuExcludesPurpose = "issuer-eku-excludes-purpose", Certificate,
        "An intermediate's extended key usage leaves out the purpose the leaf needs.",
        "Issue the leaf from a CA whose EKU includes that purpose (or has no EKU).";
    PathlenExceeded = "pathlen-exceeded", Certificate,
        "More intermediates follow a CA than its pathLenConstraint allows.",
        "Issue from a CA nearer the root, or reissue that CA with a larger path length.";
    NameConstraintsViolated = "name-constraints-violated", Certificate,
        "A name in the leaf is outside what an issuer is permitted.",
        "Use a permitted name, or reissue the constrained CA.";
    SameNameDifferentKeyCa = "same-name-different-key-ca", Certificate,
        "The bundle holds a CA of the right name, but with another key.",
        "Install the CA certificate whose key signed the leaf.";
    AkiMismatch = "aki-mismatch", Certificate,
        "The leaf's authority key identifier quotes another issuer certificate.",
        "Reissue the leaf under the renewed CA, or reissue the CA with the old serial and name.";
    VerifyDepthTooSmall = "verify-depth-too-small", Certificate,
        "The verifier's depth limit is shorter than a correct chain.",
        "Raise the verifier's depth limit (nginx: ssl_verify_depth).";
    CaExtensionsIncomplete = "ca-extensions-incomplete", Certificate,
        "The CA or leaf lacks the key identifiers or keyUsage that a strict verifier wants.",
        "Reissue with keyUsage, subject and authority key identifiers.";
    ClientCaNotTrusted = "client-ca-not-trusted", Certificate,
        "The server's client-CA bundle has no CA above the client's certificate.",
        "Add the client's CA to the server's client-CA bundle, or use a client certificate from a trusted CA.";
    ServerCaNotTrusted = "server-ca-not-trusted", Certificate,
        "The client's trust bundle has no CA above the server's certificate.",
        "Add the server's CA to the client's trust bundle.";
    TrustAnchorIsIntermediate = "trust-anchor-is-intermediate", Certificate,
        "The bundle holds only a CA that is not self-signed; this verifier wants the root.",
        "Add the root to the bundle, or turn on partial-chain verification.";
    CaUsedAsEndEntity = "ca-used-as-end-entity", Certificate,
        "One self-signed CA certificate serves as both anchor and leaf.",
        "Issue a separate leaf (CA:FALSE) from that CA.";
    TrustBundleEmpty = "trust-bundle-empty", Availability,
        "The trust bundle file holds no certificate.",
        "Put the CA certificate in the bundle file.";
    CaRotatedWithoutOverlap = "ca-rotated-without-overlap", Certificate,
        "The leaf is from the new CA generation, the bundle holds only the old (or the reverse).",
        "Trust old and new CA together until every leaf is replaced.";
    CaNamesExcludeIssuer = "ca-names-exclude-issuer", Certificate,
        "The server's list of acceptable CAs leaves out the client's issuer, so the client sends nothing.",
        "Add the issuer to the CA list the server sends, or send an empty list.";
    LeafExpired = "leaf-expired", Certificate,
        "The leaf is past its notAfter.",
        "Renew the certificate and reload the process.";
    NotYetValid = "not-yet-valid", Certificate,
        "The leaf's notBefore is in the future.",
        "Wait or reissue; check the issuing machine's clock and backdate notBefore.";
    ClockSkewLocal = "clock-skew-local", Availability,
        "This machine's clock is wrong; the certificates are fine.",
        "Set the clock (NTP); do not reissue.";
    EkuMissingClientauth = "eku-missing-clientauth", Certificate,
        "The client's certificate has an EKU without clientAuth.",
        "Reissue it with clientAuth; public CAs no longer do, so use a private CA.";
    EkuMissingServerauth = "eku-missing-serverauth", Certificate,
        "The server's certificate has an EKU without serverAuth.",
        "Reissue it with serverAuth.";
    KeyusageMissingDigitalsignature = "keyusage-missing-digitalsignature", Certificate,
        "keyUsage forbids signatures, which TLS client authentication needs.",
        "Reissue with digitalSignature in keyUsage.";
    SanMissing = "san-missing", Certificate,
        "The server's certificate names its host only in CN.",
        "Reissue with the name in subjectAltName.";
    NameMismatch = "name-mismatch", Certificate,
        "The name connected to is not among the certificate's names.",
        "Connect by a name it holds, or reissue with that name.";
    IpSanMissing = "ip-san-missing", Certificate,
        "The client connects by IP address; the certificate has no such IP SAN.",
        "Connect by name, or reissue with an iPAddress SAN.";
    WildcardMismatch = "wildcard-mismatch", Certificate,
        "A wildcard covers one label; the name has more.",
        "Reissue with the exact name or a wildcard at that level.";
    WeakKey = "weak-key", Certificate,
        "The key is shorter than the peer's security level allows.",
        "Make a new key (P-256 or RSA 2048 or more) and reissue.";
    WeakSignature = "weak-signature", Certificate,
        "The certificate is signed with SHA-1 or MD5.",
        "Reissue with SHA-256.";
    BadSerial = "bad-serial", Certificate,
        "The serial number is negative, zero or over 20 octets.",
        "Reissue with a positive serial of at most 20 octets.";
    X509V1 = "x509-v1", Certificate,
        "The certificate is X.509 version 1, without extensions.",
        "Reissue as version 3 (give openssl x509 -req an -extfile).";
    SigalgUnsupported = "sigalg-unsupported", Certificate,
        "The peer does not accept signatures by this kind of key.",
        "Use a key type both sides list (P-256 is safest).";
    KeyCertMismatch = "key-cert-mismatch", Certificate,
        "The private key does not belong to the certificate.",
        "Put the matching key beside the certificate.";
    RotationHalfApplied = "rotation-half-applied", Certificate,
        "The certificate is new and the key old (or the reverse).",
        "Install both files of the same issue, together.";
    KeyEncrypted = "key-encrypted", Certificate,
        "The private key needs a passphrase that the program does not have.",
        "Decrypt the key, or give the program the passphrase.";
    KeyPermissions = "key-permissions", Certificate,
        "The key file can be read by others (or not by its user).",
        "chmod 600 and give it to the service's user.";
    FileNotPem = "file-not-pem", Certificate,
        "The file is DER (or PKCS#7/12) where PEM is expected.",
        "Convert it: openssl x509 -inform DER.";
    FileEncoding = "file-encoding", Certificate,
        "The file is UTF-16 or starts with a byte order mark.",
        "Save it as plain ASCII.";
    PemGlued = "pem-glued", Certificate,
        "Two PEM blocks share a line: END and BEGIN run together.",
        "Put a newline between the blocks.";
    FilesSwapped = "files-swapped", Certificate,
        "The certificate file holds the key, the key file the certificate.",
        "Swap the two paths.";
    FileIsCsr = "file-is-csr", Certificate,
        "The file is a certificate request, not a certificate.",
        "Have the CA sign it and install the certificate.";
    Pkcs12Legacy = "pkcs12-legacy", Certificate,
        "The PKCS#12 file uses RC2/3DES, which current libraries refuse.",
        "Re-export it with AES-256 and PBKDF2.";
    ClientCertNotSent = "client-cert-not-sent", Certificate,
        "The server requires a client certificate; the client sent none.",
        "Configure the client's certificate and key.";
    ClientCertNotRequested = "client-cert-not-requested", Protocol,
        "The server never asks; something in front ends TLS.",
        "Pass TLS through, or have the terminator ask for and forward the certificate.";
    ClientAuthNotEnforced = "client-auth-not-enforced", Protocol,
        "The server asks, but lets clients without a certificate in.",
        "Set client verification to required.";
    TlsVersionMismatch = "tls-version-mismatch", Protocol,
        "The two sides' TLS version ranges do not meet.",
        "Enable a common version (1.2 or 1.3).";
    NoSharedCipher = "no-shared-cipher", Protocol,
        "No cipher suite fits both lists and the certificate's key type.",
        "Allow a suite that fits the key type.";
    AlpnMismatch = "alpn-mismatch", Protocol,
        "The server accepts only application protocols the client does not offer.",
        "Offer the protocol that the server speaks (h2 or http/1.1).";
    SniSelectsWrongVhost = "sni-selects-wrong-vhost", Request,
        "Without the right SNI the server answers as another virtual host.",
        "Connect by name, or set the SNI.";
    SniHostMismatch = "sni-host-mismatch", Request,
        "The Host header names another host than the SNI did (421).",
        "Use a separate connection per host name.";
    PeerNotTls = "peer-not-tls", Protocol,
        "The port answers in plaintext.",
        "Use the TLS port, or turn TLS on there.";
    PlainHttpToTlsPort = "plain-http-to-tls-port", Protocol,
        "The client speaks plaintext to a TLS port.",
        "Use https://, for PostgreSQL sslmode=verify-full.";
    StarttlsRequired = "starttls-required", Protocol,
        "TLS starts only after a plaintext command.",
        "Use STARTTLS mode (openssl s_client -starttls ...).";
    PostHandshakeAuthUnavailable = "post-handshake-auth-unavailable", Protocol,
        "The server asks for the certificate only for some path, after the handshake.",
        "Require it for the whole host, or enable post-handshake auth in the client (HTTP/1.1 only).";
    ResetBeforeServerHello = "reset-before-server-hello", Protocol,
        "The connection is reset before any TLS answer.",
        "Look at firewalls, L4 policies, the listener and the offered versions and ciphers, not at certificates.";
    NoTlsAnswer = "no-tls-answer", Availability,
        "TCP connects, TLS never answers.",
        "Look at the service, path MTU and middleboxes, not at certificates.";
    ConnectionRefused = "connection-refused", Availability,
        "Nothing listens on that address and port.",
        "Start the server or correct the address.";
    PlaintextAlsoAccepted = "plaintext-also-accepted", Protocol,
        "The port also serves clients without TLS.",
        "Set it to strict.";
    ServerNotReloaded = "server-not-reloaded", Certificate,
        "The server presents an older certificate than its file holds.",
        "Reload or restart the server.";
    StalePooledConnection = "stale-pooled-connection", Availability,
        "An old connection keeps the certificate it was opened with.",
        "Give connections a maximum age.";
    ResumptionSkipsCheck = "resumption-skips-check", Protocol,
        "A resumed session was not checked again.",
        "Shorten or disable session tickets.";
    HandshakeTooLarge = "handshake-too-large", Protocol,
        "The chain or CA list exceeds a peer's message limit.",
        "Shorten the chain or the CA list.";
    CertificateRevoked = "certificate-revoked", Certificate,
        "A CRL or OCSP answer lists the certificate.",
        "Issue a new certificate; find out why it was revoked.";
    CrlExpired = "crl-expired", Availability,
        "The CRL is past its nextUpdate, so every certificate is refused.",
        "Publish a fresh CRL and reload.";
    CrlMissing = "crl-missing", Availability,
        "There is no CRL for some issuer in the chain.",
        "Add a CRL for every issuer, or check only the leaf.";
    CrlWrongIssuer = "crl-wrong-issuer", Availability,
        "The CRL is not signed by the issuer of the certificates.",
        "Install the CRL of that issuer.";
    OcspUnreachable = "ocsp-unreachable", Availability,
        "The OCSP responder does not answer and the verifier fails hard.",
        "Restore the responder, staple, or fail soft.";
    RevocationNotChecked = "revocation-not-checked", Certificate,
        "A revoked certificate is accepted: no revocation source is configured.",
        "Configure a CRL or OCSP.";
    IdentityNotAllowed = "identity-not-allowed", Identity,
        "TLS works; the policy does not allow this client's name.",
        "Correct the rule, or reissue with the name in the rule.";
    IdentityAmbiguous = "identity-ambiguous", Identity,
        "The certificate holds more than one identity where one is allowed.",
        "Reissue with exactly one SPIFFE ID.";
    TrustDomainMismatch = "trust-domain-mismatch", Identity,
        "The SPIFFE trust domain differs from the one expected.",
        "Federate the domains, or correct the expected ID.";
    DnFormatMismatch = "dn-format-mismatch", Identity,
        "The rule writes the same DN in another order or notation.",
        "Write the rule in the notation that the peer compares.";
    IdentityHeaderMissing = "identity-header-missing", Identity,
        "The gateway does not pass the client's identity on.",
        "Set the forwarding header at the gateway.";
    IdentityHeaderSpoofable = "identity-header-spoofable", Identity,
        "A client can send the identity header itself.",
        "Delete the header at the edge on every route.";
    ChainTooDeep = "chain-too-deep", Certificate,
        "The chain is longer than this verifier's limit, and longer than it needs to be.",
        "Send leaf and intermediates only, or raise the limit.";
    CertificateTooLarge = "certificate-too-large", Certificate,
        "A certificate or the chain exceeds the size limit.",
        "Fewer names or smaller extensions.";
    MalformedCertificate = "malformed-certificate", Certificate,
        "The bytes are not a valid certificate (DER, names with NUL, duplicate extensions…).",
        "Reissue it with a conforming CA.";
    MalformedHandshake = "malformed-handshake", Protocol,
        "The peer broke the TLS protocol.",
        "Look at what connects there: a scanner, a middlebox, a broken library.";
    BadSignature = "bad-signature", Certificate,
        "The proof of possession or a certificate's signature does not verify.",
        "The key is not the certificate's, or the bytes were altered.";
    HandshakeTimeout = "handshake-timeout", Availability,
        "The peer did not finish the handshake in time.",
        "Look at its CPU, key storage (HSM, smart card) and path.";
    RateLimited = "rate-limited", Availability,
        "Too many handshakes or connections from one source.",
        "Reuse connections; raise the limit for that source.";
    SniUnknown = "sni-unknown", Request,
        "The listener serves no such name.",
        "Connect by a name it serves, or add a route.";
    RequestNotAllowed = "request-not-allowed", Request,
        "The identity is known and admitted, this method, path, time or login is not.",
        "Correct the rule or the request.";
    TokenNotAllowed = "token-not-allowed", Request,
        "The bearer token is good, and its issuer or claims are not those that the rule asks for.",
        "Get a token with the claims that the rule names, or correct the rule.";
    TokenMissing = "token-missing", Request,
        "The rule asks for a bearer token, and the request has none.",
        "Get a token of the issuer that the rule names, and send it as Authorization: Bearer.";
    TokenInvalid = "token-invalid", Request,
        "The bearer token is not one that a configured issuer signed, or can be read in two ways.",
        "Compare its iss, alg and kid with [[gateway.token_issuer]] and the issuer's published keys.";
    TokenExpired = "token-expired", Request,
        "The bearer token is past its end.",
        "Get a new one before the old one ends; check the clocks.";
    TokenTimesNotAllowed = "token-times-not-allowed", Request,
        "The bearer token is not good yet, or for longer than max_lifetime.",
        "Check the clock of the issuer, or have it sign shorter tokens.";
    TokenWrongAudience = "token-wrong-audience", Request,
        "The bearer token is for another service.",
        "Ask the issuer for a token with the audience that [[gateway.token_issuer]] names.";
    TokenNotBoundToCertificate = "token-not-bound-to-certificate", Request,
        "The bearer token is bound to no certificate, or to another one than the client's.",
        "Get the token over mutual TLS with the certificate that it is used with (RFC 8705).";
    TokenKeysUnavailable = "token-keys-unavailable", Availability,
        "The keys by which tokens of this issuer are verified cannot be had, or are older than they may be.",
        "Restore what publishes them (jwks_url), or give them as a file.";
    ApiKeyMissing = "api-key-missing", Request,
        "The rule asks for an API key, and the request has none.",
        "Send the key as X-Api-Key, once.";
    ApiKeyUnknown = "api-key-unknown", Request,
        "The API key is none that is configured, or past its end.",
        "Make a new one with countersign api-key new, and configure its hash.";
    ApiKeyOfAnother = "api-key-of-another", Identity,
        "The API key is bound to another identity than the client's certificate shows.",
        "Use the key with the certificate that it was made for; if it was stolen, take it out of the configuration.";
    ApiKeyNotAllowed = "api-key-not-allowed", Request,
        "The API key is good, and not the one that the rule asks for.",
        "Use the key that the rule names, or correct the rule.";
    TrustDataStale = "trust-data-stale", Availability,
        "Revocations, bundle or policy are older than their stated life, so nobody is admitted.",
        "Restore the feed or the CRL source.";
    ClientClosedEarly = "client-closed-early", Protocol,
        "The client closed or sent an alert before the handshake was done.",
        "Read its alert or log: it refused us.";
    BreakGlassShut = "break-glass-shut", Availability,
        "A break-glass listener is not armed, or its use cannot be recorded.",
        "Arm it: `countersign break-glass arm LISTENER`; `countersign break-glass status` says how it stands.";
    TooManyPending = "too-many-pending", Availability,
        "The cap on unfinished handshakes is reached.",
        "Find the flood, or raise the cap.";
    MalformedRequest = "malformed-request", Request,
        "The request breaks its protocol: HTTP (RFC 9112/9113) or a PostgreSQL login.",
        "Look at the client or what stands before it.";
    RequestLimit = "request-limit", Request,
        "A limit on headers, streams, resets, body rate or a login was hit.",
        "Reduce it at the client, or raise the limit for the route.";
    PinMismatch = "pin-mismatch", Identity,
        "The certificate is valid, but its key is not the pinned one.",
        "Update the pin, or find out who replaced the key.";
    ConnectionTooOld = "connection-too-old", Availability,
        "The connection reached its maximum age.",
        "Reconnect.";
    ProxyHeaderMissing = "proxy-header-missing", Protocol,
        "A trusted front must send a PROXY header that can be read, and did not.",
        "Turn it on there, or off here.";
    ProxyHeaderUntrusted = "proxy-header-untrusted", Protocol,
        "An address that is not trusted sent a PROXY header.",
        "Trust that address, or connect without the header.";
    OcspUnknown = "ocsp-unknown", Certificate,
        "The responder does not know the certificate.",
        "Ask the responder of its issuer; check which CA issued it.";
    OcspStale = "ocsp-stale", Availability,
        "The OCSP answer is past its nextUpdate.",
        "Restore the responder.";
    OcspStapleMissing = "ocsp-staple-missing", Availability,
        "The certificate demands that an OCSP answer comes with it (must-staple), and the server sends none.",
        "Turn OCSP stapling on at the server, or reissue without the TLS feature extension.";
    OcspAnswerInvalid = "ocsp-answer-invalid", Availability,
        "What the OCSP responder says is no answer that can be relied on.",
        "Ask it with `openssl ocsp`; check who signs its answers, its clock, and what stands between.";
    CrlBadSignature = "crl-bad-signature", Availability,
        "The CRL's signature does not verify.",
        "Fetch it again; check which key signed it.";
    CrlUnprocessed = "crl-unprocessed", Availability,
        "The CRL lacks what RFC 5280 demands, has not begun, or is of a kind that is not processed, so that nothing follows from it.",
        "Publish a complete, direct CRL with cRLNumber and nextUpdate.";
    NameConstraintsUnsupported = "name-constraints-unsupported", Certificate,
        "An issuer has name constraints of a type that this verifier cannot judge, so it refuses.",
        "Reissue the CA without them, or scope it by rule.";
    KeyPasswordWrong = "key-password-wrong", Certificate,
        "The key's or keystore's password is wrong.",
        "Give the right one.";
    FileMissing = "file-missing", Certificate,
        "The file does not exist, is empty or cannot be read.",
        "Correct the path or its permissions.";
    NameNotResolved = "name-not-resolved", Availability,
        "The host name has no address.",
        "Correct the name or DNS.";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.slug())
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.slug())
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A text that names no cause of this release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cause is called {slug}")]
pub struct UnknownCause {
    /// The text that was read, escaped and cut.
    pub slug: String,
}

/// Twice the longest slug: enough to recognise a misspelling in an error.
const MAX_QUOTED_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    /// Slugs are a promise: there were so many when they were first agreed on, and none is taken back.
    const AGREED_CAUSES: usize = 105;

    #[test]
    fn every_cause_is_listed_once_and_none_is_taken_back() {
        assert!(Cause::ALL.len() >= AGREED_CAUSES);
        let slugs: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.slug()).collect();
        assert_eq!(slugs.len(), Cause::ALL.len());
    }

    #[test]
    fn every_slug_round_trips_as_text_and_serde() {
        for &cause in Cause::ALL {
            assert_eq!(cause.to_string().parse(), Ok(cause));
            let deserializer: StrDeserializer<'_, ValueError> = cause.slug().into_deserializer();
            assert_eq!(Cause::deserialize(deserializer), Ok(cause));
        }
    }

    #[test]
    fn variant_is_its_slug_in_camel_case() {
        for cause in Cause::ALL {
            let camel: String = cause
                .slug()
                .split('-')
                .flat_map(|word| [word[..1].to_ascii_uppercase(), word[1..].to_owned()])
                .collect();
            assert_eq!(format!("{cause:?}"), camel);
        }
    }

    #[test]
    fn slugs_are_kebab_case() {
        for cause in Cause::ALL {
            let is_word = |word: &str| {
                word.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                    && word
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            };
            assert!(cause.slug().split('-').all(is_word), "{cause}");
        }
    }

    #[test]
    fn meanings_and_fixes_are_sentences() {
        for cause in Cause::ALL {
            for sentence in [cause.meaning(), cause.fix()] {
                assert!(
                    sentence.len() > 1 && sentence.ends_with('.'),
                    "{cause}: {sentence:?}"
                );
                assert_eq!(
                    printable(sentence, 500),
                    sentence,
                    "{cause} needs no escapes"
                );
            }
        }
    }

    #[test]
    fn unknown_slug_is_refused_and_quoted_safely() {
        for text in [
            "",
            "Leaf-Expired",
            "leaf_expired",
            " leaf-expired",
            "LeafExpired",
        ] {
            assert!(text.parse::<Cause>().is_err(), "{text:?}");
        }
        let hostile = "\u{1b}[2J\n".repeat(1000);
        let error = hostile.parse::<Cause>().expect_err("not a slug");
        assert!(error.slug.len() <= MAX_QUOTED_BYTES);
        assert!(
            error
                .to_string()
                .starts_with(r"no cause is called \u{1b}[2J\u{a}")
        );
        assert!(!error.to_string().contains(char::is_control));
    }
}
