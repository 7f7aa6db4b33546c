//! The doors that a configuration opens, and who has to be refused at each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use countersign_diagnose::doctor::question::{Starttls, Target};
use countersign_diagnose::doctor::target::Preamble;
use countersign_diagnose::scan::{Door, Manner, Visitor};
use countersign_proxy::config::{
    ClientCertificateMode, ListenerConfig, RefusalMode, RouteConfig, UpstreamProtocol, UpstreamUrls,
};

use super::own_request::{Places, WORDS, host_of};
use crate::configuration::Loaded;

/// A listener, or a route of one.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the listener"
)]
pub(crate) struct Doorway {
    pub(crate) door: Door,
    pub(crate) target: Target,
    /// The host of the route.
    pub(crate) sni: Option<String>,
    pub(crate) preamble: Preamble,
    /// What is asked for over HTTP; `None`: bytes.
    pub(crate) path: Option<String>,
    /// A host of another route, which may be for others.
    pub(crate) other_host: Option<String>,
    /// Where it leads.
    pub(crate) upstreams: Vec<String>,
    /// What vouches for its certificate, beside the authority.
    pub(crate) anchors: Vec<Vec<u8>>,
    mode: ClientCertificateMode,
    /// Anonymous clients are refused by the route.
    requires: bool,
    /// The TLS of the listener was looked at by another of its doors.
    is_further: bool,
    trusts_authority: bool,
    /// The first door of its listener that trusts the authority: at one that does not, TLS refuses canaries for nothing that is wrong with them.
    judges_canaries: bool,
    /// Whoever's certificate is refused gets an answer of HTTP.
    explains: bool,
}

impl Doorway {
    /// What is known of how it refuses this visitor.
    pub(crate) fn manner(&self, visitor: Visitor) -> Manner {
        let refuses_by_tls = match visitor {
            Visitor::Nobody => self.mode == ClientCertificateMode::Require,
            Visitor::Expired | Visitor::Revoked | Visitor::Stranger | Visitor::WrongPurpose => true,
            Visitor::OtherHost | Visitor::Plaintext | Visitor::Unnamed => false,
        };
        Manner {
            speaks_http: self.path.is_some(),
            refuses_by_tls: refuses_by_tls && !self.explains,
            speaks_before_tls: self.preamble != Preamble::None,
        }
    }

    /// Whether this visitor has to be turned away here.
    pub(crate) fn must_refuse(&self, visitor: Visitor) -> bool {
        let asks = self.mode != ClientCertificateMode::Off;
        match visitor {
            Visitor::Plaintext => !self.is_further,
            Visitor::Nobody => {
                self.requires && (!self.is_further || self.mode != ClientCertificateMode::Require)
            }
            Visitor::Stranger => asks && !self.is_further,
            Visitor::WrongPurpose | Visitor::Expired | Visitor::Revoked => {
                asks && self.judges_canaries
            }
            Visitor::Unnamed => asks && self.trusts_authority,
            Visitor::OtherHost => asks && self.trusts_authority && self.other_host.is_some(),
        }
    }
}

/// Every door of a gateway, and what was left out of it, in words.
pub(crate) fn doorways(loaded: &Loaded) -> (Vec<Doorway>, Vec<String>) {
    let (mut doorways, mut left_out) = (Vec::new(), Vec::new());
    for (number, listener) in loaded.configuration.gateway.listener.iter().enumerate() {
        let name = listener
            .name
            .clone()
            .unwrap_or_else(|| format!("listener-{}", number + 1));
        if listener.break_glass.is_some() {
            left_out.push(format!(
                "{name} is for emergencies: it refuses everybody until it is armed"
            ));
            continue;
        }
        if listener.proxy_protocol.is_some() {
            left_out.push(format!(
                "{name} hears fronts alone, by their PROXY header: scan the front"
            ));
            continue;
        }
        if listener.route.iter().any(|route| !route.connect.is_empty()) {
            left_out.push(format!(
                "tunnels of {name}: visitors ask there for no CONNECT, which other rules may admit"
            ));
        }
        let first = doorways.len();
        let of_listener = of_listener(loaded, listener, &name, &mut left_out);
        if listener.upstream.is_none() && listener.route.is_empty() {
            left_out.push(format!("{name} leads nowhere"));
        }
        doorways.extend(of_listener);
        let here = doorways.get(first..).unwrap_or_default();
        left_out.extend(without_canaries(&name, here));
        if doorways.len() > first + MAX_ROUTES {
            left_out.push(format!("routes of {name} behind its first {MAX_ROUTES}"));
            doorways.truncate(first + MAX_ROUTES);
        }
    }
    (doorways, left_out)
}

