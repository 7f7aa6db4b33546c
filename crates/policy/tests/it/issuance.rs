//! Which certificates are authorized, and which bytes may be signed.

use std::sync::LazyLock;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::{BundleName, Identity};
use countersign_pki::name::TypedName;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::request::Wishes;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{
    Actor, Authorized, Denied, IssuanceRules, IssuerRole, Issuers, Profile, Profiles, Request,
    authorize,
};
use rcgen::{KeyPair, PublicKeyData as _};

use crate::world::{Authority, DAY_S, NOW, internal};

const ADMIN: Actor = Actor::LocalAdmin { uid: 0 };
const RANDOM: [u8; 20] = [0x5a; 20];

static KEY: LazyLock<Vec<u8>> =
    LazyLock::new(|| KeyPair::generate().unwrap().subject_public_key_info());

fn rules() -> IssuanceRules {
    IssuanceRules {
        trust_domain: TrustDomain::parse("example.com").unwrap(),
        profiles: Profiles::built_in(),
        publication: None,
    }
}

/// One CA in every role.
fn issuers(certificate: &Certificate) -> Issuers {
    let [one, two, three] = [
        certificate.clone(),
        certificate.clone(),
        certificate.clone(),
    ];
    Issuers::new(one, &[], two, three)
}

/// `server api.example.com dns:b.example.com`: profile, NAME (`_` for a space), SANs.
fn request(text: &str) -> Request {
    let mut words = text.split(' ');
    let profile = words.next().unwrap().parse().unwrap();
    let name = words.next().unwrap().replace('_', " ");
    let subject_alt_names = words.map(|word| word.parse().unwrap()).collect();
    Request {
        profile,
        name,
        subject_alt_names,
        lifetime: None,
        spki_der: KEY.clone(),
        wishes: Wishes::default(),
    }
}

fn ask(actor: Actor, request: &Request) -> Result<Authorized, Denied> {
    authorize(
        actor,
        request,
        &rules(),
        &issuers(&internal().certificate),
        RANDOM,
        NOW,
    )
}

/// Subject and SANs of what is authorized, or the refusal.
fn check_names(text: &str, expected: &str) {
    let told = match ask(ADMIN, &request(text)) {
        Ok(authorized) => {
            let Template {
                subject,
                subject_alt_names,
                ..
            } = authorized.template();
            let sans: Vec<String> = subject_alt_names.iter().map(ToString::to_string).collect();
            format!("{subject}; {}", sans.join(" "))
        }
        Err(denied) => denied.to_string(),
    };
    assert_eq!(told, expected, "{text}");
}

