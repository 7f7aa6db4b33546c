//! What must hold of every policy, peer and request.

use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::{AccessPolicy, Allow, Asked, Condition, Decision, Factors, Route};

use crate::world::{CIRCUMSTANCES, Sent, condition, host, peer, place, policy, route};

/// Knuth's MMIX generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn condition(&mut self, depth: usize) -> Condition {
        let names = [
            "cn:a",
            "cn:b",
            "dns:a.example.com",
            "dns:*.example.com",
            "dns:a.canary.invalid",
            "a.example.com",
            "spiffe://example.com/a",
            "spiffe://example.com/**",
            "CN=a",
            "ou:b",
            "o:b",
            "ip:192.0.2.0/24",
            "ip:192.0.2.1",
            "dn-unordered:O=b,CN=a",
            "issuer:CN=Internal\\20root",
            "issuer:CN=ACME\\20root",
            "b",
        ];
        let mut text = String::new();
        for (share, choices) in [
            (2, &names[..]),
            (6, &names),
            (4, &["@internal", "@acme-corp"]),
            (3, &["GET", "POST", "GET|POST"]),
            (3, &["/a", "/a/**", "/*", "/a/*", "/**"]),
            (
                8,
                &[
                    "host=a.example.com",
                    "host=*.example.com",
                    "host=b.example.com|a.example.com",
                ],
            ),
            (8, &["x-env=prod", "x-env=prod|test"]),
            (
                9,
                &[
                    "from=192.0.2.0/24",
                    "from=10.0.0.0/8|192.0.2.7/32",
                    "time=sun,00:00,01:00",
                    "time=mon,00:00,01:00",
                ],
            ),
            (
                9,
                &[
                    "eku=serverAuth",
                    "ext=1.3.6.1.4.1.99999.1:prod",
                    "age=30",
                    "age=90",
                ],
            ),
        ] {
            if self.below(share) == 0 {
                text = format!("{text} {}", self.one_of(choices));
            }
        }
        if self.below(9) == 0 {
            text = format!(
                "{text} {} {}",
                self.one_of(&[
                    "spiffe://example.com/{tenant}",
                    "dns:{tenant}.example.com",
                    "ou:{tenant}"
                ]),
                self.one_of(&[
                    "host={tenant}.example.com",
                    "/{tenant}/**",
                    "x-env={tenant}"
                ]),
            );
        }
        let mut condition = condition(&text);
        if depth > 0 && self.below(3) == 0 {
            condition.not = Some(Box::new(self.condition(depth - 1)));
        }
        condition
    }

    fn route(&mut self) -> Route {
        let wanted = self.one_of(&[
            "-",
            "- /a/**",
            "- /a",
            "- /*",
            "a.example.com",
            "a.example.com /a/*",
            "*.example.com",
            "*.example.com /a",
            "CONNECT a.example.com:5432",
            "CONNECT [::1]:1 b.example.com:5432",
        ]);
        let allow = (0..=self.below(3)).map(|_| match self.below(6) {
            0 => Allow::Anyone,
            1 => Allow::AnyTrusted,
            _ => Allow::When(self.condition(2)),
        });
        let allow = allow.collect();
        let deny = (0..self.below(3)).map(|_| self.condition(2)).collect();
        Route {
            allow,
            deny,
            require_certificate: self.below(8) == 0,
            ..place(wanted)
        }
    }
}

struct Cast {
    peers: Vec<Option<VerifiedPeer>>,
}

impl Cast {
    fn new() -> Self {
        let texts = [
            "internal cn:a",
            "internal cn:a dns:a.canary.invalid",
            "internal cn:b",
            "acme-corp cn:a",
            "internal cn:a dns:a.example.com",
            "acme-corp cn:b dns:a.example.com",
            "internal dns:*.example.com",
            "internal spiffe://example.com/a",
            "acme-corp spiffe://acme.example/a cn:a",
            "internal dn:CN=a,O=b",
            "internal dn:O=b,OU=b,OU=a serverAuth ip:192.0.2.1",
            "internal dns:b.example.com ext:1.3.6.1.4.1.99999.1=prod",
            "acme-corp ip:192.0.2.1 ext:1.3.6.1.4.1.99999.1=prod",
        ];
        Self {
            peers: texts
                .iter()
                .map(|text| Some(peer(text)))
                .chain([None])
                .collect(),
        }
    }

