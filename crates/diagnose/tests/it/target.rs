//! The judge's table: what was seen of a server, and the root cause that it has to be.

use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::doctor::Diagnosis;
use countersign_diagnose::doctor::question::{Question, Starttls, Target, TlsVersion};
use countersign_diagnose::doctor::target::{
    AddressSeen, Attempt, CertificateRequest, Der, End, HelloSeen, HttpAnswer, HttpRequest, Known,
    Preamble, Shown, Speech, Stage, TargetSeen, Tcp, Trial, Vouched, judge,
};
use countersign_diagnose::finding::Severity;
use countersign_pki::time::UnixTime;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};

/// A server of TLS 1.3 that requires a certificate of the CA, and whom it lets in.
struct Scene {
    ca: TestCa,
    question: Question,
    known: Known,
    seen: TargetSeen,
}

fn ders(identity: &TestIdentity) -> Vec<Vec<u8>> {
    identity.chain.iter().map(|der| der.to_vec()).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "testkit's certificates are valid around the real time"
)]
fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixTime::from_seconds(since.expect("after 1970").as_secs())
}

fn trial(certificate: Shown) -> Trial {
    Trial {
        speech: Speech::Tls,
        preamble: Preamble::None,
        sni: Some("api.example".to_owned()),
        certificate,
        alpn: vec!["http/1.1".to_owned()],
        min: TlsVersion::Tls10,
        max: TlsVersion::Tls13,
        request: Some(HttpRequest {
            path: "/".to_owned(),
            host: "api.example".to_owned(),
        }),
        resumes: None,
    }
}

fn http(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer {
        status,
        reason: "Reason".to_owned(),
        server: None,
        clock_ahead_s: Some(0),
        challenge: None,
        location: None,
        body: body.to_owned(),
    }
}

/// Nothing came.
fn silent(trial: Trial, end: End) -> Attempt {
    Attempt {
        trial,
        address: "192.0.2.1:443".parse().expect("an address"),
        plaintext: Vec::new(),
        hello: None,
        chain: Vec::new(),
        ocsp: None,
        unproved: None,
        asked: None,
        sent_certificate: false,
        finished: false,
        resumed: false,
        has_ticket: false,
        end,
        at: Stage::BeforeServerHello,
        http: None,
        other_data: false,
        took: Duration::from_millis(5),
    }
}

fn hello(version: TlsVersion, cipher: u16) -> HelloSeen {
    HelloSeen {
        version,
        cipher,
        cipher_name: None,
        alpn: None,
    }
}

impl Scene {
    fn new() -> Self {
        let ca = TestCa::new("world");
        let server = ca.issue(Leaf::server(&["api.example"]));
        let client = ca.issue(Leaf::client("you"));
        let address = "192.0.2.1:443".parse().expect("an address");
        let mut scene = Self {
            question: Question {
                target: Some(Target::parse("api.example:443").expect("a target")),
                ..Question::default()
            },
            known: Known {
                client_chain: ders(&client),
                anchors: vec![ca.root.der().to_vec()],
                ..Known::default()
            },
            seen: TargetSeen {
                target: "api.example:443".to_owned(),
                addresses: vec![AddressSeen {
                    address,
                    tcp: Tcp::Open,
                }],
                vouched: Vouched::Anchors,
                ..TargetSeen::default()
            },
            ca,
        };
        let attempts = [
            (Shown::None, End::Alert(116)),
            (Shown::Own, End::Open),
            (Shown::Stranger, End::Alert(48)),
        ];
        for (shown, end) in attempts {
            let attempt = scene.shaken(&server, shown, end);
            scene.seen.attempts.push(attempt);
        }
        scene
    }

    /// Through the handshake, and then this.
    fn shaken(&self, server: &TestIdentity, shown: Shown, end: End) -> Attempt {
        Attempt {
            hello: Some(hello(TlsVersion::Tls13, 0x1301)),
            chain: ders(server).into_iter().map(Der).collect(),
            asked: Some(CertificateRequest {
                ca_names: vec![self.name_of_root()],
                schemes: vec![0x0403],
            }),
            sent_certificate: shown != Shown::None,
            finished: true,
            at: Stage::AfterFinished,
            http: (end == End::Open).then(|| http(200, "ok")),
            ..silent(trial(shown), end)
        }
    }

