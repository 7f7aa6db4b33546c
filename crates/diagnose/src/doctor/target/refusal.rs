//! Why a server refuses the client's certificate: its alert or page is one of a dozen causes; the certificate, the CAs that
//! the server names and what it says to others tell which.

mod flaw;
mod lineage;
mod page;
mod scheme;

use countersign_pki::chain::{ChainFault, ChainFaultKind, Purpose};
use countersign_pki::dn::DistinguishedName;

use self::lineage::names;
pub(super) use self::lineage::{Lineage, names_text};
pub(super) use self::page::{behind_a_page, has_nothing_against_it};
pub(super) use self::scheme::no_scheme;
use super::admission::{Outcome, is_self_signed, outcome};
use super::judging::Case;
use super::known::{is_issued_by, is_other_generation, is_self_issued, parsed, verdict};
use super::reach::end_text;
use super::served::looks_like_an_intermediate;
use super::{Attempt, CertificateRequest, End, Shown, TlsVersion, Vouched};
use crate::cause::Cause;
use crate::chain;
use crate::finding::{Finding, Side};

/// The root cause of a refusal.
pub(super) fn explain(case: &Case<'_>, own: &Attempt) -> Finding {
    if !own.sent_certificate {
        return no_scheme(case, own);
    }
    let said = Said::of(own);
    let Some(look) = Look::at(case, own) else {
        return plain(case, own, said.alone());
    };
    if let Some(revoked) = look.lineage.revocation(case.known, case.now)
        && matches!(said, Said::Generic | Said::Revoked)
    {
        return look.found(Cause::CertificateRevoked, &revoked);
    }
    if let Some(finding) = look.too_large(said) {
        return finding;
    }
    if case
        .shown(Shown::OwnCompleted)
        .is_some_and(|completed| outcome(completed) == Outcome::Admitted)
    {
        return look.found(
            Cause::ChainMissingIntermediate,
            "with the issuers at hand behind it, it is let in",
        );
    }
    if let Some(finding) = look.by_the_servers_anchors() {
        return finding;
    }
    let flaw = look.flaw();
    if let Some((cause, finding)) = flaw
        && said.fits(cause)
    {
        return finding;
    }
    if matches!(said, Said::Expired | Said::Generic)
        && let Some(finding) = look.by_their_clock()
    {
        return finding;
    }
    // Who denies a stranger in the same words has not got as far as anybody's rights (GnuTLS).
    let is_said_to_all = case
        .shown(Shown::Stranger)
        .is_some_and(|stranger| stranger.end == own.end);
    if said == Said::Denied && is_said_to_all {
        let finding = look.flaw().map(|(_, finding)| finding);
        if let Some(finding) = finding.or_else(|| look.stranger_to_the_list()) {
            return finding;
        }
    }
    look.unlisted_curve()
        .unwrap_or_else(|| look.beyond_flaws(said))
}

/// What the server said, as far as it tells causes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// `access_denied`.
    Denied,
    /// `certificate_expired`.
    Expired,
    /// Anything else, a page and silence included.
    Generic,
    /// `certificate_revoked`.
    Revoked,
    /// `decrypt_error`.
    Signature,
    /// `unknown_ca`.
    UnknownCa,
    /// `unsupported_certificate`.
    Unsupported,
}

impl Said {
    fn of(own: &Attempt) -> Self {
        match own.end {
            End::Alert(43) => Self::Unsupported,
            End::Alert(44) => Self::Revoked,
            End::Alert(45) => Self::Expired,
            End::Alert(48) => Self::UnknownCa,
            End::Alert(49) => Self::Denied,
            End::Alert(51) => Self::Signature,
            _ => Self::Generic,
        }
    }