fn of_listener(
    loaded: &Loaded,
    listener: &ListenerConfig,
    name: &str,
    left_out: &mut Vec<String>,
) -> Vec<Doorway> {
    let address = reachable(listener.address);
    let target = Target {
        scheme: None,
        host: address.ip().to_string(),
        port: address.port(),
        path: None,
    };
    let certificate = listener.certificate.as_ref();
    let anchors = certificate
        .and_then(|path| loaded.read_now(path).ok())
        .and_then(|bytes| countersign_pki::pem::decode_all(&bytes).ok())
        .unwrap_or_default();
    let trusts_authority = trusts_authority(&listener.trust);
    let door = Doorway {
        door: Door {
            name: name.to_owned(),
            address: address.to_string(),
        },
        target,
        sni: None,
        preamble: match listener.protocol {
            Some(UpstreamProtocol::Postgresql) => Preamble::Starttls(Starttls::Postgres),
            _ => Preamble::None,
        },
        path: None,
        other_host: None,
        upstreams: listener
            .upstream
            .iter()
            .flat_map(UpstreamUrls::iter)
            .map(str::to_owned)
            .collect(),
        anchors: anchors
            .into_iter()
            .filter(|block| block.label == "CERTIFICATE")
            .map(|block| block.der)
            .collect(),
        mode: listener.client_certificate,
        requires: listener.client_certificate == ClientCertificateMode::Require,
        is_further: false,
        trusts_authority,
        judges_canaries: trusts_authority,
        explains: listener.on_refusal == RefusalMode::Explain,
    };
    if listener.upstream.is_some() {
        return vec![door];
    }
    of_routes(listener, &door, left_out)
}