    fn name_of_root(&self) -> Der {
        let root = countersign_pki::certificate::Certificate::parse_anchor(self.ca.root.der());
        Der(root.expect("a root").subject_der().to_vec())
    }

    /// Changes the attempt that showed this.
    fn with(mut self, shown: Shown, change: impl Fn(&mut Attempt)) -> Self {
        let found = |attempt: &&mut Attempt| attempt.trial.certificate == shown;
        change(
            self.seen
                .attempts
                .iter_mut()
                .find(found)
                .expect("it was shown"),
        );
        self
    }

    fn own_ends(self, end: &End) -> Self {
        self.with(Shown::Own, |attempt| {
            attempt.end = end.clone();
            attempt.http = None;
        })
    }

    /// Nothing but these.
    fn only(mut self, attempts: Vec<Attempt>) -> Self {
        self.seen.attempts = attempts;
        self.seen.vouched = Vouched::Unknown;
        self
    }

    fn client(mut self, leaf: Leaf) -> Self {
        self.known.client_chain = ders(&self.ca.issue(leaf));
        self
    }

    fn check(self, expected: Option<Cause>) -> Diagnosis {
        let diagnosis = judge(&self.seen, &self.question, &self.known, now());
        let first = diagnosis.findings.first();
        let is_right = match expected {
            Some(cause) => {
                first.is_some_and(|first| first.cause == cause && first.severity == Severity::Fault)
            }
            None => diagnosis.is_healthy(),
        };
        assert!(is_right, "expected {expected:?}\n{diagnosis:#?}");
        for ruled_out in &diagnosis.ruled_out {
            assert!(
                diagnosis
                    .findings
                    .iter()
                    .all(|finding| finding.severity != Severity::Fault
                        || finding.cause != ruled_out.cause),
                "{ruled_out:?} is found, too"
            );
        }
        diagnosis
    }
}

#[test]
fn server_that_lets_its_client_in_and_nobody_else_is_healthy() {
    let diagnosis = Scene::new().check(None);
    assert!(diagnosis.findings.is_empty(), "{diagnosis:#?}");
    let ruled_out: Vec<_> = diagnosis.ruled_out.iter().map(|it| it.cause).collect();
    for cause in [
        Cause::TlsVersionMismatch,
        Cause::ClientCaNotTrusted,
        Cause::ClientAuthNotEnforced,
        Cause::ServerCaNotTrusted,
        Cause::ClientCertNotRequested,
    ] {
        assert!(ruled_out.contains(&cause), "{cause:?} {ruled_out:?}");
    }
    for status in [401, 404, 500] {
        let answered = Scene::new().with(Shown::Own, |own| own.http = Some(http(status, "")));
        answered.check(None);
    }
    let login = Scene::new().with(Shown::Own, |own| {
        own.http = Some(HttpAnswer {
            challenge: Some("Bearer".to_owned()),
            ..http(401, "")
        });
    });
    assert!(login.check(None).findings.is_empty());
}

#[test]
fn alert_at_a_certificate_without_a_flaw_is_told_by_its_name_and_the_list() {
    for (code, cause) in [
        (44, Cause::CertificateRevoked),
        (45, Cause::CrlExpired),
        (49, Cause::IdentityNotAllowed),
        // One CA vouches for both sides, so that it is no matter of trust.
        (48, Cause::CrlMissing),
        // A stranger is told another thing.
        (42, Cause::IdentityNotAllowed),
        (46, Cause::IdentityNotAllowed),
        (43, Cause::EkuMissingClientauth),
        (51, Cause::SameNameDifferentKeyCa),
    ] {
        Scene::new().own_ends(&End::Alert(code)).check(Some(cause));
    }
}

