//! Rules as they are written: any text is a rule that reads back, or refused with its key; and what loads decides alike by its index
//! and entry by entry.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Allow, Asked, Circumstances, Condition, Factors, GrpcPattern, HeaderPattern,
    NamePattern, NoHeaders, PathPattern, Route,
};
use countersign_proxy::config::rule::{AllowEntry, ConditionConfig};
use countersign_proxy::config::{GatewayConfig, ListenerConfig, RouteConfig};

use crate::chain::ROOT;

/// A field by its number, and what stands there.
type Written = Vec<(u8, String)>;

#[test]
fn rules_of_a_file_read_back_and_are_built_or_refused_with_their_key() {
    let root = pem::decode_all(ROOT.as_bytes()).expect("PEM").remove(0).der;
    let root = Certificate::parse(&root).expect("the root of the corpus");
    let now = root.not_before();
    let domain = Some("example.com".parse().expect("a trust domain"));
    let bundle = TrustBundle::new(BundleName::internal(), domain, vec![root], now);
    let bundles = BTreeMap::from([(BundleName::internal(), Arc::new(bundle.expect("a bundle")))]);
    bolero::check!()
        .with_type::<(Written, Written)>()
        .for_each(|(allow, deny)| {
            let mut route = RouteConfig::new("demo", Vec::new());
            route.allow = vec![AllowEntry::When(Box::new(condition(allow)))];
            if !deny.is_empty() {
                route.deny = vec![condition(deny)];
            }
            let listener = ListenerConfig::new(([127, 0, 0, 1], 0).into(), vec![route]);
            let config = GatewayConfig {
                listener: vec![listener],
                ..GatewayConfig::default()
            };
            let text = toml::to_string(&config).expect("a configuration can be written");
            assert_eq!(
                toml::from_str::<GatewayConfig>(&text).ok().as_ref(),
                Some(&config),
                "{text}"
            );
            let built = config.build(&bundles, Vec::new(), None, |_: &Path| {
                Err(io::ErrorKind::NotFound.into())
            });
            // There is no certificate to serve with, so each has a reason.
            let refused = built.err().expect("nothing to serve with");
            assert!(
                refused.place.starts_with("gateway.listener[0]"),
                "{refused}"
            );
        });
}

#[test]
fn patterns_read_back_as_written() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(pattern) = NamePattern::parse(text) {
            assert_eq!(
                NamePattern::parse(&pattern.to_string()),
                Ok(pattern),
                "{text}"
            );
        }
        if let Ok(pattern) = GrpcPattern::parse(text) {
            assert_eq!(
                GrpcPattern::parse(&pattern.to_string()),
                Ok(pattern),
                "{text}"
            );
        }
        if let Ok(pattern) = PathPattern::parse(text) {
            assert_eq!(
                PathPattern::parse(&pattern.to_string()),
                Ok(pattern),
                "{text}"
            );
        }
    });
}

#[test]
fn index_decides_as_each_entry_does() {
    bolero::check!()
        .with_type::<(Vec<(String, u8)>, String)>()
        .for_each(|(rules, path)| {
            let conditions: Vec<Condition> = rules
                .iter()
                .filter_map(|(text, kind)| {
                    let mut condition = Condition::default();
                    match kind % 4 {
                        0 => condition.path = Some(PathPattern::parse(text).ok()?),
                        1 => condition.methods = vec![text.to_ascii_uppercase()],
                        2 => condition.grpc = vec![GrpcPattern::parse(text).ok()?],
                        _ => {
                            let values = std::slice::from_ref(text);
                            condition.headers = vec![HeaderPattern::parse("x-a", values).ok()?];
                        }
                    }
                    Some(condition)
                })
                .collect();
            let policy = AccessPolicy::new(vec![Route {
                label: "route 1".to_owned(),
                host: None,
                path: None,
                connect: Vec::new(),
                require_certificate: false,
                allow: vec![Allow::Anyone],
                deny: conditions,
            }]);
            let Ok(policy) = policy else { return };
            for (text, _) in rules {
                for path in [path, text] {
                    let asked = Asked {
                        peer: None,
                        host: None,
                        method: text,
                        path,
                        headers: &NoHeaders,
                        factors: &Factors::NONE,
                        circumstances: Circumstances {
                            source: [127, 0, 0, 1].into(),
                            now: UnixTime::from_seconds(0),
                        },
                    };
                    assert_eq!(policy.judge(&asked), policy.judge_by_each_entry(&asked));
                }
            }
        });
}

fn condition(written: &Written) -> ConditionConfig {
    let mut condition = ConditionConfig::default();
    for (field, text) in written {
        let text = || Some(text.clone());
        let list = || text().into_iter().collect::<Vec<String>>();
        match field % 20 {
            0 => condition.spiffe = text(),
            1 => condition.dns = text(),
            2 => condition.ip = text(),
            3 => condition.cn = text(),
            4 => condition.ou = text(),
            5 => condition.dn = text(),
            6 => condition.dn_unordered = text(),
            7 => condition.issuer = text(),
            8 => condition.serial = text(),
            9 => condition.spki = text(),
            10 => condition.name = text(),
            11 => condition.eku = list(),
            12 => condition.host = list(),
            13 => condition.method = list(),
            14 => condition.path = text(),
            15 => condition.header = BTreeMap::from([("x-a".to_owned(), list())]),
            16 => condition.grpc = list(),
            17 => condition.source = list(),
            18 => condition.trust_domain = text(),
            _ => condition.user = list(),
        }
    }
    condition
}