fn of_routes(
    listener: &ListenerConfig,
    door: &Doorway,
    left_out: &mut Vec<String>,
) -> Vec<Doorway> {
    let name = &door.door.name;
    let mut routes = Vec::new();
    let places = Places::of(&listener.route);
    for (number, route) in listener.route.iter().enumerate() {
        let request = places.as_ref().and_then(|it| it.own_request(number, route));
        let some_host = |route: &RouteConfig| Some(host_of(route.host.as_deref()?, WORDS[0]));
        let mut others = listener.route.iter().filter_map(some_host);
        let label = match (&route.host, &route.path) {
            (None, None) if !route.connect.is_empty() => {
                format!("{name} (CONNECT {})", route.connect.join(" "))
            }
            (None, None) => name.to_owned(),
            (host, path) => format!(
                "{name} ({})",
                [host.as_deref(), path.as_deref()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
        };
        let Some((own, path)) = request else {
            left_out.push(format!(
                "{label}: whatever is asked for belongs to a more specific route"
            ));
            continue;
        };
        let trusts_authority = match &route.trust {
            Some(narrowed) => trusts_authority(narrowed),
            None => door.trusts_authority,
        };
        let trusts_as_well = |door: &Doorway| door.trusts_authority;
        routes.push(Doorway {
            door: Door {
                name: label,
                ..door.door.clone()
            },
            other_host: own
                .clone()
                .and_then(|own| others.find(|other| *other != own)),
            sni: own,
            path: Some(path),
            upstreams: route.upstream.iter().map(str::to_owned).collect(),
            requires: door.requires || route.client_certificate.is_some(),
            is_further: !routes.is_empty(),
            trusts_authority,
            judges_canaries: trusts_authority && !routes.iter().any(trusts_as_well),
            ..door.clone()
        });
    }
    routes
}

fn trusts_authority(bundles: &[String]) -> bool {
    bundles.iter().any(|bundle| bundle == "internal")
}

/// The doors of a listener to which no canary is sent, in words.
fn without_canaries(listener: &str, doors: &[Doorway]) -> Option<String> {
    let names: Vec<&str> = doors
        .iter()
        .filter(|door| door.mode != ClientCertificateMode::Off && !door.trusts_authority)
        .map(|door| &*door.door.name)
        .collect();
    let place = match names.len() {
        0 => return None,
        all if all == doors.len() => listener.to_owned(),
        _ => names.join(", "),
    };
    Some(format!(
        "certificates at {place}: this authority, which issues the canaries, is not trusted there"
    ))
}

/// Where a listener on every address is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // It takes IPv4 as well, which is there where IPv6 may be turned off.
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A look at each takes some milliseconds; who has more looks at the first ones.
const MAX_ROUTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    fn doors(toml: &str) -> (Vec<Doorway>, Vec<String>) {
        let configuration: Configuration = toml::from_str(toml).expect("TOML");
        doorways(&Loaded::in_memory(configuration))
    }

    #[test]
    fn each_route_is_a_door_and_its_listener_is_looked_at_once() {
        let (doors, left_out) = doors(
            "[[gateway.listener]]\naddress = \"0.0.0.0:8443\"\n\
             [[gateway.listener.route]]\nhost = \"a.example.com\"\npath = \"/charge/**\"\nupstream = \"http://127.0.0.1:3000\"\nallow = [\"any-trusted\"]\n\
             [[gateway.listener.route]]\nhost = \"*.example.com\"\npath = \"/*/b\"\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n",
        );
        assert_eq!(left_out, [""; 0]);
        let told: Vec<_> = doors
            .iter()
            .map(|door| {
                (
                    &*door.door.name,
                    door.sni.as_deref(),
                    door.path.as_deref(),
                    door.other_host.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "listener-1 (a.example.com /charge/**)",
                    Some("a.example.com"),
                    Some("/charge/"),
                    Some("any.example.com")
                ),
                (
                    "listener-1 (*.example.com /*/b)",
                    Some("any.example.com"),
                    Some("/any/b"),
                    Some("a.example.com")
                ),
            ]
        );
        assert_eq!(doors[0].door.address, "127.0.0.1:8443");
        assert!(doors[0].must_refuse(Visitor::Nobody) && doors[0].must_refuse(Visitor::Revoked));
        assert!(!doors[1].must_refuse(Visitor::Nobody) && doors[1].must_refuse(Visitor::Unnamed));
    }

    #[test]
    fn what_cannot_be_looked_at_from_here_is_told() {
        let (doors, left_out) = doors(
            "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\nproxy_protocol = { from = [\"192.0.2.1\"] }\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n\
             [[gateway.listener]]\naddress = \"[::]:8444\"\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n",
        );
        assert_eq!(doors.len(), 1);
        assert_eq!(doors[0].door.address, "127.0.0.1:8444");
        assert!(left_out[0].contains("PROXY header"), "{left_out:?}");
    }

    #[test]
    fn canaries_come_to_the_first_route_that_trusts_their_authority() {
        let listener = "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\ntrust = [\"internal\", \"acme\"]\n";
        let route = |path: &str, trust: &str| {
            format!(
                "[[gateway.listener.route]]\npath = \"{path}\"\n{trust}upstream = \"demo\"\nallow = [\"any-trusted\"]\n"
            )
        };
        let (own, acme) = ("trust = [\"internal\"]\n", "trust = [\"acme\"]\n");
        let check = |routes: [&str; 3], expected: [bool; 3], told: &[&str]| {
            let places = ["/a", "/b", "/c"].into_iter().zip(routes);
            let routes: String = places.map(|(path, trust)| route(path, trust)).collect();
            let (doors, left_out) = doors(&format!("{listener}{routes}"));
            for visitor in [Visitor::Expired, Visitor::Revoked, Visitor::WrongPurpose] {
                let sent: Vec<bool> = doors.iter().map(|door| door.must_refuse(visitor)).collect();
                assert_eq!(sent, expected, "{visitor:?} with {routes}");
            }
            // Whom TLS refuses for no trust at all comes to the first door, whoever is trusted there.
            assert!(
                doors[0].must_refuse(Visitor::Stranger) && doors[0].must_refuse(Visitor::Nobody)
            );
            assert_eq!(left_out, told);
        };
        check(["", "", ""], [true, false, false], &[]);
        let words = |place: &str| {
            format!(
                "certificates at {place}: this authority, which issues the canaries, is not trusted there"
            )
        };
        let first = words("listener-1 (/a)");
        check([acme, "", own], [false, true, false], &[&first]);
        let two = words("listener-1 (/a), listener-1 (/c)");
        check([acme, own, acme], [false, true, false], &[&two]);
        let all = words("listener-1");
        check([acme, acme, acme], [false, false, false], &[&all]);
    }

    #[test]
    fn who_may_come_in_is_not_sent() {
        let (doors, left_out) = doors(
            "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\nclient_certificate = \"request\"\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"anyone\"]\n\
             [[gateway.listener]]\naddress = \"127.0.0.1:8444\"\nclient_certificate = \"off\"\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"anyone\"]\n\
             [[gateway.listener]]\naddress = \"127.0.0.1:5433\"\ntrust = [\"acme\"]\nupstream = \"tcp://127.0.0.1:5432\"\nallow = [\"any-trusted\"]\n",
        );
        let refused = |door: &Doorway| -> Vec<Visitor> {
            [
                Visitor::Plaintext,
                Visitor::Nobody,
                Visitor::Stranger,
                Visitor::Expired,
                Visitor::Unnamed,
            ]
            .into_iter()
            .filter(|visitor| door.must_refuse(*visitor))
            .collect()
        };
        assert_eq!(
            refused(&doors[0]),
            [
                Visitor::Plaintext,
                Visitor::Stranger,
                Visitor::Expired,
                Visitor::Unnamed
            ]
        );
        assert_eq!(refused(&doors[1]), [Visitor::Plaintext]);
        assert_eq!(
            refused(&doors[2]),
            [Visitor::Plaintext, Visitor::Nobody, Visitor::Stranger]
        );
        // Where no certificate is asked for, nobody misses one.
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert!(left_out[0].contains("listener-3"), "{left_out:?}");
    }
}
