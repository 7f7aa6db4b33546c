//! What to ask for so that a route answers, and not one that is more specific.

use std::net::{IpAddr, Ipv4Addr};

use countersign_pki::name::DnsName;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Allow, Asked, Circumstances, ConnectTarget, Factors, NoHeaders, PathPattern,
    Route,
};
use countersign_proxy::config::RouteConfig;

/// The routes of a listener, told apart as its gateway tells them apart.
pub(super) struct Places {
    policy: AccessPolicy,
}

impl Places {
    /// `None`: no gateway would serve them.
    pub(super) fn of(routes: &[RouteConfig]) -> Option<Self> {
        let place = |route: &RouteConfig| {
            Some(Route {
                label: String::new(),
                host: match &route.host {
                    Some(host) => Some(DnsName::parse(host).ok()?),
                    None => None,
                },
                path: match &route.path {
                    Some(path) => Some(PathPattern::parse(path).ok()?),
                    None => None,
                },
                connect: (route.connect.iter())
                    .map(|target| ConnectTarget::parse(target).ok())
                    .collect::<Option<_>>()?,
                require_certificate: false,
                allow: vec![Allow::Anyone],
                deny: Vec::new(),
            })
        };
        let places = routes.iter().map(place).collect::<Option<_>>()?;
        let policy = AccessPolicy::new(places).ok()?;
        Some(Self { policy })
    }

    /// A host (if the route is of one) and a path that are this route's alone; `None`: none of those tried is.
    pub(super) fn own_request(
        &self,
        number: usize,
        route: &RouteConfig,
    ) -> Option<(Option<String>, String)> {
        if !route.connect.is_empty() {
            // Whoever asks for anything else there is in nobody's route, and TLS is the listener's.
            return Some((None, "/".to_owned()));
        }
        let pattern = route.path.as_deref().unwrap_or("/**");
        WORDS.iter().find_map(|word| {
            let host = route.host.as_deref().map(|host| host_of(host, word));
            let mut paths = paths(pattern, word).into_iter();
            let path = paths.find(|path| self.route_of(host.as_deref(), path) == Some(number))?;
            Some((host, path))
        })
    }

    fn route_of(&self, host: Option<&str>, path: &str) -> Option<usize> {
        let host = match host {
            Some(host) => Some(DnsName::parse(host).ok()?),
            None => None,
        };
        let asked = Asked {
            peer: None,
            host: host.as_ref(),
            method: "GET",
            path,
            headers: &NoHeaders,
            factors: &Factors::NONE,
            circumstances: Circumstances {
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                now: UnixTime::from_seconds(0),
            },
        };
        self.policy.decide(&asked).route()
    }
}

/// A host that the pattern covers.
pub(super) fn host_of(pattern: &str, word: &str) -> String {
    match pattern.strip_prefix("*.") {
        Some(parent) => format!("{word}.{parent}"),
        None => pattern.to_owned(),
    }
}

/// Paths that the pattern matches, the shortest first.
fn paths(pattern: &str, word: &str) -> Vec<String> {
    let filled = |rest: &str| {
        let segments = pattern.split('/').map(|segment| match segment {
            "*" => word,
            "**" => rest,
            segment => segment,
        });
        segments.collect::<Vec<_>>().join("/")
    };
    let deep = [word; 3].join("/");
    let mut paths = vec![filled(""), filled(word), filled(&deep)];
    paths.dedup();
    paths
}

/// One that is a name in some configuration is none in most, and whoever has routes for all of them means somebody else.
pub(super) const WORDS: [&str; 3] = ["any", "countersign-scan", "x7c0f2a"];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::configuration::Configuration;

    fn check(routes: &[(&str, &str)], number: usize, expected: Option<(&str, &str)>) {
        let mut toml = "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\n".to_owned();
        for (host, path) in routes {
            toml += "[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n";
            if !host.is_empty() {
                writeln!(toml, "host = \"{host}\"").expect("a string");
            }
            if !path.is_empty() {
                writeln!(toml, "path = \"{path}\"").expect("a string");
            }
        }
        let configuration: Configuration = toml::from_str(&toml).expect("TOML");
        let routes_of = &configuration.gateway.listener[0].route;
        let places = Places::of(routes_of).expect("routes");
        let own = places.own_request(number, &routes_of[number]);
        let own = own.map(|(host, path)| (host.unwrap_or_default(), path));
        let expected = expected.map(|(host, path)| (host.to_owned(), path.to_owned()));
        assert_eq!(own, expected, "{routes:?}");
    }

    #[test]
    fn request_is_the_routes_own_whatever_stands_beside_it() {
        check(&[("", "")], 0, Some(("", "/")));
        check(&[("", "/a/**")], 0, Some(("", "/a/")));
        check(&[("", "/**"), ("", "/")], 0, Some(("", "/any")));
        check(
            &[("", "/a/*"), ("", "/a/any")],
            0,
            Some(("", "/a/countersign-scan")),
        );
        check(&[("", "/a/*"), ("", "/a/any")], 1, Some(("", "/a/any")));
        check(
            &[("", "/a/**"), ("", "/a/*"), ("", "/a/")],
            0,
            Some(("", "/a/any/any/any")),
        );
        check(
            &[("*.example.com", ""), ("any.example.com", "")],
            0,
            Some(("countersign-scan.example.com", "/")),
        );
        check(&[("a.example.com", ""), ("", "/b")], 1, Some(("", "/b")));
    }

    #[test]
    fn route_of_which_no_request_is_known_is_told_as_such() {
        let taken: Vec<String> = WORDS.iter().map(|word| format!("/a/{word}")).collect();
        let mut routes = vec![("", "/a/*")];
        routes.extend(taken.iter().map(|path| ("", path.as_str())));
        check(&routes, 0, None);
    }
}
