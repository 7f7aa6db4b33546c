//! What to try next, given what was seen: pure, so that politeness can be tested.
//!
//! A connection is made for one question. The first is the client's own, without its certificate; each further one is
//! there because of what an earlier one showed. The order is that of what is most worth knowing when time runs out.

use countersign_diagnose::doctor::question::{Starttls, Target, TlsVersion};
use countersign_diagnose::doctor::target::{
    Attempt, End, HttpRequest, Preamble, Shown, Speech, Stage, TargetSeen, Trial, Vouched,
};

use super::Wanted;

/// What is asked, as far as it decides what is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The server name of the client; `None`: it connects by address.
    pub sni: Option<String>,
    /// Other names to ask for.
    pub other_names: Vec<String>,
    /// What the client offers.
    pub alpn: Vec<String>,
    /// The lowest version.
    pub min: TlsVersion,
    /// The highest version.
    pub max: TlsVersion,
    /// What is asked for, where HTTP is spoken.
    pub request: Option<HttpRequest>,
    /// What comes before TLS.
    pub preamble: Preamble,
    /// The port, which says what may be spoken there.
    pub port: u16,
    /// Whether the client speaks HTTP without TLS.
    pub is_plain: bool,
    /// Whether there is a certificate to show.
    pub has_identity: bool,
    /// Whether there are issuers that its chain lacks.
    pub can_complete: bool,
}

impl Aim {
    /// Of what is wanted.
    pub fn new(wanted: &Wanted) -> Self {
        let question = &wanted.question;
        let target = question.target.as_ref();
        let host = target.map(|target| target.host.clone()).unwrap_or_default();
        let port = target.map_or(443, |target| target.port);
        let scheme = target.and_then(|target| target.scheme);
        let starttls = question
            .starttls
            .or_else(|| target.and_then(Target::starttls));
        let is_address = target.is_some_and(|target| target.ip().is_some());
        let sni = question
            .name
            .clone()
            .or_else(|| (!is_address).then(|| host.clone()))
            .filter(|name| name.parse::<std::net::IpAddr>().is_err() && !name.contains(':'));
        let speaks_http = starttls.is_none()
            && match scheme {
                None => !OTHER_PORTS.contains(&port),
                Some(scheme) => scheme.is_web(),
            };
        let named = question.name.as_ref().unwrap_or(&host);
        let bracketed = if named.contains(':') {
            format!("[{named}]")
        } else {
            named.clone()
        };
        let request = speaks_http.then(|| HttpRequest {
            path: target
                .and_then(|target| target.path.clone())
                .unwrap_or_else(|| "/".to_owned()),
            host: question.host_header.clone().unwrap_or_else(|| match port {
                443 => bracketed,
                port => format!("{bracketed}:{port}"),
            }),
        });
        let alpn_is_said = !question.alpn.is_empty();
        let alpn = match (alpn_is_said, speaks_http) {
            (true, _) => question.alpn.clone(),
            (false, true) => vec!["http/1.1".to_owned()],
            (false, false) => Vec::new(),
        };
        Self {
            sni,
            other_names: question
                .also_try_names
                .iter()
                .take(MAX_NAMES)
                .cloned()
                .collect(),
            alpn,
            min: question.min_tls.unwrap_or(TlsVersion::Tls10),
            max: question.max_tls.unwrap_or(TlsVersion::Tls13),
            request,
            preamble: starttls.map_or(Preamble::None, Preamble::Starttls),
            port,
            is_plain: scheme.is_some_and(|scheme| !scheme.is_encrypted()),
            has_identity: wanted.identity.is_some() && !question.no_client_cert,
            can_complete: !wanted.issuers.is_empty(),
        }
    }

    /// As the client comes, but without a certificate.
    fn as_the_client(&self) -> Trial {
        // Of what is older than TLS 1.2 only the first words are spoken here.
        let speech = if self.max < TlsVersion::Tls12 {
            Speech::RawHello
        } else {
            Speech::Tls
        };
        Trial {
            speech,
            preamble: self.preamble,
            sni: self.sni.clone(),
            certificate: Shown::None,
            alpn: self.alpn.clone(),
            min: self.min,
            max: self.max,
            request: self.request.clone(),
            resumes: None,
        }
    }

    fn in_plaintext(&self) -> Option<Trial> {
        Some(Trial {
            speech: Speech::PlainHttp,
            request: Some(self.request.clone()?),
            preamble: Preamble::None,
            alpn: Vec::new(),
            ..self.as_the_client()
        })
    }

