//! Which CAs that exist already an authority can go on with.

use countersign_pki::certificate::Certificate;
use countersign_pki::time::UnixTime;
use countersign_policy::adoption::{AdoptionFault, Hierarchy, LIFE_LEFT, likeness};
use countersign_policy::issuance::Profile;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::world::NOW;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str, path_len: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(path_len);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // NOW is 2026-11-22, and LIFE_LEFT 30 days.
    params.not_before = date_time_ymd(2026, 10, 23);
    params.not_after = date_time_ymd(2026, 12, 22);
    params
}

fn root() -> Ca {
    let params = params("Root", BasicConstraints::Unconstrained);
    Ca::self_signed(params, KeyPair::generate().expect("a key")).expect("a root")
}

fn below(above: &Ca, name: &str, path_len: u8) -> Ca {
    let params = params(name, BasicConstraints::Constrained(path_len));
    Ca::signed_by(params, KeyPair::generate().expect("a key"), above).expect("a CA")
}

fn read(ca: &Ca) -> Certificate {
    Certificate::parse(ca.as_ref().der()).expect("a certificate")
}

#[test]
fn path_is_found_in_whatever_order_and_the_rest_does_no_harm() {
    let root = root();
    let policy = below(&root, "Policy", 1);
    let issuing = below(&policy, "Issuing", 0);
    // Another root of that name, as after a renewal under a new key.
    let twin = self::root();
    let others = [read(&policy), read(&twin), read(&issuing), read(&root)];
    for others in [others.clone(), {
        let mut other = others;
        other.reverse();
        other
    }] {
        let found = Hierarchy::find(read(&issuing), &others, 0, NOW).expect("whole");
        assert_eq!(found.lowest().der(), read(&issuing).der());
        assert_eq!(found.between().len(), 1);
        assert_eq!(found.between()[0].der(), read(&policy).der());
        assert_eq!(found.root().der(), read(&root).der());
    }
    let alone = Hierarchy::find(read(&root), &[], 1, NOW).expect("a root");
    assert!(alone.between().is_empty());
    let gap = Hierarchy::find(read(&issuing), &[read(&root)], 0, NOW);
    assert!(
        matches!(gap, Err(AdoptionFault::IssuerMissing { .. })),
        "{gap:?}"
    );
}

#[test]
fn times_are_judged_to_the_second_and_path_lengths_by_what_stands_below() {
    let root = root();
    let issuing = below(&root, "Issuing", 0);
    let others = [read(&root)];
    let at = |now: UnixTime| Hierarchy::find(read(&issuing), &others, 0, now);
    let second = std::time::Duration::from_secs(1);
    at(NOW).expect("a month is left");
    let short = at(NOW.plus(second));
    assert!(
        matches!(short, Err(AdoptionFault::EndsSoon { .. })),
        "{short:?}"
    );
    let over = at(NOW.plus(LIFE_LEFT));
    assert!(
        matches!(over, Err(AdoptionFault::Expired { .. })),
        "{over:?}"
    );
    let early = at(NOW.minus(LIFE_LEFT).minus(second));
    assert!(
        matches!(early, Err(AdoptionFault::NotYetValid { .. })),
        "{early:?}"
    );
    let one_more = Hierarchy::find(read(&issuing), &others, 1, NOW);
    assert!(
        matches!(
            one_more,
            Err(AdoptionFault::PathLength {
                allowed: 0,
                needed: 1,
                ..
            })
        ),
        "{one_more:?}"
    );
}

#[test]
fn certificates_are_taken_for_what_they_are_most_like() {
    let root = root();
    let check = |purposes: &[ExtendedKeyUsagePurpose], names: &[SanType], expected: Profile| {
        let mut params = params("leaf", BasicConstraints::Unconstrained);
        params.is_ca = IsCa::NoCa;
        params.extended_key_usages = purposes.to_vec();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &root).expect("a leaf");
        let leaf = Certificate::parse(leaf.der()).expect("a certificate");
        assert_eq!(likeness(&leaf), expected);
    };
    let (server, client) = (
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    let both = [server.clone(), client.clone()];
    let spiffe = SanType::URI("spiffe://example.com/a".try_into().expect("IA5"));
    check(&both, &[spiffe], Profile::WORKLOAD);
    check(&both, &[], Profile::PEER);
    check(&[server], &[], Profile::SERVER);
    check(&[client], &[], Profile::CLIENT);
    // Nothing that we issue: it has no next one.
    check(&[], &[], Profile::ADOPTED);
    check(
        &[ExtendedKeyUsagePurpose::CodeSigning],
        &[],
        Profile::ADOPTED,
    );
    assert_eq!(likeness(&read(&root)), Profile::ADOPTED);
}
