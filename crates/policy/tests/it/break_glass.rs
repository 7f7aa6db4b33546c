//! What arms a listener, and all that does not.

#![expect(
    clippy::unchecked_time_subtraction,
    reason = "of constants, the smaller from the greater"
)]

use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::name::CommonName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::break_glass::{
    Approval, Armed, Denied, Kept, RESTART_COST, Reason, Rules, Statement,
};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

use crate::world::{Authority, DAY_S, NOW};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// An operator CA, and the rules of a listener that two of its operators have to approve for.
struct Office {
    ca: Authority,
    rules: Rules,
}

/// Somebody with a certificate and a key.
struct Person {
    chain: Vec<Vec<u8>>,
    key: KeyPair,
    serial: u8,
}

fn authority(name: &str) -> Authority {
    Authority::new(name, NOW.seconds() - DAY_S, NOW.seconds() + 900 * DAY_S)
}

impl Office {
    fn new() -> Self {
        let ca = authority("CN=Operators");
        let anchors = vec![ca.certificate.clone()];
        let bundle = TrustBundle::new(BundleName::operators(), None, anchors, NOW).unwrap();
        let operators = Verifier::new(vec![Arc::new(bundle)], Limits::default()).unwrap();
        let rules = Rules {
            gateway: "7f3a9c".to_owned(),
            listener: "emergency".to_owned(),
            max_duration: HOUR,
            approvals: 2,
            approvers: ["alice", "bob", "carol", "old"]
                .map(|name| CommonName::parse(name).unwrap())
                .into(),
            operators: Some(operators),
        };
        Self { ca, rules }
    }

    fn person(&self, name: &str, serial: u8) -> Person {
        let key = KeyPair::generate().unwrap();
        certified(&self.ca, name, serial, key, 90 * DAY_S, true)
    }

    fn request(&self) -> Statement {
        let reason = Reason::parse("the identity provider is down").unwrap();
        self.rules.request(reason, HOUR, [5; 32], NOW).unwrap()
    }

    fn arm(&self, statement: &Statement, approvals: &[Approval]) -> Result<Armed, Denied> {
        self.arm_at(statement, approvals, NOW.plus(MINUTE))
    }

    fn arm_at(
        &self,
        statement: &Statement,
        approvals: &[Approval],
        now: UnixTime,
    ) -> Result<Armed, Denied> {
        let (statement, approvals) = (statement.clone(), approvals.to_vec());
        let nobody = RevocationIndex::default();
        (self.rules).arm(statement, approvals, "uid 0".to_owned(), &nobody, now)
    }
}

