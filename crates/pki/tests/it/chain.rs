//! Chains in, verdicts out. Each case is tried with what follows the leaf in every rotation and reversed: neither the
//! verdict nor the fault may depend on how a sender sorts its file.

pub(crate) mod forge;

use std::sync::Arc;

use countersign_pki::bundle::{InvalidBundle, TrustBundle};
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFault, ChainFaultKind as Fault, Limits, Purpose, Verifier};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use rustls_pki_types::CertificateDer;

use self::forge::{
    ANY_PURPOSE, CLIENT_AUTH, CODE_SIGNING, DAY, DIGITAL_SIGNATURE, EMAIL_PROTECTION, Issued,
    KEY_CERT_SIGN, NOW, Plan, SERVER_AUTH, ca, certicom_spki, common_name, dns, email, extension,
    ip, leaf, name_constraints, rsa_spki, tlv, uri,
};

type Bundle<'a> = (&'a str, Option<&'a str>, &'a [&'a Issued]);

/// One verification.
pub(crate) struct Scene {
    chain: Vec<CertificateDer<'static>>,
    verifier: Verifier,
    purpose: Purpose,
    revocations: RevocationIndex,
}

impl Scene {
    pub(crate) fn new(chain: &[&Issued], bundles: &[Bundle<'_>]) -> Self {
        let bundles = bundles
            .iter()
            .map(|bundle| Arc::new(trust(*bundle).expect("a bundle")))
            .collect();
        Self {
            chain: chain.iter().map(|issued| issued.der.clone()).collect(),
            verifier: Verifier::new(bundles, Limits::default()).expect("bundles"),
            purpose: Purpose::ClientAuth,
            revocations: RevocationIndex::default(),
        }
    }

    pub(crate) fn revoking(self, revocations: RevocationIndex) -> Self {
        Self {
            revocations,
            ..self
        }
    }

    fn serving(self) -> Self {
        Self {
            purpose: Purpose::ServerAuth,
            ..self
        }
    }

    fn knowing(self, intermediates: &[&Issued]) -> Self {
        let known = intermediates
            .iter()
            .map(|issued| issued.certificate())
            .collect();
        Self {
            verifier: self.verifier.with_known_intermediates(known),
            ..self
        }
    }

    fn verify(&self) -> Result<VerifiedPeer, Fault> {
        let verdict = self.verify_chain(&self.chain).map_err(|fault| fault.kind);
        for order in orders(&self.chain) {
            assert_eq!(
                self.verify_chain(&order).map_err(|fault| fault.kind),
                verdict
            );
        }
        verdict
    }

    fn verify_chain(&self, chain: &[CertificateDer<'_>]) -> Result<VerifiedPeer, ChainFault> {
        self.verifier
            .verify(chain, self.purpose, &self.revocations, NOW)
    }

    pub(crate) fn accepted(&self) -> VerifiedPeer {
        self.verify().expect("accepted")
    }

    pub(crate) fn refused(&self, expected: &Fault) {
        assert_eq!(&self.verify().expect_err("refused"), expected);
    }
}

fn trust((name, trust_domain, anchors): Bundle<'_>) -> Result<TrustBundle, InvalidBundle> {
    let name = BundleName::parse(name).expect("a bundle name");
    let trust_domain =
        trust_domain.map(|domain| TrustDomain::parse(domain).expect("a trust domain"));
    TrustBundle::new(
        name,
        trust_domain,
        anchors.iter().map(|anchor| anchor.certificate()).collect(),
        NOW,
    )
}

fn orders(chain: &[CertificateDer<'static>]) -> Vec<Vec<CertificateDer<'static>>> {
    let Some((leaf, rest)) = chain.split_first() else {
        return vec![];
    };
    let mut orders = vec![];
    for turn in 0..rest.len() {
        let mut turned = rest.to_vec();
        turned.rotate_left(turn);
        orders.push([&[leaf.clone()][..], &turned].concat());
        turned.reverse();
        orders.push([&[leaf.clone()][..], &turned].concat());
    }
    orders
}

/// Verified under a bundle `internal` of the trust domain `example.com`.
fn check(chain: &[&Issued], root: &Issued, expected: &Fault) {
    Scene::new(chain, &[("internal", Some("example.com"), &[root])]).refused(expected);
}

struct Pki {
    root: Issued,
    issuer: Issued,
}

fn pki() -> Pki {
    let root = ca("Root").self_signed();
    let issuer = ca("Issuer").signed_by(&root);
    Pki { root, issuer }
}

fn text(text: &str) -> String {
    text.to_owned()
}

// ---- accepted ----

#[test]
fn a_sound_chain_is_a_peer_with_its_path() {
    let Pki { root, issuer } = pki();
    let api = leaf("api", &[dns("api.example.com")]).signed_by(&issuer);
    let peer = Scene::new(&[&api, &issuer], &[("internal", None, &[&root])]).accepted();
    assert_eq!(
        peer.principal().to_string(),
        "dns:api.example.com (internal)"
    );
    assert_eq!(peer.not_after(), api.not_after());
    assert_eq!(peer.anchor_key(), root.spki());
    assert_eq!(peer.chain(), [api.der.to_vec(), issuer.der.to_vec()]);
    let path: Vec<_> = peer
        .path()
        .iter()
        .map(|element| (element.issuer_key, element.serial, element.not_after))
        .collect();
    assert_eq!(
        path,
        [
            (issuer.spki(), api.serial(), api.not_after()),
            (root.spki(), issuer.serial(), issuer.not_after())
        ]
    );
    let expected = api.certificate();
    assert_eq!(
        (peer.names(), peer.spki(), peer.fingerprint()),
        (expected.names(), expected.spki(), expected.fingerprint())
    );
}

#[test]
fn sound_variants_are_accepted() {
    let Pki { root, issuer } = pki();
    let stranger = ca("Stranger").self_signed();
    let api = leaf("api", &[]);
    let signed = api.signed_by(&issuer);
    let check = |chain: &[&Issued]| {
        Scene::new(chain, &[("internal", None, &[&root])]).accepted();
    };
    check(&[&signed, &issuer, &root]);
    check(&[&signed, &issuer, &stranger]);
    check(&[&signed, &issuer, &issuer]);
    check(&[&api.signed_by(&root)]);
    check(&[&Plan {
        purposes: vec![],
        ..api.clone()
    }
    .signed_by(&root)]);
    check(&[&Plan {
        key_usage: None,
        basic_constraints: None,
        ..api.clone()
    }
    .signed_by(&root)]);
    check(&[&Plan {
        quotes_issuer_key: false,
        ..api.clone()
    }
    .signed_by(&root)]);
    check(&[&Plan {
        purposes: vec![CODE_SIGNING, CLIENT_AUTH],
        ..api.clone()
    }
    .signed_by(&root)]);
    let narrow = Plan {
        basic_constraints: Some((true, Some(0))),
        purposes: vec![CLIENT_AUTH],
        ..ca("Narrow")
    }
    .signed_by(&root);
    check(&[&api.signed_by(&narrow), &narrow]);
    Scene::new(&[&signed, &issuer], &[("internal", None, &[&root])])
        .serving()
        .accepted();
}

#[test]
fn other_key_types_are_accepted() {
    for algorithm in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ML_DSA_44,
        &rcgen::PKCS_ML_DSA_65,
        &rcgen::PKCS_ML_DSA_87,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    ] {
        let key = |_| std::rc::Rc::new(rcgen::KeyPair::generate_for(algorithm).expect("a key"));
        let root = ca("Root").with_key(key(0)).self_signed();
        let api = leaf("api", &[]).with_key(key(1)).signed_by(&root);
        Scene::new(&[&api], &[("internal", None, &[&root])]).accepted();
    }
}

#[test]
fn chains_of_an_independent_issuer_are_accepted() {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    };
    let ca_params = |path_len| {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, format!("rcgen {path_len}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let (root_key, issuer_key, leaf_key) = (forge::key(), forge::key(), forge::key());
    let root = ca_params(1).self_signed(&*root_key).expect("a root");
    let root_issuer = Issuer::new(ca_params(1), &*root_key);
    let issuer = ca_params(0)
        .signed_by(&*issuer_key, &root_issuer)
        .expect("an issuer");
    let mut params = CertificateParams::new(vec![text("api.example.com")]).expect("a leaf");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params
        .signed_by(&*leaf_key, &Issuer::new(ca_params(0), &*issuer_key))
        .expect("a leaf");

    let anchors = vec![Certificate::parse(root.der()).expect("decodable")];
    let bundle = TrustBundle::new(BundleName::internal(), None, anchors, NOW).expect("a bundle");
    let verifier = Verifier::new(vec![Arc::new(bundle)], Limits::default()).expect("a verifier");
    let chain = [leaf.der().clone(), issuer.der().clone()];
    let peer = verifier
        .verify(
            &chain,
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            NOW,
        )
        .expect("accepted");
    assert_eq!(
        peer.principal().to_string(),
        "dns:api.example.com (internal)"
    );
}

#[test]
fn the_principal_is_the_first_name_that_identifies() {
    let root = ca("Root").self_signed();
    let check = |subject: &str, alt_names: &[Vec<u8>], trust_domain, expected: &str| {
        let issued = leaf(subject, alt_names).signed_by(&root);
        let peer = Scene::new(&[&issued], &[("internal", trust_domain, &[&root])]).accepted();
        assert_eq!(peer.principal().name.to_string(), expected);
    };
    let id = || uri("spiffe://example.com/api");
    let (name, person) = (dns("api.example.com"), email("a@example.com"));
    check(
        "api",
        &[person.clone(), name.clone(), id()],
        Some("example.com"),
        "spiffe://example.com/api",
    );
    check(
        "api",
        &[person.clone(), name.clone(), dns("b.example.com")],
        Some("example.com"),
        "dns:api.example.com",
    );
    check(
        "api",
        &[ip(&[10, 0, 0, 1]), person],
        None,
        "email:a@example.com",
    );
    check("api", &[ip(&[10, 0, 0, 1])], None, "cn:api");
    let bare = leaf("", &[ip(&[10, 0, 0, 1])]).signed_by(&root);
    let peer = Scene::new(&[&bare], &[("internal", None, &[&root])]).accepted();
    assert_eq!(
        peer.principal().name.to_string(),
        format!("spki:{}", bare.spki())
    );
}

#[test]
fn a_spiffe_id_is_no_name_under_a_bundle_without_trust_domain() {
    let root = ca("Root").self_signed();
    let issued = leaf("api", &[uri("spiffe://example.com/api")]).signed_by(&root);
    let peer = Scene::new(&[&issued], &[("partner", None, &[&root])]).accepted();
    assert_eq!(peer.principal().to_string(), "cn:api (partner)");
    assert!(
        peer.names()
            .iter()
            .all(|name| !name.to_string().starts_with("spiffe:")),
        "{:?}",
        peer.names()
    );
}

#[test]
fn a_peer_ends_with_the_first_of_its_path() {
    let check = |root: &Plan, issuer: &Plan, days: u64| {
        let root = root.self_signed();
        let issuer = issuer.signed_by(&root);
        let api = leaf("api", &[]).valid(-1, 9).signed_by(&issuer);
        let peer = Scene::new(&[&api, &issuer], &[("internal", None, &[&root])]).accepted();
        assert_eq!(peer.not_after().seconds(), NOW.seconds() + days * DAY);
    };
    check(&ca("Root"), &ca("Issuer"), 9);
    check(&ca("Root"), &ca("Issuer").valid(-9, 3), 3);
    check(&ca("Root").valid(-9, 2), &ca("Issuer").valid(-9, 3), 2);
}

#[test]
fn validity_holds_from_its_first_to_its_last_second() {
    let root = ca("Root").self_signed();
    let api = leaf("api", &[]).signed_by(&root);
    let scene = Scene::new(&[&api], &[("internal", None, &[&root])]);
    let verdict = |seconds: u64| {
        scene
            .verifier
            .verify(
                &scene.chain,
                scene.purpose,
                &scene.revocations,
                UnixTime::from_seconds(seconds),
            )
            .map_err(|fault| fault.kind)
    };
    let (not_before, not_after) = (api.plan.not_before, api.plan.not_after);
    assert!(verdict(not_before).is_ok() && verdict(not_after).is_ok());
    assert_eq!(
        verdict(not_before - 1),
        Err(Fault::NotYetValid {
            not_before: api.not_before()
        })
    );
    assert_eq!(
        verdict(not_after + 1),
        Err(Fault::LeafExpired {
            not_after: api.not_after()
        })
    );
}

#[test]
fn a_root_renewed_with_its_key_serves_beside_the_old_one() {
    let old = ca("Root").valid(-50, -1).self_signed();
    let renewed = ca("Root").with_key(old.plan.key.clone()).self_signed();
    let api = leaf("api", &[]).signed_by(&old);
    for anchors in [[&old, &renewed], [&renewed, &old]] {
        let peer = Scene::new(&[&api], &[("internal", None, &anchors)]).accepted();
        assert_eq!(peer.anchor(), renewed.certificate().fingerprint());
    }
    let spare = ca("Spare").self_signed();
    let expected = Fault::RootExpired {
        subject: text("CN=Root"),
        not_after: old.not_after(),
    };
    Scene::new(&[&api], &[("internal", None, &[&old, &spare])]).refused(&expected);
}

#[test]
fn a_good_path_beside_a_bad_one_is_found() {
    let root = ca("Root").self_signed();
    let expired = ca("Issuer").valid(-50, -1).signed_by(&root);
    let renewed = ca("Issuer")
        .with_key(expired.plan.key.clone())
        .signed_by(&root);
    let api = leaf("api", &[]).signed_by(&expired);
    let peer = Scene::new(&[&api, &expired, &renewed], &[("internal", None, &[&root])]).accepted();
    assert_eq!(peer.chain()[1], renewed.der.to_vec());
}

#[test]
fn of_several_paths_the_one_nearest_to_acceptance_is_told() {
    let old = ca("Root").valid(-50, -1).self_signed();
    let renewed = ca("Root").with_key(old.plan.key.clone()).self_signed();
    let api = Plan {
        purposes: vec![CODE_SIGNING],
        ..leaf("api", &[])
    }
    .signed_by(&old);
    let expected = Fault::MissingPurpose {
        listed: vec![text("1.3.6.1.5.5.7.3.3")],
    };
    for anchors in [[&old, &renewed], [&renewed, &old]] {
        Scene::new(&[&api], &[("internal", None, &anchors)]).refused(&expected);
    }
}

#[test]
fn of_several_good_paths_the_same_is_taken_in_any_order() {
    let root = ca("Root").self_signed();
    let issuer = ca("Issuer").signed_by(&root);
    let again: Vec<Issued> = (1..5)
        .map(|days| {
            ca("Issuer")
                .valid(-9, days)
                .with_key(issuer.plan.key.clone())
                .signed_by(&root)
        })
        .collect();
    let api = leaf("api", &[]).signed_by(&issuer);
    let chain: Vec<&Issued> = [&api, &issuer].into_iter().chain(&again).collect();
    Scene::new(&chain, &[("internal", None, &[&root])]).accepted();
}

// ---- which bundle vouches ----

#[test]
fn bundles_of_one_ca_name_are_told_apart_by_the_key() {
    let (one, two) = (
        ca("Shared Name CA").self_signed(),
        ca("Shared Name CA").self_signed(),
    );
    let bundles: [Bundle<'_>; 2] = [("one", None, &[&one]), ("two", None, &[&two])];
    for (root, bundle) in [(&one, "one"), (&two, "two")] {
        let api = leaf("api", &[dns("api.example.com")]).signed_by(root);
        let peer = Scene::new(&[&api], &bundles).accepted();
        assert_eq!(
            (peer.bundle().as_str(), peer.anchor_key()),
            (bundle, root.spki())
        );
        // Sending the other's root along changes nothing.
        for other in [&one, &two] {
            assert_eq!(
                Scene::new(&[&api, other], &bundles)
                    .accepted()
                    .bundle()
                    .as_str(),
                bundle
            );
        }
    }
    let api = leaf("api", &[]).signed_by(&one);
    let expected = Fault::SameNameDifferentKey {
        issuer: text("CN=Shared Name CA"),
        bundle: BundleName::parse("two").expect("a name"),
    };
    Scene::new(&[&api], &[("two", None, &[&two])]).refused(&expected);
    Scene::new(&[&api, &one], &[("two", None, &[&two])]).refused(&expected);
}

#[test]
fn intermediates_of_one_name_under_two_roots_keep_their_bundles() {
    let (one, two) = (ca("Root One").self_signed(), ca("Root Two").self_signed());
    let (under_one, under_two) = (
        ca("Issuing CA").signed_by(&one),
        ca("Issuing CA").signed_by(&two),
    );
    let api = leaf("api", &[]).signed_by(&under_one);
    let bundles: [Bundle<'_>; 2] = [("one", None, &[&one]), ("two", None, &[&two])];
    assert_eq!(
        Scene::new(&[&api, &under_one, &under_two], &bundles)
            .accepted()
            .bundle()
            .as_str(),
        "one"
    );
    let only_two: [Bundle<'_>; 1] = [("two", None, &[&two])];
    Scene::new(&[&api, &under_one, &under_two], &only_two).refused(&Fault::UnknownIssuer {
        issuer: text("CN=Root One"),
    });
    Scene::new(&[&api, &under_two], &bundles).refused(&Fault::BadSignature {
        subject: text("CN=api"),
    });
}

#[test]
fn a_spiffe_id_of_another_bundles_trust_domain_is_refused() {
    let (own, partner) = (ca("Own").self_signed(), ca("Partner").self_signed());
    let bundles: [Bundle<'_>; 2] = [
        ("internal", Some("example.com"), &[&own]),
        ("partner", Some("partner.example"), &[&partner]),
    ];
    let forged = leaf("", &[uri("spiffe://example.com/billing")]).signed_by(&partner);
    Scene::new(&[&forged], &bundles).refused(&Fault::TrustDomainMismatch {
        id: text("spiffe://example.com/billing"),
        bundle: BundleName::parse("partner").expect("a name"),
        expected: Some(text("partner.example")),
    });
    let honest = leaf("", &[uri("spiffe://partner.example/billing")]).signed_by(&partner);
    assert_eq!(
        Scene::new(&[&honest], &bundles)
            .accepted()
            .principal()
            .to_string(),
        "spiffe://partner.example/billing (partner)"
    );
}

#[test]
fn a_cross_signed_issuer_vouches_only_where_its_trust_domain_holds() {
    let (own, partner) = (ca("Own").self_signed(), ca("Partner").self_signed());
    let issuer = ca("Issuer").signed_by(&own);
    let crossed = ca("Issuer")
        .with_key(issuer.plan.key.clone())
        .signed_by(&partner);
    let bundles: [Bundle<'_>; 2] = [
        ("partner", Some("partner.example"), &[&partner]),
        ("internal", Some("example.com"), &[&own]),
    ];
    let api = leaf("", &[uri("spiffe://example.com/api")]).signed_by(&issuer);
    assert_eq!(
        Scene::new(&[&api, &crossed, &issuer], &bundles)
            .accepted()
            .bundle()
            .as_str(),
        "internal"
    );
}

#[test]
fn bundles_that_could_be_confused_are_refused_at_construction() {
    let root = ca("Root").self_signed();
    let namesake = ca("Other Name")
        .with_key(root.plan.key.clone())
        .self_signed();
    let other = ca("Other").self_signed();
    let build = |bundles: &[Bundle<'_>]| {
        let bundles = bundles
            .iter()
            .map(|bundle| Arc::new(trust(*bundle).expect("a bundle")))
            .collect();
        Verifier::new(bundles, Limits::default())
            .map(|_| ())
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(build(&[]), "no trust bundle is given");
    assert_eq!(
        build(&[("a", None, &[&root]), ("b", None, &[&namesake])]),
        "trust bundles a and b share an anchor key"
    );
    assert_eq!(
        build(&[("a", None, &[&root]), ("a", None, &[&other])]),
        "two trust bundles are called a"
    );
    let odd = Plan {
        more_extensions: vec![extension(99, true, &[5, 0])],
        ..ca("Odd")
    }
    .self_signed();
    let refusal = "CN=Odd in trust bundle a cannot be an anchor: it has a critical extension that is not understood";
    assert_eq!(build(&[("a", None, &[&odd])]), refusal);
}

#[test]
fn a_bundle_holds_live_authorities_or_is_refused() {
    let refusal = |anchors: &[&Issued]| {
        trust(("a", None, anchors))
            .map(|_| ())
            .expect_err("refused")
            .to_string()
    };
    let (api, expired) = (
        leaf("api", &[]).self_signed(),
        ca("Old").valid(-9, -1).self_signed(),
    );
    assert_eq!(refusal(&[]), "trust bundle a holds no certificate");
    assert_eq!(refusal(&[&api]), "CN=api in trust bundle a is not a CA");
    assert_eq!(
        refusal(&[&expired]),
        "every anchor of trust bundle a has expired"
    );
    let live = ca("Live").self_signed();
    let bundle = trust(("a", None, &[&expired, &live, &live])).expect("a bundle");
    assert_eq!(
        bundle.anchor_keys().collect::<Vec<_>>(),
        [expired.spki(), live.spki()]
    );
}

// ---- refused: size and form ----

#[test]
fn limits_come_before_everything() {
    let Pki { root, issuer } = pki();
    let api = leaf("api", &[]).signed_by(&issuer);
    let crowd: Vec<&Issued> = std::iter::once(&api)
        .chain(std::iter::repeat_n(&issuer, 8))
        .collect();
    check(&crowd, &root, &Fault::TooDeep { sent: 9, limit: 8 });
    let names: Vec<_> = (0..1000)
        .map(|number| dns(&format!("host-number-{number}.example.com")))
        .collect();
    let vast = leaf("vast", &names).signed_by(&root);
    check(
        &[&vast],
        &root,
        &Fault::TooLarge {
            bytes: vast.der.len(),
            limit: 16 * 1024,
        },
    );
    let large = leaf("large", &names[..400]).signed_by(&root);
    let bytes = large.der.len() * 6;
    check(
        &[&large; 6],
        &root,
        &Fault::TooLarge {
            bytes,
            limit: 64 * 1024,
        },
    );
}

#[test]
fn what_cannot_be_decoded_is_malformed() {
    let root = ca("Root").self_signed();
    let scene = |chain: &[Vec<u8>]| {
        let chain: Vec<_> = chain.iter().cloned().map(CertificateDer::from).collect();
        Scene {
            chain,
            ..Scene::new(&[], &[("internal", None, &[&root])])
        }
        .verify()
        .expect_err("refused")
    };
    let api = leaf("api", &[]).signed_by(&root);
    let duplicate = Plan {
        more_extensions: vec![extension(14, false, &tlv(4, &[1]))],
        ..leaf("api", &[])
    }
    .signed_by(&root);
    let nul = leaf("api", &[dns("api.example.com\0.evil.example")]).signed_by(&root);
    let unknown = Plan {
        more_extensions: vec![extension(99, true, &[5, 0])],
        ..leaf("api", &[])
    }
    .signed_by(&root);
    for chain in [
        vec![],
        vec![vec![]],
        vec![b"not a certificate".to_vec()],
        vec![api.der.to_vec(), b"not a certificate".to_vec()],
        vec![[&api.der[..], &[0]].concat()],
        vec![duplicate.der.to_vec()],
        vec![nul.der.to_vec()],
        vec![unknown.der.to_vec()],
    ] {
        let fault = scene(&chain);
        assert!(matches!(fault, Fault::Malformed { .. }), "{fault:?}");
    }
}

#[test]
fn a_fault_carries_the_leaf_that_was_seen() {
    let (root, stranger) = (ca("Root").self_signed(), ca("Stranger").self_signed());
    let api = leaf("api", &[]).signed_by(&stranger);
    let scene = Scene::new(&[&api, &stranger], &[("internal", None, &[&root])]);
    let fault = scene.verify_chain(&scene.chain).expect_err("refused");
    let seen = fault.leaf.map(|leaf| leaf.fingerprint());
    assert_eq!(
        (seen, fault.sent, fault.now),
        (Some(api.certificate().fingerprint()), 2, NOW)
    );
}

#[test]
fn old_versions_and_bad_serials_are_refused_by_name() {
    let root = ca("Root").self_signed();
    check(
        &[&Plan {
            version: 1,
            ..leaf("api", &[])
        }
        .signed_by(&root)],
        &root,
        &Fault::Version1,
    );
    let issuer = Plan {
        serial: vec![0],
        ..ca("Issuer")
    }
    .signed_by(&root);
    let api = leaf("api", &[]).signed_by(&issuer);
    let verdict = Scene::new(&[&api, &issuer], &[("internal", None, &[&root])]).verify();
    assert!(
        matches!(&verdict, Err(Fault::BadSerial { subject, .. }) if subject == "CN=Issuer"),
        "{verdict:?}"
    );
}

#[test]
fn a_file_that_begins_with_an_issuer_is_in_wrong_order() {
    let Pki { root, issuer } = pki();
    let api = leaf("api", &[]).signed_by(&issuer);
    check(&[&issuer, &api], &root, &Fault::WrongOrder);
    check(&[&root, &issuer, &api], &root, &Fault::WrongOrder);
    let stranger = leaf("other", &[]).signed_by(&ca("Stranger").self_signed());
    check(&[&issuer, &stranger], &root, &Fault::CaUsedAsEndEntity);
    check(&[&root, &issuer], &root, &Fault::CaUsedAsEndEntity);
}

// ---- refused: trust ----

#[test]
fn a_stranger_is_unknown_whatever_else_is_wrong() {
    let Pki { root, .. } = pki();
    let stranger = ca("Stranger").self_signed();
    let issuer = ca("Stranger's Issuer").signed_by(&stranger);
    let unknown = |name: &str| Fault::UnknownIssuer {
        issuer: format!("CN={name}"),
    };
    check(
        &[&leaf("api", &[]).signed_by(&stranger)],
        &root,
        &unknown("Stranger"),
    );
    check(
        &[&leaf("api", &[]).signed_by(&stranger), &stranger],
        &root,
        &unknown("Stranger"),
    );
    check(
        &[&leaf("api", &[]).signed_by(&issuer), &issuer],
        &root,
        &unknown("Stranger"),
    );
    check(
        &[&leaf("api", &[]).signed_by(&issuer)],
        &root,
        &unknown("Stranger's Issuer"),
    );
    check(
        &[&leaf("api", &[]).valid(-9, -8).signed_by(&stranger)],
        &root,
        &unknown("Stranger"),
    );
    check(&[&leaf("self", &[]).self_signed()], &root, &unknown("self"));
    check(&[&stranger], &root, &unknown("Stranger"));
    let poor = Plan {
        purposes: vec![CODE_SIGNING],
        key_usage: Some(0x20),
        ..leaf("api", &[])
    };
    check(&[&poor.signed_by(&stranger)], &root, &unknown("Stranger"));
    // The authority's own root, sent along, proves nothing.
    check(
        &[&leaf("api", &[]).signed_by(&stranger), &root],
        &root,
        &unknown("Stranger"),
    );
}

#[test]
fn an_intermediate_is_missing_only_if_it_is_known_to_exist() {
    let Pki { root, issuer } = pki();
    let lower = ca("Lower").signed_by(&issuer);
    let bundles: [Bundle<'_>; 1] = [("internal", None, &[&root])];
    let api = leaf("api", &[]).signed_by(&issuer);
    let missing = |name: &str| Fault::MissingIntermediate {
        issuer: format!("CN={name}"),
    };
    let unknown = |name: &str| Fault::UnknownIssuer {
        issuer: format!("CN={name}"),
    };
    Scene::new(&[&api], &bundles).refused(&unknown("Issuer"));
    Scene::new(&[&api], &bundles)
        .knowing(&[&issuer])
        .refused(&missing("Issuer"));
    Scene::new(&[&api, &root], &bundles)
        .knowing(&[&issuer])
        .refused(&missing("Issuer"));
    let deep = leaf("api", &[]).signed_by(&lower);
    Scene::new(&[&deep, &lower], &bundles)
        .knowing(&[&issuer, &lower])
        .refused(&missing("Issuer"));
    Scene::new(&[&deep], &bundles)
        .knowing(&[&issuer, &lower])
        .refused(&missing("Lower"));
    // A known name is not enough: the key must be the one that signed.
    let impostor = ca("Issuer").self_signed();
    let forged = leaf("api", &[]).signed_by(&impostor);
    Scene::new(&[&forged], &bundles)
        .knowing(&[&issuer])
        .refused(&unknown("Issuer"));
    // Nor is a known issuer under no anchor.
    let strange = ca("Strange Issuer").signed_by(&ca("Stranger").self_signed());
    let api = leaf("api", &[]).signed_by(&strange);
    Scene::new(&[&api], &bundles)
        .knowing(&[&strange])
        .refused(&unknown("Strange Issuer"));
    let strange = ca("Strange Issuer").signed_by(&ca("Root").self_signed());
    let api = leaf("api", &[]).signed_by(&strange);
    Scene::new(&[&api], &bundles)
        .knowing(&[&strange])
        .refused(&unknown("Strange Issuer"));
}

#[test]
fn a_known_intermediate_never_completes_a_chain() {
    let Pki { root, issuer } = pki();
    let lower = ca("Lower").signed_by(&issuer);
    let api = leaf("api", &[]).signed_by(&lower);
    for chain in [&[&api][..], &[&api, &lower], &[&api, &issuer]] {
        assert!(
            Scene::new(chain, &[("internal", None, &[&root])])
                .knowing(&[&issuer, &lower])
                .verify()
                .is_err()
        );
    }
}

#[test]
fn an_anchor_of_the_name_with_another_key_is_told_from_altered_bytes() {
    let root = ca("Root").self_signed();
    let renewed = ca("Root").self_signed();
    let api = leaf("api", &[]).signed_by(&root);
    let same_name = Fault::SameNameDifferentKey {
        issuer: text("CN=Root"),
        bundle: BundleName::internal(),
    };
    check(&[&api], &renewed, &same_name);
    let silent = Plan {
        quotes_issuer_key: false,
        ..leaf("api", &[])
    }
    .signed_by(&root);
    check(&[&silent], &renewed, &same_name);
    // The last byte of the signature.
    let mut bytes = api.der.to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    let altered = Issued {
        der: bytes.into(),
        ..api
    };
    check(
        &[&altered],
        &root,
        &Fault::BadSignature {
            subject: text("CN=api"),
        },
    );
}

#[test]
fn of_several_ends_of_the_road_the_one_that_says_most_is_told() {
    let (root, namesake, stranger) = (
        ca("Root").self_signed(),
        ca("Root").self_signed(),
        ca("Stranger").self_signed(),
    );
    let issuer = ca("Issuer").signed_by(&stranger);
    let crossed = ca("Issuer")
        .with_key(issuer.plan.key.clone())
        .signed_by(&namesake);
    let api = leaf("api", &[]).signed_by(&issuer);
    let expected = Fault::SameNameDifferentKey {
        issuer: text("CN=Root"),
        bundle: BundleName::internal(),
    };
    check(&[&api, &issuer, &crossed], &root, &expected);
}

#[test]
fn a_bad_signature_is_told_with_whose_it_is() {
    let Pki { root, issuer } = pki();
    let api = leaf("api", &[]).signed_by(&issuer);
    let mut bytes = issuer.der.to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    let altered = Issued {
        der: bytes.into(),
        ..issuer.clone()
    };
    check(
        &[&api, &altered],
        &root,
        &Fault::BadSignature {
            subject: text("CN=Issuer"),
        },
    );
    let impostor = ca("Issuer").signed_by(&root);
    check(
        &[&api, &impostor],
        &root,
        &Fault::BadSignature {
            subject: text("CN=api"),
        },
    );
}

// ---- refused: issuers ----

#[test]
fn who_may_not_issue_does_not() {
    let Pki { root, issuer } = pki();
    let check_issuer = |plan: Plan, expected: &Fault| {
        let issuer = plan.signed_by(&root);
        check(
            &[&leaf("api", &[]).signed_by(&issuer), &issuer],
            &root,
            expected,
        );
    };
    let subject = || text("CN=Lower");
    check_issuer(
        leaf("Lower", &[]),
        &Fault::IssuerNotACa { subject: subject() },
    );
    check_issuer(
        Plan {
            basic_constraints: None,
            ..ca("Lower")
        },
        &Fault::IssuerNotACa { subject: subject() },
    );
    check_issuer(
        Plan {
            version: 1,
            ..ca("Lower")
        },
        &Fault::IssuerNotACa { subject: subject() },
    );
    check_issuer(
        Plan {
            key_usage: Some(0x02),
            ..ca("Lower")
        },
        &Fault::IssuerCannotSign { subject: subject() },
    );
    check_issuer(
        Plan {
            purposes: vec![SERVER_AUTH],
            ..ca("Lower")
        },
        &Fault::IssuerEkuExcludesPurpose { subject: subject() },
    );
    check_issuer(
        Plan {
            purposes: vec![ANY_PURPOSE],
            ..ca("Lower")
        },
        &Fault::IssuerEkuExcludesPurpose { subject: subject() },
    );
    let short = Plan {
        basic_constraints: Some((true, Some(0))),
        ..ca("Short")
    }
    .signed_by(&issuer);
    let lower = ca("Lower").signed_by(&short);
    let api = leaf("api", &[]).signed_by(&lower);
    check(
        &[&api, &lower, &short, &issuer],
        &root,
        &Fault::PathLenExceeded {
            subject: text("CN=Short"),
        },
    );
    // A leaf that issues a leaf.
    let web = leaf("web", &[]).signed_by(&issuer);
    check(
        &[&leaf("api", &[]).signed_by(&web), &web, &issuer],
        &root,
        &Fault::IssuerNotACa {
            subject: text("CN=web"),
        },
    );
}

#[test]
fn an_anchor_is_held_to_its_own_terms() {
    let check_root = |plan: Plan, expected: &Fault| {
        let root = plan.self_signed();
        let issuer = ca("Issuer").signed_by(&root);
        let spare = ca("Spare").self_signed();
        let api = leaf("api", &[dns("api.example.com")]).signed_by(&issuer);
        Scene::new(&[&api, &issuer], &[("internal", None, &[&root, &spare])]).refused(expected);
    };
    let subject = || text("CN=Root");
    let expired = ca("Root").valid(-9, -1);
    check_root(
        expired.clone(),
        &Fault::RootExpired {
            subject: subject(),
            not_after: UnixTime::from_seconds(expired.not_after),
        },
    );
    let early = ca("Root").valid(1, 9);
    check_root(
        early.clone(),
        &Fault::NotYetValid {
            not_before: UnixTime::from_seconds(early.not_before),
        },
    );
    check_root(
        Plan {
            basic_constraints: Some((true, Some(0))),
            ..ca("Root")
        },
        &Fault::PathLenExceeded { subject: subject() },
    );
    check_root(
        Plan {
            key_usage: Some(DIGITAL_SIGNATURE),
            ..ca("Root")
        },
        &Fault::IssuerCannotSign { subject: subject() },
    );
    check_root(
        Plan {
            purposes: vec![SERVER_AUTH],
            ..ca("Root")
        },
        &Fault::IssuerEkuExcludesPurpose { subject: subject() },
    );
    let narrow = Plan {
        more_extensions: vec![name_constraints(&[dns("other.example")], &[])],
        ..ca("Root")
    };
    check_root(
        narrow,
        &Fault::NameConstraintsViolated { subject: subject() },
    );
}

#[test]
fn a_rolled_over_root_does_not_count_towards_the_path_length() {
    let old = Plan {
        basic_constraints: Some((true, Some(0))),
        ..ca("Root")
    }
    .self_signed();
    let new_with_old = ca("Root").signed_by(&old);
    let api = leaf("api", &[]).signed_by(&new_with_old);
    Scene::new(&[&api, &new_with_old], &[("internal", None, &[&old])]).accepted();
}

#[test]
fn name_constraints_are_told_with_whose_they_are() {
    let root = ca("Root").self_signed();
    let check_names = |alt_names: &[Vec<u8>],
                       permitted: &[Vec<u8>],
                       excluded: &[Vec<u8>],
                       expected: Option<Fault>| {
        let issuer = Plan {
            more_extensions: vec![name_constraints(permitted, excluded)],
            ..ca("Issuer")
        }
        .signed_by(&root);
        let api = leaf("api", alt_names).signed_by(&issuer);
        let verdict = Scene::new(
            &[&api, &issuer],
            &[("internal", Some("example.com"), &[&root])],
        )
        .verify();
        assert_eq!(verdict.err(), expected);
    };
    let violated = || {
        Some(Fault::NameConstraintsViolated {
            subject: text("CN=Issuer"),
        })
    };
    let unsupported = || {
        Some(Fault::NameConstraintsUnsupported {
            subject: text("CN=Issuer"),
        })
    };
    let api = || dns("api.example.com");
    check_names(&[api()], &[dns("example.com")], &[], None);
    check_names(&[api()], &[ip(&[10, 0, 0, 0, 255, 0, 0, 0])], &[], None);
    check_names(&[api()], &[dns("other.example")], &[], violated());
    check_names(
        &[dns("notexample.com")],
        &[dns("example.com")],
        &[],
        violated(),
    );
    check_names(&[api()], &[], &[dns("example.com")], violated());
    check_names(
        &[api(), dns("a.other.example")],
        &[dns("example.com")],
        &[],
        violated(),
    );
    check_names(
        &[ip(&[10, 1, 0, 1])],
        &[ip(&[10, 0, 0, 0, 255, 255, 0, 0])],
        &[],
        violated(),
    );
    check_names(
        &[uri("spiffe://example.com/api")],
        &[uri("example.com")],
        &[],
        unsupported(),
    );
    check_names(
        &[email("a@example.com")],
        &[email("example.com")],
        &[],
        unsupported(),
    );
    check_names(
        &[api()],
        &[tlv(0xa4, &common_name("api"))],
        &[],
        unsupported(),
    );
}

// ---- refused: time ----

#[test]
fn what_ended_first_is_told_leaf_then_intermediate_then_root() {
    let Pki { root, issuer } = pki();
    let (old_leaf, old_issuer) = (
        leaf("api", &[]).valid(-9, -1),
        ca("Old Issuer").valid(-9, -2).signed_by(&root),
    );
    let leaf_expired = |plan: &Plan| Fault::LeafExpired {
        not_after: UnixTime::from_seconds(plan.not_after),
    };
    check(
        &[&old_leaf.signed_by(&issuer), &issuer],
        &root,
        &leaf_expired(&old_leaf),
    );
    check(
        &[&old_leaf.signed_by(&old_issuer), &old_issuer],
        &root,
        &leaf_expired(&old_leaf),
    );
    let expected = Fault::IntermediateExpired {
        subject: text("CN=Old Issuer"),
        not_after: old_issuer.not_after(),
    };
    check(
        &[&leaf("api", &[]).signed_by(&old_issuer), &old_issuer],
        &root,
        &expected,
    );
    let early = leaf("api", &[]).valid(1, 2);
    check(
        &[&early.signed_by(&root)],
        &root,
        &Fault::NotYetValid {
            not_before: UnixTime::from_seconds(early.not_before),
        },
    );
    let early = ca("Early").valid(1, 2).signed_by(&root);
    check(
        &[&leaf("api", &[]).signed_by(&early), &early],
        &root,
        &Fault::NotYetValid {
            not_before: early.not_before(),
        },
    );
    // An expired certificate for the wrong purpose is expired first.
    let both = Plan {
        purposes: vec![CODE_SIGNING],
        ..old_leaf.clone()
    };
    check(&[&both.signed_by(&root)], &root, &leaf_expired(&old_leaf));
}

// ---- names in odd encodings ----

/// A name of one RDN for each value of a common name.
fn common_names(values: &[(u8, &[u8])]) -> Vec<u8> {
    let rdns: Vec<u8> = values
        .iter()
        .flat_map(|(tag, value)| {
            let attribute = [tlv(0x06, &[0x55, 4, 3]), tlv(*tag, value)].concat();
            tlv(0x31, &tlv(0x30, &attribute))
        })
        .collect();
    tlv(0x30, &rdns)
}

/// What somebody's subject may be taken for: its `cn:` names, none of one that is refused.
fn taken_for(subject: Vec<u8>) -> Option<Vec<String>> {
    let root = ca("Root").self_signed();
    let somebody = Plan {
        subject,
        ..leaf("", &[dns("somebody.example.com")])
    };
    let peer = Scene::new(
        &[&somebody.signed_by(&root)],
        &[("internal", None, &[&root])],
    )
    .verify()
    .ok()?;
    let names = peer.names().iter().map(ToString::to_string);
    Some(names.filter(|name| name.starts_with("cn:")).collect())
}

#[test]
fn a_name_is_taken_whole_or_not_at_all_whatever_its_encoding() {
    type Values<'a> = Vec<(u8, &'a [u8])>;
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const T61: u8 = 0x14;
    const IA5: u8 = 0x16;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;
    let admin = Some(vec!["cn:admin".to_owned()]);
    let wide: Vec<u8> = b"admin".iter().flat_map(|byte| [0, *byte]).collect();
    for (tag, value) in [(UTF8, &b"admin"[..]), (PRINTABLE, b"admin")] {
        assert_eq!(taken_for(common_names(&[(tag, value)])), admin, "{tag:x}");
    }
    let long = vec![b'a'; 65_536];
    let not_admin: [(&str, Values<'_>); 15] = [
        ("nothing", vec![(UTF8, b"")]),
        ("a trailing NUL", vec![(UTF8, b"admin\0")]),
        ("a NUL within", vec![(UTF8, b"admin\0.example.com")]),
        ("a NUL, printable", vec![(PRINTABLE, b"admin\0x")]),
        ("an overlong a", vec![(UTF8, b"\xc1\xa1dmin")]),
        ("an overlong NUL", vec![(UTF8, b"admin\xc0\x80x")]),
        ("half a character", vec![(UTF8, b"admin\xc3")]),
        ("half a wide character", vec![(BMP, &wide[1..])]),
        ("bytes for wide characters", vec![(BMP, b"admin\0")]),
        (
            "bytes for wider characters",
            vec![(UNIVERSAL, b"\0\0admin\0")],
        ),
        ("no alphabet that anybody knows", vec![(T61, b"\xa4admin")]),
        ("a Cyrillic a", vec![(UTF8, "\u{430}dmin".as_bytes())]),
        ("a space before it", vec![(IA5, b" admin")]),
        ("two", vec![(UTF8, b"admin"), (UTF8, b"user")]),
        ("too long", vec![(UTF8, &long)]),
    ];
    for (what, values) in not_admin {
        assert_ne!(taken_for(common_names(&values)), admin, "{what}");
    }
    // Of two that are the same there is still no one.
    let twice = [(UTF8, &b"admin"[..]), (UTF8, b"admin")];
    assert_ne!(taken_for(common_names(&twice)), admin);
    // What is read in another alphabet is the same name or none.
    for (tag, value) in [(BMP, &wide[..]), (T61, b"admin"), (IA5, b"admin")] {
        let names = taken_for(common_names(&[(tag, value)]));
        assert!(
            names.is_none_or(|it| it.is_empty() || Some(&it) == admin.as_ref()),
            "{tag:x}"
        );
    }
}

// ---- refused: the leaf ----

#[test]
fn a_leaf_must_be_meant_for_this() {
    let root = ca("Root").self_signed();
    let check_leaf =
        |plan: Plan, expected: &Fault| check(&[&plan.signed_by(&root)], &root, expected);
    check_leaf(ca("Issuer"), &Fault::CaUsedAsEndEntity);
    check_leaf(
        Plan {
            key_usage: Some(DIGITAL_SIGNATURE | KEY_CERT_SIGN),
            ..leaf("api", &[])
        },
        &Fault::CaUsedAsEndEntity,
    );
    check(&[&root], &root, &Fault::CaUsedAsEndEntity);
    let missing = |listed: &[&str]| Fault::MissingPurpose {
        listed: listed.iter().map(|purpose| text(purpose)).collect(),
    };
    check_leaf(
        Plan {
            purposes: vec![SERVER_AUTH],
            ..leaf("api", &[])
        },
        &missing(&["serverAuth"]),
    );
    check_leaf(
        Plan {
            purposes: vec![ANY_PURPOSE],
            ..leaf("api", &[])
        },
        &missing(&["anyExtendedKeyUsage"]),
    );
    check_leaf(
        Plan {
            purposes: vec![CODE_SIGNING],
            ..leaf("api", &[])
        },
        &missing(&["1.3.6.1.5.5.7.3.3"]),
    );
    check_leaf(
        Plan {
            purposes: vec![EMAIL_PROTECTION],
            ..leaf("api", &[])
        },
        &missing(&["1.3.6.1.5.5.7.3.4"]),
    );
    check_leaf(
        Plan {
            key_usage: Some(0x20),
            ..leaf("api", &[])
        },
        &Fault::MissingDigitalSignature,
    );
    let client = Plan {
        purposes: vec![CLIENT_AUTH],
        ..leaf("api", &[])
    }
    .signed_by(&root);
    Scene::new(&[&client], &[("internal", None, &[&root])])
        .serving()
        .refused(&missing(&["clientAuth"]));
}

#[test]
fn weak_and_foreign_cryptography_is_refused_by_name() {
    let root = ca("Root").self_signed();
    let check_leaf =
        |plan: Plan, expected: &Fault| check(&[&plan.signed_by(&root)], &root, expected);
    check_leaf(
        Plan {
            spki: rsa_spki(1024),
            ..leaf("api", &[])
        },
        &Fault::WeakKey {
            key: text("RSA 1024"),
        },
    );
    check_leaf(
        Plan {
            spki: certicom_spki(33),
            ..leaf("api", &[])
        },
        &Fault::WeakKey {
            key: text("ECDSA P-224"),
        },
    );
    let foreign = |algorithm: &str| Fault::UnsupportedAlgorithm {
        algorithm: text(algorithm),
    };
    check_leaf(
        Plan {
            spki: certicom_spki(10),
            ..leaf("api", &[])
        },
        &foreign("ECDSA secp256k1"),
    );
    check_leaf(
        Plan {
            spki: rsa_spki(16 * 1024),
            ..leaf("api", &[])
        },
        &foreign("RSA 16384"),
    );
    let sha1 = Some(&[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1][..]);
    check_leaf(
        Plan {
            signature_algorithm: sha1,
            ..leaf("api", &[])
        },
        &Fault::WeakSignature {
            algorithm: text("ECDSA with SHA-1"),
        },
    );
    let sha224 = Some(&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1][..]);
    check_leaf(
        Plan {
            signature_algorithm: sha224,
            ..leaf("api", &[])
        },
        &foreign("ECDSA with SHA-224"),
    );
    let weak = Plan {
        spki: rsa_spki(1024),
        ..ca("Weak")
    }
    .signed_by(&root);
    check(
        &[&leaf("api", &[]).signed_by(&weak), &weak],
        &root,
        &Fault::WeakKey {
            key: text("RSA 1024"),
        },
    );
}

#[test]
fn one_identity_of_the_bundles_trust_domain_or_none() {
    let root = ca("Root").self_signed();
    let (api, web) = ("spiffe://example.com/api", "spiffe://example.com/web");
    let ambiguous = |ids: &[&str]| Fault::IdentityAmbiguous {
        ids: ids.iter().map(|id| text(id)).collect(),
    };
    check(
        &[&leaf("", &[uri(api), uri(web)]).signed_by(&root)],
        &root,
        &ambiguous(&[api, web]),
    );
    check(
        &[&leaf("", &[uri(api), uri("urn:example:1")]).signed_by(&root)],
        &root,
        &ambiguous(&[api, "urn:example:1"]),
    );
    let both = leaf("", &[uri(api), uri(web)]).signed_by(&root);
    Scene::new(&[&both], &[("partner", None, &[&root])]).refused(&ambiguous(&[api, web]));
    check(
        &[&leaf("", &[uri("spiffe://other.example/api")]).signed_by(&root)],
        &root,
        &Fault::TrustDomainMismatch {
            id: text("spiffe://other.example/api"),
            bundle: BundleName::internal(),
            expected: Some(text("example.com")),
        },
    );
}

// ---- for any input ----

#[test]
fn a_chain_with_a_flipped_bit_never_verifies() {
    let Pki { root, issuer } = pki();
    let api = leaf(
        "api",
        &[dns("api.example.com"), uri("spiffe://example.com/api")],
    )
    .signed_by(&issuer);
    let scene = Scene::new(
        &[&api, &issuer],
        &[("internal", Some("example.com"), &[&root])],
    )
    .knowing(&[&issuer]);
    scene.accepted();
    for at in 0..scene.chain.len() {
        for byte in 0..scene.chain[at].len() {
            let mut bytes = scene.chain[at].to_vec();
            bytes[byte] ^= 1 << (byte % 8);
            let mut chain = scene.chain.clone();
            chain[at] = bytes.into();
            assert!(
                scene.verify_chain(&chain).is_err(),
                "certificate {at}, byte {byte}"
            );
        }
    }
}

#[test]
fn a_truncated_chain_never_verifies() {
    let Pki { root, issuer } = pki();
    let api = leaf("api", &[]).signed_by(&issuer);
    let scene = Scene::new(&[&api, &issuer], &[("internal", None, &[&root])]);
    for at in 0..scene.chain.len() {
        for length in 0..scene.chain[at].len() {
            let mut chain = scene.chain.clone();
            chain[at] = scene.chain[at][..length].to_vec().into();
            assert!(
                scene.verify_chain(&chain).is_err(),
                "certificate {at}, {length} bytes"
            );
        }
    }
    for length in 0..scene.chain.len() {
        assert!(scene.verify_chain(&scene.chain[..length]).is_err());
    }
}

#[test]
fn no_input_makes_it_panic() {
    let Pki { root, issuer } = pki();
    let constrained = vec![name_constraints(
        &[dns("example.com"), ip(&[10, 0, 0, 0, 255, 0, 0, 0])],
        &[dns("evil.example")],
    )];
    let lower = Plan {
        more_extensions: constrained,
        ..ca("Lower")
    }
    .signed_by(&issuer);
    let api = leaf("api", &[dns("a.example.com"), ip(&[10, 0, 0, 1])]).signed_by(&lower);
    let scene =
        Scene::new(&[&api, &lower, &issuer], &[("internal", None, &[&root])]).knowing(&[&issuer]);
    scene.accepted();
    let mut random = 0x5eed_u64;
    let mut next = |bound: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).expect("31 bits") % bound
    };
    for _ in 0..3000 {
        let mut chain: Vec<Vec<u8>> = scene.chain.iter().map(|der| der.to_vec()).collect();
        for _ in 0..=next(3) {
            let at = next(chain.len());
            let (place, value) = (next(chain[at].len()), next(256));
            chain[at][place] = u8::try_from(value).expect("a byte");
        }
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let _ = scene.verify_chain(&chain);
    }
}

#[test]
fn a_mesh_of_cross_signed_issuers_is_refused_in_bounded_work() {
    let root = ca("Root").self_signed();
    let members: Vec<Issued> = (0..7).map(|_| ca("Mesh").self_signed()).collect();
    let mesh: Vec<Issued> = (0..7)
        .map(|at| members[at].plan.signed_by(&members[(at + 1) % 7]))
        .collect();
    let api = leaf("api", &[]).signed_by(&mesh[0]);
    let chain: Vec<&Issued> = std::iter::once(&api).chain(&mesh).collect();
    assert!(
        Scene::new(&chain, &[("internal", None, &[&root])])
            .verify()
            .is_err()
    );
}