#[test]
fn flaw_of_the_certificate_counts_where_the_alert_may_mean_it() {
    let expired = || Leaf::client("you").valid(-7200, -3600);
    for (code, cause) in [
        (45, Cause::LeafExpired),
        (42, Cause::LeafExpired),
        (46, Cause::LeafExpired),
        // Its CA is not trusted there, expired or not; that it trusts the name is its own business.
        (44, Cause::CertificateRevoked),
        (49, Cause::IdentityNotAllowed),
    ] {
        let scene = Scene::new().client(expired()).own_ends(&End::Alert(code));
        scene.check(Some(cause));
    }
    let begins_later = Scene::new().client(Leaf::client("you").valid(3600, 7200));
    begins_later
        .own_ends(&End::Alert(42))
        .check(Some(Cause::NotYetValid));
    for end in [End::Alert(43), End::Alert(46), End::Closed, End::Reset] {
        let for_servers = Scene::new().client(Leaf::server(&["you"]));
        for_servers
            .own_ends(&end)
            .check(Some(Cause::EkuMissingClientauth));
    }
}

#[test]
fn list_of_cas_tells_a_strange_client_from_a_chain_that_stops_too_soon() {
    let strange = || {
        let mut scene = Scene::new();
        scene.known.client_chain = ders(&TestCa::new("elsewhere").issue(Leaf::client("you")));
        scene
    };
    for end in [
        End::Alert(48),
        End::Alert(42),
        End::Alert(46),
        End::Closed,
        End::Reset,
    ] {
        strange()
            .own_ends(&end)
            .check(Some(Cause::ClientCaNotTrusted));
    }
    let page = strange().with(Shown::Own, |own| {
        own.http = Some(http(400, "The SSL certificate error"));
    });
    page.check(Some(Cause::ClientCaNotTrusted));

    let mut alone = Scene::new();
    alone.known.client_chain.truncate(1);
    alone
        .own_ends(&End::Alert(48))
        .check(Some(Cause::ChainMissingIntermediate));

    // The same certificate, whose intermediate somebody has: nothing is left to guess.
    let mut known = Scene::new();
    known.known.client_chain.truncate(1);
    known.known.issuers = vec![known.ca.intermediate.der().to_vec()];
    known
        .own_ends(&End::Alert(46))
        .check(Some(Cause::ChainMissingIntermediate));

    let mut rotated = Scene::new();
    let [old, new] = ["clients 1", "clients 2"].map(TestCa::new);
    rotated.known.client_chain = ders(&new.issue(Leaf::client("you")));
    let name =
        countersign_pki::certificate::Certificate::parse_anchor(old.root.der()).expect("a root");
    let name = Der(name.subject_der().to_vec());
    rotated
        .with(Shown::Own, |own| {
            own.asked.as_mut().expect("it asked").ca_names = vec![name.clone()];
        })
        .own_ends(&End::Alert(48))
        .check(Some(Cause::CaRotatedWithoutOverlap));
}

#[test]
fn servers_own_bundle_leaves_nothing_to_guess() {
    let elsewhere = TestCa::new("elsewhere");
    let mut scene = Scene::new();
    scene.known.client_ca = vec![elsewhere.root.der().to_vec()];
    scene
        .own_ends(&End::Alert(42))
        .check(Some(Cause::ClientCaNotTrusted));
    let mut missing = Scene::new();
    missing.known.client_ca = missing.known.anchors.clone();
    missing.known.issuers = vec![missing.ca.intermediate.der().to_vec()];
    missing.known.client_chain.truncate(1);
    missing
        .own_ends(&End::Closed)
        .check(Some(Cause::ChainMissingIntermediate));
}

#[test]
fn certificate_that_was_not_sent_is_no_refusal_of_it() {
    let scene = Scene::new().with(Shown::Own, |own| {
        own.sent_certificate = false;
        own.asked.as_mut().expect("it asked").schemes = vec![0x0804];
        own.end = End::Alert(116);
        own.http = None;
    });
    scene.check(Some(Cause::SigalgUnsupported));
}

#[test]
fn who_comes_without_one_is_asked_for_it() {
    let without = |expect_enforced: bool| {
        let mut scene = Scene::new();
        scene.known.client_chain.clear();
        scene
            .seen
            .attempts
            .retain(|attempt| attempt.trial.certificate != Shown::Own);
        scene.question.expect_enforced = expect_enforced;
        scene
    };
    without(false).check(Some(Cause::ClientCertNotSent));
    without(true).check(None);
    let page = |body: &'static str| {
        without(false).with(Shown::None, move |none| {
            none.end = End::Open;
            none.http = Some(http(400, body));
        })
    };
    page("No required SSL certificate was sent").check(Some(Cause::ClientCertNotSent));
    page("Bad Request").check(None);
}

