//! Which keys are certified again, and that every refusal is on record.

use countersign_authority::authority::{IssueError, RequestedKey};
use countersign_authority::what::Meant;
use countersign_pki::feed::RevocationReason;
use countersign_policy::issuance::{Actor, BuiltIn, Denied, Narrowing, Profile, Profiles, Request};
use countersign_store::audit::{Action, AuditRecord};
use countersign_store::revocation::Withdrawal;

use crate::fixture::{ADMIN, Fixture, client, key, requested, spki, what};

impl Fixture {
    fn refusals(&self) -> Vec<AuditRecord> {
        let log = rusqlite::Connection::open(self.folder.state().inventory()).expect("opens");
        let mut rows = log
            .prepare("SELECT id, at, actor, authenticated, action, object, reason FROM audit WHERE action = 'refuse' ORDER BY id")
            .expect("SQL");
        let rows = rows.query_map([], |row| {
            Ok(AuditRecord {
                id: row.get(0)?,
                at: countersign_pki::time::UnixTime::from_seconds(
                    row.get::<_, i64>(1)?.unsigned_abs(),
                ),
                actor: serde_json::from_str(&row.get::<_, String>(2)?).expect("an actor"),
                authenticated: row.get(3)?,
                action: Action::Refuse,
                object: row.get(5)?,
                reason: row.get(6)?,
                change: None,
            })
        });
        rows.expect("rows")
            .collect::<Result<_, _>>()
            .expect("records")
    }

    async fn check_refused(&self, request: Request, part: &str) {
        let object = format!("{} {}", request.profile, request.name);
        let before = self.refusals().len();
        let tally = self.authority.tally().await.expect("counts");
        let error = self.authority.issue(ADMIN, request).await.expect_err(part);
        assert!(
            matches!(error, IssueError::Denied(Denied::Key { .. })),
            "{error}"
        );
        assert!(error.to_string().contains(part), "{error}");
        let refusals = self.refusals();
        assert_eq!(refusals.len(), before + 1);
        let last = refusals.last().expect("one");
        assert_eq!(
            (&last.object, &last.reason, &last.actor),
            (&object, &error.to_string(), &ADMIN)
        );
        assert_eq!(
            self.authority.tally().await.expect("counts"),
            tally,
            "nothing was reserved"
        );
    }
}

#[tokio::test]
async fn key_of_another_identity_is_refused_and_on_record() {
    let fixture = Fixture::new();
    let key = spki(&key());
    let with_key = |request: Request| Request {
        spki_der: key.clone(),
        ..request
    };
    fixture
        .authority
        .issue(ADMIN, with_key(client("ann")))
        .await
        .expect("issues");
    fixture
        .check_refused(with_key(client("bob")), "the key is that of cn:ann")
        .await;
    let server = Request {
        profile: Profile::SERVER,
        ..client("ann")
    };
    fixture
        .check_refused(with_key(server), "the key is that of cn:ann")
        .await;
    let operator = Request {
        profile: Profile::OPERATOR,
        ..client("ann")
    };
    fixture
        .check_refused(with_key(operator), "the key is that of cn:ann")
        .await;
    // Its own again, and another's once it is free.
    fixture
        .authority
        .issue(ADMIN, with_key(client("ann")))
        .await
        .expect("issues");
    let revoked = fixture
        .authority
        .revoke(ADMIN, &what("ann"), RevocationReason::Superseded, None)
        .await;
    assert_eq!(revoked.expect("revokes").changed.count, 2);
    fixture
        .authority
        .issue(ADMIN, with_key(client("bob")))
        .await
        .expect("issues");
}

#[tokio::test]
async fn key_that_was_given_away_is_nobodys() {
    let fixture = Fixture::new();
    let key = key();
    let with_key = |name: &str| Request {
        spki_der: spki(&key),
        ..client(name)
    };
    fixture
        .authority
        .issue(ADMIN, with_key("ann"))
        .await
        .expect("issues");
    let revoked = fixture
        .authority
        .revoke(ADMIN, &what("ann"), RevocationReason::KeyCompromise, None)
        .await;
    revoked.expect("revokes");
    fixture.check_refused(with_key("ann"), "given away").await;
    fixture.check_refused(with_key("bob"), "given away").await;
    fixture.issue("ann").await;
    let renewed = fixture
        .authority
        .renew(ADMIN, &what("cn:ann"), requested(&key))
        .await;
    assert!(
        renewed
            .expect_err("the key is known")
            .to_string()
            .contains("given away")
    );
    assert_eq!(fixture.refusals().len(), 3);
}

