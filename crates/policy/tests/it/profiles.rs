//! What profiles are, who may have which, and what a configuration can make of them.

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, Identity};
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::publication::PublicationUrl;
use countersign_pki::request::Wishes;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{ExtraExtension, KeyPurpose, SignatureAlgorithm, Template, Usage};
use countersign_policy::access::PathPattern;
use countersign_policy::administration::{Role, Roles};
use countersign_policy::issuance::{
    Actor, Approved, Authorized, BuiltIn, CommonNamePattern, Denied, FurtherKeyUsage, IpRange,
    IssuanceRules, IssuerRole, Issuers, KeyType, KeyUse, Narrowing, Profile, Profiles, Purpose,
    Request, Source, SourceRules, UriPrefix, authorize,
};
use rcgen::{KeyPair, PublicKeyData as _};

use crate::world::{Authority, DAY_S, NOW};

const ADMIN: Actor = Actor::LocalAdmin { uid: 0 };

/// Three issuers, and profiles that a configuration has changed.
struct Site {
    issuers: Issuers,
    rules: IssuanceRules,
}

impl Site {
    fn new() -> Self {
        let ca = |name| {
            Authority::new(name, NOW.seconds() - DAY_S, NOW.seconds() + 3650 * DAY_S).certificate
        };
        Self {
            issuers: Issuers::new(
                ca("CN=Issuing CA"),
                &[],
                ca("CN=Operator CA"),
                ca("CN=Root CA"),
            ),
            rules: IssuanceRules {
                trust_domain: TrustDomain::parse("example.com").unwrap(),
                profiles: Profiles::built_in(),
                publication: None,
            },
        }
    }

    fn with(name: &str, like: Option<BuiltIn>, narrowing: Narrowing) -> Self {
        let mut site = Self::new();
        site.rules
            .profiles
            .configure(name, like, narrowing)
            .unwrap();
        site
    }

    fn ask(&self, actor: Actor, request: &Request) -> Result<Authorized, Denied> {
        authorize(actor, request, &self.rules, &self.issuers, [0x5a; 20], NOW)
    }

    fn approve(&self, request: &Request) -> Result<Approved, Denied> {
        let authorized = self.ask(ADMIN, request)?;
        let issuer = self.issuers.issuer(authorized.issued_by());
        let to_be_signed = authorized
            .template()
            .to_be_signed(issuer, SignatureAlgorithm::EcdsaP256Sha256)
            .unwrap();
        authorized.approve(to_be_signed, &self.issuers)
    }

    /// Subject, SANs and usage, or the refusal.
    fn check(&self, text: &str, expected: &str) {
        let told = match self.ask(ADMIN, &request(text)) {
            Ok(authorized) => shown(authorized.template()),
            Err(denied) => denied.to_string(),
        };
        assert_eq!(told, expected, "{text}");
    }

    fn check_refused(&self, text: &str, part: &str) {
        let denied = self.ask(ADMIN, &request(text)).map(|_| ()).expect_err(text);
        assert!(denied.to_string().contains(part), "{text}: {denied}");
        assert!(denied.hint().is_some(), "{text}");
    }
}

fn shown(template: &Template) -> String {
    let sans: Vec<String> = template
        .subject_alt_names
        .iter()
        .map(ToString::to_string)
        .collect();
    let usage = match template.usage.clone() {
        Usage::Leaf {
            server_auth,
            client_auth,
        } => match (server_auth, client_auth) {
            (true, true) => "both",
            (true, false) => "server",
            (false, true) => "client",
            (false, false) => "none",
        },
        Usage::Authority { path_len: Some(0) } => "CA of leaves",
        other => panic!("{other:?}"),
    };
    format!("{}; {}; {usage}", template.subject, sans.join(" "))
}

/// `server api.example.com dns:b.example.com`: profile, NAME (`_` for a space), SANs.
fn request(text: &str) -> Request {
    let mut words = text.split(' ');
    Request {
        profile: words.next().unwrap().parse().unwrap(),
        name: words.next().unwrap().replace('_', " "),
        subject_alt_names: words.map(|word| word.parse().unwrap()).collect(),
        lifetime: None,
        spki_der: KeyPair::generate().unwrap().subject_public_key_info(),
        wishes: Wishes::default(),
    }
}

fn names(texts: &[&str]) -> Vec<DnsName> {
    texts
        .iter()
        .map(|text| DnsName::parse(text).unwrap())
        .collect()
}

#[test]
fn built_in_profiles_make_what_they_are_for() {
    let site = Site::new();
    site.check("device sensor-7", "CN=sensor-7; ; client");
    site.check(
        "device sensor-7 uri:urn:dev:7 dns:s7.example.com",
        "CN=sensor-7; uri:urn:dev:7 dns:s7.example.com; client",
    );
    site.check(
        "person alice@example.com",
        "CN=alice@example.com; email:alice@example.com; client",
    );
    site.check(
        "person Alice_A. email:alice@example.com",
        "CN=Alice A.; email:alice@example.com; client",
    );
    let long = format!("{}@example.com", "a".repeat(60));
    site.check(
        &format!("person {long}"),
        &format!("; email:{long}; client"),
    );
    site.check("operator alice", "CN=alice; ; client");
    site.check(
        "operator alice email:alice@example.com",
        "CN=alice; email:alice@example.com; client",
    );
    site.check("node gw-1", "CN=gw-1; ; client");
    site.check("intermediate Factory_CA", "CN=Factory CA; ; CA of leaves");
}

#[test]
fn names_that_a_profile_does_not_have_are_refused() {
    let site = Site::new();
    for text in [
        "device a email:a@b.c",
        "device a ip:10.0.0.1",
        "device a spiffe://example.com/a",
        "device a dns:*.example.com",
        "person Alice",
        "person a@b.c dns:a.example.com",
        "person a@b.c uri:urn:x",
        "person a@b.c spiffe://example.com/a",
        "operator a dns:a.example.com",
        "operator a spiffe://example.com/a",
        "operator a uri:urn:x",
        "node a spiffe://example.com/a",
        "node a email:a@b.c",
        "node a dns:a.example.com",
        "node a ip:10.0.0.1",
        "intermediate a dns:example.com",
        "intermediate a spiffe://example.com",
    ] {
        site.check_refused(text, "does not fit profile");
    }
}