#[test]
fn whoever_is_let_in_without_a_certificate_is_a_fault_only_where_that_is_not_meant() {
    let optional = || {
        Scene::new().with(Shown::None, |none| {
            none.end = End::Open;
            none.http = Some(http(200, "ok"));
        })
    };
    let diagnosis = optional().check(None);
    assert_eq!(diagnosis.findings[0].cause, Cause::ClientAuthNotEnforced);
    assert_eq!(diagnosis.findings[0].severity, Severity::Risk);
    let mut meant = optional();
    meant.question.expect_enforced = true;
    meant.check(Some(Cause::ClientAuthNotEnforced));
    let any = Scene::new().with(Shown::Stranger, |stranger| {
        stranger.end = End::Open;
        stranger.http = Some(http(200, "ok"));
    });
    any.check(Some(Cause::ClientAuthNotEnforced));
}

#[test]
fn server_that_never_asks_is_a_fault_for_whom_it_should_ask() {
    let silent_on_it = || {
        let mut scene = Scene::new();
        for attempt in &mut scene.seen.attempts {
            attempt.asked = None;
            attempt.sent_certificate = false;
            attempt.end = End::Open;
            attempt.http = Some(http(200, "ok"));
        }
        scene
    };
    silent_on_it().check(Some(Cause::ClientCertNotRequested));
    let mut plain = silent_on_it();
    plain.known.client_chain.clear();
    plain.check(None);
    let mut enforced = silent_on_it();
    enforced.known.client_chain.clear();
    enforced.question.expect_enforced = true;
    enforced.check(Some(Cause::ClientCertNotRequested));
    let mut apache = silent_on_it();
    for attempt in &mut apache.seen.attempts {
        attempt.http = Some(http(
            403,
            "Reason: Cannot perform Post-Handshake Authentication.<br />",
        ));
    }
    apache.check(Some(Cause::PostHandshakeAuthUnavailable));
}

#[test]
fn page_that_turns_away_who_has_no_certificate_must_mean_the_certificate() {
    let answered = |status, body: &str, challenge: Option<&str>| {
        let mut scene = Scene::new();
        scene.known.client_chain.clear();
        scene.seen.attempts.truncate(1);
        scene.with(Shown::None, |none| {
            none.end = End::Open;
            none.http = Some(HttpAnswer {
                challenge: challenge.map(str::to_owned),
                ..http(status, body)
            });
        })
    };
    let page = "a client certificate is required";
    answered(401, "", None).check(None);
    answered(401, "", Some("")).check(None);
    // Said of whatever is asked for, it may mean the certificate, and may as well mean a token.
    let mut api = answered(401, "", None);
    let root = &mut api.seen.attempts[0];
    root.trial.request = Some(HttpRequest {
        path: "/no-such-page".to_owned(),
        host: "localhost".to_owned(),
    });
    let told = api.check(None);
    let told: Vec<_> = (told.findings.iter())
        .map(|it| (it.cause, it.severity))
        .collect();
    assert_eq!(told, [(Cause::ClientCertNotSent, Severity::Risk)]);
    answered(401, page, Some("Basic realm=staff")).check(None);
    answered(403, "", None).check(None);
    answered(401, page, None).check(Some(Cause::ClientCertNotSent));
    answered(403, page, None).check(Some(Cause::ClientCertNotSent));
}

#[test]
fn rights_and_names_are_told_once_tls_has_let_the_client_in() {
    let answered =
        |status| Scene::new().with(Shown::Own, move |own| own.http = Some(http(status, "")));
    answered(403).check(Some(Cause::IdentityNotAllowed));
    answered(421).check(Some(Cause::SniHostMismatch));
    // It may as well want a token.
    let unknown = answered(401).check(None);
    let told: Vec<_> = (unknown.findings.iter())
        .map(|it| (it.cause, it.severity))
        .collect();
    assert_eq!(told, [(Cause::IdentityNotAllowed, Severity::Risk)]);
}

