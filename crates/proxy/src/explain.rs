//! What a listener would decide, for whoever asks before a client does: by the code that judges clients.

mod supposed;

use std::borrow::Cow;
use std::sync::Arc;

use countersign_diagnose::refusal::Refusal;
use countersign_diagnose::request::{
    Malformed, malformed, refused, refused_connection, refused_login,
};
use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::Verifier;
use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::{
    Asked, Circumstances, ConnectTarget, Explanation, Factor, Factors, Headers, Login, Rule,
};
use countersign_policy::postgresql::{InvalidPacket, Packet};
use countersign_tls::scope::ClientCertificate;
use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use self::supposed::Supposed;
use crate::config::ClientCertificateMode;
use crate::config::build::rule_place;
use crate::decisions::NETWORK_BITS;
use crate::headers::sent::SentHeaders;
use crate::host::Host;
use crate::plan::{GatewayPlan, ListenerPlan, Protocol};

/// One listener of a plan.
#[derive(Clone, Copy)]
pub struct ListenerPolicy<'a> {
    plan: &'a ListenerPlan,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Question {
    /// A connection to a listener of bytes.
    Connection,
    /// A login to PostgreSQL.
    Login(Login),
    /// A request of HTTP.
    Request {
        /// As `Host` says it.
        host: String,
        /// Method token.
        method: String,
        /// The path, as it stands in the request; of a CONNECT what it asks for.
        path: String,
        /// The others.
        headers: HeaderMap,
    },
}

/// What a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Any bytes.
    Connections,
    /// PostgreSQL.
    Logins,
    /// HTTP.
    Requests,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Explained {
    /// How the route is called.
    pub route: Option<String>,
    /// The entry that decided; `None`: none did, which is a refusal.
    pub rule: Option<Rule>,
    /// `None`: it goes through.
    pub refusal: Option<Refusal>,
}

impl Question {
    /// A request as a client sends it. A CONNECT asks for a host with its port, and has no path.
    pub fn request(
        host: &str,
        method: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<Self, InvalidHeader> {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            let invalid = || InvalidHeader { name: name.clone() };
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            sent.append(parsed, HeaderValue::from_str(value).map_err(|_| invalid())?);
        }
        let path = if method == CONNECT { host } else { path };
        Ok(Self::Request {
            host: host.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: sent,
        })
    }

    /// A login as a client says it: the one way to one is its packet. Without a database it is the one called as the user.
    pub fn login(user: &str, database: Option<&str>) -> Result<Self, InvalidPacket> {
        // Protocol 3.0, as every client of the field speaks.
        let mut packet = vec![0, 0, 0, 0, 0, 3, 0, 0];
        for (key, value) in [("user", Some(user)), ("database", database)] {
            if let Some(value) = value {
                packet.extend([key.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
            }
        }
        packet.push(0);
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        packet[..4].copy_from_slice(&length.to_be_bytes());
        Ok(match Packet::parse(&packet)? {
            Packet::Startup(login) => Self::Login(login),
            Packet::Cancel => Self::Connection,
        })
    }
}

/// No client can send this header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no request can have the header {name:?} with this value")]
pub struct InvalidHeader {
    name: String,
}

impl GatewayPlan {
    /// Entries of rules that do nothing and are harmless: the key of each, and why.
    pub fn redundancies(&self) -> Vec<(String, String)> {
        let listeners = self.listeners.iter().enumerate();
        let found = listeners.flat_map(|(index, plan)| {
            let place = format!("gateway.listener[{index}]");
            let found = plan.settings.policy.redundancies().into_iter();
            found.map(move |it| {
                let entry = Some((it.list, it.entry));
                let at = rule_place(&place, plan.protocol, Some(it.route), entry);
                (at, it.why)
            })
        });
        found.collect()
    }

    /// Each listener, in the order of the configuration.
    pub fn policies(&self) -> impl Iterator<Item = ListenerPolicy<'_>> {
        self.listeners.iter().map(|plan| ListenerPolicy { plan })
    }
}

impl<'a> ListenerPolicy<'a> {
    /// Its name.
    pub fn name(self) -> &'a str {
        &self.plan.name
    }

    /// What it takes.
    pub fn takes(self) -> Takes {
        match self.plan.protocol {
            Protocol::Bytes => Takes::Connections,
            Protocol::Http => Takes::Requests,
            Protocol::Postgresql => Takes::Logins,
        }
    }