fn check_refused(text: &str) {
    match ask(ADMIN, &request(text)) {
        Err(Denied::Name { .. }) => {}
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_name_becomes_what_its_profile_says() {
    check_names("client order-service", "CN=order-service; ");
    check_names("client Order_Service", "CN=Order Service; ");
    check_names("client O'Brien,_J.", "CN=O'Brien\\, J.; ");
    check_names(
        "client you email:you@example.com dns:a.example.com uri:urn:x spiffe://example.com/you",
        "CN=you; email:you@example.com dns:a.example.com uri:urn:x spiffe://example.com/you",
    );
    check_names(
        "server API.example.com.",
        "CN=api.example.com; dns:api.example.com",
    );
    check_names(
        "server api.example.com dns:b.example.com ip:10.0.0.1",
        "CN=api.example.com; dns:api.example.com dns:b.example.com ip:10.0.0.1",
    );
    check_names("server 2001:DB8::1", "CN=2001:db8::1; ip:2001:db8::1");
    check_names(
        "server localhost ip:127.0.0.1 ip:::1",
        "CN=localhost; dns:localhost ip:127.0.0.1 ip:::1",
    );
    check_names(
        "server *.example.com",
        "CN=*.example.com; dns:*.example.com",
    );
    check_names(
        "peer db-1.example.com ip:10.0.0.7",
        "CN=db-1.example.com; dns:db-1.example.com ip:10.0.0.7",
    );
    let api = "; spiffe://example.com/ns/prod/api";
    check_names("workload spiffe://example.com/ns/prod/api", api);
    check_names("workload /ns/prod/api", api);
    check_names("workload ns/prod/api", api);
    check_names(
        "workload ns/prod/api dns:api ip:10.0.0.1",
        "; spiffe://example.com/ns/prod/api dns:api ip:10.0.0.1",
    );
    let long = format!("{}.example.com", "a".repeat(60));
    check_names(&format!("server {long}"), &format!("; dns:{long}"));
}

#[test]
fn names_that_pass_for_something_else_are_refused_to_clients() {
    for name in [
        "spiffe://example.com/admin",
        "SPIFFE://example.com/admin",
        "dns:api.example.com",
        "cn:admin",
        "CN:admin",
        "Email:a@b.c",
        "spki:00",
        "serial:1@CN=a",
        "CN=admin",
        "cn=admin,O=Example",
        "/CN=admin",
        "O=Example",
        "anonymous",
        "Anyone",
        "any-trusted",
        "*.example.com",
        "*",
        "web-*",
        "",
        "_admin",
        "admin_",
        "ad\0min",
        "ad\nmin",
        "ad\u{7f}min",
        "ad\u{85}min",
        "ad\u{200b}min",
        "ad\u{202e}nim",
        "ad\u{feff}min",
        "ad\u{2066}min",
        "ad\u{ad}min",
        "ad\u{2028}min",
        "ad\u{e0041}min",
        "ad\u{3164}min",
    ] {
        check_refused(&format!("client {name}"));
    }
    check_refused(&format!("client {}", "a".repeat(65)));
}

#[test]
fn names_of_other_kinds_than_the_profile_has_are_refused() {
    for text in [
        "client a dns:*.example.com",
        "client a ip:10.0.0.1",
        "client a cn:b",
        "client a dn:CN=b",
        "client a spiffe://other.example/a",
        "client a spiffe://example.com",
        "client a spiffe://example.com/a spiffe://example.com/b",
        "client a spki:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "client a serial:01@CN=b",
        "server a_b",
        "server ",
        "server a..b",
        "server -a",
        "server a/b",
        "server https://a",
        "server 10.0.0.1/8",
        "server a:443",
        "server *",
        "server *.com",
        "server *.localhost",
        "server a.*.b",
        "server **.example.com",
        "server CN=a",
        "server dns:a",
        "server spiffe://example.com/a",
        "server 0.0.0.0",
        "server ::",
        "server 224.0.0.1",
        "server a spiffe://example.com/a",
        "server a email:a@b.c",
        "server a uri:urn:x",
        "server a cn:b",
        "server a dns:*.com",
        "server a ip:ff02::1",
        "peer a spiffe://example.com/a",
        "peer a email:a@b.c",
        "peer a uri:urn:x",
        "peer *.com",
        "workload spiffe://other.example/a",
        "workload spiffe://example.com.evil.example/a",
        "workload spiffe://example.com",
        "workload spiffe://example.com/",
        "workload /",
        "workload ",
        "workload //a",
        "workload a//b",
        "workload a/",
        "workload ../a",
        "workload a/./b",
        "workload a%20b",
        "workload a?b",
        "workload a_b",
        "workload https://example.com/a",
        "workload SPIFFE://example.com/a",
        "workload dns:a",
        "workload a spiffe://example.com/b",
        "workload a spiffe://other.example/a",
        "workload a email:a@b.c",
        "workload a uri:urn:x",
        "workload a cn:b",
        "workload a dns:*.com",
    ] {
        check_refused(text);
    }
}

#[test]
fn a_certificate_has_at_most_a_hundred_names() {
    let names = |count: usize| {
        (0..count)
            .map(|index| format!(" dns:{index}.example.com"))
            .collect::<Vec<_>>()
            .concat()
    };
    assert!(ask(ADMIN, &request(&format!("server a{}", names(99)))).is_ok());
    check_refused(&format!("server a{}", names(100)));
    check_refused(&format!("client a{}", " dns:a.example.com".repeat(100)));
}

#[test]
fn refusals_name_the_value_and_offer_a_way() {
    check_names(
        "server spiffe://example.com/a",
        "\"spiffe://example.com/a\" does not fit profile server: a SPIFFE ID is what profile workload is for",
    );
    check_names(
        "client a ip:10.0.0.1",
        "\"ip:10.0.0.1\" does not fit profile client: the profile has no IP names",
    );
    check_names(
        "workload spiffe://b/a",
        "\"spiffe://b/a\" does not fit profile workload: its trust domain is b, and this authority vouches for example.com alone",
    );
    let denied = ask(ADMIN, &request("workload /")).unwrap_err();
    assert!(denied.hint().unwrap().contains("ns/prod/api"));
}

fn holder(identity: &str, profile: Profile) -> Actor {
    let (bundle, name) = identity.split_once(' ').unwrap();
    Actor::Holder {
        certificate: None,
        identity: Identity {
            bundle: BundleName::parse(bundle).unwrap(),
            name: name.parse().unwrap(),
        },
        profile,
    }
}

#[test]
fn a_holder_gets_its_own_identity_again() {
    for (identity, profile, text) in [
        (
            "internal spiffe://example.com/api",
            Profile::WORKLOAD,
            "workload api",
        ),
        (
            "internal dns:a.example.com",
            Profile::PEER,
            "peer a.example.com",
        ),
        (
            "internal cn:order-service",
            Profile::CLIENT,
            "client order-service",
        ),
    ] {
        assert!(
            ask(holder(identity, profile), &request(text)).is_ok(),
            "{identity} {text}"
        );
    }
}

/// Identity and profile of the holder, and what it asks for.
const BEYOND_THE_HOLDER: &[(&str, Profile, &str)] = &[
    // Another name, one more name, or the same text as another kind of name.
    (
        "internal spiffe://example.com/api",
        Profile::WORKLOAD,
        "workload web",
    ),
    (
        "internal spiffe://example.com/api",
        Profile::WORKLOAD,
        "workload api dns:api.example.com",
    ),
    (
        "internal spiffe://example.com/api",
        Profile::WORKLOAD,
        "workload api ip:10.0.0.1",
    ),
    (
        "internal dns:a.example.com",
        Profile::PEER,
        "peer a.example.com dns:b.example.com",
    ),
    (
        "internal dns:a.example.com",
        Profile::PEER,
        "peer b.example.com dns:a.example.com",
    ),
    (
        "internal dns:a.example.com",
        Profile::PEER,
        "peer *.example.com",
    ),
    (
        "internal cn:a.example.com",
        Profile::PEER,
        "peer a.example.com",
    ),
    ("internal cn:a", Profile::CLIENT, "client admin"),
    ("internal cn:a", Profile::CLIENT, "client A"),
    (
        "internal cn:a",
        Profile::CLIENT,
        "client a dns:a.example.com",
    ),
    (
        "internal cn:a",
        Profile::CLIENT,
        "client a spiffe://example.com/a",
    ),
    (
        "internal dns:a.example.com",
        Profile::CLIENT,
        "client admin dns:a.example.com",
    ),
    (
        "internal dns:a.example.com",
        Profile::CLIENT,
        "client a.example.com dns:a.example.com",
    ),
    ("internal dn:CN=a,O=b", Profile::CLIENT, "client a"),
    // Another profile.
    (
        "internal spiffe://example.com/api",
        Profile::CLIENT,
        "workload api",
    ),
    (
        "internal dns:a.example.com",
        Profile::CLIENT,
        "peer a.example.com",
    ),
    (
        "internal dns:a.example.com",
        Profile::CLIENT,
        "server a.example.com",
    ),
    (
        "internal dns:a.example.com",
        Profile::PEER,
        "server a.example.com",
    ),
    ("internal cn:a", Profile::PEER, "client a"),
    // Another authority's holder.
    (
        "acme-corp spiffe://example.com/api",
        Profile::WORKLOAD,
        "workload api",
    ),
    ("acme-corp cn:a", Profile::CLIENT, "client a"),
    // Names that fit no profile are none of its business either.
    (
        "internal spiffe://example.com/api",
        Profile::WORKLOAD,
        "workload spiffe://other.example/api",
    ),
];

#[test]
fn a_holder_gets_nothing_else() {
    for (identity, profile, text) in BEYOND_THE_HOLDER {
        match ask(holder(identity, profile.clone()), &request(text)) {
            Err(Denied::NotPermitted { .. }) => {}
            other => panic!("{identity} {profile} {text}: {other:?}"),
        }
    }
    let denied = ask(
        holder("internal cn:a", Profile::CLIENT),
        &request("client a dns:a.example.com"),
    )
    .unwrap_err();
    assert_eq!(
        denied.to_string(),
        "the holder of client certificate cn:a (internal) may not ask for dns:a.example.com"
    );
}

/// What an issuer that lives from `from` to `to` days from now gives for `lifetime`: seconds from now, or the refusal.
fn check_validity(
    profile: &str,
    lifetime: Option<Duration>,
    (from, to): (i64, i64),
    expected: Result<(i64, i64), &str>,
) {
    let now = i64::try_from(NOW.seconds()).unwrap();
    let at = |days: i64| u64::try_from(now + days * 86_400).unwrap();
    let issuer = Authority::new("CN=Issuer", at(from), at(to));
    let request = Request {
        lifetime,
        ..request(profile)
    };
    let told = authorize(
        ADMIN,
        &request,
        &rules(),
        &issuers(&issuer.certificate),
        RANDOM,
        NOW,
    );
    let relative = |time: UnixTime| i64::try_from(time.seconds()).unwrap() - now;
    let told = told.map(|authorized| {
        (
            relative(authorized.template().not_before),
            relative(authorized.template().not_after),
        )
    });
    assert_eq!(
        told.map_err(|denied| denied.to_string()),
        expected.map_err(str::to_owned),
        "{profile} {lifetime:?}"
    );
}

#[test]
fn lifetimes_follow_the_profile_the_request_and_the_issuer() {
    let (day, decade) = (86_400, (-10, 3650));
    for profile in ["client a", "server a", "peer a"] {
        check_validity(profile, None, decade, Ok((-300, 90 * day)));
    }
    check_validity("workload a", None, decade, Ok((-300, day)));
    check_validity(
        "server a",
        Some(Duration::from_secs(1)),
        decade,
        Ok((-300, 1)),
    );
    check_validity(
        "server a",
        Some(Duration::from_secs(825 * DAY_S)),
        decade,
        // 825 days with both of its ends.
        Ok((0, 825 * day - 1)),
    );
    check_validity(
        "server a",
        Some(Duration::from_secs(825 * DAY_S - 200)),
        decade,
        Ok((-199, 825 * day - 200)),
    );
    // Neither before its issuer's beginning nor past its end.
    check_validity("server a", None, (0, 3650), Ok((0, 90 * day)));
    check_validity("server a", None, (-10, 30), Ok((-300, 30 * day)));
}

#[test]
fn impossible_lifetimes_are_refused() {
    let decade = (-10, 3650);
    check_validity(
        "server a",
        Some(Duration::ZERO),
        decade,
        Err("a lifetime of 0 s is too short: at least 1 s"),
    );
    check_validity(
        "server a",
        Some(Duration::from_millis(999)),
        decade,
        Err("a lifetime of 0 s is too short: at least 1 s"),
    );
    check_validity(
        "client a",
        Some(Duration::from_secs(825 * DAY_S + 1)),
        decade,
        Err("a lifetime of 2 y 95 d is too long: at most 2 y 95 d (825 d)"),
    );
    check_validity(
        "workload a",
        Some(Duration::from_secs(826 * DAY_S)),
        decade,
        Err("a lifetime of 2 y 96 d is too long: at most 2 y 95 d (825 d)"),
    );
    check_validity(
        "client a",
        Some(Duration::MAX),
        decade,
        Err("a lifetime of 584942417355 y 26 d is too long: at most 2 y 95 d (825 d)"),
    );
    check_validity(
        "server a",
        None,
        (-10, -1),
        Err(
            "issuer CN=Issuer expired 1 d ago (not_after 2026-11-21T00:00:00Z, now 2026-11-22T00:00:00Z)",
        ),
    );
    check_validity(
        "server a",
        None,
        (-10, 0),
        Err(
            "issuer CN=Issuer expired 0 s ago (not_after 2026-11-22T00:00:00Z, now 2026-11-22T00:00:00Z)",
        ),
    );
    check_validity(
        "server a",
        None,
        (1, 10),
        Err(
            "issuer CN=Issuer is not valid for another 1 d (not_before 2026-11-23T00:00:00Z, now 2026-11-22T00:00:00Z)",
        ),
    );
}

/// DER of a `SubjectPublicKeyInfo` with an RSA modulus of this many bits.
fn rsa(bits: usize) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let header = match (high, low) {
            (0, short @ 0..0x80) => vec![tag, short],
            (0, medium) => vec![tag, 0x81, medium],
            (high, low) => vec![tag, 0x82, high, low],
        };
        [header.as_slice(), content].concat()
    };
    let mut modulus = vec![0xff; bits / 8];
    modulus.insert(0, 0);
    let key = tlv(
        0x30,
        &[tlv(0x02, &modulus), vec![0x02, 0x03, 1, 0, 1]].concat(),
    );
    let algorithm = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
    ];
    tlv(
        0x30,
        &[&algorithm[..], &tlv(0x03, &[&[0], &key[..]].concat())].concat(),
    )
}