    /// Each peer with each request.
    fn each(&self, mut ask: impl FnMut(&Asked<'_>)) {
        let hosts = [
            None,
            Some(host("a.example.com")),
            Some(host("b.example.com")),
        ];
        for peer in &self.peers {
            for host in &hosts {
                for method in ["GET", "POST", "DELETE", "CONNECT"] {
                    for (path, sent) in [
                        ("/", vec![("x-env", "prod")]),
                        ("/a", vec![]),
                        ("/a/b", vec![("x_env", "test")]),
                        ("/b", vec![("x-env", "a")]),
                        ("/b", vec![("x-env", "a, prod")]),
                        ("/%61/c", vec![("x-env", "b")]),
                        ("*", vec![]),
                        ("a.example.com:5432", vec![]),
                        ("[::1]:1", vec![("x-env", "prod")]),
                    ] {
                        ask(&Asked {
                            peer: peer.as_ref(),
                            host: host.as_ref(),
                            method,
                            path,
                            headers: &Sent(sent),
                            factors: &Factors::NONE,
                            circumstances: CIRCUMSTANCES,
                        });
                    }
                }
            }
        }
    }
}

fn is_allowed(policy: &AccessPolicy, asked: &Asked<'_>) -> bool {
    matches!(policy.decide(asked), Decision::Allow { .. })
}

/// Calls with random policies of one to three routes that load.
fn each_policy(seed: u64, mut judge: impl FnMut(&mut Random, &[Route], &AccessPolicy)) {
    let mut random = Random(seed);
    let mut loaded = 0;
    for _ in 0..600 {
        let routes: Vec<Route> = (0..=random.below(3)).map(|_| random.route()).collect();
        if let Ok(policy) = policy(routes.clone()) {
            loaded += 1;
            judge(&mut random, &routes, &policy);
        }
    }
    assert!(
        loaded > 100,
        "too few policies load to prove anything: {loaded}"
    );
}

#[test]
fn one_more_deny_and_one_fewer_allow_never_admit_more() {
    let cast = Cast::new();
    each_policy(1, |random, routes, wide| {
        let changed = random.below(routes.len());
        let mut more_denied = routes.to_vec();
        more_denied[changed].deny.push(random.condition(2));
        let mut less_allowed = routes.to_vec();
        less_allowed[changed].allow.pop();
        let mut stricter = routes.to_vec();
        stricter[changed].require_certificate = true;
        for narrow in [more_denied, less_allowed, stricter]
            .into_iter()
            .filter_map(|routes| policy(routes).ok())
        {
            cast.each(|asked| {
                assert!(
                    !is_allowed(&narrow, asked) || is_allowed(wide, asked),
                    "{asked:?} {narrow:?} {wide:?}"
                );
            });
            for peer in &cast.peers {
                assert!(
                    !narrow.admits_at_all(peer.as_ref()) || wide.admits_at_all(peer.as_ref()),
                    "{peer:?} {narrow:?} {wide:?}"
                );
            }
        }
    });
}

#[test]
fn what_a_deny_refuses_anywhere_no_allow_admits() {
    let cast = Cast::new();
    each_policy(2, |_, routes, policy_of_all| {
        for (index, given) in routes.iter().enumerate() {
            for denied in &given.deny {
                let lone = Route {
                    path: given.path.clone(),
                    connect: given.connect.clone(),
                    deny: vec![denied.clone()],
                    ..route(&["anyone"], &[])
                };
                let lone = policy(vec![lone]).unwrap();
                cast.each(|asked| {
                    let refused = matches!(
                        lone.decide(asked),
                        Decision::IdentityNotAllowed { .. } | Decision::RequestNotAllowed { .. }
                    );
                    let decided = policy_of_all.decide(asked);
                    assert!(
                        !refused || decided != Decision::Allow { route: index },
                        "{asked:?} {denied:?} {routes:?}"
                    );
                });
            }
        }
    });
}

#[test]
fn a_condition_and_its_negation_deny_everybody_between_them() {
    let cast = Cast::new();
    let mut random = Random(3);
    let mut judged = 0;
    for _ in 0..2000 {
        let condition = random.condition(2);
        let negated = Condition {
            not: Some(Box::new(condition.clone())),
            ..Condition::default()
        };
        let denying = |condition: &Condition| {
            policy(vec![Route {
                deny: vec![condition.clone()],
                ..route(&["anyone"], &[])
            }])
        };
        let (Ok(one), Ok(other)) = (denying(&condition), denying(&negated)) else {
            continue;
        };
        judged += 1;
        cast.each(|asked| {
            // Which no route here takes.
            if asked.method == "CONNECT" {
                return;
            }
            let allowed = [is_allowed(&one, asked), is_allowed(&other, asked)];
            // Of a list of which a part fits, both refuse.
            let mut has_list = false;
            let mut look = |value: &[u8]| has_list |= value.contains(&b',');
            asked.headers.each("x-env", &mut look);
            // And a canary is refused by everything.
            let is_canary = asked.peer.is_some_and(VerifiedPeer::is_canary);
            let at_least = usize::from(!has_list && !is_canary);
            let admitted = allowed.iter().filter(|is_allowed| **is_allowed).count();
            assert!(
                (at_least..=1).contains(&admitted),
                "{asked:?} {condition:?}"
            );
        });
    }
    assert!(judged > 200, "{judged}");
}

#[test]
fn whom_a_policy_does_not_admit_at_all_it_admits_nowhere() {
    let cast = Cast::new();
    each_policy(4, |_, _, policy| {
        cast.each(|asked| {
            assert!(
                !is_allowed(policy, asked) || policy.admits_at_all(asked.peer),
                "{asked:?} {policy:?}"
            );
        });
    });
}

#[test]
fn who_is_refused_as_an_identity_has_no_other_request() {
    let cast = Cast::new();
    each_policy(5, |_, _, policy| {
        cast.each(|asked| {
            let (Decision::IdentityNotAllowed { route, .. }
            | Decision::CertificateNeeded { route }) = policy.decide(asked)
            else {
                return;
            };
            for method in ["GET", "POST", "DELETE", "PUT"] {
                assert_ne!(
                    policy.decide(&Asked { method, ..*asked }),
                    Decision::Allow { route },
                    "{asked:?} {policy:?}"
                );
            }
        });
    });
}

#[test]
fn the_anonymous_need_anyone() {
    let cast = Cast::new();
    each_policy(6, |_, routes, policy| {
        cast.each(|asked| {
            if let (None, Decision::Allow { route }) = (asked.peer, policy.decide(asked)) {
                assert!(
                    routes[route].allow.contains(&Allow::Anyone)
                        && !routes[route].require_certificate,
                    "{asked:?} {routes:?}"
                );
            }
        });
        if routes
            .iter()
            .all(|route| !route.allow.contains(&Allow::Anyone))
        {
            assert!(!policy.admits_at_all(None), "{routes:?}");
        }
    });
}

#[test]
fn the_order_of_routes_and_entries_decides_nothing() {
    let cast = Cast::new();
    each_policy(7, |_, routes, one| {
        let mut turned: Vec<Route> = routes.iter().rev().cloned().collect();
        for route in &mut turned {
            route.allow.reverse();
            route.deny.reverse();
        }
        let other = policy(turned).unwrap();
        cast.each(|asked| {
            let label = |policy: &AccessPolicy| match policy.decide(asked) {
                Decision::Allow { route } => format!("allow {}", policy.routes()[route].label),
                Decision::CertificateNeeded { route } => {
                    format!("certificate {}", policy.routes()[route].label)
                }
                Decision::IdentityNotAllowed { route, .. } => {
                    format!("identity {}", policy.routes()[route].label)
                }
                Decision::RequestNotAllowed { route, .. } => {
                    format!("request {}", policy.routes()[route].label)
                }
                Decision::FactorNeeded { .. } | Decision::NoRoute => "none".to_owned(),
            };
            assert_eq!(label(one), label(&other), "{asked:?} {routes:?}");
        });
    });
}

#[test]
fn canonical_bytes_are_equal_only_for_equal_rules() {
    let rules = |routes: &[Route]| {
        format!(
            "{:?}",
            routes
                .iter()
                .map(|route| Route {
                    label: String::new(),
                    ..route.clone()
                })
                .collect::<Vec<_>>()
        )
    };
    let mut seen = std::collections::BTreeMap::new();
    each_policy(8, |_, routes, policy| {
        let earlier = seen.insert(policy.canonical(), rules(routes));
        assert!(
            earlier.is_none_or(|earlier| earlier == rules(routes)),
            "{routes:?}"
        );
    });
}

#[test]
fn the_index_decides_what_asking_each_entry_decides() {
    let cast = Cast::new();
    let mut random = Random(9);
    let (mut asked_about, mut allowed) = (0_usize, 0_usize);
    for _ in 0..60 {
        // Enough of each to be filed, and no two that say the same.
        let mut places: Vec<Route> = (0..14).map(|_| random.route()).collect();
        let key = |route: &Route| format!("{:?} {:?} {:?}", route.host, route.path, route.connect);
        places.sort_by_key(key);
        places.dedup_by_key(|route| key(route));
        for place in &mut places {
            let (path, connect) = (place.path.clone(), place.connect.clone());
            let loads = |condition: &Condition| {
                policy(vec![Route {
                    path: path.clone(),
                    connect: connect.clone(),
                    deny: vec![condition.clone()],
                    ..route(&["any-trusted"], &[])
                }])
                .is_ok()
            };
            let conditions = |random: &mut Random, count: usize| {
                let mut all: Vec<Condition> = (0..count).map(|_| random.condition(2)).collect();
                all.retain(loads);
                all.sort_by_key(|condition| format!("{condition:?}"));
                all.dedup();
                all
            };
            place.allow = conditions(&mut random, 40)
                .into_iter()
                .map(Allow::When)
                .collect();
            let denied = if random.below(2) == 0 { 2 } else { 25 };
            place.deny = conditions(&mut random, denied);
            place.deny.retain(|_| random.below(3) == 0);
        }
        let Ok(policy) = policy(places) else { continue };
        cast.each(|asked| {
            let by_index = policy.judge(asked);
            assert_eq!(
                by_index,
                policy.judge_by_each_entry(asked),
                "{asked:?} {policy:?}"
            );
            asked_about += 1;
            allowed += usize::from(by_index.is_allow());
        });
    }
    assert!(
        allowed > 500 && asked_about - allowed > 500,
        "{allowed} of {asked_about}"
    );
}