    /// Every version and suite, whatever the client would offer.
    fn of_every_age(&self, min: TlsVersion, max: TlsVersion) -> Trial {
        Trial {
            speech: Speech::RawHello,
            alpn: Vec::new(),
            request: None,
            min,
            max,
            ..self.as_the_client()
        }
    }
}

/// The next trial; `None`: enough is known.
pub fn next(aim: &Aim, seen: &TargetSeen) -> Option<Trial> {
    let plan = Plan { aim, seen };
    plan.steps()
        .into_iter()
        .find(|trial| plan.attempt(trial).is_none())
}

struct Plan<'p> {
    aim: &'p Aim,
    seen: &'p TargetSeen,
}

impl Plan<'_> {
    fn attempt(&self, trial: &Trial) -> Option<&Attempt> {
        self.seen
            .attempts
            .iter()
            .find(|attempt| attempt.trial == *trial)
    }

    /// Everything that what was seen so far gives reason for, in order; what was tried stands there still.
    fn steps(&self) -> Vec<Trial> {
        let mut steps = Vec::new();
        if self.aim.is_plain {
            steps.extend(self.aim.in_plaintext());
        }
        let first = self.first_that_speaks();
        steps.push(first.clone());
        let Some(attempt) = self.attempt(&first) else {
            return steps;
        };
        if attempt.hello.is_none() {
            self.without_tls(attempt, &mut steps);
        } else if first.speech == Speech::Tls {
            self.with_tls(attempt, &mut steps);
        }
        steps
    }

    /// The client's own trial, or the one by which TLS came about in its place.
    fn first_that_speaks(&self) -> Trial {
        let first = self.aim.as_the_client();
        match self.attempt(&first) {
            Some(attempt) if attempt.hello.is_none() => self
                .seen
                .attempts
                .iter()
                .find(|attempt| {
                    attempt.trial.speech == Speech::Tls
                        && attempt.hello.is_some()
                        && attempt.trial.certificate == Shown::None
                })
                .map_or(first, |attempt| attempt.trial.clone()),
            _ => first,
        }
    }

    fn without_tls(&self, attempt: &Attempt, steps: &mut Vec<Trial>) {
        let first = &attempt.trial;
        if attempt.at == Stage::Preamble {
            // Whoever does not know the command may speak TLS at once.
            steps.push(Trial {
                preamble: Preamble::None,
                ..first.clone()
            });
            return;
        }
        match &attempt.end {
            End::NotTls | End::TimedOut | End::Closed | End::Reset
                if !attempt.plaintext.is_empty() =>
            {
                if let Some(starttls) = greeting(&attempt.plaintext, self.aim.port) {
                    steps.push(Trial {
                        preamble: Preamble::Starttls(starttls),
                        request: None,
                        alpn: Vec::new(),
                        ..first.clone()
                    });
                } else {
                    steps.extend(self.aim.in_plaintext());
                }
                return;
            }
            End::Alert(NO_APPLICATION_PROTOCOL) => {
                for alpn in [
                    vec!["h2".to_owned()],
                    vec!["http/1.1".to_owned()],
                    Vec::new(),
                ] {
                    steps.push(Trial {
                        alpn,
                        ..first.clone()
                    });
                }
            }
            _ => {}
        }
        for name in &self.aim.other_names {
            steps.push(Trial {
                sni: Some(name.clone()),
                ..first.clone()
            });
        }
        if first.sni.is_some() && matches!(attempt.end, End::Alert(_)) {
            steps.push(Trial {
                sni: None,
                ..first.clone()
            });
        }
        if !matches!(attempt.end, End::TimedOut) {
            steps.push(self.aim.of_every_age(TlsVersion::Tls10, TlsVersion::Tls13));
            let raw = self.aim.of_every_age(TlsVersion::Tls10, TlsVersion::Tls13);
            let found = self.attempt(&raw).is_some_and(|raw| raw.hello.is_some());
            if !found {
                steps.push(self.aim.of_every_age(TlsVersion::Ssl3, TlsVersion::Tls10));
            }
        }
        if matches!(
            attempt.end,
            End::Closed | End::Reset | End::TimedOut | End::NotTls
        ) {
            steps.extend(self.aim.in_plaintext());
            if first.preamble == Preamble::None {
                if let Some(starttls) = by_port(self.aim.port) {
                    steps.push(Trial {
                        preamble: Preamble::Starttls(starttls),
                        request: None,
                        alpn: Vec::new(),
                        ..first.clone()
                    });
                }
                steps.push(Trial {
                    preamble: Preamble::ProxyHeader,
                    ..first.clone()
                });
                if by_port(self.aim.port).is_none() {
                    steps.push(Trial {
                        preamble: Preamble::Starttls(Starttls::Postgres),
                        request: None,
                        alpn: Vec::new(),
                        ..first.clone()
                    });
                }
            }
        }
    }

    fn with_tls(&self, attempt: &Attempt, steps: &mut Vec<Trial>) {
        let mut first = without_idle_request(attempt);
        // What HTTP/2 answers is not read here; where the client takes HTTP/1.1 as well, that is asked.
        let chose_h2 = attempt
            .hello
            .as_ref()
            .is_some_and(|hello| hello.alpn.as_deref() == Some("h2"));
        if chose_h2 && attempt.finished && attempt.trial.alpn.iter().any(|name| name == "http/1.1")
        {
            first = Trial {
                alpn: vec!["http/1.1".to_owned()],
                ..attempt.trial.clone()
            };
            steps.push(first.clone());
        }
        let asks = attempt.asked.is_some();
        if asks && !self.aim.has_identity && may_forbid_everything(attempt) {
            steps.extend(to_no_page(&first));
        }
        let may_be_shown =
            !matches!(self.seen.vouched, Vouched::Nobody(_)) && !self.seen.key_is_anothers;
        if self.aim.has_identity && may_be_shown {
            self.with_own(&first, asks, steps);
        }
        let refused_without_alert = matches!(attempt.end, End::Closed | End::Reset)
            && attempt.http.is_none()
            && attempt
                .hello
                .as_ref()
                .is_some_and(|hello| hello.version == TlsVersion::Tls13);
        if refused_without_alert && first.min <= TlsVersion::Tls12 {
            steps.push(Trial {
                max: TlsVersion::Tls12,
                ..first.clone()
            });
        }
        for name in &self.aim.other_names {
            if first.sni.as_ref() != Some(name) {
                steps.push(Trial {
                    sni: Some(name.clone()),
                    ..first.clone()
                });
                if asks && !was_admitted(attempt) {
                    self.with_session_of(name, &first, steps);
                }
            }
        }
        // Whether it asks for one is not yet whether it looks at it.
        if asks {
            steps.push(Trial {
                certificate: Shown::Stranger,
                ..first.clone()
            });
        }
        if self.aim.preamble == Preamble::None && attempt.trial.preamble == Preamble::None {
            steps.extend(self.aim.in_plaintext());
        }
    }

    /// A session that the server gives to anybody by another name, offered where it wants a certificate. Each version has its
    /// own rules for what a session is bound to.
    fn with_session_of(&self, name: &str, first: &Trial, steps: &mut Vec<Trial>) {
        for max in [first.max, TlsVersion::Tls12] {
            let open = Trial {
                sni: Some(name.to_owned()),
                max,
                ..first.clone()
            };
            if max > first.max || max < first.min {
                continue;
            }
            steps.push(open.clone());
            let gave_one = self.attempt(&open).is_some_and(|attempt| {
                let version = attempt.hello.as_ref().map(|hello| hello.version);
                attempt.is_accepted_by_tls()
                    && (attempt.has_ticket || version < Some(TlsVersion::Tls13))
            });
            if gave_one {
                steps.push(Trial {
                    resumes: Some(name.to_owned()),
                    max,
                    ..first.clone()
                });
            }
        }
    }

    fn with_own(&self, first: &Trial, asks: bool, steps: &mut Vec<Trial>) {
        let own = Trial {
            certificate: Shown::Own,
            ..first.clone()
        };
        steps.push(own.clone());
        let Some(attempt) = self.attempt(&own) else {
            return;
        };
        for name in &self.aim.other_names {
            if asks && !was_admitted(attempt) && first.sni.as_ref() != Some(name) {
                steps.push(Trial {
                    sni: Some(name.clone()),
                    ..own.clone()
                });
            }
        }
        let is_web_refusal = attempt
            .http
            .as_ref()
            .is_some_and(|http| matches!(http.status, 400 | 403));
        if !attempt.is_accepted_by_tls() || is_web_refusal {
            if self.aim.can_complete {
                steps.push(Trial {
                    certificate: Shown::OwnCompleted,
                    ..first.clone()
                });
            }
            let is_silent = matches!(attempt.end, End::Closed | End::Reset | End::TimedOut);
            let is_13 = attempt
                .hello
                .as_ref()
                .is_some_and(|hello| hello.version == TlsVersion::Tls13);
            if is_silent && is_13 && first.min <= TlsVersion::Tls12 {
                steps.push(Trial {
                    max: TlsVersion::Tls12,
                    ..own.clone()
                });
            }
        }
        // A page may be forbidden to everybody. One that does not exist is forbidden only to whom everything is.
        if may_forbid_everything(attempt) {
            steps.extend(to_no_page(&own));
        }
    }
}

