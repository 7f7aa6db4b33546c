//! The ports of a host: which of them want a certificate, and which serve the same without.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::doctor::question::{Question, Target, TlsVersion};
use countersign_diagnose::doctor::target::{
    Attempt, HttpRequest, Preamble, Shown, Speech, TargetSeen, Tcp, Trial,
};
use countersign_diagnose::finding::{Finding, Side};
use countersign_diagnose::scan::{Manner, Reception, Visitor, reception};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_probe::server::{Limits, Prober, Wanted};
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::Report;
use crate::backend::block_on;
use crate::certificate_file;
use crate::fault::Fault;
use crate::password::PasswordSource;
use crate::private_key::PrivateKey;

/// How a host is looked at.
#[derive(Debug, Args)]
pub(super) struct HostArguments {
    /// A port to look at, beside that of HOST:PORT; repeatable [default: those on which services are usual]
    #[arg(long = "port", value_name = "PORT", conflicts_with = "config", value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// The name to ask for (SNI and Host) where HOST is an address
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    name: Option<String>,
    /// What to ask for over HTTP
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/",
        conflicts_with = "config"
    )]
    path: String,
    /// A certificate that is let in: what it gets on the shut port is compared with what others get elsewhere
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"], conflicts_with = "config")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// What vouches for the server: the certificate is shown to nobody else
    #[arg(long, value_name = "FILE", requires = "cert")]
    ca: Option<PathBuf>,
}

/// A port that is open.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PortSeen {
    port: u16,
    speaks: &'static str,
    client_certificate: &'static str,
    /// SHA-256 of the served key.
    #[serde(skip_serializing_if = "Option::is_none")]
    spki: Option<String>,
    /// Who has to be refused, and what became of them.
    without_tls: Option<Reception>,
    without_certificate: Option<Reception>,
    stranger: Option<Reception>,
    #[serde(skip)]
    answers: Vec<Answered>,
    #[serde(skip)]
    to_the_invited: Option<Answered>,
}

/// What tells one service from another, as far as an answer does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    server: Option<String>,
    body: String,
}

impl HostArguments {
    pub(super) fn look(&self, host: &str) -> Result<Report, Fault> {
        let target = Target::parse(host).map_err(|error| {
            Fault::configuration(error).hint("name a host, or HOST:PORT of what has to be shut")
        })?;
        let names_port = target.scheme.is_some() || host.trim() != target.host;
        let mut ports: BTreeSet<u16> = self.ports.iter().copied().collect();
        if ports.is_empty() {
            ports.extend(USUAL);
        }
        let shut = names_port.then_some(target.port);
        ports.extend(shut);
        let identity = self.identity()?;
        let anchors = match &self.ca {
            Some(path) => certificate_file::certificates_in(path)?
                .iter()
                .map(|it| it.der().to_vec())
                .collect(),
            None => Vec::new(),
        };
        let seen = block_on(async {
            let mut looks = JoinSet::new();
            let mut waiting = ports.into_iter();
            let mut seen = Vec::new();
            loop {
                while looks.len() < AT_ONCE {
                    let Some(port) = waiting.next() else { break };
                    let wanted = self.wanted(&target, port, identity.clone(), anchors.clone());
                    let trials = self.trials(&target, port, identity.is_some());
                    looks.spawn(async move { (port, Prober.try_each(&wanted, &trials).await) });
                }
                let Some(looked) = looks.join_next().await else {
                    break;
                };
                seen.push(looked.map_err(Fault::bug)?);
            }
            seen.sort_by_key(|(port, _)| *port);
            Ok::<_, Fault>(seen)
        })?;
        if let Some(why) = seen.iter().find_map(|(_, seen)| seen.not_resolved.clone()) {
            let finding = Finding::fault(
                Cause::NameNotResolved,
                Side::Network,
                format!("{} has no address: {why}", target.host),
            );
            return Ok(Report {
                findings: vec![finding],
                ..Report::default()
            });
        }
        let ports: Vec<PortSeen> = seen
            .iter()
            .filter_map(|(port, seen)| PortSeen::of(*port, seen))
            .collect();
        let mut findings = judge(&target.host, shut, &ports);
        if let Some(port) = shut.filter(|port| !ports.iter().any(|seen| seen.port == *port)) {
            findings.insert(
                0,
                Finding::fault(
                    Cause::ConnectionRefused,
                    Side::Server,
                    format!("nothing listens on {}:{port}", target.host),
                ),
            );
        } else if ports.is_empty() {
            findings.push(Finding::fault(
                Cause::ConnectionRefused,
                Side::Server,
                format!("no port of {} that was looked at is open", target.host),
            ));
        }
        let closed = seen.len() - ports.len();
        Ok(Report {
            findings,
            ports,
            left_out: vec![format!(
                "{closed} closed ports, and every port that was not named"
            )],
            ..Report::default()
        })
    }

