//! What would confirm a candidate.

use super::message::Accused;
use crate::cause::Cause;

/// What to run or look at.
#[expect(clippy::too_many_lines, reason = "a table, a row for each cause")]
pub(super) const fn of(cause: Cause, accused: Accused) -> &'static str {
    match cause {
        Cause::ChainMissingIntermediate => {
            "`openssl s_client -connect HOST:PORT -showcerts`, or the client's certificate file: is every issuer between leaf and root there?"
        }
        Cause::ChainWrongOrder => {
            "`openssl crl2pkcs7 -nocrl -certfile FILE | openssl pkcs7 -print_certs -noout`: is the leaf first?"
        }
        Cause::IntermediateExpired | Cause::RootExpired => {
            "`openssl x509 -noout -subject -dates` for each certificate of the chain and of the trust bundle."
        }
        Cause::LeafExpired => match accused {
            Accused::Client => "`openssl x509 -in CLIENT.crt -noout -dates` against `date -u`.",
            Accused::Server => {
                "`openssl s_client -connect HOST:PORT -servername HOST </dev/null | openssl x509 -noout -dates` against `date -u`."
            }
            Accused::Either => {
                "`openssl x509 -noout -dates` for the certificates of both sides, against `date -u`."
            }
        },
        Cause::NotYetValid | Cause::ClockSkewLocal => {
            "`date -u` on both machines against an NTP source, and `openssl x509 -noout -dates`."
        }
        Cause::IssuerNotACa | Cause::IssuerCannotSign | Cause::PathlenExceeded => {
            "`openssl x509 -in CA.crt -noout -ext basicConstraints,keyUsage` for each CA of the chain."
        }
        Cause::IssuerEkuExcludesPurpose
        | Cause::EkuMissingClientauth
        | Cause::EkuMissingServerauth => {
            "`openssl x509 -noout -purpose -ext extendedKeyUsage` for the leaf and each CA."
        }
        Cause::KeyusageMissingDigitalsignature => {
            "`openssl x509 -noout -ext keyUsage` for the leaf."
        }
        Cause::NameConstraintsViolated | Cause::NameConstraintsUnsupported => {
            "`openssl x509 -noout -ext nameConstraints` for each CA, and `-ext subjectAltName` for the leaf."
        }
        Cause::SameNameDifferentKeyCa | Cause::AkiMismatch | Cause::CaRotatedWithoutOverlap => {
            "Compare `openssl x509 -noout -ext subjectKeyIdentifier` of the CA in the bundle with `-ext authorityKeyIdentifier` of the leaf; `openssl verify -CAfile BUNDLE LEAF`."
        }
        Cause::VerifyDepthTooSmall | Cause::ChainTooDeep => {
            "Count the certificates between leaf and root, and look at the verifier's depth limit."
        }
        Cause::CaExtensionsIncomplete => "`openssl verify -x509_strict -CAfile BUNDLE LEAF`.",
        Cause::ClientCaNotTrusted => {
            "`openssl verify -purpose sslclient -CAfile THE_SERVERS_CLIENT_CA_BUNDLE -untrusted CHAIN CLIENT.crt`."
        }
        Cause::ServerCaNotTrusted => {
            "`openssl s_client -connect HOST:PORT -servername HOST -CAfile THE_CLIENTS_BUNDLE </dev/null`: what is `Verify return code`?"
        }
        Cause::TrustAnchorIsIntermediate => {
            "`openssl verify -CAfile BUNDLE LEAF` fails and with `-partial_chain` it does not."
        }
        Cause::CaUsedAsEndEntity => {
            "`openssl x509 -in LEAF -noout -issuer -subject -ext basicConstraints`: CA:TRUE?"
        }
        Cause::TrustBundleEmpty => "`grep -c BEGIN BUNDLE` (or `keytool -list`): 0?",
        Cause::CaNamesExcludeIssuer => {
            "`openssl s_client -connect HOST:PORT </dev/null | sed -n '/Acceptable/,/^---/p'`: is the issuer of the client's certificate there?"
        }
        Cause::SanMissing | Cause::NameMismatch | Cause::IpSanMissing | Cause::WildcardMismatch => {
            "`openssl s_client -connect HOST:PORT -servername HOST </dev/null | openssl x509 -noout -ext subjectAltName`: is the name or address there?"
        }
        Cause::WeakKey | Cause::WeakSignature | Cause::SigalgUnsupported => {
            "`openssl x509 -noout -text` for leaf and CAs: key size and signature algorithm."
        }
        Cause::BadSerial | Cause::X509V1 => {
            "`openssl x509 -noout -text`: version and serial number."
        }
        Cause::KeyCertMismatch | Cause::RotationHalfApplied => {
            "Compare `openssl x509 -in CERT -noout -pubkey` with `openssl pkey -in KEY -pubout`."
        }
        Cause::KeyEncrypted | Cause::KeyPasswordWrong => {
            "`head -2 KEY` (ENCRYPTED?), and `openssl pkey -in KEY -noout` with the passphrase."
        }
        Cause::KeyPermissions | Cause::FileMissing => {
            "`ls -l` of the path as the user of the service; `namei -l PATH`."
        }
        Cause::FileNotPem
        | Cause::FileEncoding
        | Cause::PemGlued
        | Cause::FileIsCsr
        | Cause::FilesSwapped => {
            "`file PATH`, `head -c 64 PATH | xxd`, `grep -n -- ----- PATH`: which blocks are in it, and in which encoding?"
        }
        Cause::Pkcs12Legacy => {
            "`openssl pkcs12 -in FILE -info -noout` fails and with `-legacy` it does not."
        }
        Cause::ClientCertNotSent => {
            "Look at the client's configuration of certificate and key; `openssl s_client -connect HOST:PORT -cert CRT -key KEY` with them."
        }
        Cause::ClientCertNotRequested => {
            "`openssl s_client -connect HOST:PORT </dev/null`: does it print `Acceptable client certificate CA names` or `Requested Signature Algorithms`?"
        }
        Cause::TlsVersionMismatch => {
            "`openssl s_client -connect HOST:PORT -tls1_2`, then `-tls1_3`: which is answered?"
        }
        Cause::NoSharedCipher => {
            "`openssl s_client -connect HOST:PORT -cipher ALL`, and the two sides' lists."
        }
        Cause::AlpnMismatch => {
            "`openssl s_client -connect HOST:PORT -alpn h2,http/1.1`: what is negotiated?"
        }
        Cause::SniSelectsWrongVhost | Cause::SniUnknown => {
            "`openssl s_client -connect HOST:PORT -servername NAME`, and once with `-noservername`: which certificate comes?"
        }
        Cause::SniHostMismatch => {
            "Compare the Host header with the name that the connection was made for."
        }
        Cause::PeerNotTls | Cause::StarttlsRequired => {
            "`nc HOST PORT`: what does it say in plaintext? Then `openssl s_client -starttls PROTOCOL`."
        }
        Cause::PlainHttpToTlsPort => {
            "Look at the client's URL or mode (http:// where https:// belongs); the first bytes it sends."
        }
        Cause::PostHandshakeAuthUnavailable => {
            "Is the certificate required for one path only? `curl --http1.1 --tls-max 1.2` then works."
        }
        Cause::ResetBeforeServerHello | Cause::NoTlsAnswer | Cause::HandshakeTimeout => {
            "`openssl s_client -connect HOST:PORT -state`, from another network too; a packet capture on both ends."
        }
        Cause::ConnectionRefused => {
            "`ss -ltn` on the server: does it listen on that address and port?"
        }
        Cause::NameNotResolved => "`getent hosts HOST`.",
        Cause::HandshakeTooLarge | Cause::CertificateTooLarge => {
            "`openssl s_client -connect HOST:PORT -showcerts -msg </dev/null`: the size of the Certificate and CertificateRequest messages."
        }
        Cause::CertificateRevoked => {
            "`openssl crl -in CRL -noout -text | grep -A1 SERIAL`, or `openssl ocsp`."
        }
        Cause::CrlExpired
        | Cause::CrlMissing
        | Cause::CrlWrongIssuer
        | Cause::CrlBadSignature
        | Cause::CrlUnprocessed => {
            "`openssl crl -in CRL -noout -issuer -lastupdate -nextupdate -CAfile BUNDLE`, for each issuer of the chain."
        }
        Cause::OcspUnreachable
        | Cause::OcspUnknown
        | Cause::OcspStale
        | Cause::OcspAnswerInvalid => "`openssl ocsp -issuer CA -cert LEAF -url URL -text`.",
        Cause::OcspStapleMissing => {
            "`openssl x509 -noout -ext tlsfeature`, and `openssl s_client -connect HOST:PORT -status </dev/null`."
        }
        Cause::IdentityNotAllowed
        | Cause::IdentityAmbiguous
        | Cause::TrustDomainMismatch
        | Cause::DnFormatMismatch => {
            "`openssl x509 -noout -subject -nameopt RFC2253 -ext subjectAltName` against the rule."
        }
        Cause::IdentityHeaderMissing => {
            "Look at the request that arrives behind the gateway: which headers does it have?"
        }
        Cause::MalformedCertificate | Cause::BadSignature => {
            "`openssl x509 -noout -text` and `openssl verify`: can it be read, and does its signature verify?"
        }
        Cause::MalformedHandshake => {
            "A packet capture: who connects, and what are its first bytes?"
        }
        Cause::ClientClosedEarly => {
            "The client's log of the same moment: it refused us, or was a scanner or health check."
        }
        Cause::ConnectionTooOld => {
            "the server's maximum connection age (grpc-go MaxConnectionAge, Envoy max_connection_duration) against when the connection was opened"
        }
        Cause::PinMismatch => {
            "`openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64` against the pin."
        }
        Cause::ProxyHeaderMissing | Cause::ProxyHeaderUntrusted => {
            "Does the front send the PROXY protocol, and is it on at this listener?"
        }
        Cause::RateLimited
        | Cause::TooManyPending
        | Cause::RequestLimit
        | Cause::MalformedRequest => {
            "Count the connections and requests of that source in the same minute."
        }
        _ => "`countersign explain ID` with the id of the refusal that the log names.",
    }
}