fn certified(
    ca: &Authority,
    name: &str,
    serial: u8,
    key: KeyPair,
    life_s: u64,
    client_auth: bool,
) -> Person {
    let template = Template {
        subject: DistinguishedName::from_common_name(&CommonName::parse(name).unwrap()),
        subject_alt_names: Vec::new(),
        spki_der: key.subject_public_key_info(),
        not_before: UnixTime::from_seconds(NOW.seconds() - 3600),
        not_after: UnixTime::from_seconds(NOW.seconds() - 3600 + life_s),
        serial: SerialNumber::from_random([serial; 20]),
        usage: Usage::Leaf {
            server_auth: !client_auth,
            client_auth,
        },
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let to_be_signed = template.to_be_signed(&ca.certificate, SignatureAlgorithm::EcdsaP256Sha256);
    let leaf = ca.sign(&to_be_signed.unwrap());
    Person {
        chain: vec![leaf.to_vec()],
        key,
        serial,
    }
}

impl Person {
    fn approve(&self, statement: &Statement) -> Approval {
        let signature = self.key.sign(&statement.to_be_signed()).unwrap();
        Approval::new(statement.clone(), self.chain.clone(), signature).unwrap()
    }
}

/// The same file with something else in it.
fn altered(approval: &Approval, from: &str, to: &str) -> Approval {
    let text = approval.to_json();
    assert!(text.contains(from), "{from} in {text}");
    Approval::parse(text.replacen(from, to, 1).as_bytes()).unwrap()
}

#[test]
fn two_operators_arm_what_they_approved_of_and_until_then() {
    let office = Office::new();
    let (alice, bob) = (office.person("alice", 1), office.person("bob", 2));
    let request = office.request();
    let approvals = [alice.approve(&request), bob.approve(&request)];
    let armed = office.arm(&request, &approvals).unwrap();
    assert_eq!(armed.approvers(), ["alice", "bob"]);
    assert_eq!(armed.statement().expires(), NOW.plus(HOUR));
    // Over the files that are handed over, too.
    let read = Statement::parse(request.to_json().as_bytes()).unwrap();
    assert_eq!(read, request);
    let handed = approvals.map(|it| Approval::parse(it.to_json().as_bytes()).unwrap());
    assert!(office.arm(&read, &handed).is_ok());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a case after the other")]
fn whatever_is_not_two_good_approvals_arms_nothing() {
    let office = Office::new();
    let request = office.request();
    let (alice, bob) = (office.person("alice", 1), office.person("bob", 2));
    let good = alice.approve(&request);
    let reason = || Reason::parse("the identity provider is down").unwrap();
    let other_nonce = (office.rules)
        .request(reason(), HOUR, [6; 32], NOW)
        .unwrap();
    let other_end = (office.rules)
        .request(reason(), HOUR - MINUTE, [5; 32], NOW)
        .unwrap();
    let other_reason = Reason::parse("something else").unwrap();
    let other_reason = (office.rules)
        .request(other_reason, HOUR, [5; 32], NOW)
        .unwrap();
    let mut elsewhere = Office::new();
    elsewhere.rules.listener = "other".to_owned();
    let other_listener = elsewhere.request();
    elsewhere.rules.listener = "emergency".to_owned();
    elsewhere.rules.gateway = "000000".to_owned();
    let other_gateway = elsewhere.request();
    let twin = certified(
        &office.ca,
        "bob",
        3,
        KeyPair::from_pem(&alice.key.serialize_pem()).unwrap(),
        90 * DAY_S,
        true,
    );
    let late = certified(
        &office.ca,
        "old",
        4,
        KeyPair::generate().unwrap(),
        3610,
        true,
    );
    let server = certified(
        &office.ca,
        "bob",
        5,
        KeyPair::generate().unwrap(),
        DAY_S,
        false,
    );
    let stranger = elsewhere.person("bob", 6);
    let mut thief = office.person("bob", 7);
    thief.key = KeyPair::generate().unwrap();
    let moved = |mut person: Person| {
        person.chain = bob.chain.clone();
        person
    };
    let by_bob = bob.approve(&request);
    let cases: Vec<(&str, Vec<Approval>, &str)> = vec![
        ("nobody", vec![], "0 of 2 approvals"),
        ("one", vec![good.clone()], "1 of 2 approvals"),
        (
            "the same file twice",
            vec![good.clone(), good.clone()],
            "alice has approved twice",
        ),
        (
            "one person, two certificates",
            vec![good.clone(), office.person("alice", 8).approve(&request)],
            "alice has approved twice",
        ),
        (
            "one key, two names",
            vec![good.clone(), twin.approve(&request)],
            "has approved twice",
        ),
        (
            "another listener's",
            vec![good.clone(), bob.approve(&other_listener)],
            "for listener other",
        ),
        (
            "another gateway's",
            vec![good.clone(), bob.approve(&other_gateway)],
            "for gateway 000000",
        ),
        (
            "another request's",
            vec![good.clone(), bob.approve(&other_nonce)],
            "another request",
        ),
        (
            "another end's",
            vec![good.clone(), bob.approve(&other_end)],
            "another reason or end",
        ),
        (
            "another reason's",
            vec![good.clone(), bob.approve(&other_reason)],
            "another reason or end",
        ),
        (
            "another end's, passed off as this one's",
            vec![
                good.clone(),
                altered(
                    &bob.approve(&other_end),
                    &other_end.expires().seconds().to_string(),
                    &request.expires().seconds().to_string(),
                ),
            ],
            "does not verify",
        ),
        (
            "another nonce's, passed off as this one's",
            vec![
                good.clone(),
                altered(
                    &bob.approve(&other_nonce),
                    &"06".repeat(32),
                    &"05".repeat(32),
                ),
            ],
            "does not verify",
        ),
        (
            "another listener's, passed off as this one's",
            vec![
                good.clone(),
                altered(&bob.approve(&other_listener), "\"other\"", "\"emergency\""),
            ],
            "does not verify",
        ),
        (
            "signed by another key",
            vec![good.clone(), thief.approve(&request)],
            "does not verify",
        ),
        (
            "bob's certificate and another's signature",
            vec![
                good.clone(),
                moved(office.person("carol", 9)).approve(&request),
            ],
            "does not verify",
        ),
        (
            "an operator of another name",
            vec![good.clone(), office.person("mallory", 10).approve(&request)],
            "cn:mallory (operators) is not among",
        ),
        (
            "a node",
            vec![good.clone(), office.person("gw-1", 11).approve(&request)],
            "is not among",
        ),
        (
            "another CA's",
            vec![good.clone(), stranger.approve(&request)],
            "by no operator",
        ),
        (
            "the authority's own port",
            vec![good.clone(), server.approve(&request)],
            "by no operator",
        ),
        (
            "a certificate that has ended",
            vec![good.clone(), late.approve(&request)],
            "by no operator",
        ),
        (
            "a good third beside a bad one",
            vec![good.clone(), by_bob.clone(), bob.approve(&other_end)],
            "another reason or end",
        ),
    ];
    for (what, approvals, why) in cases {
        let denied = office.arm(&request, &approvals).expect_err(what);
        assert!(denied.to_string().contains(why), "{what}: {denied}");
    }
    // And the two that were in all of them do.
    assert!(office.arm(&request, &[good, by_bob]).is_ok());
}

#[test]
fn approvals_do_not_outlive_what_they_approve_of() {
    let office = Office::new();
    let request = office.request();
    let approvals =
        [office.person("alice", 1), office.person("bob", 2)].map(|it| it.approve(&request));
    for (later, is_armed) in [
        (HOUR - Duration::from_secs(1), true),
        (HOUR, false),
        (HOUR * 2, false),
    ] {
        let armed = office.arm_at(&request, &approvals, NOW.plus(later));
        assert_eq!(armed.is_ok(), is_armed, "{later:?}");
    }
    // Nor does a clock that was set back make more of them than may be.
    let early = office.arm_at(&request, &approvals, NOW.minus(MINUTE));
    assert!(matches!(early, Err(Denied::Duration { .. })), "{early:?}");
}

#[test]
fn revoked_operator_approves_of_nothing_and_holds_nothing_open() {
    let office = Office::new();
    let request = office.request();
    let (alice, bob) = (office.person("alice", 1), office.person("bob", 2));
    let approvals = vec![alice.approve(&request), bob.approve(&request)];
    let armed = office.arm(&request, &approvals).unwrap();
    let revoked = RevocationIndex::new([Revoked {
        issuer_key: Fingerprint::of(office.ca.certificate.spki_der()),
        serial: SerialNumber::from_random([bob.serial; 20]),
        reason: RevocationReason::KeyCompromise,
        revoked_at: NOW,
    }]);
    let again = (office.rules).arm(request, approvals, String::new(), &revoked, NOW);
    assert!(matches!(again, Err(Denied::NoOperator { .. })), "{again:?}");
    let stands = |index: &RevocationIndex| office.rules.stands(&armed, index, NOW).is_ok();
    assert!(stands(&RevocationIndex::default()) && !stands(&revoked));
}

#[test]
fn listener_that_needs_no_approvals_takes_none_and_no_longer_than_it_may() {
    let mut office = Office::new();
    office.rules.approvals = 0;
    let request = office.request();
    assert!(office.arm(&request, &[]).is_ok());
    let approval = office.person("alice", 1).approve(&request);
    let denied = office.arm(&request, &[approval]);
    assert!(matches!(denied, Err(Denied::NoneNeeded)), "{denied:?}");
    for asked in [Duration::ZERO, HOUR + Duration::from_secs(1), Duration::MAX] {
        let denied = (office.rules).request(Reason::parse("x").unwrap(), asked, [0; 32], NOW);
        assert!(matches!(denied, Err(Denied::Duration { .. })), "{asked:?}");
    }
    for reason in ["", "   ", "two\nlines", "\u{7}", &"x".repeat(501)] {
        assert!(Reason::parse(reason).is_err(), "{reason:?}");
    }
}

#[test]
fn approvals_that_nobody_can_verify_arm_nothing() {
    let mut office = Office::new();
    let request = office.request();
    let approvals =
        [office.person("alice", 1), office.person("bob", 2)].map(|it| it.approve(&request));
    office.rules.operators = None;
    let denied = office.arm(&request, &approvals);
    assert!(matches!(denied, Err(Denied::NoOperators)), "{denied:?}");
}

/// What a restart makes of it; `edit` is done to the file, and the clock then says `now`.
fn resumed(edit: impl Fn(String) -> String, now: UnixTime) -> Option<Duration> {
    let office = Office::new();
    let request = office.request();
    let approvals =
        [office.person("alice", 1), office.person("bob", 2)].map(|it| it.approve(&request));
    let armed = office.arm_at(&request, &approvals, NOW).unwrap();
    // Half an hour has passed when it is kept last.
    let kept = Kept::of(&armed, HOUR / 2, NOW.plus(HOUR / 2), Fingerprint::of(b"c"));
    let kept = Kept::parse(edit(kept.to_json()).as_bytes()).ok()?;
    let outcome = office.rules.resume(kept, &RevocationIndex::default(), now);
    outcome.ok().map(|(resumed, left)| {
        assert_eq!(resumed.since(), NOW);
        left
    })
}

#[test]
fn restart_costs_and_never_prolongs() {
    let same = |text| text;
    let half = HOUR / 2;
    for (passed, left) in [
        (half, Some(half - RESTART_COST)),
        (half + MINUTE, Some(half - MINUTE)),
        (HOUR, None),
        (HOUR * 9, None),
        // Set back within what clocks differ by: what is left was kept beside.
        (half - MINUTE * 4, Some(half - RESTART_COST)),
        // Set back by more: nobody knows.
        (half - MINUTE * 6, None),
        (Duration::ZERO, None),
    ] {
        assert_eq!(resumed(same, NOW.plus(passed)), left, "{passed:?}");
    }
}

/// What somebody does to the text of a kept file.
type Edit = Box<dyn Fn(String) -> String>;

#[test]
fn file_that_was_altered_arms_nothing() {
    let now = NOW.plus(HOUR / 2);
    let end = NOW.plus(HOUR).seconds();
    let edits: [(&str, Edit); 9] = [
        ("nothing", Box::new(|_| String::new())),
        ("garbage", Box::new(|_| "\0\u{7f}{}".to_owned())),
        ("half", Box::new(|text| text[..text.len() / 2].to_owned())),
        (
            "a field more",
            Box::new(|text| text.replacen('{', "{\"x\":1,", 1)),
        ),
        (
            "without approvals",
            Box::new(|text| {
                let at = text.find("\"approvals\"").unwrap();
                text[..at].to_owned() + "\"approvals\":[]}"
            }),
        ),
        (
            "one end later",
            Box::new(move |text| text.replacen(&end.to_string(), &(end + 600).to_string(), 1)),
        ),
        (
            "all ends later",
            Box::new(move |text| text.replace(&end.to_string(), &(end + 600).to_string())),
        ),
        (
            "another reason",
            Box::new(|text| text.replace("identity provider", "coffee machine")),
        ),
        (
            "another listener",
            Box::new(|text| text.replace("emergency", "other")),
        ),
    ];
    for (what, edit) in edits {
        assert_eq!(resumed(edit, now), None, "{what}");
    }
    // What is not signed gains nothing beyond the end that is.
    let left = resumed(
        |text| {
            let text = text.replacen("\"left_s\": 1800", "\"left_s\": 999999", 1);
            assert!(text.contains("999999"));
            text
        },
        now,
    );
    assert_eq!(left, Some(HOUR / 2));
}

#[test]
fn no_two_statements_have_the_same_bytes_to_sign() {
    let statement = |reason: &str, listener: &str| {
        let mut office = Office::new();
        office.rules.listener = listener.to_owned();
        let reason = Reason::parse(reason).unwrap();
        office
            .rules
            .request(reason, HOUR, [5; 32], NOW)
            .unwrap()
            .to_be_signed()
    };
    assert_ne!(statement("ab", "a"), statement("b", "aa"));
    assert_ne!(statement("a", "ab"), statement("ba", "a"));
    let bytes = statement("why", "emergency");
    let expected = [
        &b"countersign break-glass approval v1\0"[..],
        b"\0\0\0\x067f3a9c\0\0\0\x09emergency\0\0\0\x03why\0\0\0\x20",
        &[5; 32],
        b"\0\0\0\x08",
        &NOW.plus(HOUR).seconds().to_be_bytes(),
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn files_of_another_form_are_no_approvals() {
    let office = Office::new();
    let request = office.request();
    let text = office.person("alice", 1).approve(&request).to_json();
    assert!(Approval::parse(text.as_bytes()).is_ok());
    let cases = [
        ("long", text.clone() + &" ".repeat(64 * 1024)),
        ("a request", request.to_json()),
        ("unknown field", text.replacen('{', "{\"x\":1,", 1)),
        (
            "upper case",
            text.replacen(&"05".repeat(32), &"0A".repeat(32), 1),
        ),
        (
            "short nonce",
            text.replacen(&"05".repeat(32), &"05".repeat(31), 1),
        ),
        ("name", text.replacen("\"emergency\"", "\"Emergency\"", 1)),
        ("no name", text.replacen("\"emergency\"", "\"\"", 1)),
        (
            "reason with a line feed",
            text.replacen("provider is", "provider\\nis", 1),
        ),
        (
            "reason with spaces around",
            text.replacen("\"the identity", "\" the identity", 1),
        ),
        ("another block", text.replace("CERTIFICATE", "PRIVATE KEY")),
        ("no certificate", text.replace("-----", "")),
        (
            "twice",
            text.replacen("\"signature\"", "\"signature\":\"00\",\"signature\"", 1),
        ),
    ];
    for (what, text) in cases {
        assert!(Approval::parse(text.as_bytes()).is_err(), "{what}");
    }
}