    fn identity(&self) -> Result<Option<countersign_probe::server::ClientIdentity>, Fault> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(None);
        };
        let chain = certificate_file::certificates_in(cert)?;
        let key = PrivateKey::read(key, &PasswordSource::Terminal)?;
        Ok(Some(countersign_probe::server::ClientIdentity {
            chain: chain.iter().map(|it| it.der().to_vec()).collect(),
            key: Zeroizing::new(key.pkcs8().to_vec()),
        }))
    }

    fn wanted(
        &self,
        target: &Target,
        port: u16,
        identity: Option<countersign_probe::server::ClientIdentity>,
        anchors: Vec<Vec<u8>>,
    ) -> Wanted {
        Wanted {
            question: Question {
                target: Some(Target {
                    port,
                    path: None,
                    scheme: None,
                    host: target.host.clone(),
                }),
                name: self.name.clone(),
                ..Question::default()
            },
            identity,
            issuers: Vec::new(),
            anchors,
            now: UnixTime::from_seconds(SystemClock.unix_seconds()),
            limits: Limits::default(),
        }
    }

    fn trials(&self, target: &Target, port: u16, is_invited: bool) -> Vec<Trial> {
        let name = self.name.as_ref().unwrap_or(&target.host);
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        let shown = if name.contains(':') {
            format!("[{name}]")
        } else {
            name.clone()
        };
        let request = HttpRequest {
            path: self.path.clone(),
            host: format!("{shown}:{port}"),
        };
        let trial = |speech, certificate| Trial {
            speech,
            preamble: Preamble::None,
            sni: (!is_address && speech == Speech::Tls).then(|| name.clone()),
            certificate,
            alpn: if speech == Speech::Tls {
                vec!["http/1.1".to_owned()]
            } else {
                Vec::new()
            },
            min: TlsVersion::Tls12,
            max: TlsVersion::Tls13,
            request: Some(request.clone()),
            resumes: None,
        };
        let mut trials = vec![
            trial(Speech::PlainHttp, Shown::None),
            trial(Speech::Tls, Shown::None),
            trial(Speech::Tls, Shown::Stranger),
        ];
        if is_invited {
            trials.push(trial(Speech::Tls, Shown::Own));
        }
        trials
    }
}

impl PortSeen {
    /// `None`: it is closed.
    fn of(port: u16, seen: &TargetSeen) -> Option<Self> {
        seen.addresses.iter().find(|it| it.tcp == Tcp::Open)?;
        let [plain, nobody, stranger] = [0, 1, 2].map(|place| seen.attempts.get(place));
        let speaks_tls = nobody.is_some_and(|attempt| attempt.hello.is_some());
        let over_tls = |visitor, attempt: Option<&Attempt>| {
            // Without HTTP, whoever is not turned away is in.
            let manner = Manner {
                speaks_http: attempt.is_some_and(|it| it.http.is_some()),
                ..Manner::default()
            };
            attempt
                .filter(|_| speaks_tls)
                .map(|attempt| reception(visitor, attempt, manner))
        };
        let speaks_plain = plain.is_some_and(|attempt| attempt.http.is_some());
        Some(Self {
            port,
            speaks: match (speaks_tls, speaks_plain) {
                (true, _) => "TLS",
                (false, true) => "HTTP without TLS",
                (false, false) => "neither TLS nor HTTP",
            },
            client_certificate: match nobody {
                Some(attempt) if speaks_tls && attempt.asked.is_some() => {
                    if matches!(
                        over_tls(Visitor::Nobody, nobody),
                        Some(Reception::Refused(_))
                    ) {
                        "required"
                    } else {
                        "asked for"
                    }
                }
                Some(_) if speaks_tls => "not asked for",
                _ => "",
            },
            spki: nobody
                .and_then(|attempt| attempt.chain.first())
                .and_then(|der| {
                    let certificate =
                        countersign_pki::certificate::Certificate::parse(&der.0).ok()?;
                    Some(Fingerprint::of(certificate.spki_der()).to_string())
                }),
            without_tls: plain.filter(|_| speaks_plain).map(|attempt| {
                let manner = Manner {
                    speaks_http: true,
                    ..Manner::default()
                };
                reception(Visitor::Plaintext, attempt, manner)
            }),
            without_certificate: over_tls(Visitor::Nobody, nobody),
            stranger: over_tls(Visitor::Stranger, stranger),
            answers: [plain, nobody]
                .into_iter()
                .flatten()
                .filter_map(Answered::of)
                .collect(),
            to_the_invited: seen.attempts.get(3).and_then(Answered::of),
        })
    }

    /// Clients without a certificate are turned away, by TLS or by whoever reads of TLS that they had none.
    fn is_shut(&self) -> bool {
        let asks = self.client_certificate == "asked for";
        let is_refused = matches!(self.without_certificate, Some(Reception::RefusedBehind(_)));
        self.client_certificate == "required" || asks && is_refused
    }

    pub(super) const HEADER: [&'static str; 5] = [
        "port",
        "speaks",
        "certificate",
        "without one",
        "without TLS",
    ];