    /// Whether a flaw that we see in the certificate is one that the server would put like this.
    fn fits(self, cause: Cause) -> bool {
        use Cause as C;
        match self {
            Self::Denied | Self::Revoked => false,
            Self::Expired => matches!(
                cause,
                C::LeafExpired | C::IntermediateExpired | C::RootExpired | C::NotYetValid
            ),
            Self::Generic => true,
            Self::Signature => matches!(cause, C::BadSignature | C::SameNameDifferentKeyCa),
            Self::UnknownCa => matches!(
                cause,
                C::ChainMissingIntermediate
                    | C::ChainWrongOrder
                    | C::PathlenExceeded
                    | C::IssuerNotACa
                    | C::IssuerCannotSign
                    | C::CaUsedAsEndEntity
                    | C::AkiMismatch
                    | C::NameConstraintsViolated
                    | C::X509V1
                    | C::SameNameDifferentKeyCa
            ),
            Self::Unsupported => matches!(
                cause,
                C::EkuMissingClientauth
                    | C::IssuerEkuExcludesPurpose
                    | C::KeyusageMissingDigitalsignature
                    | C::IssuerNotACa
                    | C::IssuerCannotSign
                    | C::CaUsedAsEndEntity
                    | C::X509V1
                    | C::WeakKey
            ),
        }
    }

    /// What it means where nothing else is known.
    fn alone(self) -> Cause {
        match self {
            Self::Denied => Cause::IdentityNotAllowed,
            Self::Expired => Cause::LeafExpired,
            Self::Revoked => Cause::CertificateRevoked,
            Self::Signature => Cause::BadSignature,
            Self::Generic | Self::UnknownCa => Cause::ClientCaNotTrusted,
            Self::Unsupported => Cause::EkuMissingClientauth,
        }
    }
}

struct Look<'l, 'c> {
    case: &'l Case<'c>,
    own: &'l Attempt,
    lineage: Lineage,
}

impl<'l, 'c> Look<'l, 'c> {
    /// `None`: there is no certificate that can be read.
    fn at(case: &'l Case<'c>, own: &'l Attempt) -> Option<Self> {
        let lineage = Lineage::of(case.known)?;
        Some(Self { case, own, lineage })
    }
}

impl Look<'_, '_> {
    /// `because` is the end of the sentence that begins with what the server did.
    fn found(&self, cause: Cause, because: &str) -> Finding {
        let leaf = self.lineage.leaf();
        let finding = plain_because(self.case, self.own, cause, because)
            .with("subject", leaf.subject())
            .with("issuer", leaf.issuer())
            .with("serial", leaf.serial())
            .with("not_after", leaf.not_after());
        let finding = match &self.own.asked {
            Some(asked) => finding.with("server_names_cas", names_text(asked)),
            None => finding,
        };
        with_commands(finding, cause)
    }

    fn faulty(&self, cause: Cause, fault: &ChainFault) -> Finding {
        let refusal = chain::refusal(fault, Purpose::ClientAuth);
        self.found(cause, refusal.sentence())
    }

    /// With the server's own bundle at hand there is nothing to guess.
    fn by_the_servers_anchors(&self) -> Option<Finding> {
        let known = self.case.known;
        let by = (self.case.now, self.case.question.strict);
        let judged = verdict(
            &known.client_ca,
            &known.crls,
            &known.client_chain,
            Purpose::ClientAuth,
            &[],
            by,
        )?;
        let fault = judged.err()?;
        let plain = chain::cause(&fault.kind, Purpose::ClientAuth);
        if !matches!(fault.kind, ChainFaultKind::UnknownIssuer { .. }) {
            return Some(self.faulty(plain, &fault));
        }
        let mut completed = known.client_chain.clone();
        completed.extend(known.every_issuer());
        let is_missing = verdict(
            &known.client_ca,
            &[],
            &completed,
            Purpose::ClientAuth,
            &[],
            by,
        )
        .is_some_and(|judged| judged.is_ok());
        let anchors = parsed(&known.client_ca);
        let issuer = self.lineage.top().issuer().to_string();
        let cause = if is_missing {
            Cause::ChainMissingIntermediate
        } else if anchors
            .iter()
            .any(|anchor| is_other_generation(&issuer, &anchor.subject().to_string()))
        {
            Cause::CaRotatedWithoutOverlap
        } else {
            plain
        };
        Some(self.faulty(cause, &fault))
    }

    /// OpenSSL refuses a chain over 100 KB as an illegal parameter, Java one over 32 KiB in its own way.
    fn too_large(&self, said: Said) -> Option<Finding> {
        let bytes: usize = self.case.known.client_chain.iter().map(Vec::len).sum();
        let fits = said == Said::Generic && !matches!(self.own.end, End::Alert(42 | 46));
        (fits && bytes > JAVAS_LIMIT_BYTES && self.own.http.is_none()).then(|| {
            self.found(
                Cause::HandshakeTooLarge,
                &format!("the chain has {bytes} bytes, and servers take 32 KiB (Java) to 100 KB (OpenSSL)"),
            )
        })
    }

