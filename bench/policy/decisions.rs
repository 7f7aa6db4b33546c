//! What a decision costs with few rules and with many: nanoseconds, and entries looked at.
//!
//! `cargo run --release -p countersign-testkit --example decisions`

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Allow, Asked, Circumstances, Condition, Factors, NamePattern, NoHeaders,
    PathPattern, Route,
};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const COUNTS: [usize; 3] = [10, 1000, 10_000];

fn main() -> ExitCode {
    // Nobody copies what is not printed.
    if cfg!(debug_assertions) {
        eprintln!("error: this build is not optimised, and its figures are no figures");
        eprintln!("hint: cargo run --release -p countersign-testkit --example decisions");
        return ExitCode::FAILURE;
    }
    let peer = peer();
    let host = DnsName::parse("api.example.com").expect("a name");
    println!(
        "{:<44} {:>8} {:>8} {:>10}",
        "rules", "count", "looked at", "ns"
    );
    for (kind, rule) in [
        (
            "allow by SPIFFE ID",
            &by_name as &dyn Fn(usize) -> Condition,
        ),
        ("allow by SPIFFE path pattern", &by_pattern),
        ("allow by CN and path", &by_path),
    ] {
        for count in COUNTS {
            let allow = (0..count).map(|number| Allow::When(rule(number)));
            measure(
                kind,
                count,
                &peer,
                &host,
                vec![route(allow.collect(), Vec::new())],
            );
        }
    }
    for count in COUNTS {
        let deny = (0..count).map(|number| by_name(number + 100_000));
        let routes = vec![route(vec![Allow::AnyTrusted], deny.collect())];
        measure(
            "any-trusted, deny by SPIFFE ID",
            count,
            &peer,
            &host,
            routes,
        );
    }
    for count in COUNTS {
        let routes = (0..count).map(|number| Route {
            label: format!("route {number}"),
            path: Some(PathPattern::parse(&format!("/service/{number}/**")).expect("a path")),
            ..route(vec![Allow::AnyTrusted], Vec::new())
        });
        measure("routes by path", count, &peer, &host, routes.collect());
    }
    ExitCode::SUCCESS
}

fn measure(kind: &str, count: usize, peer: &VerifiedPeer, host: &DnsName, routes: Vec<Route>) {
    let policy = AccessPolicy::new(routes).expect("a policy");
    let asked = Asked {
        peer: Some(peer),
        host: Some(host),
        method: "GET",
        path: "/service/7/orders",
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: Circumstances {
            source: [127, 0, 0, 1].into(),
            now: NOW,
        },
    };
    assert!(policy.judge(&asked).is_allow(), "{kind} {count}");
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..DECISIONS {
            black_box(policy.judge(black_box(&asked)));
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(DECISIONS));
    }
    let looked_at = policy.looked_at(&asked);
    println!("{kind:<44} {count:>8} {looked_at:>8} {best:>10.0}");
}

fn by_name(number: usize) -> Condition {
    named(&format!("spiffe://example.com/ns/prod/sa/service-{number}"))
}

fn by_pattern(number: usize) -> Condition {
    let team = if number == 7 {
        "prod".to_owned()
    } else {
        format!("team-{number}")
    };
    named(&format!("spiffe://example.com/ns/{team}/*/service-7"))
}

fn by_path(number: usize) -> Condition {
    Condition {
        path: Some(PathPattern::parse(&format!("/service/{number}/**")).expect("a path")),
        ..named("cn:service-7")
    }
}

fn named(text: &str) -> Condition {
    Condition {
        names: vec![NamePattern::parse(text).expect("a name")],
        ..Condition::default()
    }
}

fn route(allow: Vec<Allow>, deny: Vec<Condition>) -> Route {
    Route {
        label: "route 1".to_owned(),
        host: None,
        path: None,
        connect: Vec::new(),
        require_certificate: true,
        allow,
        deny,
    }
}

/// `spiffe://example.com/ns/prod/sa/service-7`, called `service-7` too.
fn peer() -> VerifiedPeer {
    let (root_key, key) = (
        KeyPair::generate().expect("a key"),
        KeyPair::generate().expect("a key"),
    );
    let template = |name: &str, key: &KeyPair, names: Vec<TypedName>, usage| Template {
        subject: DistinguishedName::parse(name).expect("a name"),
        subject_alt_names: names,
        spki_der: key.subject_public_key_info(),
        not_before: NOW,
        not_after: UnixTime::from_seconds(NOW.seconds() + 86_400),
        serial: SerialNumber::from_random([7; 20]),
        usage,
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let root = template(
        "CN=Root",
        &root_key,
        Vec::new(),
        Usage::Authority { path_len: None },
    );
    let root = root
        .to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256)
        .expect("a root");
    let root = root.complete(&root_key.sign(root.bytes()).expect("signed"));
    let root = Certificate::parse(&root).expect("a root");
    let id = "spiffe://example.com/ns/prod/sa/service-7"
        .parse()
        .expect("a name");
    let usage = Usage::Leaf {
        server_auth: false,
        client_auth: true,
    };
    let leaf = template("CN=service-7", &key, vec![id], usage)
        .to_be_signed(&root, SignatureAlgorithm::EcdsaP256Sha256)
        .expect("a leaf");
    let leaf = leaf.complete(&root_key.sign(leaf.bytes()).expect("signed"));
    let domain = Some("example.com".parse().expect("a trust domain"));
    let bundle = TrustBundle::new(BundleName::internal(), domain, vec![root], NOW);
    let bundle = Arc::new(bundle.expect("a bundle"));
    Verifier::new(vec![bundle], Limits::default())
        .expect("a verifier")
        .verify(
            &[leaf],
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            NOW,
        )
        .expect("a good chain")
}

/// The fastest of some rounds: what neighbours take is no part of it.
const ROUNDS: usize = 20;
const DECISIONS: u32 = 5_000;