    pub(super) fn row(&self) -> Vec<String> {
        let told = |reception: &Option<Reception>| match reception {
            Some(Reception::Admitted(how)) => format!("LET IN ({how})"),
            Some(Reception::Refused(how)) => format!("refused ({how})"),
            Some(Reception::RefusedBehind(how)) => format!("refused behind TLS ({how})"),
            Some(Reception::Unclear(how)) => format!("unclear ({how})"),
            None => String::new(),
        };
        vec![
            self.port.to_string(),
            self.speaks.to_owned(),
            self.client_certificate.to_owned(),
            told(&self.without_certificate),
            told(&self.without_tls),
        ]
    }
}

impl Answered {
    fn of(attempt: &Attempt) -> Option<Self> {
        let http = attempt.http.as_ref()?;
        Some(Self {
            status: http.status,
            server: http.server.clone(),
            body: http.body.clone(),
        })
    }

    fn sends_to_tls(&self) -> bool {
        matches!(self.status, 301 | 302 | 307 | 308 | 426)
    }
}

fn judge(host: &str, shut: Option<u16>, ports: &[PortSeen]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in ports {
        let must_be_shut = shut == Some(port.port);
        let at = format!("{host}:{}", port.port);
        let twin = ports.iter().find(|other| {
            other.is_shut()
                && other.port != port.port
                && port.spki.is_some()
                && other.spki == port.spki
        });
        let same_answer = ports.iter().find(|other| {
            other.port != port.port
                && other
                    .to_the_invited
                    .as_ref()
                    .is_some_and(|invited| port.answers.contains(invited))
        });
        let admits =
            |reception: &Option<Reception>| matches!(reception, Some(Reception::Admitted(_)));
        if admits(&port.without_tls) && !port.answers.first().is_some_and(Answered::sends_to_tls) {
            let finding = |words: String| {
                Finding::fault(Cause::PlaintextAlsoAccepted, Side::Server, words)
                    .with("port", port.port)
            };
            findings.push(match same_answer {
                Some(other) => finding(format!("{at} answers without TLS what {host}:{} answers to the certificate", other.port)),
                None if must_be_shut => finding(format!("{at} answers clients without TLS")),
                None => finding(format!("{at} answers clients without TLS; whether it is the same service cannot be told from here")).risk(),
            });
        }
        if let (true, Some(how)) = (must_be_shut, behind(port.without_tls.as_ref())) {
            let words = format!("{at} answers clients without TLS, although it says no: {how}");
            let finding = Finding::fault(Cause::PlaintextAlsoAccepted, Side::Server, words);
            findings.push(finding.with("port", port.port).risk());
        }
        if admits(&port.without_certificate) {
            let finding = |words: String| {
                let cause = if port.client_certificate == "not asked for" {
                    Cause::ClientCertNotRequested
                } else {
                    Cause::ClientAuthNotEnforced
                };
                Finding::fault(cause, Side::Server, words).with("port", port.port)
            };
            findings.push(match (must_be_shut, twin.or(same_answer)) {
                (true, _) => finding(format!("{at} serves clients without a certificate")),
                (false, Some(other)) => finding(format!("{at} serves clients without a certificate, with the key of {host}:{}, which wants one", other.port)),
                (false, None) => finding(format!("{at} serves clients without a certificate")).risk(),
            });
        } else if admits(&port.stranger) {
            findings.push(not_enforced(
                port,
                format!("{at} asks for a certificate and takes one that signed itself"),
            ));
        } else if let Some(how) = behind(port.stranger.as_ref()) {
            findings.push(not_enforced(port, format!(
                "{at} takes a certificate that signed itself, and only what stands behind TLS says no ({how}), for whatever reason"
            )).risk());
        } else if let (true, Some(how)) = (must_be_shut, behind(port.without_certificate.as_ref()))
        {
            findings.push(not_enforced(port, format!(
                "{at} lets clients without a certificate through TLS, and only what stands behind it says no ({how}), for whatever reason"
            )).risk());
        }
    }
    if shut.is_none() && !ports.iter().any(PortSeen::is_shut) && !ports.is_empty() {
        findings.push(Finding::fault(
            Cause::ClientCertNotRequested,
            Side::Server,
            format!("no port of {host} that was looked at wants a certificate"),
        ));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn not_enforced(port: &PortSeen, words: String) -> Finding {
    Finding::fault(Cause::ClientAuthNotEnforced, Side::Server, words).with("port", port.port)
}

fn behind(reception: Option<&Reception>) -> Option<&str> {
    match reception {
        Some(Reception::RefusedBehind(how)) => Some(how),
        _ => None,
    }
}

/// HTTP and HTTPS with their neighbours, databases and brokers as IANA and habit have them.
const USUAL: [u16; 28] = [
    80, 443, 1883, 2379, 3000, 3306, 4443, 5000, 5432, 5671, 5672, 6379, 6443, 8000, 8080, 8081,
    8088, 8443, 8444, 8843, 8883, 8888, 9000, 9090, 9092, 9443, 27017, 50051,
];

/// Polite: a scan is no flood.
const AT_ONCE: usize = 4;
