//! Policies that decide differently never share a scope.

use countersign_policy::access::Route;

use crate::world::{place, policy, route};

fn bytes(routes: &[Route]) -> Vec<u8> {
    policy(routes.to_vec()).unwrap().canonical()
}

#[test]
fn what_decides_differently_is_written_differently() {
    let any = || route(&["any-trusted"], &[]);
    let policies: Vec<Vec<Route>> = vec![
        vec![any()],
        vec![Route {
            require_certificate: true,
            ..any()
        }],
        vec![route(&["anyone"], &[])],
        vec![route(&["any-trusted", "anyone"], &[])],
        vec![route(&["anyone", "any-trusted"], &[])],
        vec![route(&["cn:a"], &[])],
        vec![route(&["dns:a"], &[])],
        vec![route(&["a"], &[])],
        vec![route(&["a", "b"], &[])],
        vec![route(&["a b"], &[])],
        vec![route(&["ab"], &[])],
        vec![route(&["a"], &["b"])],
        vec![route(&["a ! b"], &[])],
        vec![route(&["a ! b ! c"], &[])],
        vec![route(&["a @internal"], &[])],
        vec![route(&["a @acme-corp"], &[])],
        vec![route(&["GET"], &[])],
        vec![route(&["GET|PUT"], &[])],
        vec![route(&["GETPUT"], &[])],
        vec![route(&["GETP|UT"], &[])],
        vec![route(&["a.example.com"], &[])],
        vec![route(&["user=a"], &[])],
        vec![route(&["token=a"], &[])],
        vec![route(&["token=b"], &[])],
        vec![route(&["token=a:x=1"], &[])],
        vec![route(&["token=a:x=one"], &[])],
        vec![route(&["token=a:x=true"], &[])],
        vec![route(&["token=a:x=one|two"], &[])],
        vec![route(&["token=a:x=one&y=two"], &[])],
        vec![route(&["key=*"], &[])],
        vec![route(&["key=a"], &[])],
        vec![route(&["key=a token=a"], &[])],
        vec![route(&["user=a*"], &[])],
        vec![route(&["user=a|b"], &[])],
        vec![route(&["user=a", "user=b"], &[])],
        vec![route(&["database=a"], &[])],
        vec![route(&["user=a database=a"], &[])],
        vec![route(&["user=a database=b"], &[])],
        vec![route(&["user=* ! user=a"], &[])],
        vec![route(&["user=* ! database=a"], &[])],
        vec![route(&["GET", "PUT"], &[])],
        vec![route(&["/a"], &[])],
        vec![route(&["/a/*"], &[])],
        vec![route(&["/a/**"], &[])],
        vec![route(&["/a/"], &[])],
        vec![route(&["spiffe://example.com/a"], &[])],
        vec![route(&["spiffe://example.com/*"], &[])],
        vec![route(&["spiffe://example.com/**"], &[])],
        vec![route(&["dns:*.example.com"], &[])],
        vec![route(&["any-trusted"], &["a"])],
        vec![route(&["any-trusted"], &["a", "b"])],
        vec![route(&["any-trusted"], &["a b"])],
        vec![Route {
            path: place("- /a").path,
            ..any()
        }],
        vec![Route {
            host: place("a.example.com").host,
            ..any()
        }],
        vec![place("CONNECT a.example.com:1")],
        vec![place("CONNECT a.example.com:2")],
        vec![place("CONNECT a.example.com:1 a.example.com:2")],
        vec![place("CONNECT a.example.com:2 a.example.com:1")],
        vec![
            place("CONNECT a.example.com:1"),
            place("CONNECT a.example.com:2"),
        ],
        vec![
            Route {
                host: place("a.example.com").host,
                ..any()
            },
            any(),
        ],
        vec![
            any(),
            Route {
                host: place("a.example.com").host,
                ..any()
            },
        ],
    ];
    for (index, one) in policies.iter().enumerate() {
        assert_eq!(bytes(one), bytes(one));
        for other in &policies[..index] {
            assert_ne!(bytes(one), bytes(other), "{one:?} {other:?}");
        }
    }
}

#[test]
fn a_label_decides_nothing() {
    let labelled = Route {
        label: "another".to_owned(),
        ..route(&["cn:a"], &[])
    };
    assert_eq!(bytes(&[labelled]), bytes(&[route(&["cn:a"], &[])]));
}