fn check_key(spki_der: Vec<u8>, expected: Result<(), &str>) {
    let told = ask(
        ADMIN,
        &Request {
            spki_der,
            ..request("server a")
        },
    );
    assert_eq!(
        told.map(|_| ()).map_err(|denied| denied.to_string()),
        expected.map_err(str::to_owned)
    );
}

#[test]
fn keys_are_of_the_kinds_that_peers_accept() {
    let made = |algorithm| {
        KeyPair::generate_for(algorithm)
            .unwrap()
            .subject_public_key_info()
    };
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ML_DSA_44,
        &rcgen::PKCS_ML_DSA_65,
        &rcgen::PKCS_ML_DSA_87,
    ] {
        check_key(made(algorithm), Ok(()));
    }
    for bits in [2048, 3072, 4096] {
        check_key(rsa(bits), Ok(()));
    }
    check_key(
        made(&rcgen::PKCS_ECDSA_P521_SHA512),
        Err("a key of ECDSA P-521 is not accepted"),
    );
    check_key(rsa(1024), Err("a key of RSA 1024 is not accepted"));
    check_key(rsa(2040), Err("a key of RSA 2040 is not accepted"));
    check_key(rsa(4104), Err("a key of RSA 4104 is not accepted"));
    check_key(rsa(8192), Err("a key of RSA 8192 is not accepted"));
    check_key(
        Vec::new(),
        Err("the public key is not a SubjectPublicKeyInfo"),
    );
    check_key(
        vec![0x30, 0],
        Err("the public key is not a SubjectPublicKeyInfo"),
    );
    check_key(
        [KEY.as_slice(), &[0]].concat(),
        Err("the public key is not a SubjectPublicKeyInfo"),
    );
    check_key(
        internal().certificate.spki_der().to_vec(),
        Err("the key is the issuer's own"),
    );
}

