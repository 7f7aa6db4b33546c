//! What is tried next: few connections, each with its reason, and none that shows the client's certificate to a stranger.

use std::time::Duration;

use countersign_diagnose::doctor::question::{Question, Target, TlsVersion};
use countersign_diagnose::doctor::target::{
    Attempt, CertificateRequest, Der, End, HelloSeen, HttpAnswer, Preamble, Shown, Speech, Stage,
    TargetSeen, Trial, Vouched,
};
use countersign_pki::time::UnixTime;
use countersign_probe::server::plan::{self, Aim};
use countersign_probe::server::{ClientIdentity, Limits, Wanted};
use zeroize::Zeroizing;

fn wanted(target: &str) -> Wanted {
    Wanted {
        question: Question {
            target: Some(Target::parse(target).expect("a target")),
            ..Question::default()
        },
        identity: Some(ClientIdentity {
            chain: vec![vec![0x30, 0]],
            key: Zeroizing::new(Vec::new()),
        }),
        issuers: vec![vec![0x30, 0]],
        anchors: Vec::new(),
        now: UnixTime::from_seconds(1_700_000_000),
        limits: Limits::default(),
    }
}

/// Goes on until there is no more to try; `answer` plays the server.
fn played(wanted: &Wanted, vouched: Vouched, answer: impl Fn(&mut Attempt)) -> Vec<Trial> {
    let aim = Aim::new(wanted);
    let mut seen = TargetSeen {
        vouched,
        ..TargetSeen::default()
    };
    while let Some(trial) = plan::next(&aim, &seen) {
        assert!(seen.attempts.len() < 20, "{:#?}", seen.attempts);
        let mut attempt = nothing(trial);
        answer(&mut attempt);
        seen.attempts.push(attempt);
    }
    seen.attempts
        .into_iter()
        .map(|attempt| attempt.trial)
        .collect()
}

fn nothing(trial: Trial) -> Attempt {
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
        end: End::Open,
        at: Stage::BeforeServerHello,
        http: None,
        other_data: false,
        took: Duration::from_millis(1),
    }
}

/// Requires a certificate; lets the client's own in, or not.
fn requires(attempt: &mut Attempt, lets_own_in: bool) {
    if attempt.trial.speech != Speech::Tls {
        attempt.end = End::Closed;
        return;
    }
    attempt.hello = Some(HelloSeen {
        version: TlsVersion::Tls13,
        cipher: 0x1301,
        cipher_name: None,
        alpn: None,
    });
    attempt.chain = vec![Der(vec![0x30, 0])];
    attempt.asked = Some(CertificateRequest::default());
    attempt.finished = true;
    attempt.at = Stage::AfterFinished;
    attempt.sent_certificate = attempt.trial.certificate != Shown::None;
    let is_in = lets_own_in && attempt.trial.certificate == Shown::Own;
    attempt.end = if is_in { End::Open } else { End::Alert(48) };
    attempt.http = is_in.then(|| HttpAnswer {
        status: 200,
        reason: "OK".to_owned(),
        server: None,
        clock_ahead_s: None,
        challenge: None,
        location: None,
        body: String::new(),
    });
}

fn shown(trials: &[Trial]) -> Vec<(Speech, Shown)> {
    trials
        .iter()
        .map(|trial| (trial.speech, trial.certificate))
        .collect()
}

#[test]
fn healthy_server_has_four_connections() {
    let trials = played(&wanted("api.example:443"), Vouched::Anchors, |attempt| {
        requires(attempt, true);
    });
    assert_eq!(
        shown(&trials),
        [
            (Speech::Tls, Shown::None),
            (Speech::Tls, Shown::Own),
            (Speech::Tls, Shown::Stranger),
            (Speech::PlainHttp, Shown::None),
        ]
    );
}

#[test]
fn nobody_who_is_not_vouched_for_is_shown_the_clients_certificate() {
    for vouched in [Vouched::Nobody("no".to_owned()), Vouched::Anchors] {
        let may = vouched == Vouched::Anchors;
        let trials = played(&wanted("api.example:443"), vouched, |attempt| {
            requires(attempt, false);
        });
        let is_own = |trial: &Trial| matches!(trial.certificate, Shown::Own | Shown::OwnCompleted);
        assert_eq!(trials.iter().any(is_own), may, "{trials:#?}");
    }
    let mut without = wanted("api.example:443");
    without.question.no_client_cert = true;
    let trials = played(&without, Vouched::Anchors, |attempt| {
        requires(attempt, true);
    });
    assert!(
        trials.iter().all(|trial| trial.certificate != Shown::Own),
        "{trials:#?}"
    );
}

#[test]
fn refused_certificate_is_shown_again_only_with_more_behind_it() {
    let trials = played(&wanted("api.example:443"), Vouched::Anchors, |attempt| {
        requires(attempt, false);
    });
    let own = trials
        .iter()
        .filter(|trial| trial.certificate == Shown::Own)
        .count();
    let completed = trials
        .iter()
        .filter(|trial| trial.certificate == Shown::OwnCompleted)
        .count();
    assert_eq!((own, completed), (1, 1), "{trials:#?}");
}

#[test]
fn silence_is_asked_again_in_the_version_that_answers_in_the_handshake() {
    let trials = played(&wanted("api.example:443"), Vouched::Anchors, |attempt| {
        requires(attempt, false);
        if attempt.end == End::Alert(48) {
            attempt.end = End::Reset;
        }
    });
    let in_12 = trials
        .iter()
        .filter(|trial| trial.max == TlsVersion::Tls12)
        .count();
    assert_eq!(in_12, 2, "{trials:#?}");
}

#[test]
fn who_says_nothing_is_tried_in_few_ways() {
    for end in [End::TimedOut, End::Closed, End::Reset] {
        let trials = played(&wanted("api.example:8443"), Vouched::Unknown, |attempt| {
            attempt.end = end.clone();
        });
        assert!(trials.len() <= 7, "{trials:#?}");
        assert!(
            trials
                .iter()
                .any(|trial| trial.preamble == Preamble::ProxyHeader)
        );
        assert!(trials.iter().all(|trial| trial.certificate == Shown::None));
    }
}

#[test]
fn name_is_asked_for_as_the_client_would() {
    for (target, name, expected) in [
        ("api.example:443", None, Some("api.example")),
        ("192.0.2.1:443", None, None),
        ("[::1]:443", None, None),
        ("192.0.2.1:443", Some("api.example"), Some("api.example")),
        ("api.example:443", Some("192.0.2.1"), None),
    ] {
        let mut wanted = wanted(target);
        wanted.question.name = name.map(str::to_owned);
        let first = plan::next(&Aim::new(&wanted), &TargetSeen::default()).expect("a first one");
        assert_eq!(first.sni.as_deref(), expected, "{target} {name:?}");
    }
}

#[test]
fn nothing_is_requested_where_no_http_is_spoken() {
    for target in [
        "smtps://mail.example",
        "ldaps://ldap.example",
        "rediss://r.example",
        "db.example:5432",
        "tls://x.example:8443",
    ] {
        let first =
            plan::next(&Aim::new(&wanted(target)), &TargetSeen::default()).expect("a first one");
        assert_eq!(first.request, None, "{target}");
        assert!(first.alpn.is_empty(), "{target}");
    }
    for (target, path) in [
        ("api.example:8443", "/"),
        ("https://api.example/a?b", "/a?b"),
    ] {
        let first =
            plan::next(&Aim::new(&wanted(target)), &TargetSeen::default()).expect("a first one");
        assert_eq!(first.request.expect("a request").path, path);
    }
}
