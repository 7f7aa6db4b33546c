//! What a decision costs, counted in entries looked at.

use countersign_policy::access::{AccessPolicy, Asked, Factors, NoHeaders, Route, Verdict};

use crate::world::{CIRCUMSTANCES, host, peer, place, policy, route};

fn looked_at(policy: &AccessPolicy, who: &str, host_name: &str, path: &str) -> (usize, Verdict) {
    let (peer, host) = (peer(who), host(host_name));
    let asked = Asked {
        peer: Some(&peer),
        host: Some(&host),
        method: "GET",
        path,
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: CIRCUMSTANCES,
    };
    (policy.looked_at(&asked), policy.judge(&asked))
}

/// A rule of each kind, made distinct by its number, and who meets number 7 by which request.
const KINDS: [(&str, &str, &str, &str); 10] = [
    (
        "cn:service-{}",
        "internal cn:service-7",
        "a.example.com",
        "/x",
    ),
    (
        "spiffe://example.com/ns/{}/**",
        "internal spiffe://example.com/ns/7/api",
        "a.example.com",
        "/x",
    ),
    (
        "dns:*.s{}.example.com",
        "internal dns:a.s7.example.com",
        "a.example.com",
        "/x",
    ),
    ("service-{}", "internal cn:service-7", "a.example.com", "/x"),
    (
        "ou:team-{}",
        "internal dn:OU=team-7,O=Example",
        "a.example.com",
        "/x",
    ),
    (
        "dn-unordered:O=Example,CN=s-{}",
        "internal dn:O=Example,CN=s-7",
        "a.example.com",
        "/x",
    ),
    (
        "ext=1.3.6.1.4.1.99999.1:team-{}",
        "internal cn:a ext:1.3.6.1.4.1.99999.1=team-7",
        "a.example.com",
        "/x",
    ),
    (
        "cn:a /service/{}/**",
        "internal cn:a",
        "a.example.com",
        "/service/7/x",
    ),
    (
        "cn:a host=h{}.example.com",
        "internal cn:a",
        "h7.example.com",
        "/x",
    ),
    (
        "spiffe://example.com/{}/{tenant} /t/{}/{tenant}/**",
        "internal spiffe://example.com/7/acme",
        "a.example.com",
        "/t/7/acme/x",
    ),
];

#[test]
fn ten_thousand_rules_cost_what_ten_do() {
    for (rule, who, host_name, path) in KINDS {
        let costs = [10, 1000, 10_000].map(|count| {
            let rules: Vec<String> = (0..count)
                .map(|number: usize| rule.replace("{}", &number.to_string()))
                .collect();
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            let allowing = policy(vec![route(&rules, &[])]).unwrap();
            let denying = policy(vec![route(&["any-trusted"], &rules)]).unwrap();
            let (allow, verdict) = looked_at(&allowing, who, host_name, path);
            assert_eq!(verdict, Verdict::Allow { route: 0 }, "{rule} of {count}");
            let (deny, verdict) = looked_at(&denying, who, host_name, path);
            assert_eq!(verdict, Verdict::Refuse { route: 0 }, "{rule} of {count}");
            (allow, deny)
        });
        // The route and the rule; on the other side "any-trusted" too.
        assert_eq!(costs, [(2, 3); 3], "{rule}");
    }
}

#[test]
fn ten_thousand_routes_cost_what_ten_do() {
    for (wanted, host_name, path) in [
        ("h{}.example.com", "h7.example.com", "/x"),
        ("*.t{}.example.com", "a.t7.example.com", "/x"),
        (
            "api.example.com /service/{}/**",
            "api.example.com",
            "/service/7/x",
        ),
        ("- /service/{}", "api.example.com", "/service/7"),
    ] {
        let costs = [10, 1000, 10_000].map(|count| {
            let routes: Vec<Route> = (0..count)
                .map(|number: usize| place(&wanted.replace("{}", &number.to_string())))
                .collect();
            let policy = policy(routes).unwrap();
            let (cost, verdict) = looked_at(&policy, "internal cn:a", host_name, path);
            assert_eq!(verdict, Verdict::Allow { route: 7 }, "{wanted} of {count}");
            cost
        });
        assert_eq!(costs, [2; 3], "{wanted}");
    }
}

#[test]
fn ten_thousand_tunnels_cost_what_ten_do() {
    let costs = [10, 1000, 10_000].map(|count: usize| {
        let tunnels = (0..count).map(|number| place(&format!("CONNECT db{number}.internal:5432")));
        let policy = policy(tunnels.collect()).unwrap();
        let peer = peer("internal cn:a");
        let asked = Asked {
            peer: Some(&peer),
            host: None,
            method: "CONNECT",
            path: "db7.internal:5432",
            headers: &NoHeaders,
            factors: &Factors::NONE,
            circumstances: CIRCUMSTANCES,
        };
        assert_eq!(policy.judge(&asked), Verdict::Allow { route: 7 });
        policy.looked_at(&asked)
    });
    assert_eq!(costs, [2; 3]);
}

#[test]
fn what_is_common_to_all_is_no_key() {
    // One name in every rule, and one path in each: the path tells them apart.
    let rules: Vec<String> = (0..100)
        .map(|number| format!("cn:a GET /p/{number}"))
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let policy = policy(vec![route(&rules, &[])]).unwrap();
    let (cost, verdict) = looked_at(&policy, "internal cn:a", "a.example.com", "/p/7");
    assert_eq!((cost, verdict), (2, Verdict::Allow { route: 0 }));
}
