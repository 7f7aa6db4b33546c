//! A refused certificate chain, told with its cause, its values and the facts that it was judged by.

mod facts;
mod sentence;

use countersign_pki::chain::{ChainFault, ChainFaultKind, CrlFault, NameFault, Purpose};
use countersign_pki::ocsp::OcspFault;

use crate::cause::Cause;
use crate::refusal::Refusal;

/// What to say of a chain that the peer in the role of `side` sent.
pub fn refusal(fault: &ChainFault, side: Purpose) -> Refusal {
    Refusal::new(
        cause(&fault.kind, side),
        sentence::sentence(fault, side),
        facts::evidence(fault),
    )
}

/// The cause of each kind; who is refused decides where a cause names the side.
pub fn cause(kind: &ChainFaultKind, side: Purpose) -> Cause {
    match kind {
        ChainFaultKind::BadSerial { .. } => Cause::BadSerial,
        ChainFaultKind::BadSignature { .. } => Cause::BadSignature,
        ChainFaultKind::CaUsedAsEndEntity => Cause::CaUsedAsEndEntity,
        ChainFaultKind::CrlUnusable { fault, .. } => match fault {
            CrlFault::BadSignature => Cause::CrlBadSignature,
            CrlFault::Expired { .. } => Cause::CrlExpired,
            CrlFault::Missing { .. } => Cause::CrlMissing,
            CrlFault::Unprocessed { .. } => Cause::CrlUnprocessed,
            CrlFault::WrongIssuer => Cause::CrlWrongIssuer,
        },
        ChainFaultKind::OcspUnusable { fault, .. } => match fault {
            OcspFault::Invalid { .. } => Cause::OcspAnswerInvalid,
            OcspFault::Stale { .. } => Cause::OcspStale,
            OcspFault::Unknown => Cause::OcspUnknown,
            OcspFault::Unreachable { .. } => Cause::OcspUnreachable,
        },
        ChainFaultKind::DepthExceeded { .. } => Cause::VerifyDepthTooSmall,
        ChainFaultKind::IdentityAmbiguous { .. } => Cause::IdentityAmbiguous,
        ChainFaultKind::IntermediateExpired { .. } => Cause::IntermediateExpired,
        ChainFaultKind::IssuerCannotSign { .. } => Cause::IssuerCannotSign,
        ChainFaultKind::IssuerEkuExcludesPurpose { .. } => Cause::IssuerEkuExcludesPurpose,
        ChainFaultKind::IssuerNotACa { .. } => Cause::IssuerNotACa,
        ChainFaultKind::KeyIdMismatch { .. } => Cause::AkiMismatch,
        ChainFaultKind::LeafExpired { .. } => Cause::LeafExpired,
        ChainFaultKind::Malformed { .. } => Cause::MalformedCertificate,
        ChainFaultKind::MissingDigitalSignature => Cause::KeyusageMissingDigitalsignature,
        ChainFaultKind::MissingIntermediate { .. } => Cause::ChainMissingIntermediate,
        ChainFaultKind::MissingPurpose { .. } => match side {
            Purpose::ClientAuth => Cause::EkuMissingClientauth,
            Purpose::ServerAuth => Cause::EkuMissingServerauth,
        },
        ChainFaultKind::NameConstraintsUnsupported { .. } => Cause::NameConstraintsUnsupported,
        ChainFaultKind::NameConstraintsViolated { .. } => Cause::NameConstraintsViolated,
        ChainFaultKind::NameMismatch { fault, .. } => match fault {
            NameFault::IpSanMissing => Cause::IpSanMissing,
            NameFault::Other => Cause::NameMismatch,
            NameFault::Pin => Cause::PinMismatch,
            NameFault::SanMissing => Cause::SanMissing,
            NameFault::Wildcard => Cause::WildcardMismatch,
        },
        ChainFaultKind::NotStrict { .. } => Cause::CaExtensionsIncomplete,
        ChainFaultKind::NotYetValid { .. } => Cause::NotYetValid,
        ChainFaultKind::PathLenExceeded { .. } => Cause::PathlenExceeded,
        ChainFaultKind::Revoked { .. } => Cause::CertificateRevoked,
        ChainFaultKind::RootExpired { .. } => Cause::RootExpired,
        ChainFaultKind::SameNameDifferentKey { .. } => Cause::SameNameDifferentKeyCa,
        ChainFaultKind::TooDeep { .. } => Cause::ChainTooDeep,
        ChainFaultKind::TooLarge { .. } => Cause::CertificateTooLarge,
        ChainFaultKind::TrustDomainMismatch { .. } => Cause::TrustDomainMismatch,
        ChainFaultKind::UnknownIssuer { .. } => match side {
            Purpose::ClientAuth => Cause::ClientCaNotTrusted,
            Purpose::ServerAuth => Cause::ServerCaNotTrusted,
        },
        ChainFaultKind::UnsupportedAlgorithm { .. } => Cause::SigalgUnsupported,
        ChainFaultKind::Version1 => Cause::X509V1,
        ChainFaultKind::WeakKey { .. } => Cause::WeakKey,
        ChainFaultKind::WeakSignature { .. } => Cause::WeakSignature,
        ChainFaultKind::WrongOrder => Cause::ChainWrongOrder,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use countersign_pki::certificate::Certificate;
    use countersign_pki::dn::DistinguishedName;
    use countersign_pki::feed::RevocationReason;
    use countersign_pki::fingerprint::Fingerprint;
    use countersign_pki::identity::BundleName;
    use countersign_pki::serial::SerialNumber;
    use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
    use countersign_pki::time::UnixTime;

    use super::*;

    fn time(text: &str) -> UnixTime {
        text.parse().expect("a time")
    }

    fn now() -> UnixTime {
        time("2026-01-02T06:04:05Z")
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn certificate(
        subject: &str,
        names: &[&str],
        usage: Usage,
        issuer: Option<&Certificate>,
    ) -> Certificate {
        let p256 = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
        ];
        let template = Template {
            subject: DistinguishedName::parse(subject).expect("a name"),
            subject_alt_names: names
                .iter()
                .map(|name| name.parse().expect("a name"))
                .collect(),
            spki_der: [&p256[..], &[7; 64]].concat(),
            not_before: time("2026-01-01T00:00:00Z"),
            not_after: time("2026-01-02T03:04:05Z"),
            serial: "40ab".parse().expect("a serial"),
            usage,
            status_sources: StatusSources::default(),
            extra_extensions: Vec::new(),
        };
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let unsigned = issuer.map_or_else(
            || template.to_be_self_signed(algorithm),
            |issuer| template.to_be_signed(issuer, algorithm),
        );
        unsigned
            .expect("a sound template")
            .preview()
            .expect("decodable")
    }

    fn fault(kind: ChainFaultKind) -> ChainFault {
        let issuer = certificate(
            "CN=Issuing CA",
            &[],
            Usage::Authority { path_len: None },
            None,
        );
        let usage = Usage::Leaf {
            server_auth: true,
            client_auth: false,
        };
        let leaf = certificate(
            "CN=order",
            &["dns:order.example.com", "ip:10.0.0.1"],
            usage,
            Some(&issuer),
        );
        ChainFault {
            kind,
            leaf: Some(Arc::new(leaf)),
            sent: 2,
            now: now(),
        }
    }

    fn check(kind: ChainFaultKind, cause: Cause, sentence: &str) {
        let refusal = refusal(&fault(kind), Purpose::ClientAuth);
        assert_eq!((refusal.cause, refusal.sentence()), (cause, sentence));
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table, one row per kind")]
    fn every_kind_has_its_cause_and_sentence() {
        let bundle = || BundleName::parse("acme-corp").expect("a name");
        let serial: SerialNumber = "0b".parse().expect("a serial");
        let revoked = ChainFaultKind::Revoked {
            subject: text("CN=order"),
            serial,
            issuer_key: Fingerprint::of(b"key"),
            revoked_at: time("2026-01-02T06:00:00Z"),
            reason: RevocationReason::KeyCompromise,
        };
        let subject = || text("CN=Issuing CA");
        let ended = time("2026-01-01T00:00:00Z");
        let ids = vec![text("spiffe://a/b"), text("spiffe://a/c")];
        let mismatch = ChainFaultKind::TrustDomainMismatch {
            id: text("spiffe://a/b"),
            bundle: bundle(),
            expected: Some(text("acme.example")),
        };
        let why = || text("it is zero");
        let table: [(ChainFaultKind, Cause, &str); 29] = [
            (
                ChainFaultKind::BadSerial {
                    subject: subject(),
                    why: why(),
                },
                Cause::BadSerial,
                "certificate of CN=Issuing CA has a bad serial number: it is zero",
            ),
            (
                ChainFaultKind::BadSignature { subject: subject() },
                Cause::BadSignature,
                "signature of the certificate of CN=Issuing CA does not verify",
            ),
            (
                ChainFaultKind::CaUsedAsEndEntity,
                Cause::CaUsedAsEndEntity,
                "certificate of order.example.com is a CA certificate, presented as a client's own",
            ),
            (
                ChainFaultKind::IdentityAmbiguous { ids },
                Cause::IdentityAmbiguous,
                "certificate of order.example.com holds 2 URIs where one is allowed: spiffe://a/b, spiffe://a/c",
            ),
            (
                ChainFaultKind::IntermediateExpired {
                    subject: subject(),
                    not_after: ended,
                },
                Cause::IntermediateExpired,
                "intermediate CN=Issuing CA expired 1 d 6 h ago (not_after 2026-01-01T00:00:00Z, now 2026-01-02T06:04:05Z) above \
                 certificate of order.example.com",
            ),
            (
                ChainFaultKind::IssuerCannotSign { subject: subject() },
                Cause::IssuerCannotSign,
                "issuer CN=Issuing CA above certificate of order.example.com has a keyUsage without keyCertSign",
            ),
            (
                ChainFaultKind::IssuerEkuExcludesPurpose { subject: subject() },
                Cause::IssuerEkuExcludesPurpose,
                "issuer CN=Issuing CA above certificate of order.example.com has an extendedKeyUsage without clientAuth",
            ),
            (
                ChainFaultKind::IssuerNotACa { subject: subject() },
                Cause::IssuerNotACa,
                "issuer CN=Issuing CA above certificate of order.example.com is not marked CA:TRUE",
            ),
            (
                ChainFaultKind::LeafExpired {
                    not_after: time("2026-01-02T03:04:05Z"),
                },
                Cause::LeafExpired,
                "certificate of order.example.com expired 3 h ago (not_after 2026-01-02T03:04:05Z, now 2026-01-02T06:04:05Z)",
            ),
            (
                ChainFaultKind::Malformed { why: why() },
                Cause::MalformedCertificate,
                "a certificate of the chain (2 sent) cannot be read: it is zero",
            ),
            (
                ChainFaultKind::MissingDigitalSignature,
                Cause::KeyusageMissingDigitalsignature,
                "certificate of order.example.com has a keyUsage without digitalSignature",
            ),
            (
                ChainFaultKind::MissingIntermediate { issuer: subject() },
                Cause::ChainMissingIntermediate,
                "certificate of order.example.com came without its intermediate CN=Issuing CA (2 sent)",
            ),
            (
                ChainFaultKind::MissingPurpose {
                    listed: vec![text("serverAuth"), text("1.2.3")],
                },
                Cause::EkuMissingClientauth,
                "certificate of order.example.com has an extendedKeyUsage without clientAuth (it lists serverAuth, 1.2.3)",
            ),
            (
                ChainFaultKind::NameConstraintsUnsupported { subject: subject() },
                Cause::NameConstraintsUnsupported,
                "issuer CN=Issuing CA above certificate of order.example.com has name constraints of a type that cannot be judged",
            ),
            (
                ChainFaultKind::NameConstraintsViolated { subject: subject() },
                Cause::NameConstraintsViolated,
                "certificate of order.example.com holds a name that issuer CN=Issuing CA is not permitted (names \
                 dns:order.example.com, ip:10.0.0.1)",
            ),
            (
                ChainFaultKind::NotYetValid {
                    not_before: now().plus(Duration::from_secs(90)),
                },
                Cause::NotYetValid,
                "certificate of order.example.com or an issuer of it is valid only in 1 min 30 s (not_before 2026-01-02T06:05:35Z, now \
                 2026-01-02T06:04:05Z)",
            ),
            (
                ChainFaultKind::PathLenExceeded { subject: subject() },
                Cause::PathlenExceeded,
                "more intermediates follow CN=Issuing CA than its pathLenConstraint allows (2 sent)",
            ),
            (
                revoked,
                Cause::CertificateRevoked,
                "certificate of CN=order with serial 0b was revoked 4 min 5 s ago (key-compromise, revoked_at 2026-01-02T06:00:00Z, now \
                 2026-01-02T06:04:05Z)",
            ),
            (
                ChainFaultKind::RootExpired {
                    subject: subject(),
                    not_after: ended,
                },
                Cause::RootExpired,
                "trust anchor CN=Issuing CA expired 1 d 6 h ago (not_after 2026-01-01T00:00:00Z, now 2026-01-02T06:04:05Z) above \
                 certificate of order.example.com",
            ),
            (
                ChainFaultKind::SameNameDifferentKey {
                    issuer: subject(),
                    bundle: bundle(),
                },
                Cause::SameNameDifferentKeyCa,
                "certificate of order.example.com is not signed by the key of CN=Issuing CA in trust bundle acme-corp, but by another key \
                 of that name",
            ),
            (
                ChainFaultKind::TooDeep { sent: 9, limit: 8 },
                Cause::ChainTooDeep,
                "the chain has 9 certificates, 8 are allowed",
            ),
            (
                ChainFaultKind::TooLarge {
                    bytes: 17_000,
                    limit: 16_384,
                },
                Cause::CertificateTooLarge,
                "the certificate or chain has 17000 bytes, 16384 are allowed",
            ),
            (
                mismatch,
                Cause::TrustDomainMismatch,
                "spiffe://a/b is not of the trust domain of trust bundle acme-corp (acme.example)",
            ),
            (
                ChainFaultKind::UnknownIssuer { issuer: subject() },
                Cause::ClientCaNotTrusted,
                "no trust bundle holds CN=Issuing CA, the topmost issuer of certificate of order.example.com (2 sent)",
            ),
            (
                ChainFaultKind::UnsupportedAlgorithm {
                    algorithm: text("Ed448"),
                },
                Cause::SigalgUnsupported,
                "certificate of order.example.com or an issuer of it uses Ed448, which is not accepted",
            ),
            (
                ChainFaultKind::Version1,
                Cause::X509V1,
                "certificate of the client is X.509 version 1 or 2, without extensions",
            ),
            (
                ChainFaultKind::WeakKey {
                    key: text("RSA 1024"),
                },
                Cause::WeakKey,
                "certificate of order.example.com or an issuer of it has a weak key (RSA 1024)",
            ),
            (
                ChainFaultKind::WeakSignature {
                    algorithm: text("RSA with SHA-1"),
                },
                Cause::WeakSignature,
                "certificate of order.example.com or an issuer of it has a weak signature (RSA with SHA-1)",
            ),
            (
                ChainFaultKind::WrongOrder,
                Cause::ChainWrongOrder,
                "the first of 2 certificates, certificate of order.example.com, is an issuer of a later one",
            ),
        ];
        for (kind, cause, sentence) in table {
            check(kind, cause, sentence);
        }
    }

    #[test]
    fn a_crl_that_says_nothing_has_its_cause_and_sentence() {
        let check = |fault, cause, sentence: &str| {
            let issuer = text("CN=Issuing CA");
            check(
                ChainFaultKind::CrlUnusable { issuer, fault },
                cause,
                sentence,
            );
        };
        check(
            CrlFault::BadSignature,
            Cause::CrlBadSignature,
            "signature of the CRL of CN=Issuing CA does not verify with the issuer's key",
        );
        check(
            CrlFault::Expired {
                next_update: time("2026-01-02T03:04:05Z"),
            },
            Cause::CrlExpired,
            "CRL of CN=Issuing CA was due to be replaced 3 h ago (next_update 2026-01-02T03:04:05Z, now 2026-01-02T06:04:05Z)",
        );
        check(
            CrlFault::Missing {
                subject: text("CN=order"),
            },
            Cause::CrlMissing,
            "no CRL of CN=Issuing CA covers the certificate of CN=order",
        );
        check(
            CrlFault::Unprocessed {
                why: text("it has no cRLNumber"),
            },
            Cause::CrlUnprocessed,
            "CRL of CN=Issuing CA cannot be relied on: it has no cRLNumber",
        );
        check(
            CrlFault::WrongIssuer,
            Cause::CrlWrongIssuer,
            "CN=Issuing CA may not sign CRLs: its keyUsage lacks cRLSign",
        );
    }

    #[test]
    fn a_responder_that_says_nothing_has_its_cause_and_sentence() {
        let check = |fault, cause, sentence: &str| {
            let subject = text("CN=order");
            check(
                ChainFaultKind::OcspUnusable { subject, fault },
                cause,
                sentence,
            );
        };
        check(
            OcspFault::Unknown,
            Cause::OcspUnknown,
            "the OCSP responder does not know the certificate of CN=order",
        );
        check(
            OcspFault::Unreachable {
                why: text("cannot connect to ocsp.acme.example:80"),
            },
            Cause::OcspUnreachable,
            "no OCSP answer about the certificate of CN=order: cannot connect to ocsp.acme.example:80",
        );
        check(
            OcspFault::Invalid {
                why: text("the answer is malformed: it is empty"),
            },
            Cause::OcspAnswerInvalid,
            "no OCSP answer about the certificate of CN=order that can be relied on: the answer is malformed: it is empty",
        );
        check(
            OcspFault::Stale {
                ended: time("2026-01-02T03:04:05Z"),
                why: text("silence"),
            },
            Cause::OcspStale,
            "OCSP answer about the certificate of CN=order ended 3 h ago (until 2026-01-02T03:04:05Z, now 2026-01-02T06:04:05Z), and there is no other: silence",
        );
    }

    #[test]
    fn what_only_a_verification_asks_for_has_its_cause_and_sentence() {
        check(
            ChainFaultKind::DepthExceeded {
                intermediates: 2,
                limit: 1,
            },
            Cause::VerifyDepthTooSmall,
            "2 intermediates stand between certificate of order.example.com and its trust anchor, 1 are allowed",
        );
        check(
            ChainFaultKind::KeyIdMismatch {
                subject: text("CN=order"),
            },
            Cause::AkiMismatch,
            "authorityKeyIdentifier of the certificate of CN=order quotes another key than its issuer's",
        );
        check(
            ChainFaultKind::NotStrict {
                subject: text("CN=Issuing CA"),
                why: "is a CA without keyUsage",
            },
            Cause::CaExtensionsIncomplete,
            "certificate of CN=Issuing CA is a CA without keyUsage",
        );
        for (fault, cause) in [
            (NameFault::IpSanMissing, Cause::IpSanMissing),
            (NameFault::Other, Cause::NameMismatch),
            (NameFault::SanMissing, Cause::SanMissing),
            (NameFault::Wildcard, Cause::WildcardMismatch),
        ] {
            let expected = text("web.example.com");
            check(
                ChainFaultKind::NameMismatch { expected, fault },
                cause,
                "certificate of order.example.com does not hold the name web.example.com (names dns:order.example.com, ip:10.0.0.1)",
            );
        }
    }

    #[test]
    fn a_server_is_refused_by_the_causes_of_servers() {
        let check = |kind, expected, sentence: &str| {
            let refusal = refusal(&fault(kind), Purpose::ServerAuth);
            assert_eq!((refusal.cause, refusal.sentence()), (expected, sentence));
        };
        check(
            ChainFaultKind::MissingPurpose {
                listed: vec![text("clientAuth")],
            },
            Cause::EkuMissingServerauth,
            "certificate of order.example.com has an extendedKeyUsage without serverAuth (it lists clientAuth)",
        );
        check(
            ChainFaultKind::UnknownIssuer {
                issuer: text("CN=Root"),
            },
            Cause::ServerCaNotTrusted,
            "no trust bundle holds CN=Root, the topmost issuer of certificate of order.example.com (2 sent)",
        );
    }

    #[test]
    fn a_pinned_key_is_told_beside_the_one_that_was_shown() {
        let fault = fault(ChainFaultKind::NameMismatch {
            expected: text("00ff"),
            fault: NameFault::Pin,
        });
        let key = fault.leaf.clone().expect("a leaf").spki();
        let refusal = refusal(&fault, Purpose::ServerAuth);
        assert_eq!(refusal.cause, Cause::PinMismatch);
        assert_eq!(
            refusal.sentence(),
            format!("certificate of order.example.com has the key {key}, not the pinned one 00ff")
        );
    }

    #[test]
    fn evidence_holds_the_kinds_facts_then_the_leafs() {
        let fault = fault(ChainFaultKind::UnknownIssuer {
            issuer: text("CN=Root"),
        });
        let leaf = fault.leaf.clone().expect("a leaf");
        let refusal = refusal(&fault, Purpose::ClientAuth);
        let (fingerprint, spki) = (leaf.fingerprint().to_string(), leaf.spki().to_string());
        let facts: Vec<_> = refusal.evidence.iter().collect();
        assert_eq!(
            facts,
            [
                ("looked_for", "CN=Root"),
                ("subject", "CN=order"),
                ("sans", "dns:order.example.com, ip:10.0.0.1"),
                ("serial", "40ab"),
                ("issuer", "CN=Issuing CA"),
                ("not_before", "2026-01-01T00:00:00Z"),
                ("not_after", "2026-01-02T03:04:05Z"),
                ("fingerprint", fingerprint.as_str()),
                ("spki", spki.as_str()),
                ("chain_length", "2"),
                ("now", "2026-01-02T06:04:05Z"),
            ]
        );
    }

    #[test]
    fn a_chain_whose_leaf_cannot_be_read_is_told_without_it() {
        let fault = ChainFault {
            leaf: None,
            ..fault(ChainFaultKind::Malformed {
                why: text("cut\noff"),
            })
        };
        let refusal = refusal(&fault, Purpose::ClientAuth);
        assert_eq!(
            refusal.sentence(),
            r"a certificate of the chain (2 sent) cannot be read: cut\u{a}off"
        );
        let facts: Vec<_> = refusal.evidence.iter().collect();
        assert_eq!(
            facts,
            [
                ("why", r"cut\u{a}off"),
                ("chain_length", "2"),
                ("now", "2026-01-02T06:04:05Z")
            ]
        );
    }
}