    /// There is nothing wrong with the certificate alone.
    fn beyond_flaws(&self, said: Said) -> Finding {
        match said {
            Said::Denied => self.found(Cause::IdentityNotAllowed, "it knows the certificate and does not admit its holder"),
            Said::Revoked => self.found(Cause::CertificateRevoked, "it holds the certificate for revoked"),
            Said::Expired => self.expired_there(),
            Said::Unsupported => self.found(
                Cause::EkuMissingClientauth,
                "it does not take the certificate for a client's: extendedKeyUsage or keyUsage, of it or of an issuer",
            ),
            Said::Signature => self.wrong_signature(),
            Said::UnknownCa => self.unknown_ca(),
            Said::Generic => self.unspecific(),
        }
    }

    /// It is valid here and by the server's clock: its list, or its copy of an issuer.
    fn expired_there(&self) -> Finding {
        let leaf = self.lineage.leaf();
        self.found(
            Cause::CrlExpired,
            &format!(
                "the certificate and its issuers are valid (not_after {}), so that it means its revocation list, which is past its nextUpdate, or an issuer's expired copy in its bundle",
                leaf.not_after()
            ),
        )
    }

    fn wrong_signature(&self) -> Finding {
        let asked = self.own.asked.as_ref();
        if asked.is_some_and(|asked| asked.ca_names.is_empty() || self.lineage.is_named_by(asked)) {
            return self.found(
                Cause::SameNameDifferentKeyCa,
                &format!(
                    "it holds a CA named {} with another key than the one that signed",
                    self.lineage.leaf().issuer()
                ),
            );
        }
        self.found(
            Cause::BadSignature,
            "a signature of the client's does not verify there",
        )
    }

    /// The server finds no way from the certificate to its anchors.
    fn unknown_ca(&self) -> Finding {
        if is_self_signed(self.case) {
            return self.found(
                Cause::ClientCaNotTrusted,
                "the certificate is signed by itself, and not in the server's bundle",
            );
        }
        let Some(asked) = self
            .own
            .asked
            .as_ref()
            .filter(|asked| !asked.ca_names.is_empty())
        else {
            return self.unlisted();
        };
        match self.lineage.named_at(asked) {
            None => self.not_named(asked),
            Some(at) => self.named(asked, at),
        }
    }

    /// It names no CA at all, or none that would tell.
    fn unlisted(&self) -> Finding {
        let issuer = self.lineage.top().issuer().to_string();
        if self.lineage.sent == 1 && looks_like_an_intermediate(&issuer, &[]) {
            return self.found(
                Cause::ChainMissingIntermediate,
                &format!("the client sends its leaf alone, and {issuer} reads as an intermediate"),
            );
        }
        self.found(
            Cause::ClientCaNotTrusted,
            &format!("it trusts no CA above the certificate ({issuer})"),
        )
    }

    fn not_named(&self, asked: &CertificateRequest) -> Finding {
        let listed: Vec<String> = asked
            .ca_names
            .iter()
            .filter_map(|name| DistinguishedName::from_der(&name.0).ok())
            .map(|name| name.to_string())
            .collect();
        let issuers: Vec<String> = self
            .lineage
            .path
            .iter()
            .map(|certificate| certificate.issuer().to_string())
            .collect();
        let mut pairs = issuers
            .iter()
            .flat_map(|issuer| listed.iter().map(move |name| (issuer, name)));
        if let Some((issuer, name)) = pairs.find(|(issuer, name)| is_other_generation(issuer, name))
        {
            return self.found(
                Cause::CaRotatedWithoutOverlap,
                &format!(
                    "it names {name}, the certificate is from {issuer}: two generations of one CA"
                ),
            );
        }
        let top = self.lineage.top();
        let issuer = top.issuer().to_string();
        if self.lineage.sent == 1 && !is_self_issued(top) && looks_like_kin(&issuer, &listed) {
            return self.found(
                Cause::ChainMissingIntermediate,
                &format!("the client sends its leaf alone; {issuer} reads as an intermediate below a CA that the server names"),
            );
        }
        self.found(
            Cause::ClientCaNotTrusted,
            &format!(
                "the CAs that it names ({}) are not above the certificate, which is from {}",
                names_text(asked),
                issuers.first().map_or("", String::as_str)
            ),
        )
    }