#[test]
fn names_asked_for_twice_look_alikes_and_attributes_are_refused() {
    let site = Site::new();
    site.check_refused("server a.example.com dns:a.example.com", "asked for twice");
    site.check_refused(
        "server a.example.com dns:b.example.com dns:B.example.com.",
        "asked for twice",
    );
    site.check_refused(
        "person a@example.com email:a@EXAMPLE.com",
        "asked for twice",
    );
    for name in ["pаypal", "аdmin", "ａdmin", "𝐚dmin"] {
        site.check_refused(&format!("client {name}"), "letters of several scripts");
    }
    for name in [
        "alice,O=admins",
        "alice/emailAddress=root@example.com",
        "a+OU=b",
        "a;CN=admin",
    ] {
        site.check_refused(
            &format!("client {name}"),
            "attributes of a distinguished name",
        );
    }
    site.check_refused("server bücher.example", "xn--");
    for name in [
        "xn--pypal-4ve.example.com",
        "a.xn--pypal-4ve.com",
        "*.xn--pypal-4ve.com",
        "ab--c.example",
    ] {
        site.check_refused(&format!("server {name}"), "internationalised");
    }
    site.check_refused("client a email:a@xn--pypal-4ve.com", "internationalised");
    site.check("client Ölpumpe_1", "CN=Ölpumpe 1; ; client");
    site.check("client Привет", "CN=Привет; ; client");
}

#[test]
fn international_labels_are_certified_where_a_configuration_names_them() {
    let narrowing = Narrowing {
        dns_suffixes: Some(names(&["xn--bcher-kva.example"])),
        ..Narrowing::default()
    };
    let site = Site::with("shop", Some(BuiltIn::Server), narrowing);
    site.check(
        "shop www.xn--bcher-kva.example",
        "CN=www.xn--bcher-kva.example; dns:www.xn--bcher-kva.example; server",
    );
    site.check_refused("shop xn--a-0ja.xn--bcher-kva.example", "internationalised");
    site.check_refused("shop xn--bcher-kva.example.com", "dns_suffix");
}

#[test]
fn each_profile_has_its_own_issuer() {
    let site = Site::new();
    for (text, issuer) in [
        ("client a", IssuerRole::Intermediate),
        ("server a", IssuerRole::Intermediate),
        ("peer a", IssuerRole::Intermediate),
        ("workload a", IssuerRole::Intermediate),
        ("device a", IssuerRole::Intermediate),
        ("person a@b.c", IssuerRole::Intermediate),
        ("operator a", IssuerRole::Operator),
        ("node a", IssuerRole::Operator),
        ("intermediate a", IssuerRole::Root),
    ] {
        let approved = site
            .approve(&request(text))
            .unwrap_or_else(|denied| panic!("{text}: {denied}"));
        assert_eq!(approved.issued_by(), issuer, "{text}");
        assert_eq!(
            approved.preview().issuer_der(),
            site.issuers.issuer(issuer).subject_der(),
            "{text}"
        );
        assert_eq!(
            approved.preview().is_ca(),
            issuer == IssuerRole::Root,
            "{text}"
        );
    }
}

fn holder(bundle: BundleName, name: &str, profile: Profile) -> Actor {
    let name: TypedName = name.parse().unwrap();
    Actor::Holder {
        certificate: None,
        identity: Identity { bundle, name },
        profile,
    }
}

fn operator(role: Role) -> Actor {
    Actor::Operator {
        identity: Identity {
            bundle: BundleName::operators(),
            name: "cn:a".parse().unwrap(),
        },
        role,
        certificate: Fingerprint::of(b"its certificate"),
    }
}

#[test]
fn operator_gets_by_its_role_what_it_asks_for_and_reserved_ones_as_an_admin_alone() {
    let site = Site::new();
    let ordinary = [
        "client a",
        "device a",
        "peer a.example.com",
        "person a@example.com",
        "server a.example.com",
        "workload a",
        // Its own name in another profile is another identity.
        "client admin uri:urn:operator",
    ];
    // Its own next certificate included: as a role it would be anybody's of that name.
    let reserved = [
        "operator a",
        "operator b",
        "node a",
        "intermediate a",
        "canary a.canary.invalid",
        "canary-server a.canary.invalid",
    ];
    let nobodys = ["authority a.example.com", "ocsp-responder a"];
    for role in Role::ALL {
        for text in ordinary.into_iter().chain(reserved).chain(nobodys) {
            let may = match role {
                Role::Viewer => false,
                Role::Issuer | Role::Operator => ordinary.contains(&text),
                Role::Admin => !nobodys.contains(&text),
            };
            match site.ask(operator(role), &request(text)) {
                Ok(_) if may => {}
                Err(Denied::NotPermitted { actor, .. }) if !may => assert_eq!(actor, "operator a"),
                other => panic!("{role} {text}: {other:?}"),
            }
        }
    }
}

#[test]
fn role_may_what_those_before_it_may_and_is_given_to_operators_alone() {
    for (place, role) in Role::ALL.into_iter().enumerate() {
        for (other_place, other) in Role::ALL.into_iter().enumerate() {
            assert_eq!(role.may(other), place >= other_place);
        }
        assert_eq!(operator(role).role(), Some(role));
    }
    assert_eq!(ADMIN.role(), Some(Role::Admin));
    assert_eq!(Actor::Authority.role(), Some(Role::Admin));
    for (bundle, profile) in [
        (BundleName::internal(), Profile::CLIENT),
        (BundleName::operators(), Profile::NODE),
        (BundleName::operators(), Profile::OPERATOR),
    ] {
        let holder = holder(bundle, "cn:a", profile);
        assert!(!holder.may(Role::Viewer), "{holder}");
    }
    let mut roles = Roles::default();
    roles.bind("cn:a".parse().unwrap(), Role::Operator);
    let of = |bundle: BundleName, name: &str| {
        roles.of(&Identity {
            bundle,
            name: name.parse().unwrap(),
        })
    };
    assert_eq!(of(BundleName::operators(), "cn:a"), Some(Role::Operator));
    for name in ["cn:b", "cn:A", "cn:aa", "email:a@example.com"] {
        assert_eq!(of(BundleName::operators(), name), None, "{name}");
    }
    for bundle in ["internal", "acme-corp", "operator"] {
        let bundle = BundleName::parse(bundle).unwrap();
        assert_eq!(of(bundle.clone(), "cn:a"), None, "{bundle:?}");
    }
}