#[test]
fn what_was_authorized_is_approved() {
    for text in [
        "client you email:you@example.com",
        "server a.example.com ip:10.0.0.1",
        "peer a.example.com",
        "workload ns/prod/api dns:api",
    ] {
        let issuer = &internal().certificate;
        let authorized = ask(ADMIN, &request(text)).unwrap();
        let to_be_signed = authorized
            .template()
            .to_be_signed(issuer, SignatureAlgorithm::EcdsaP256Sha256)
            .unwrap();
        let approved = authorized
            .approve(to_be_signed.clone(), &issuers(issuer))
            .unwrap_or_else(|denied| panic!("{text}: {denied}"));
        assert_eq!(approved.to_be_signed(), &to_be_signed);
        assert_eq!(approved.serial(), SerialNumber::from_random(RANDOM));
        assert_eq!(
            (approved.profile().to_string(), approved.actor()),
            (text.split(' ').next().unwrap().to_owned(), &ADMIN)
        );
        let purposes = approved.preview().extended_key_usage().unwrap();
        let expected = match approved.profile().as_str() {
            "client" => (false, true),
            "server" => (true, false),
            _ => (true, true),
        };
        assert_eq!(
            (purposes.server_auth, purposes.client_auth),
            expected,
            "{text}"
        );
    }
}