    /// It names a CA above the certificate, and still finds no way there.
    fn named(&self, asked: &CertificateRequest, at: usize) -> Finding {
        let lineage = &self.lineage;
        if at >= lineage.sent {
            let missing = lineage.path[lineage.sent].subject();
            return self.found(
                Cause::ChainMissingIntermediate,
                &format!("the client's chain stops before {missing}, which stands below a CA that the server names"),
            );
        }
        let root = lineage.top();
        let names_root = is_self_issued(root) && names(asked, root.subject_der());
        if is_self_issued(root) && !names_root {
            return self.found(
                Cause::TrustAnchorIsIntermediate,
                &format!(
                    "it names {}, which is not self-signed, and not the root {} above it",
                    lineage.path[at].issuer(),
                    root.subject()
                ),
            );
        }
        if !is_self_issued(root)
            && at + 1 == lineage.path.len()
            && root.authority_key_id().is_some()
            && lineage.path.len() == 1
            && looks_like_an_intermediate(&root.issuer().to_string(), &[])
        {
            return self.found(
                Cause::TrustAnchorIsIntermediate,
                &format!("it names {}, which reads as an intermediate: without its root OpenSSL takes it for no anchor", root.issuer()),
            );
        }
        if lineage.intermediates() >= 2 {
            return self.too_deep();
        }
        if self.is_vouched_by_the_same_ca(at) {
            return self.found(
                Cause::CrlMissing,
                &format!("it trusts {}, which vouches for its own certificate, too; without a CRL of that CA OpenSSL says unknown_ca where CRLs are checked", lineage.path[at].issuer()),
            );
        }
        self.found(
            Cause::SameNameDifferentKeyCa,
            &format!("it names {}, the client's issuer, and does not find it above the certificate: its CA of that name has another key", lineage.path[at].issuer()),
        )
    }

    fn too_deep(&self) -> Finding {
        self.found(
            Cause::VerifyDepthTooSmall,
            &format!(
                "it trusts {} and has the whole chain, which has {} intermediates: more than its depth limit allows (nginx lets 1 through unless told otherwise, Apache none: its SSLVerifyDepth 1 counts the root)",
                self.lineage.top().subject(),
                self.lineage.intermediates()
            ),
        )
    }

    /// The client's own anchor of the CA that the server names is the one that the server's certificate leads to: one CA, one key.
    fn is_vouched_by_the_same_ca(&self, at: usize) -> bool {
        let name = self.lineage.path[at].issuer_der();
        self.case.seen.vouched == Vouched::Anchors
            && parsed(&self.case.known.anchors).iter().any(|anchor| {
                anchor.subject_der() == name && (is_issued_by(&self.lineage.path[at], anchor))
            })
    }

    /// A generic alert, a page, or silence.
    fn unspecific(&self) -> Finding {
        let stranger = self.case.shown(Shown::Stranger);
        let asked = self
            .own
            .asked
            .as_ref()
            .filter(|asked| !asked.ca_names.is_empty());
        let at = asked.and_then(|asked| self.lineage.named_at(asked));
        if let (Some(asked), None) = (asked, at) {
            return self.not_named(asked);
        }
        if is_self_signed(self.case) {
            return self.unknown_ca();
        }
        // Apache stops at its limit without a word of why, and counts the root.
        if matches!(self.own.end, End::Alert(INTERNAL_ERROR)) && self.lineage.intermediates() >= 1 {
            return self.too_deep();
        }
        let is_told_apart = stranger.is_some_and(|stranger| {
            matches!((&stranger.end, &self.own.end), (End::Alert(theirs), End::Alert(ours)) if theirs != ours)
        });
        if is_told_apart {
            return self.found(
                Cause::IdentityNotAllowed,
                "a stranger's certificate is refused in other words, so that its CA is trusted and its holder is not",
            );
        }
        let (Some(asked), Some(at)) = (asked, at) else {
            return self.unlisted();
        };
        let finding = self.named(asked, at);
        if finding.cause == Cause::CrlMissing {
            return self.found(
                Cause::CertificateRevoked,
                "it trusts the CA, and the certificate is valid and for clients: it is revoked, or its CA's list is missing or past its end",
            );
        }
        finding
    }
}