#[test]
fn reserved_profiles_are_for_admins() {
    let site = Site::new();
    let internal = BundleName::internal;
    let operators = BundleName::operators;
    for (actor, text) in [
        (Actor::Authority, "operator a"),
        (Actor::Authority, "intermediate a"),
        (holder(internal(), "cn:a", Profile::CLIENT), "operator a"),
        (holder(internal(), "cn:a", Profile::CLIENT), "node a"),
        (
            holder(internal(), "cn:a", Profile::CLIENT),
            "intermediate a",
        ),
        (holder(internal(), "cn:a", Profile::PERSON), "operator a"),
        // A certificate that says it is one, under the root.
        (holder(internal(), "cn:a", Profile::NODE), "node a"),
        (holder(internal(), "cn:a", Profile::OPERATOR), "operator a"),
        (
            holder(
                BundleName::parse("acme-corp").unwrap(),
                "cn:a",
                Profile::NODE,
            ),
            "node a",
        ),
        (holder(operators(), "cn:a", Profile::NODE), "operator a"),
        (holder(operators(), "cn:a", Profile::OPERATOR), "node a"),
        (holder(operators(), "cn:a", Profile::NODE), "node b"),
        (
            holder(operators(), "cn:a", Profile::NODE),
            "node a dns:a.example.com",
        ),
        (holder(operators(), "cn:a", Profile::NODE), "client a"),
        (
            holder(operators(), "cn:a", Profile::INTERMEDIATE),
            "intermediate a",
        ),
    ] {
        match site.ask(actor.clone(), &request(text)) {
            Err(Denied::NotPermitted { .. }) => {}
            other => panic!("{actor} {text}: {other:?}"),
        }
    }
    for (actor, text) in [
        (Actor::Authority, "authority a.example.com ip:10.0.0.1"),
        (holder(operators(), "cn:a", Profile::NODE), "node a"),
        (holder(operators(), "cn:a", Profile::OPERATOR), "operator a"),
        (holder(internal(), "cn:a", Profile::DEVICE), "device a"),
    ] {
        assert!(
            site.ask(actor.clone(), &request(text)).is_ok(),
            "{actor} {text}"
        );
    }
}

/// What was asked for and why it was refused.
fn check_canary(text: &str, part: &str) {
    let denied = Site::new()
        .ask(ADMIN, &request(text))
        .map(|_| ())
        .expect_err(text);
    assert!(denied.to_string().contains(part), "{text}: {denied}");
}

#[test]
fn canary_has_names_of_its_own_that_nobody_else_has() {
    let its_own = "below canary.invalid or spiffe://example.com/canary/";
    check_canary("canary a", its_own);
    check_canary("canary a.example.com", its_own);
    check_canary("canary 10.0.0.1", "no IP names");
    check_canary("canary a.canary.invalid dns:a.example.com", its_own);
    check_canary("canary a.canary.invalid spiffe://example.com/web", its_own);
    check_canary(
        "canary a.canary.invalid spiffe://other.example/canary/a",
        "vouches for example.com alone",
    );
    check_canary("canary *.canary.invalid", "wildcard");
    check_canary("canary-server a.example.com", its_own);
    let only = "only a canary is called so";
    check_canary("server a.canary.invalid", only);
    check_canary("peer a.example.com dns:a.canary.invalid", only);
    check_canary("client a dns:a.canary.invalid", only);
    check_canary("workload canary/a", only);
    check_canary("client a spiffe://example.com/canary", only);
}

#[test]
fn canary_lives_for_minutes_and_is_nobodys_to_renew() {
    let site = Site::new();
    let asked = request("canary a.canary.invalid spiffe://example.com/canary/a");
    let approved = site.approve(&asked).unwrap();
    let preview = approved.preview();
    assert!(preview.not_after().since(NOW) <= Duration::from_mins(5));
    let usage = |profile: &str| {
        let asked = request(&format!("{profile} a.canary.invalid"));
        let approved = site.approve(&asked).unwrap();
        approved.preview().extended_key_usage().unwrap().listed()
    };
    assert_eq!(usage("canary"), ["clientAuth"]);
    assert_eq!(usage("canary-server"), ["serverAuth"]);
    let mut long = request("canary a.canary.invalid");
    long.lifetime = Some(Duration::from_mins(11));
    let denied = site.ask(ADMIN, &long).map(|_| ()).unwrap_err();
    assert!(denied.to_string().contains("too long"), "{denied}");
    for bundle in [BundleName::INTERNAL, BundleName::OPERATORS] {
        let bundle = BundleName::parse(bundle).unwrap();
        let holder = holder(bundle, "dns:a.canary.invalid", Profile::CANARY);
        let next = site.ask(holder, &request("canary a.canary.invalid"));
        assert!(matches!(next, Err(Denied::NotPermitted { .. })));
    }
}

fn check_configured(
    name: &str,
    like: Option<BuiltIn>,
    narrowing: Narrowing,
    key: Option<&str>,
    part: &str,
) {
    let invalid = Profiles::built_in()
        .configure(name, like, narrowing)
        .expect_err(name);
    assert_eq!(invalid.key, key, "{name}: {invalid}");
    assert!(invalid.why.contains(part), "{name}: {invalid}");
    assert!(!invalid.hint.is_empty());
}