    /// The bundles whose certificates it accepts.
    pub fn bundles(self) -> &'a [Arc<TrustBundle>] {
        let verifier = self.plan.settings.verifier.as_ref();
        verifier.map_or(&[], |verifier| verifier.bundles())
    }

    /// Whether it looks at certificates at all.
    pub fn asks_for_certificates(self) -> bool {
        self.plan.settings.client_certificate != ClientCertificateMode::Off.into()
    }

    /// Whether it asks for certificates, and for how much.
    pub(crate) fn client_certificate(self) -> ClientCertificateMode {
        match self.plan.settings.client_certificate {
            ClientCertificate::Off => ClientCertificateMode::Off,
            ClientCertificate::Request => ClientCertificateMode::Request,
            ClientCertificate::Require => ClientCertificateMode::Require,
        }
    }

    pub(crate) fn verifier(self) -> Option<&'a Verifier> {
        self.plan.settings.verifier.as_deref()
    }

    /// Whether some rule asks for a token or an API key.
    fn looks_at_factors(self) -> bool {
        let policy = &self.plan.serving.policy;
        policy.looks_at_factor(Factor::Token) || policy.looks_at_factor(Factor::ApiKey)
    }

    /// Decides without words, by headers that may be others than those of the question. Whether tokens and API keys, of which nothing is
    /// known, could change it.
    pub(crate) fn judge(
        self,
        peer: Option<&VerifiedPeer>,
        question: &Question,
        circumstances: Circumstances,
        headers: &dyn Headers,
    ) -> bool {
        let policy = &self.plan.serving.policy;
        match (question, self.plan.protocol) {
            (Question::Connection, Protocol::Bytes) => {
                policy.judge_connection(peer, circumstances);
            }
            (Question::Login(login), Protocol::Postgresql) => {
                policy.judge_login(peer, login, circumstances);
            }
            (
                Question::Request {
                    host, method, path, ..
                },
                Protocol::Http,
            ) => {
                if let Ok((host, path)) = self.asked_for(host, method, path) {
                    let asked = Asked {
                        peer,
                        host: host.name(),
                        method,
                        path: &path,
                        headers,
                        factors: &Factors::NONE,
                        circumstances,
                    };
                    policy.judge(&asked);
                    return self.looks_at_factors() && policy.depends_on_factors(&asked);
                }
            }
            _ => {}
        }
        false
    }

    /// The host, and the path or what a CONNECT has in its place, as they are read of a client.
    fn asked_for<'b>(
        self,
        host: &str,
        method: &str,
        path: &'b str,
    ) -> Result<(Host, Cow<'b, str>), Malformed> {
        if method != CONNECT {
            return Ok((Host::parse(host)?, path.into()));
        }
        if !self.plan.serving.policy.opens_tunnels() {
            return Err(Malformed::Connect);
        }
        let target = ConnectTarget::parse(path).map_err(|_| Malformed::ConnectForm)?;
        Ok((Host::parse(target.as_str())?, target.to_string().into()))
    }

    /// Whether rules of this route tell apart what is kept as one.
    pub(crate) fn looks_at_each(self, route: Option<&str>) -> bool {
        let mut routes = self.plan.serving.policy.routes().iter();
        routes.any(|it| route == Some(&it.label) && it.looks_at_each(NETWORK_BITS))
    }

    /// What it decides of a client whose handshake is over. `None`: the question is none for this listener.
    pub fn explain(
        self,
        peer: Option<&VerifiedPeer>,
        question: &Question,
        circumstances: Circumstances,
        supposed: &Supposed,
    ) -> Option<Explained> {
        let policy = &self.plan.serving.policy;
        let label = |route: Option<usize>| {
            let route = route.and_then(|route| policy.routes().get(route));
            route.map(|route| route.label.clone())
        };
        let explained = |Explanation { decision, rule }: Explanation,
                         of: &dyn Fn(&str) -> Option<Refusal>| {
            let route = label(decision.route());
            Explained {
                refusal: of(route.as_deref().unwrap_or("no route")),
                route,
                rule,
            }
        };
        match (question, self.plan.protocol) {
            (Question::Connection, Protocol::Bytes) => {
                let explanation = policy.explain_connection(peer, circumstances);
                let decision = explanation.decision.clone();
                Some(explained(explanation, &|route| {
                    refused_connection(&decision, peer, route)
                }))
            }
            (Question::Login(login), Protocol::Postgresql) => {
                let explanation = policy.explain_login(peer, login, circumstances);
                let decision = explanation.decision.clone();
                Some(explained(explanation, &|route| {
                    refused_login(&decision, peer, login, route)
                }))
            }
            (
                Question::Request {
                    host,
                    method,
                    path,
                    headers,
                },
                Protocol::Http,
            ) => {
                let unreadable = |fault, found: &str| {
                    Some(Explained {
                        route: None,
                        rule: None,
                        refusal: Some(malformed(fault, found)),
                    })
                };
                let (host, path) = match self.asked_for(host, method, path) {
                    Ok(asked) => asked,
                    Err(fault) if method == CONNECT => return unreadable(fault, path),
                    Err(fault) => return unreadable(fault, host),
                };
                let path = &*path;
                if self.plan.serving.is_ambiguous(method, path) {
                    return unreadable(Malformed::PathAmbiguous, path);
                }
                let asked = Asked {
                    peer,
                    host: host.name(),
                    method,
                    path,
                    headers: &SentHeaders::new(headers),
                    factors: &supposed.factors,
                    circumstances,
                };
                let explanation = policy.explain(&asked);
                let decision = explanation.decision.clone();
                Some(explained(explanation, &|route| {
                    refused(&decision, &asked, &supposed.faults, route)
                }))
            }
            _ => None,
        }
    }
}

const CONNECT: &str = "CONNECT";