#[test]
fn certificate_of_the_issuer_of_leaves_carries_the_urls_of_its_own_shard() {
    let issuer = &internal().certificate;
    let at = PublicationUrl::parse("http://pki.example.com").unwrap();
    let published = IssuanceRules {
        publication: Some(at.clone()),
        ..rules()
    };
    let sources = |text: &str, rules: &IssuanceRules| {
        let authorized = authorize(ADMIN, &request(text), rules, &issuers(issuer), RANDOM, NOW);
        authorized.unwrap().template().status_sources.clone()
    };
    let serial = SerialNumber::from_random(RANDOM);
    let server = "server a.example.com";
    assert_eq!(sources(server, &published), at.sources(issuer, serial));
    assert_eq!(sources(server, &rules()), StatusSources::default());
    // Nothing is published for the others.
    for other in ["node a", "operator a", "intermediate a"] {
        assert_eq!(
            sources(other, &published),
            StatusSources::default(),
            "{other}"
        );
    }
}

#[test]
fn responders_certificate_signs_answers_and_nothing_else_and_is_the_authoritys_alone() {
    let issuer = &internal().certificate;
    let rules = IssuanceRules {
        publication: PublicationUrl::parse("http://pki.example.com").ok(),
        ..rules()
    };
    let asked = request("ocsp-responder OCSP_Responder");
    let make = |actor, now| authorize(actor, &asked, &rules, &issuers(issuer), RANDOM, now);
    let authorized = make(Actor::Authority, NOW).unwrap();
    assert_eq!(authorized.issued_by(), IssuerRole::Intermediate);
    let to_be_signed = authorized
        .template()
        .to_be_signed(issuer, SignatureAlgorithm::EcdsaP256Sha256)
        .unwrap();
    let approved = authorized.approve(to_be_signed, &issuers(issuer)).unwrap();
    let preview = approved.preview();
    assert_eq!(
        preview.extended_key_usage().unwrap().listed(),
        ["OCSPSigning"]
    );
    assert!(preview.has_ocsp_no_check() && !preview.is_ca());
    assert!(preview.crl_uris().is_empty());
    let lifetime = preview.not_after().since(NOW);
    assert_eq!(lifetime.as_secs(), 7 * DAY_S);
    let ended = issuer.not_after();
    assert!(matches!(
        make(Actor::Authority, ended),
        Err(Denied::Lifetime { .. })
    ));
    let name = "cn:OCSP Responder".parse::<TypedName>().unwrap();
    for bundle in [BundleName::internal(), BundleName::operators()] {
        let holder = Actor::Holder {
            certificate: None,
            identity: Identity {
                bundle,
                name: name.clone(),
            },
            profile: Profile::OCSP_RESPONDER,
        };
        for actor in [ADMIN, holder] {
            assert!(matches!(make(actor, NOW), Err(Denied::NotPermitted { .. })));
        }
    }
}