#[test]
fn reserved_names_cannot_be_configured_shadowed_or_imitated() {
    let like = Some(BuiltIn::Client);
    for name in [
        "operator",
        "node",
        "intermediate",
        "canary",
        "canary-server",
        "imported",
        "root",
    ] {
        check_configured(name, like, Narrowing::default(), None, "reserved");
        check_configured(name, None, Narrowing::default(), None, "reserved");
    }
    for name in [
        "Operator",
        "OPERATOR",
        "operatоr",
        "ｏperator",
        " operator",
        "operator ",
        "node\0",
        "",
        "-node",
        "node-",
        "1node",
        "node_1",
        "node.",
        "n\u{200b}ode",
        "a/../node",
    ] {
        check_configured(name, like, Narrowing::default(), None, "not the name");
    }
    check_configured(
        &"a".repeat(41),
        like,
        Narrowing::default(),
        None,
        "not the name",
    );
    for (name, other) in [
        ("0perator", "not the name"),
        ("operat0r", "could be taken for operator"),
        ("op-erator", "could be taken for operator"),
        ("n0de", "could be taken for node"),
        ("no-de", "could be taken for node"),
        ("lnterrnediate", "could be taken for intermediate"),
        ("intermed1ate", "could be taken for intermediate"),
        ("c4nary", "could be taken for canary"),
        ("c1ient", "could be taken for client"),
        ("dient", "could be taken for client"),
        ("r00t", "could be taken for root"),
    ] {
        check_configured(name, like, Narrowing::default(), None, other);
    }
    for reserved in [BuiltIn::Operator, BuiltIn::Node, BuiltIn::Intermediate] {
        check_configured(
            "web",
            Some(reserved),
            Narrowing::default(),
            Some("like"),
            "reserved",
        );
    }
    check_configured(
        "web",
        None,
        Narrowing::default(),
        Some("like"),
        "which built-in one",
    );
    check_configured(
        "server",
        Some(BuiltIn::Client),
        Narrowing::default(),
        Some("like"),
        "built in",
    );
    assert!(
        Profiles::built_in()
            .configure("server", Some(BuiltIn::Server), Narrowing::default())
            .is_ok()
    );
}

#[test]
fn a_configuration_narrows_and_never_widens() {
    let day = Duration::from_secs(DAY_S);
    let some = Narrowing::default;
    check_configured(
        "web",
        Some(BuiltIn::Server),
        Narrowing {
            max_lifetime: Some(826 * day),
            ..some()
        },
        Some("max_lifetime"),
        "825d",
    );
    check_configured(
        "web",
        Some(BuiltIn::Server),
        Narrowing {
            max_lifetime: Some(Duration::ZERO),
            ..some()
        },
        Some("max_lifetime"),
        "1s",
    );
    check_configured(
        "web",
        Some(BuiltIn::Server),
        Narrowing {
            max_lifetime: Some(day),
            default_lifetime: Some(2 * day),
            ..some()
        },
        Some("default_lifetime"),
        "max_lifetime",
    );
    check_configured(
        "web",
        Some(BuiltIn::Server),
        Narrowing {
            keys: Some(Vec::new()),
            ..some()
        },
        Some("keys"),
        "no key",
    );
    check_configured(
        "web",
        Some(BuiltIn::Client),
        Narrowing {
            wildcard: Some(true),
            ..some()
        },
        Some("wildcard"),
        "no wildcard",
    );
    let email = Narrowing {
        email_domains: Some(names(&["example.com"])),
        ..some()
    };
    check_configured(
        "web",
        Some(BuiltIn::Server),
        email,
        Some("email_domain"),
        "no e-mail",
    );
    let dns = Narrowing {
        dns_suffixes: Some(names(&["example.com"])),
        ..some()
    };
    check_configured(
        "staff",
        Some(BuiltIn::Person),
        dns,
        Some("dns_suffix"),
        "no DNS",
    );
    let cn = Narrowing {
        common_names: CommonNamePattern::parse("a*").map(|it| vec![it]),
        ..some()
    };
    check_configured(
        "web",
        Some(BuiltIn::Server),
        cn,
        Some("common_name"),
        "common names",
    );
    let extension = ExtraExtension::parse_text("1.3.6.1.4.1.32473.1", false, "a").unwrap();
    let twice = Narrowing {
        extensions: vec![extension.clone(), extension],
        ..some()
    };
    check_configured(
        "web",
        Some(BuiltIn::Server),
        twice,
        Some("extension"),
        "twice",
    );
}

fn narrow() -> Site {
    let narrowing = Narrowing {
        keys: Some(vec![KeyType::P256]),
        max_lifetime: Some(Duration::from_secs(30 * DAY_S)),
        dns_suffixes: Some(names(&["web.example.com", "b.example"])),
        wildcard: Some(false),
        ip_ranges: Some(vec![IpRange::parse("10.1.0.0/16").unwrap()]),
        ..Narrowing::default()
    };
    Site::with("web", Some(BuiltIn::Server), narrowing)
}

#[test]
fn narrowed_names_are_the_only_ones() {
    let site = narrow();
    site.check(
        "web web.example.com dns:a.b.example ip:10.1.2.3",
        "CN=web.example.com; dns:web.example.com dns:a.b.example ip:10.1.2.3; server",
    );
    for text in [
        "web example.com",
        "web evil-web.example.com",
        "web webxexample.com",
        "web web.example.com.evil.example",
        "web web.example.com dns:other.example",
    ] {
        site.check_refused(text, "dns_suffix");
    }
    site.check_refused("web *.web.example.com", "no wildcard");
    for text in [
        "web 10.2.0.1",
        "web a.web.example.com ip:10.0.255.255",
        "web ::ffff:10.1.2.3",
    ] {
        site.check_refused(text, "ip_range");
    }
    // The built-in one is as it was, and the authority's own is not bound by the narrowing of a built-in one.
    site.check(
        "server anything.example ip:8.8.8.8",
        "CN=anything.example; dns:anything.example ip:8.8.8.8; server",
    );
    let site = Site::with(
        "server",
        None,
        Narrowing {
            dns_suffixes: Some(names(&["example.com"])),
            ..Narrowing::default()
        },
    );
    site.check_refused("server localhost", "dns_suffix");
    assert!(
        site.ask(Actor::Authority, &request("server localhost"))
            .is_ok()
    );
}