/// Whether a name reads as an intermediate's below one of these.
fn looks_like_kin(issuer: &str, listed: &[String]) -> bool {
    let lower = issuer.to_ascii_lowercase();
    let says_so = [
        "intermediate",
        "issuing",
        "subordinate",
        "sub ca",
        "sub-ca",
        "signing",
    ];
    if !says_so.iter().any(|word| lower.contains(word)) {
        return false;
    }
    let words = |name: &str| -> Vec<String> {
        name.to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| {
                word.len() > 2
                    && ![
                        "root",
                        "intermediate",
                        "issuing",
                        "authority",
                        "subordinate",
                        "signing",
                        "test",
                    ]
                    .contains(word)
            })
            .map(str::to_owned)
            .collect()
    };
    let own = words(issuer);
    own.is_empty()
        || listed
            .iter()
            .any(|name| words(name).iter().any(|word| own.contains(word)))
}

fn plain(case: &Case<'_>, own: &Attempt, slug: Cause) -> Finding {
    with_commands(
        plain_because(
            case,
            own,
            slug,
            "the client's certificate is not at hand to say more",
        ),
        slug,
    )
}

fn plain_because(case: &Case<'_>, own: &Attempt, slug: Cause, because: &str) -> Finding {
    let said = said_text(own);
    let side = match slug {
        Cause::ClientCaNotTrusted
        | Cause::CaRotatedWithoutOverlap
        | Cause::SameNameDifferentKeyCa
        | Cause::TrustAnchorIsIntermediate
        | Cause::VerifyDepthTooSmall
        | Cause::CrlMissing
        | Cause::CrlExpired
        | Cause::RootExpired => Side::Server,
        Cause::IdentityNotAllowed => Side::Policy,
        Cause::CertificateRevoked => Side::Ca,
        Cause::ClockSkewLocal => Side::ThisMachine,
        _ => Side::Client,
    };
    Finding::fault(
        slug,
        side,
        format!(
            "{} {said} the client's certificate: {because}",
            case.seen.target
        ),
    )
    .with("server_said", said)
    .with(
        "tls",
        own.hello
            .as_ref()
            .map_or(TlsVersion::Tls12, |hello| hello.version),
    )
}

fn said_text(own: &Attempt) -> String {
    match &own.http {
        Some(http) => format!("answers {} {} to", http.status, http.reason),
        None => end_text(&own.end),
    }
}

fn with_commands(finding: Finding, slug: Cause) -> Finding {
    match slug {
        Cause::ClientCaNotTrusted | Cause::CaRotatedWithoutOverlap | Cause::SameNameDifferentKeyCa => finding.with_fix(
            "cat ca-of-the-client.pem >> client-ca.pem, then reload (nginx: ssl_client_certificate; HAProxy: ca-file; Apache: SSLCACertificateFile; Envoy: trusted_ca)",
        ),
        Cause::ChainMissingIntermediate => finding.with_fix("cat client.pem intermediate.pem > client-chain.pem; curl --cert client-chain.pem --key client.key"),
        Cause::VerifyDepthTooSmall => finding.with_fix("nginx: ssl_verify_depth 3; Apache: SSLVerifyDepth 3"),
        Cause::TrustAnchorIsIntermediate => finding.with_fix("cat root.pem >> client-ca.pem, or ssl_verify_partial_chain / X509_V_FLAG_PARTIAL_CHAIN"),
        Cause::LeafExpired | Cause::NotYetValid => finding.with_fix("countersign renew client.pem"),
        Cause::EkuMissingClientauth => finding.with_fix("openssl x509 -in client.pem -noout -ext extendedKeyUsage,keyUsage"),
        Cause::CertificateRevoked | Cause::CrlMissing | Cause::CrlExpired => finding.with_fix("openssl crl -in ca.crl -noout -nextupdate -issuer, for each CA above the client; nginx: ssl_crl; HAProxy: crl-file"),
        _ => finding,
    }
}

const INTERNAL_ERROR: u8 = 80;

/// `jdk.tls.maxHandshakeMessageSize`.
const JAVAS_LIMIT_BYTES: usize = 32 * 1024;