/// Whether the answer may be to the client, and not to what it asked for.
fn may_forbid_everything(attempt: &Attempt) -> bool {
    let http = attempt.http.as_ref();
    http.is_some_and(|http| http.status == 403 || (http.status == 401 && http.challenge.is_none()))
}

fn to_no_page(trial: &Trial) -> Option<Trial> {
    let request = HttpRequest {
        path: NO_PAGE.to_owned(),
        ..trial.request.clone()?
    };
    Some(Trial {
        request: Some(request),
        ..trial.clone()
    })
}

/// Whoever does not answer a request is not asked again: waiting for it takes longest of all.
fn without_idle_request(attempt: &Attempt) -> Trial {
    let is_mute = attempt.finished && attempt.end == End::Open && attempt.http.is_none();
    Trial {
        request: attempt.trial.request.clone().filter(|_| !is_mute),
        ..attempt.trial.clone()
    }
}

fn was_admitted(attempt: &Attempt) -> bool {
    let refused_by_http = attempt
        .http
        .as_ref()
        .is_some_and(|http| matches!(http.status, 400 | 401 | 403 | 421 | 495 | 496));
    attempt.is_accepted_by_tls() && !refused_by_http
}

/// Who greets in plaintext, or answers a `ClientHello` so, and would change to TLS when asked.
pub fn greeting(bytes: &[u8], port: u16) -> Option<Starttls> {
    let text = String::from_utf8_lossy(bytes);
    let upper = text.to_ascii_uppercase();
    if text.starts_with("220") {
        let is_mail = upper.contains("SMTP");
        let is_ftp = upper.contains("FTP") || by_port(port) == Some(Starttls::Ftp);
        return Some(if is_ftp && !is_mail {
            Starttls::Ftp
        } else {
            Starttls::Smtp
        });
    }
    if text.starts_with("* OK") {
        return Some(Starttls::Imap);
    }
    if text.starts_with("+OK") {
        return Some(Starttls::Pop3);
    }
    if text.contains("<stream:") {
        return Some(Starttls::Xmpp);
    }
    // Length (3), sequence 0, protocol 10.
    if bytes.len() > 5 && bytes[3] == 0 && bytes[4] == 10 {
        return Some(Starttls::Mysql);
    }
    // A message of its own accord (messageID 0) that is an ExtendedResponse: RFC 4511 §4.4.1, Notice of Disconnection.
    if bytes.first() == Some(&0x30)
        && bytes
            .windows(4)
            .take(8)
            .any(|window| window == [0x02, 0x01, 0x00, 0x78])
    {
        return Some(Starttls::Ldap);
    }
    // An ErrorResponse of PostgreSQL: `E`, a length below 64 KiB, and the severity as its first field.
    if matches!(bytes, [b'E', 0, 0, _, _, b'S', ..]) {
        return Some(Starttls::Postgres);
    }
    None
}

fn by_port(port: u16) -> Option<Starttls> {
    Some(match port {
        21 => Starttls::Ftp,
        25 | 587 => Starttls::Smtp,
        110 => Starttls::Pop3,
        143 => Starttls::Imap,
        389 => Starttls::Ldap,
        3306 => Starttls::Mysql,
        5222 | 5269 => Starttls::Xmpp,
        5432 => Starttls::Postgres,
        _ => return None,
    })
}

const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Whoever reads the server's log sees who asked.
const NO_PAGE: &str = "/countersign-doctor-asks-for-no-page";

/// A person tries one or two.
const MAX_NAMES: usize = 3;

/// Ports where something else than HTTP is spoken over TLS, or before it.
const OTHER_PORTS: [u16; 28] = [
    21, 25, 110, 143, 389, 465, 563, 587, 636, 853, 989, 990, 992, 993, 994, 995, 1433, 3269, 3306,
    5061, 5222, 5223, 5269, 5432, 5671, 6379, 8883, 9093,
];