#[test]
fn every_kind_of_name_can_be_narrowed() {
    let narrowing = Narrowing {
        dns_suffixes: Some(Vec::new()),
        spiffe_paths: Some(vec![
            PathPattern::parse("/ns/*/api").unwrap(),
            PathPattern::parse("/batch/**").unwrap(),
        ]),
        email_domains: Some(names(&["example.com"])),
        uri_prefixes: Some(vec![
            UriPrefix::parse("https://d.example/x/").unwrap(),
            UriPrefix::parse("urn:dev:").unwrap(),
        ]),
        common_names: Some(vec![CommonNamePattern::parse("svc-*-prod").unwrap()]),
        ..Narrowing::default()
    };
    let site = Site::with("svc", Some(BuiltIn::Client), narrowing);
    for text in [
        "svc svc-a-prod",
        "svc svc--prod",
        "svc svc-a-prod-b-prod",
        "svc svc-a-prod spiffe://example.com/ns/x/api",
        "svc svc-a-prod spiffe://example.com/batch/a/b",
        "svc svc-a-prod email:a@example.com uri:https://d.example/x/1 uri:urn:dev:7",
    ] {
        assert!(site.ask(ADMIN, &request(text)).is_ok(), "{text}");
    }
    for (text, part) in [
        ("svc svc-prod", "common_name"),
        ("svc svc-a-prod-b", "common_name"),
        ("svc SVC-a-prod", "common_name"),
        ("svc svc-a-prod dns:a.example.com", "dns_suffix"),
        (
            "svc svc-a-prod spiffe://example.com/ns/x/y/api",
            "spiffe_path",
        ),
        ("svc svc-a-prod spiffe://example.com/ns/x", "spiffe_path"),
        ("svc svc-a-prod email:a@sub.example.com", "email_domain"),
        (
            "svc svc-a-prod email:a@example.com.evil.example",
            "email_domain",
        ),
        ("svc svc-a-prod uri:https://d.example/y/1", "uri_prefix"),
        ("svc svc-a-prod uri:https://d.example/x/../y", "uri_prefix"),
        ("svc svc-a-prod uri:https://d.example/x/..?y", "uri_prefix"),
        ("svc svc-a-prod uri:https://d.example/x/..#y", "uri_prefix"),
        ("svc svc-a-prod uri:https://d.example/x/..;/y", "uri_prefix"),
        (
            "svc svc-a-prod uri:https://d.example/x/%2e%2e/y",
            "uri_prefix",
        ),
        (
            "svc svc-a-prod uri:https://d.example.evil.example/x/1",
            "uri_prefix",
        ),
        ("svc svc-a-prod uri:urn:dev:", "uri_prefix"),
    ] {
        site.check_refused(text, part);
    }
}