#[tokio::test]
async fn profile_says_whether_the_next_certificate_has_the_same_key() {
    let fixture = Fixture::new();
    let mut profiles = Profiles::built_in();
    let narrowing = Narrowing {
        same_key_renewal: Some(false),
        ..Narrowing::default()
    };
    profiles
        .configure("strict", Some(BuiltIn::Client), narrowing)
        .expect("good");
    fixture.authority.replace_profiles(profiles);
    let key = key();
    for (profile, same_key) in [("client", true), ("strict", false)] {
        let request = Request {
            profile: profile.parse().expect("a profile"),
            ..client(profile)
        };
        let key = if same_key {
            &key
        } else {
            &crate::fixture::key()
        };
        let request = Request {
            spki_der: spki(key),
            ..request
        };
        fixture
            .authority
            .issue(ADMIN, request)
            .await
            .expect("issues");
        let renewed = fixture
            .authority
            .renew(ADMIN, &what(&format!("cn:{profile}")), requested(key))
            .await;
        assert_eq!(renewed.is_ok(), same_key, "{profile}");
        let fresh = requested(&crate::fixture::key());
        let renewed = fixture
            .authority
            .renew(ADMIN, &what(&format!("cn:{profile}")), fresh)
            .await;
        renewed.expect("a new key is always good");
    }
}

#[tokio::test]
async fn of_two_who_ask_with_one_key_at_once_one_gets_it() {
    let fixture = Fixture::new();
    for round in 0..20 {
        let key = spki(&key());
        let ask = |name: &str| {
            let request = Request {
                spki_der: key.clone(),
                ..client(&format!("{name}-{round}"))
            };
            fixture.authority.issue(ADMIN, request)
        };
        let (one, other, third) = tokio::join!(ask("ann"), ask("bob"), ask("eve"));
        let issued = [one.is_ok(), other.is_ok(), third.is_ok()];
        assert_eq!(issued.iter().filter(|it| **it).count(), 1, "{issued:?}");
    }
}

#[tokio::test]
async fn refusals_past_a_bound_are_counted_and_the_count_is_on_record() {
    let fixture = Fixture::new();
    let no_key = || RequestedKey::default().spki_der;
    for at in 0..100 {
        let request = Request {
            spki_der: no_key(),
            ..client(&format!("flood-{at}"))
        };
        fixture
            .authority
            .issue(ADMIN, request)
            .await
            .expect_err("no key");
    }
    assert_eq!(fixture.refusals().len(), 60);
    // Nobody's are drowned in those of another.
    let other = Actor::LocalAdmin { uid: 7 };
    let request = Request {
        spki_der: no_key(),
        ..client("quiet")
    };
    let refused = fixture.authority.issue(other, request).await;
    refused.expect_err("no key");
    assert_eq!(fixture.refusals()[60].object, "client quiet");
    fixture.clock.advance(std::time::Duration::from_secs(61));
    fixture
        .authority
        .issue(
            ADMIN,
            Request {
                spki_der: no_key(),
                ..client("later")
            },
        )
        .await
        .expect_err("no key");
    let refusals = fixture.refusals();
    let shown: Vec<&str> = refusals[61..]
        .iter()
        .map(|record| record.object.as_str())
        .collect();
    assert_eq!(
        shown,
        [
            "40 further requests of local admin (uid 1000)",
            "client later"
        ]
    );
}

#[tokio::test]
async fn key_on_hold_gets_no_new_certificate_until_the_hold_is_over() {
    let fixture = Fixture::new();
    let key = key();
    let with_key = |name: &str| Request {
        spki_der: spki(&key),
        ..client(name)
    };
    let issued = fixture
        .authority
        .issue(ADMIN, with_key("ann"))
        .await
        .expect("issues");
    let (hold, serial) = (
        RevocationReason::CertificateHold,
        what(&issued.serial.to_string()),
    );
    fixture
        .authority
        .revoke(ADMIN, &serial, hold, None)
        .await
        .expect("holds");
    for name in ["ann", "bob"] {
        fixture.check_refused(with_key(name), "is on hold").await;
    }
    // The others of the same name go on, under keys of their own.
    fixture.issue("ann").await;
    let meant = Meant::just(serial);
    let released = fixture
        .authority
        .withdraw(ADMIN, &meant, Withdrawal::Release, None, None)
        .await;
    released.expect("releases");
    fixture
        .check_refused(with_key("bob"), "is that of cn:ann")
        .await;
    fixture
        .authority
        .issue(ADMIN, with_key("ann"))
        .await
        .expect("issues");
}