/// Bytes of a template that was changed after it had been authorized.
fn check_differs(spoil: impl FnOnce(&mut Template), expected: &str) {
    let issuer = &internal().certificate;
    let authorized = ask(ADMIN, &request("server a.example.com dns:b.example.com")).unwrap();
    let mut template = authorized.template().clone();
    spoil(&mut template);
    let to_be_signed = template
        .to_be_signed(issuer, SignatureAlgorithm::EcdsaP256Sha256)
        .unwrap();
    match authorized.approve(to_be_signed, &issuers(issuer)) {
        Err(Denied::BytesDiffer { what }) => assert_eq!(what, expected),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn bytes_that_say_anything_else_are_not_approved() {
    let name = |text: &str| text.parse::<TypedName>().unwrap();
    check_differs(
        |template| template.subject = DistinguishedName::parse("CN=admin").unwrap(),
        "subject",
    );
    check_differs(
        |template| {
            template.subject = DistinguishedName::parse("CN=a.example.com,O=Example").unwrap();
        },
        "subject",
    );
    check_differs(
        |template| template.subject = DistinguishedName::default(),
        "subject",
    );
    check_differs(
        |template| template.subject_alt_names.push(name("dns:c.example.com")),
        "subjectAltName",
    );
    check_differs(
        |template| template.subject_alt_names.truncate(1),
        "subjectAltName",
    );
    check_differs(
        |template| template.subject_alt_names.clear(),
        "subjectAltName",
    );
    check_differs(
        |template| template.subject_alt_names.reverse(),
        "subjectAltName",
    );
    check_differs(
        |template| template.subject_alt_names[0] = name("uri:dns:a.example.com"),
        "subjectAltName",
    );
    check_differs(|template| template.not_before = NOW, "validity");
    check_differs(
        |template| template.not_after = template.not_after.plus(Duration::from_secs(1)),
        "validity",
    );
    check_differs(
        |template| template.serial = SerialNumber::from_random([1; 20]),
        "serial number",
    );
    check_differs(
        |template| template.spki_der = KeyPair::generate().unwrap().subject_public_key_info(),
        "public key",
    );
    check_differs(
        |template| template.usage = Usage::Authority { path_len: None },
        "basicConstraints",
    );
    check_differs(
        |template| {
            template.usage = Usage::Leaf {
                server_auth: true,
                client_auth: true,
            }
        },
        "extendedKeyUsage",
    );
    check_differs(
        |template| {
            template.usage = Usage::Leaf {
                server_auth: false,
                client_auth: true,
            }
        },
        "extendedKeyUsage",
    );
    check_differs(
        |template| {
            template.usage = Usage::Leaf {
                server_auth: false,
                client_auth: false,
            }
        },
        "extendedKeyUsage",
    );
}

#[test]
fn bytes_for_another_issuer_are_not_approved() {
    let (from, to) = (NOW.seconds() - DAY_S, NOW.seconds() + 3650 * DAY_S);
    let issuer = &internal().certificate;
    for (other, expected) in [("CN=Other", "issuer"), ("CN=Internal root", "encoding")] {
        let other = Authority::new(other, from, to);
        let authorized = ask(ADMIN, &request("server a.example.com")).unwrap();
        let to_be_signed = authorized
            .template()
            .to_be_signed(&other.certificate, SignatureAlgorithm::EcdsaP256Sha256)
            .unwrap();
        match authorized.approve(to_be_signed, &issuers(issuer)) {
            // An issuer of the same name with another key differs in authorityKeyIdentifier.
            Err(Denied::BytesDiffer { what }) => assert_eq!(what, expected),
            told => panic!("{told:?}"),
        }
    }
}

#[test]
fn a_leaf_issues_nothing() {
    let issuer = internal();
    let authorized = ask(ADMIN, &request("server a.example.com")).unwrap();
    let to_be_signed = authorized
        .template()
        .to_be_signed(&issuer.certificate, SignatureAlgorithm::EcdsaP256Sha256)
        .unwrap();
    let leaf = Certificate::parse(&issuer.sign(&to_be_signed)).unwrap();
    let spki_der = KeyPair::generate().unwrap().subject_public_key_info();
    let below = authorize(
        ADMIN,
        &Request {
            spki_der,
            ..request("client b")
        },
        &rules(),
        &issuers(&leaf),
        RANDOM,
        NOW,
    );
    assert_eq!(
        below.map(|_| ()).map_err(|denied| denied.to_string()),
        Err("CN=a.example.com is no issuer: its certificate is not a CA's".to_owned())
    );
}