#[test]
fn patterns_that_say_too_much_or_nothing_are_none() {
    for text in [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/",
        "::/129",
        "a",
        "10.0.0/8",
        "",
    ] {
        assert_eq!(IpRange::parse(text), None, "{text}");
    }
    for (range, inside, outside) in [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("0.0.0.0/0", "255.0.0.1", "::1"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
        ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
    ] {
        let range = IpRange::parse(range).expect(range);
        assert!(range.contains(inside.parse().unwrap()), "{range} {inside}");
        assert!(
            !range.contains(outside.parse().unwrap()),
            "{range} {outside}"
        );
    }
    for text in [
        "https://a.example",
        "https:",
        "https://",
        "https:///",
        "nothing",
        "urn",
        "spiffe://example.com/",
        "",
    ] {
        let parsed = UriPrefix::parse(text);
        assert!(parsed.is_none() || text == "https:", "{text}");
    }
    for text in ["", " a*", "*********", &"a".repeat(65)] {
        assert_eq!(CommonNamePattern::parse(text), None, "{text}");
    }
}

#[test]
fn keys_and_lives_are_the_profiles() {
    let site = narrow();
    let ask = |change: fn(&mut Request)| {
        let mut request = request("web web.example.com");
        change(&mut request);
        site.ask(ADMIN, &request)
            .map(|it| it.template().not_after)
            .map_err(|denied| denied.to_string())
    };
    assert_eq!(
        ask(|_| {}),
        Ok(NOW.plus(Duration::from_secs(30 * DAY_S - 1))),
        "the default is cut to the limit"
    );
    assert_eq!(
        ask(|request| request.lifetime = Some(Duration::from_secs(31 * DAY_S))),
        Err("a lifetime of 31 d is too long: at most 30 d (30 d)".to_owned())
    );
    assert_eq!(
        ask(|request| {
            request.spki_der = KeyPair::generate_for(&rcgen::PKCS_ED25519)
                .unwrap()
                .subject_public_key_info();
        }),
        Err("a key of Ed25519 is not accepted: profile web has ECDSA P-256".to_owned())
    );
}

#[test]
fn a_key_of_any_issuer_is_nobody_elses() {
    let site = Site::new();
    for role in [
        IssuerRole::Intermediate,
        IssuerRole::Operator,
        IssuerRole::Root,
    ] {
        for text in ["client a", "node a", "intermediate a"] {
            let request = Request {
                spki_der: site.issuers.issuer(role).spki_der().to_vec(),
                ..request(text)
            };
            match site.ask(ADMIN, &request) {
                Err(Denied::Key { .. }) => {}
                other => panic!("{role} {text}: {other:?}"),
            }
        }
    }
}

#[test]
fn nobody_is_called_what_an_issuer_is_called() {
    let site = Site::new();
    for text in [
        "intermediate Operator_CA",
        "intermediate Root_CA",
        "client Operator_CA",
        "node Issuing_CA",
    ] {
        site.check_refused(text, "name of an issuer");
    }
}

#[test]
fn extra_extensions_are_in_the_certificate_and_nothing_else_is() {
    let extension =
        |critical| ExtraExtension::parse_text("1.3.6.1.4.1.32473.1", critical, "web").unwrap();
    for critical in [false, true] {
        let narrowing = Narrowing {
            extensions: vec![extension(critical)],
            ..Narrowing::default()
        };
        let site = Site::with("web", Some(BuiltIn::Server), narrowing);
        let approved = site.approve(&request("web a.example.com")).unwrap();
        let found: Vec<(String, bool)> = approved
            .preview()
            .extensions()
            .filter(|extension| extension.name().is_none())
            .map(|extension| (extension.oid(), extension.critical))
            .collect();
        assert_eq!(found, [("1.3.6.1.4.1.32473.1".to_owned(), critical)]);
        let told = approved.because(&request("web a.example.com"), &site.issuers);
        assert!(
            told.iter().any(|because| because.field == "extension"
                && because.why.contains("critical") == critical),
            "{told:?}"
        );
    }
}

/// Key usage and purposes of what `text` gets under a profile.
fn used_for(like: BuiltIn, narrowing: Narrowing, text: &str) -> (Vec<&'static str>, Vec<String>) {
    let site = Site::with("lab", Some(like), narrowing);
    let approved = site.approve(&request(text)).unwrap();
    assert_eq!(approved.issued_by(), IssuerRole::Intermediate);
    let preview = approved.preview();
    assert!(!preview.is_ca() && preview.key_usage_critical());
    (
        preview.key_usage().unwrap().listed(),
        preview.extended_key_usage().unwrap().listed(),
    )
}

fn eap() -> Purpose {
    Purpose::Further(KeyPurpose::parse("1.3.6.1.5.5.7.3.14").unwrap())
}

#[test]
fn a_profile_says_less_of_tls_and_more_of_what_means_nothing_to_us() {
    let narrowing = Narrowing {
        purposes: Some(vec![Purpose::ClientAuth, eap()]),
        ..Narrowing::default()
    };
    assert_eq!(
        used_for(BuiltIn::Peer, narrowing, "lab a.example.com"),
        (
            vec!["digitalSignature"],
            vec!["clientAuth".to_owned(), "1.3.6.1.5.5.7.3.14".to_owned()]
        )
    );
    let narrowing = Narrowing {
        keys: Some(vec![KeyType::P256, KeyType::P384]),
        key_usage: Some(vec![
            FurtherKeyUsage::KeyAgreement,
            FurtherKeyUsage::ContentCommitment,
        ]),
        ..Narrowing::default()
    };
    assert_eq!(
        used_for(BuiltIn::Client, narrowing, "lab a"),
        (
            vec!["digitalSignature", "contentCommitment", "keyAgreement"],
            vec!["clientAuth".to_owned()]
        )
    );
}

#[test]
fn no_profile_gives_its_keys_what_its_kind_has_not() {
    let purposes = |purposes: &[Purpose]| Narrowing {
        purposes: Some(purposes.to_vec()),
        ..Narrowing::default()
    };
    let eku = Some("extended_key_usage");
    let (server, client) = (Purpose::ServerAuth, Purpose::ClientAuth);
    for (like, listed, part) in [
        (BuiltIn::Server, vec![server, client], "have no client-auth"),
        (BuiltIn::Client, vec![server], "have no server-auth"),
        (BuiltIn::Person, vec![client, server], "have no server-auth"),
        (BuiltIn::Peer, vec![], "neither server-auth nor client-auth"),
        (
            BuiltIn::Workload,
            vec![eap()],
            "neither server-auth nor client-auth",
        ),
        (BuiltIn::Peer, vec![server, server], "twice"),
        (BuiltIn::Client, vec![client, eap(), eap()], "twice"),
    ] {
        check_configured("lab", Some(like), purposes(&listed), eku, part);
    }
    // What speaks for the issuer or for everything, and what the kind decides, has no other way in.
    for oid in [
        "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.2",
        "1.3.6.1.5.5.7.3.9",
        "2.5.29.37.0",
        "nonsense",
        "",
        "1",
    ] {
        assert!(KeyPurpose::parse(oid).is_err(), "{oid}");
    }
    let bits = |keys: Option<Vec<KeyType>>, bit| Narrowing {
        keys,
        key_usage: Some(vec![bit]),
        ..Narrowing::default()
    };
    let rsa = || Some(vec![KeyType::Rsa { bits: 2048 }]);
    for (keys, bit, part) in [
        (None, FurtherKeyUsage::KeyEncipherment, "RSA keys alone"),
        (None, FurtherKeyUsage::KeyAgreement, "P-256 and P-384 alone"),
        (
            rsa(),
            FurtherKeyUsage::KeyAgreement,
            "P-256 and P-384 alone",
        ),
        (
            Some(vec![KeyType::Ed25519]),
            FurtherKeyUsage::KeyAgreement,
            "P-256 and P-384 alone",
        ),
    ] {
        let narrowing = bits(keys, bit);
        check_configured(
            "lab",
            Some(BuiltIn::Client),
            narrowing,
            Some("key_usage"),
            part,
        );
    }
    let narrowing = bits(rsa(), FurtherKeyUsage::KeyEncipherment);
    let mut profiles = Profiles::built_in();
    profiles
        .configure("lab", Some(BuiltIn::Server), narrowing)
        .unwrap();
    // Invariant 12: what reaches the admin API, the feed and acknowledgements stays what it is.
    for reserved in [
        BuiltIn::Authority,
        BuiltIn::Canary,
        BuiltIn::CanaryServer,
        BuiltIn::Intermediate,
        BuiltIn::Node,
        BuiltIn::OcspResponder,
        BuiltIn::Operator,
    ] {
        let name = reserved.profile().to_string();
        check_configured(&name, None, purposes(&[client]), None, "reserved");
        let like = Some(reserved);
        check_configured("lab", like, purposes(&[client]), Some("like"), "reserved");
    }
}

#[test]
fn a_profile_says_where_its_certificates_are_looked_up() {
    let published = PublicationUrl::parse("http://pki.example.com").unwrap();
    let sources = |rules: SourceRules, published: Option<PublicationUrl>| {
        let narrowing = Narrowing {
            sources: rules,
            ..Narrowing::default()
        };
        let mut site = Site::with("lab", Some(BuiltIn::Client), narrowing);
        site.rules.publication = published;
        let request = request("lab a");
        let approved = site.approve(&request).unwrap();
        let told = approved.because(&request, &site.issuers);
        let value = |field: &str| {
            let found = told.iter().find(|it| it.field == field);
            found.map(|it| it.value.clone()).unwrap()
        };
        let crl = approved.preview().crl_uris().join(" ");
        let said = value("cRLDistributionPoints");
        assert_eq!(said, if crl.is_empty() { "none" } else { &crl });
        [
            crl,
            value("authorityInfoAccess ocsp"),
            value("authorityInfoAccess caIssuers"),
        ]
    };
    let own = sources(SourceRules::default(), Some(published.clone()));
    assert!(
        own.iter()
            .all(|it| it.starts_with("http://pki.example.com/"))
    );
    let elsewhere = |text: &str| Source::parse(text);
    let [crl, ocsp, ca_issuers] = sources(
        SourceRules {
            crl: elsewhere("http://cdn.example.com/all.crl"),
            ocsp: Some(Source::Nowhere),
            ca_issuers: None,
        },
        Some(published),
    );
    assert_eq!((&*crl, &*ocsp), ("http://cdn.example.com/all.crl", "none"));
    assert!(
        ca_issuers.starts_with("http://pki.example.com/ca/"),
        "{ca_issuers}"
    );
    let rules = SourceRules {
        ocsp: elsewhere("http://ocsp.example.com"),
        ..SourceRules::default()
    };
    assert_eq!(
        sources(rules, None),
        ["", "http://ocsp.example.com", "none"]
    );
    for bad in [
        "",
        "http://",
        "http:///x",
        "https://a.example",
        "ldap://a.example",
        "http://a@b.example",
        "http://a.example/\u{1b}",
        "http://a.example/ x",
        "http://a.example/#x",
    ] {
        assert_eq!(Source::parse(bad), None, "{bad:?}");
    }
    assert_eq!(Source::parse(&format!("http://{}", "a".repeat(200))), None);
}

#[test]
fn what_an_issuer_may_not_give_is_refused_by_name() {
    let mut site = Site::new();
    let leaf_only = |site: &Site| {
        let authorized = site.ask(ADMIN, &request("intermediate Below")).unwrap();
        let template = authorized.template().clone();
        let key = Authority::new("CN=x", NOW.seconds() - DAY_S, NOW.seconds() + DAY_S);
        let root = site.issuers.issuer(IssuerRole::Root);
        let signed = key.sign(
            &template
                .to_be_signed(root, SignatureAlgorithm::EcdsaP256Sha256)
                .unwrap(),
        );
        Certificate::parse(&signed).unwrap()
    };
    let narrow = leaf_only(&site);
    site.issuers = Issuers::new(narrow.clone(), &[], narrow.clone(), narrow);
    match site.approve(&request("intermediate Another")) {
        Err(Denied::Lint { fault }) => assert_eq!(fault.lint, "path-length-exceeded"),
        other => panic!("{other:?}"),
    }
    assert!(
        site.approve(&request("client a")).is_err(),
        "a CA that has itself above it is one too deep"
    );
}

fn wish(change: impl FnOnce(&mut Wishes)) -> Request {
    let mut request = request("server a.example.com dns:b.example.com");
    change(&mut request.wishes);
    request
}

#[test]
fn what_a_certificate_request_asks_for_is_given_or_refused() {
    let site = Site::new();
    let san = |text: &str| text.parse::<TypedName>().unwrap();
    let check = |request: &Request, part: &str| {
        let denied = site.ask(ADMIN, request).map(drop).expect_err(part);
        assert!(matches!(denied, Denied::Wish { .. }), "{denied}");
        assert!(denied.to_string().contains(part), "{denied}");
    };
    assert!(
        site.ask(
            ADMIN,
            &wish(|wishes| wishes.subject_alt_names = vec![san("dns:b.example.com")])
        )
        .is_ok()
    );
    check(
        &wish(|wishes| {
            wishes.subject_alt_names = vec![san("dns:a.example.com"), san("dns:admin.example.com")];
        }),
        "asks for dns:admin.example.com, and you did not",
    );
    check(
        &wish(|wishes| wishes.other_alt_names = 1),
        "1 names that are no DNS name",
    );
    check(&wish(|wishes| wishes.wants_ca = true), "asks to be a CA");
    check(
        &wish(|wishes| wishes.unknown_critical = vec!["1.2.3".to_owned()]),
        "extension 1.2.3",
    );
    let ca = |text| Request {
        wishes: Wishes {
            wants_ca: true,
            ..Wishes::default()
        },
        ..request(text)
    };
    assert!(site.ask(ADMIN, &ca("intermediate Factory")).is_ok());
    for other in ["operator eve", "node gw1"] {
        check(&ca(other), "asks to be a CA");
    }
}

fn used(
    identity: &str,
    profile: Option<Profile>,
    is_live: bool,
    revoked: Option<RevocationReason>,
) -> KeyUse {
    KeyUse {
        identity: identity.parse().unwrap(),
        profile,
        serial: SerialNumber::from_random([9; 20]),
        is_live,
        revoked,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one case a line")]
fn a_key_stands_for_one_identity_and_a_stolen_one_for_none() {
    let check = |text: &str, same_key: bool, used: &[KeyUse], expected: Option<&str>| {
        let narrowing = Narrowing {
            same_key_renewal: Some(same_key),
            ..Narrowing::default()
        };
        let site = Site::with("svc", Some(BuiltIn::Client), narrowing);
        let approved = site.approve(&request(text)).unwrap();
        let told = approved
            .check_key(&"cn:a".parse().unwrap(), used)
            .map_err(|denied| denied.to_string());
        match (told, expected) {
            (Ok(()), None) => {}
            (Err(why), Some(part)) if why.contains(part) => {}
            (told, _) => panic!("{text} {used:?}: {told:?}"),
        }
    };
    let (client, svc) = (Some(Profile::CLIENT), Some("svc".parse().unwrap()));
    check("svc a", true, &[], None);
    check(
        "svc a",
        true,
        &[used("cn:a", svc.clone(), true, None)],
        None,
    );
    check(
        "svc a",
        true,
        &[used("cn:a", client.clone(), true, None)],
        None,
    );
    check("svc a", true, &[used("cn:a", None, true, None)], None);
    check("svc a", false, &[used("cn:a", None, true, None)], None);
    check(
        "svc a",
        false,
        &[used("cn:a", svc.clone(), true, None)],
        Some("wants a new one"),
    );
    check(
        "svc a",
        false,
        &[used("cn:a", svc.clone(), false, None)],
        Some("wants a new one"),
    );
    check(
        "svc a",
        true,
        &[used("cn:b", client.clone(), true, None)],
        Some("that of cn:b"),
    );
    check(
        "svc a",
        true,
        &[used("dns:a", client.clone(), true, None)],
        Some("that of dns:a"),
    );
    check(
        "svc a",
        true,
        &[used("cn:b", None, true, None)],
        Some("that of cn:b"),
    );
    check(
        "svc a",
        true,
        &[used("cn:b", client.clone(), false, None)],
        None,
    );
    check(
        "svc a",
        true,
        &[used(
            "cn:b",
            client.clone(),
            false,
            Some(RevocationReason::Superseded),
        )],
        None,
    );
    check(
        "svc a",
        true,
        &[used("cn:a", Some(Profile::OPERATOR), true, None)],
        Some("that of cn:a"),
    );
    check(
        "operator a",
        true,
        &[used("cn:a", client, true, None)],
        Some("that of cn:a"),
    );
    check(
        "operator a",
        true,
        &[used("cn:a", Some(Profile::OPERATOR), true, None)],
        None,
    );
    for reason in [
        RevocationReason::KeyCompromise,
        RevocationReason::CaCompromise,
    ] {
        check(
            "svc a",
            true,
            &[used("cn:a", svc.clone(), false, Some(reason))],
            Some("given away"),
        );
        check(
            "svc a",
            true,
            &[used("cn:b", svc.clone(), false, Some(reason))],
            Some("given away"),
        );
    }
}

#[test]
fn a_name_and_what_stands_beside_it_are_found_again() {
    let site = Site::new();
    for text in [
        "client a dns:b.example.com email:a@b.c",
        "device a uri:urn:x",
        "person a@b.c",
        "person a@b.c email:d@e.f",
        "person Alice email:a@b.c",
        "server a.example.com ip:10.0.0.1 dns:b.example.com",
        "server 10.0.0.1 dns:a.example.com",
        "workload a/b dns:c.example.com",
        "operator a email:a@b.c",
        "node a",
        "intermediate A",
    ] {
        let first = request(text);
        let approved = site.approve(&first).unwrap();
        let rules = site.rules.profiles.find(&first.profile).unwrap();
        let (name, subject_alt_names) = rules.name_of(approved.preview().names());
        let again = site
            .approve(&Request {
                name,
                subject_alt_names,
                ..first
            })
            .unwrap();
        assert_eq!(
            again.preview().subject(),
            approved.preview().subject(),
            "{text}"
        );
        assert_eq!(
            again.preview().subject_alt_names(),
            approved.preview().subject_alt_names(),
            "{text}"
        );
    }
}

#[test]
fn unknown_profiles_are_named_with_those_there_are() {
    let site = narrow();
    let denied = site.ask(ADMIN, &request("webs a")).map(|_| ()).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "profile webs is not known; profiles are canary, canary-server, client, device, intermediate, node, operator, peer, person, server, web and workload"
    );
    for text in ["", "Server", "SERVER", " server", "a b"] {
        assert!(text.parse::<Profile>().is_err(), "{text}");
    }
}

#[test]
fn what_the_authority_is_known_by_nobody_else_gets_and_it_is_for_servers_alone() {
    let site = Site::new();
    let (internal, operators) = (BundleName::internal, BundleName::operators);
    for actor in [
        ADMIN,
        holder(operators(), "cn:a", Profile::NODE),
        holder(operators(), "cn:a", Profile::OPERATOR),
        holder(operators(), "dns:a.example.com", Profile::AUTHORITY),
        holder(internal(), "dns:a.example.com", Profile::SERVER),
    ] {
        match site.ask(actor.clone(), &request("authority a.example.com")) {
            Err(Denied::NotPermitted { .. }) => {}
            other => panic!("{actor}: {other:?}"),
        }
    }
    // And it makes no node of itself.
    assert!(site.ask(Actor::Authority, &request("node a")).is_err());
    let own = site
        .ask(Actor::Authority, &request("authority a.example.com"))
        .expect("its own");
    assert_eq!(own.issued_by(), IssuerRole::Operator);
    let usage = own.template().usage.clone();
    assert!(
        matches!(
            usage,
            Usage::Leaf {
                server_auth: true,
                client_auth: false
            }
        ),
        "{usage:?}"
    );
}

#[test]
fn node_gets_server_certificates_for_the_names_that_are_bound_to_it_and_no_others() {
    let mut site = Site::new();
    let (internal, operators) = (BundleName::internal, BundleName::operators);
    let name = |text: &str| text.parse::<TypedName>().expect("a name");
    site.rules.profiles.bind(
        name("cn:gw-1"),
        vec![name("dns:a.example.com"), name("ip:10.0.0.1")],
    );
    site.rules
        .profiles
        .bind(name("cn:gw-2"), vec![name("dns:b.example.com")]);
    let node = |bundle, cn: &str| holder(bundle, cn, Profile::NODE);
    for (actor, text, expected) in [
        (node(operators(), "cn:gw-1"), "server a.example.com", true),
        (
            node(operators(), "cn:gw-1"),
            "server a.example.com ip:10.0.0.1",
            true,
        ),
        (node(operators(), "cn:gw-1"), "server b.example.com", false),
        (
            node(operators(), "cn:gw-1"),
            "server a.example.com dns:b.example.com",
            false,
        ),
        (node(operators(), "cn:gw-1"), "server *.example.com", false),
        (node(operators(), "cn:gw-3"), "server a.example.com", false),
        // Bound to a common name, not to a host of that name.
        (node(operators(), "dns:gw-1"), "server a.example.com", false),
        (node(internal(), "cn:gw-1"), "server a.example.com", false),
        (node(operators(), "cn:gw-1"), "peer a.example.com", false),
        (node(operators(), "cn:gw-1"), "client a.example.com", false),
        (
            holder(operators(), "cn:gw-1", Profile::OPERATOR),
            "server a.example.com",
            false,
        ),
    ] {
        let asked = site.ask(actor.clone(), &request(text));
        assert_eq!(asked.is_ok(), expected, "{actor} {text}: {asked:?}");
    }
}

#[test]
fn holds_of_those_who_could_let_others_in_are_ended_by_admins() {
    let operator = |role| Actor::Operator {
        identity: "cn:olga"
            .parse()
            .map(|name| Identity {
                bundle: BundleName::operators(),
                name,
            })
            .expect("a name"),
        role,
        certificate: Fingerprint::of(b"any"),
    };
    let check = |profile: Option<Profile>, needed: Role| {
        for role in Role::ALL {
            assert_eq!(
                operator(role).may_release(profile.as_ref()),
                role >= needed,
                "{profile:?} by {role:?}"
            );
        }
    };
    check(Some(Profile::CLIENT), Role::Operator);
    check(Some(Profile::SERVER), Role::Operator);
    for profile in [
        Profile::OPERATOR,
        Profile::NODE,
        Profile::INTERMEDIATE,
        Profile::ADOPTED,
    ] {
        check(Some(profile), Role::Admin);
    }
    check(None, Role::Admin);
}