#[test]
fn what_is_no_tls_is_told_by_what_it_says() {
    let plain = |plaintext: &[u8]| {
        let mut attempt = silent(trial(Shown::None), End::NotTls);
        attempt.plaintext = plaintext.to_vec();
        Scene::new().only(vec![attempt])
    };
    plain(b"SSH-2.0-x\r\n").check(Some(Cause::PeerNotTls));
    plain(b"220 mail\r\n").check(Some(Cause::PeerNotTls));
    let mut starts = plain(b"220 mail\r\n");
    let mut behind = silent(trial(Shown::None), End::Alert(40));
    behind.trial.preamble = Preamble::Starttls(Starttls::Smtp);
    behind.hello = Some(hello(TlsVersion::Tls12, 0xc02b));
    behind.at = Stage::InHandshake;
    starts.seen.attempts.push(behind);
    starts.check(Some(Cause::StarttlsRequired));
    for (end, cause) in [
        (End::Closed, Cause::ResetBeforeServerHello),
        (End::Reset, Cause::ResetBeforeServerHello),
        (End::TimedOut, Cause::NoTlsAnswer),
    ] {
        let only = vec![silent(trial(Shown::None), end)];
        Scene::new().only(only).check(Some(cause));
    }
}

#[test]
fn versions_suites_names_and_protocols_are_told_before_any_certificate() {
    let alert = |code| silent(trial(Shown::None), End::Alert(code));
    for (code, cause) in [
        (40, Cause::NoSharedCipher),
        (70, Cause::TlsVersionMismatch),
        (71, Cause::NoSharedCipher),
        (112, Cause::SniUnknown),
        (120, Cause::AlpnMismatch),
        (80, Cause::MalformedHandshake),
    ] {
        Scene::new().only(vec![alert(code)]).check(Some(cause));
    }
    let raw = |version, cipher| Attempt {
        hello: Some(hello(version, cipher)),
        at: Stage::InHandshake,
        ..silent(
            Trial {
                speech: Speech::RawHello,
                ..trial(Shown::None)
            },
            End::Open,
        )
    };
    // What a server closes at without a word is told by what it answers to.
    for first in [alert(40), silent(trial(Shown::None), End::Closed)] {
        for (answer, cause) in [
            (raw(TlsVersion::Tls10, 0x002f), Cause::TlsVersionMismatch),
            (raw(TlsVersion::Ssl3, 0x000a), Cause::TlsVersionMismatch),
            (raw(TlsVersion::Tls12, 0x009c), Cause::NoSharedCipher),
        ] {
            Scene::new()
                .only(vec![first.clone(), answer])
                .check(Some(cause));
        }
    }
    let large = silent(
        trial(Shown::None),
        End::TooLarge("a handshake message is over 64 KiB".to_owned()),
    );
    Scene::new()
        .only(vec![large])
        .check(Some(Cause::HandshakeTooLarge));
}

#[test]
fn who_cannot_be_reached_is_told_by_name_and_address() {
    let mut nobody = Scene::new().only(Vec::new());
    nobody.seen.not_resolved = Some("Name or service not known".to_owned());
    nobody.check(Some(Cause::NameNotResolved));
    for tcp in [
        Tcp::Refused,
        Tcp::TimedOut,
        Tcp::Unreachable("no route".to_owned()),
    ] {
        let mut scene = Scene::new().only(Vec::new());
        scene.seen.addresses[0].tcp = tcp;
        scene.check(Some(Cause::ConnectionRefused));
    }
    let mut one_dead = Scene::new();
    one_dead.seen.addresses.push(AddressSeen {
        address: "[2001:db8::1]:443".parse().expect("an address"),
        tcp: Tcp::TimedOut,
    });
    let diagnosis = one_dead.check(None);
    assert_eq!(diagnosis.findings[0].severity, Severity::Risk);
}

#[test]
fn wrong_clock_here_is_the_root_of_what_seems_expired() {
    let day = 86_400;
    let mut scene = Scene::new();
    let server = scene
        .ca
        .issue(Leaf::server(&["api.example"]).valid(-7200, -3600));
    scene.seen.attempts.truncate(1);
    scene.seen.attempts[0].chain = ders(&server).into_iter().map(Der).collect();
    scene.seen.attempts[0].http = Some(HttpAnswer {
        clock_ahead_s: Some(-5000),
        ..http(400, "No required SSL certificate was sent")
    });
    let diagnosis = scene.check(Some(Cause::ClockSkewLocal));
    assert_eq!(diagnosis.findings[1].cause, Cause::LeafExpired);
    assert_eq!(
        diagnosis.findings[1].follows_from,
        Some(Cause::ClockSkewLocal)
    );
    // Where the server's clock does not help, the certificate has expired.
    for ahead in [0, 200, -day * 365] {
        let mut scene = Scene::new();
        let server = scene
            .ca
            .issue(Leaf::server(&["api.example"]).valid(-7200, -3600));
        scene.seen.attempts.truncate(1);
        scene.seen.attempts[0].chain = ders(&server).into_iter().map(Der).collect();
        scene.seen.attempts[0].http = Some(HttpAnswer {
            clock_ahead_s: Some(ahead),
            ..http(400, "No required SSL certificate was sent")
        });
        scene.check(Some(Cause::LeafExpired));
    }
}

#[test]
fn plaintext_beside_tls_is_a_fault_and_its_refusal_is_not() {
    let beside = |answer: Option<HttpAnswer>| {
        let mut scene = Scene::new();
        let mut plain = silent(trial(Shown::None), End::Open);
        plain.trial.speech = Speech::PlainHttp;
        plain.http = answer;
        scene.seen.attempts.push(plain);
        scene
    };
    beside(Some(http(200, "ok"))).check(Some(Cause::PlaintextAlsoAccepted));
    beside(Some(http(404, ""))).check(Some(Cause::PlaintextAlsoAccepted));
    beside(None).check(None);
    beside(Some(http(
        400,
        "The plain HTTP request was sent to HTTPS port",
    )))
    .check(None);
    beside(Some(http(400, ""))).check(None);
    let moved = HttpAnswer {
        location: Some("https://api.example/".to_owned()),
        ..http(301, "")
    };
    beside(Some(moved)).check(None);
}

#[test]
fn text_of_a_server_cannot_forge_a_line() {
    let mut attempt = silent(trial(Shown::None), End::NotTls);
    attempt.plaintext = b"\x1b[31mhealthy\r\nerror: x".to_vec();
    let scene = Scene::new().only(vec![attempt]);
    let json = serde_json::to_string(&scene.seen).expect("it can be written");
    assert!(!json.contains("\\u001b"), "{json}");
    let diagnosis = scene.check(Some(Cause::PeerNotTls));
    assert!(!diagnosis.findings[0].message().contains(['\x1b', '\n']));
}

#[test]
fn plaintext_protocol_that_would_start_tls_is_told_from_one_that_would_not() {
    let greeted = |greeting: &[u8]| Attempt {
        plaintext: greeting.to_vec(),
        ..silent(trial(Shown::None), End::NotTls)
    };
    let started = |end: End, at: Stage| {
        let trial = Trial {
            preamble: Preamble::Starttls(Starttls::Smtp),
            ..trial(Shown::None)
        };
        Attempt {
            at,
            ..silent(trial, end)
        }
    };
    let refused = || End::PreambleRefused("502 no".to_owned());
    for (greeting, end, at, cause) in [
        (
            &b"220 mail ESMTP"[..],
            End::TimedOut,
            Stage::Preamble,
            Cause::StarttlsRequired,
        ),
        (
            b"220 mail ESMTP",
            End::Closed,
            Stage::Preamble,
            Cause::StarttlsRequired,
        ),
        (
            b"220 mail ESMTP",
            End::Closed,
            Stage::BeforeServerHello,
            Cause::StarttlsRequired,
        ),
        (
            b"220 mail ESMTP",
            refused(),
            Stage::Preamble,
            Cause::PeerNotTls,
        ),
        // Only tried for its port.
        (
            b"",
            End::Closed,
            Stage::BeforeServerHello,
            Cause::StarttlsRequired,
        ),
        (b"", End::Closed, Stage::Preamble, Cause::NoTlsAnswer),
        (b"", refused(), Stage::Preamble, Cause::NoTlsAnswer),
    ] {
        let mut first = greeted(greeting);
        if greeting.is_empty() {
            first.end = End::TimedOut;
        }
        Scene::new()
            .only(vec![first, started(end, at)])
            .check(Some(cause));
    }
}

#[test]
fn chain_that_is_too_large_is_nothing_else_besides() {
    let scene = Scene::new().with(Shown::None, |none| {
        none.end = End::TooLarge("a handshake message is over 64 KiB".to_owned());
        none.chain.clear();
        none.asked = None;
        none.finished = false;
        none.at = Stage::InHandshake;
    });
    let diagnosis = scene.check(Some(Cause::HandshakeTooLarge));
    assert_eq!(diagnosis.findings.len(), 1, "{diagnosis:#?}");
}

#[test]
fn session_of_another_name_counts_where_it_opens_what_is_guarded() {
    let check = |resumed: bool, end: End, status: Option<u16>, cause| {
        let mut scene = Scene::new();
        let mut attempt = scene.seen.attempts[0].clone();
        attempt.trial.resumes = Some("open.example".to_owned());
        attempt.resumed = resumed;
        attempt.asked = None;
        attempt.chain.clear();
        attempt.end = end;
        attempt.http = status.map(|status| http(status, "ok"));
        scene.seen.attempts.push(attempt);
        scene.check(cause);
    };
    let found = Some(Cause::ResumptionSkipsCheck);
    check(true, End::Open, Some(200), found);
    check(true, End::Open, None, found);
    check(false, End::Open, Some(200), None);
    check(true, End::Alert(116), None, None);
    check(true, End::Closed, None, None);
    check(true, End::Open, Some(403), None);
    check(true, End::Open, Some(421), None);
}

#[test]
fn who_denies_everybody_in_the_same_words_has_judged_no_rights() {
    let denied = |scene: Scene| {
        scene
            .own_ends(&End::Alert(49))
            .with(Shown::Stranger, |stranger| stranger.end = End::Alert(49))
    };
    denied(Scene::new()).check(Some(Cause::IdentityNotAllowed));
    let mut strange = Scene::new();
    strange.known.client_chain = ders(&TestCa::new("elsewhere").issue(Leaf::client("you")));
    denied(strange).check(Some(Cause::ClientCaNotTrusted));
    let expired = Scene::new().client(Leaf::client("you").valid(-7200, -3600));
    denied(expired).check(Some(Cause::LeafExpired));
}

#[test]
fn server_that_parts_in_peace_from_who_it_would_tell_has_let_it_in() {
    Scene::new().own_ends(&End::Closed).check(None);
    // Cut off is not let go, and whom nobody is told anything by is not known to be let in.
    let is_fault = |scene: Scene| {
        let diagnosis = judge(&scene.seen, &scene.question, &scene.known, now());
        assert!(!diagnosis.is_healthy(), "{diagnosis:#?}");
    };
    is_fault(Scene::new().own_ends(&End::Reset));
    let mute = Scene::new().with(Shown::Stranger, |stranger| stranger.end = End::Closed);
    is_fault(mute.own_ends(&End::Closed));
}

#[test]
fn clock_of_the_server_explains_a_refusal_where_by_it_the_certificate_is_over() {
    let page = |ahead_s: i64| {
        Scene::new().with(Shown::Own, move |own| {
            own.http = Some(HttpAnswer {
                clock_ahead_s: Some(ahead_s),
                ..http(400, "The SSL certificate error")
            });
        })
    };
    for ahead_s in [3 * 365 * 86_400, -3 * 365 * 86_400] {
        page(ahead_s).check(Some(Cause::ClockSkewLocal));
    }
    for ahead_s in [0, 400] {
        page(ahead_s).check(Some(Cause::CertificateRevoked));
    }
}

#[test]
fn server_that_stalls_behind_its_request_for_a_certificate_has_refused_nobody() {
    let stalled = |attempt: &mut Attempt| {
        attempt.end = End::TimedOut;
        attempt.finished = false;
        attempt.at = Stage::InHandshake;
        attempt.http = None;
    };
    let scene = Scene::new().with(Shown::None, stalled);
    scene
        .with(Shown::Own, stalled)
        .check(Some(Cause::HandshakeTimeout));
    // It waits for ever for a certificate, and goes on with one.
    Scene::new().with(Shown::None, stalled).check(None);
}
