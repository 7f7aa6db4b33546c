//! A restored authority: it issues nothing until it is told what was revoked since its backup, and forgets nothing.

use std::fs;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use countersign_authority::admin::router;
use countersign_authority::api::{EVIDENCE_FEED, EvidenceResponse, IssuingState};
use countersign_authority::authority::{
    Authority, EvidenceError, IssueError, RenewError, ResumeError,
};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_authority::publish::{Publication, PublishError};
use countersign_authority::sealed;
use countersign_authority::secret::Secret;
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlEntry, CrlScope, CrlTemplate, Holders, ParsedCrl};
use countersign_pki::feed::{Body, HistoryId, RevocationReason, Revoked, Sequence, Snapshot};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::Uri;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::ManualClock;
use countersign_store::audit::Action;
use countersign_store::audit::log::AuditLog;
use countersign_store::error::StoreError;
use countersign_store::evidence::United;
use countersign_store::inventory::Status;
use countersign_store::issuer::IssuerRole;
use countersign_store::pause::Grounds;
use serde_json::json;

use crate::backup::{RESTORED_AFTER_S, backup, restored};
use crate::fixture::{ADMIN, BORN, Fixture, Folder, client, key, requested, what};

/// An authority with `you`, `me` and `them`, restored from a backup; nothing has been told to it.
struct Recovered {
    before: Fixture,
    authority: Arc<Authority>,
    folder: Folder,
}

impl Recovered {
    async fn new() -> Self {
        let before = Fixture::new();
        for name in ["you", "me", "them"] {
            before.issue(name).await;
        }
        let (reason, them) = (RevocationReason::Superseded, what("them"));
        let revoked = before.authority.revoke(ADMIN, &them, reason, None);
        revoked.await.expect("revokes");
        let bytes = backup(&before.authority).await;
        let (folder, _) = restored(&bytes).expect("restores");
        fs::copy(
            before.folder.path.join("ca/passphrase"),
            folder.path.join("ca/passphrase"),
        )
        .expect("the passphrase comes from elsewhere");
        let authority = folder.open(&Arc::new(ManualClock::new(BORN + RESTORED_AFTER_S)));
        authority.ready().await.expect("unseals");
        Self {
            before,
            authority,
            folder,
        }
    }

    async fn is_refused(&self) -> bool {
        let issued = self.authority.issue(ADMIN, client("new")).await;
        match issued {
            Ok(_) => false,
            Err(IssueError::Store(StoreError::IssuingPaused { backup_at, .. })) => {
                assert_eq!(backup_at.seconds(), BORN);
                true
            }
            Err(other) => panic!("{other}"),
        }
    }

    async fn status_of(&self, name: &str) -> Status {
        let page = self.authority.show(&what(name)).await.expect("is there");
        page.entries[0].status_at(UnixTime::from_seconds(BORN + RESTORED_AFTER_S))
    }

    async fn serial_of(&self, name: &str) -> SerialNumber {
        let page = self.authority.show(&what(name)).await.expect("is there");
        page.entries[0].serial
    }

    /// What a gateway of the old authority would hold.
    async fn feed(&self) -> Snapshot {
        let subscription = self.before.authority.subscribe("gateway").await;
        subscription.expect("joins").snapshot().clone()
    }

    /// A complete CRL as the old authority could have published it.
    fn crl(&self, at: u64, serials: &[SerialNumber]) -> Vec<u8> {
        self.crl_of(at, serials, CrlScope::default())
    }

    fn crl_of(&self, at: u64, serials: &[SerialNumber], scope: CrlScope) -> Vec<u8> {
        let entry = |&serial: &SerialNumber| CrlEntry {
            serial,
            revoked_at: UnixTime::from_seconds(at),
            reason: RevocationReason::KeyCompromise,
            invalid_since: None,
        };
        let template = CrlTemplate {
            this_update: UnixTime::from_seconds(at),
            // Past, when it is given: what it names stays revoked.
            next_update: UnixTime::from_seconds(at + 60),
            number: at,
            scope,
        };
        let entries: Vec<CrlEntry> = serials.iter().map(entry).collect();
        let issuer = self.before.authority.intermediate();
        let crl = template.to_be_signed(issuer, SignatureAlgorithm::EcdsaP256Sha256, &entries);
        let signature = self
            .intermediate_key()
            .sign(&SystemRandom::new(), crl.bytes());
        crl.complete(signature.expect("signs").as_ref())
    }

    fn intermediate_key(&self) -> EcdsaKeyPair {
        let ca = self.before.folder.path.join("ca");
        let passphrase = Secret::read_passphrase(&ca.join("passphrase")).expect("reads");
        let sealed = fs::read(ca.join("intermediate.key.sealed")).expect("reads");
        let key = sealed::unseal(&sealed, IssuerRole::Intermediate, &passphrase).expect("unseals");
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.expose()).expect("a key")
    }

    async fn resume(&self, grounds: Grounds) -> Result<bool, ResumeError> {
        let because = "restored from Tuesday".to_owned();
        let resumed = self.authority.resume(ADMIN, grounds, because).await?;
        Ok(resumed.is_some())
    }
}

fn united(revoked: u64, unknown: u64, known: u64) -> United {
    United {
        revoked,
        unknown,
        known,
        is_newer_than_backup: true,
        is_whole: true,
    }
}

#[tokio::test]
async fn restored_authority_issues_and_renews_nothing_until_somebody_answers_for_it() {
    let it = Recovered::new().await;
    assert!(it.is_refused().await);
    let renewed = it
        .authority
        .renew(ADMIN, &what("you"), requested(&key()))
        .await;
    assert!(
        matches!(
            renewed,
            Err(RenewError::Issue(IssueError::Store(
                StoreError::IssuingPaused { .. }
            )))
        ),
        "{renewed:?}"
    );
    let status = it.authority.status().await.expect("says");
    assert_eq!(status.issuing, IssuingState::Paused);
    assert!(
        status.risks[0].sentence.contains("issuing is paused"),
        "{:?}",
        status.risks[0]
    );
    assert!(status.risks[0].hint.contains("ca resume"));
    // Reading and revoking go on.
    assert_eq!(it.status_of("them").await, Status::Revoked);
    let reason = RevocationReason::KeyCompromise;
    let revoked = it.authority.revoke(ADMIN, &what("me"), reason, None).await;
    assert_eq!(revoked.expect("revokes").changed.count, 1);

    let refused = it.resume(Grounds::Evidence).await;
    assert!(
        matches!(refused, Err(ResumeError::NoEvidence { .. })),
        "{refused:?}"
    );
    let blank = it
        .authority
        .resume(ADMIN, Grounds::Word, "  ".to_owned())
        .await;
    assert!(matches!(blank, Err(ResumeError::NoReason)), "{blank:?}");
    assert!(
        it.is_refused().await,
        "a pause survives what does not end it"
    );
    assert!(it.resume(Grounds::Word).await.expect("resumes"));
    assert!(!it.is_refused().await);
    assert!(
        !it.resume(Grounds::Word).await.expect("once"),
        "it does not wait any more"
    );
}

#[tokio::test]
async fn pause_and_what_was_told_outlive_a_restart() {
    let Recovered {
        before,
        authority,
        folder,
    } = Recovered::new().await;
    drop(authority);
    let authority = folder.open(&Arc::new(ManualClock::new(BORN + RESTORED_AFTER_S)));
    authority.ready().await.expect("unseals");
    let it = Recovered {
        before,
        authority,
        folder,
    };
    assert!(it.is_refused().await);
}

#[tokio::test]
async fn feed_of_a_gateway_is_united_and_lets_issuing_go_on() {
    let it = Recovered::new().await;
    // Revoked, and issued and revoked, after the backup.
    it.before.clock.set(BORN + 60);
    let lost = it.before.issue("lost").await.serial;
    for name in ["you", "lost"] {
        let (reason, name) = (RevocationReason::KeyCompromise, what(name));
        let revoked = it.before.authority.revoke(ADMIN, &name, reason, None);
        revoked.await.expect("revokes");
    }
    let (old_history, old_sequence) = it.before.authority.feed_position().await.expect("reads");
    let mut node = it.authority.subscribe("gateway").await.expect("joins");
    let (history, base) = (node.snapshot().history.clone(), node.snapshot().sequence);
    assert!(history != old_history && base > old_sequence);
    assert!(
        base.0 >= BORN + RESTORED_AFTER_S,
        "the later of last + 1 and the time"
    );

    let feed = it.feed().await;
    let first = it.authority.unite_feed(ADMIN, feed.clone()).await;
    assert_eq!(first.expect("unites"), united(1, 1, 1));
    let again = it.authority.unite_feed(ADMIN, feed).await;
    assert_eq!(again.expect("unites"), united(0, 0, 3), "idempotent");
    // Nodes hear of them in order, in the new history.
    let mut heard = Vec::new();
    for place in 1..=2 {
        let message = node.next().await.expect("told");
        assert_eq!(
            (&message.history, message.sequence),
            (&history, Sequence(base.0 + place))
        );
        let Body::Revoked(revoked) = message.body else {
            panic!("another message");
        };
        heard.push(revoked.serial);
    }
    assert!(heard.contains(&lost) && heard.contains(&it.serial_of("you").await));
    assert_eq!(it.status_of("you").await, Status::Revoked);
    assert_eq!(it.status_of("me").await, Status::Valid);
    let snapshot = it.authority.subscribe("other").await.expect("joins");
    assert_eq!(snapshot.snapshot().revoked.len(), 3, "nothing is forgotten");

    assert!(it.resume(Grounds::Evidence).await.expect("resumes"));
    let renewed = it
        .authority
        .renew(ADMIN, &what("you"), requested(&key()))
        .await;
    assert!(
        matches!(renewed, Err(RenewError::Revoked { .. })),
        "{renewed:?}"
    );
    assert!(!it.is_refused().await);
}

#[tokio::test]
async fn gateway_that_has_heard_the_restored_authority_alone_is_no_evidence() {
    let it = Recovered::new().await;
    let (reason, you) = (RevocationReason::KeyCompromise, what("you"));
    let lost = it.before.authority.revoke(ADMIN, &you, reason, None);
    lost.await.expect("revokes");
    let new = it.authority.subscribe("new").await.expect("joins");
    let told = it.authority.unite_feed(ADMIN, new.snapshot().clone()).await;
    let told = told.expect("unites");
    assert_eq!((told.known, told.is_newer_than_backup), (1, false));
    let refused = it.resume(Grounds::Evidence).await;
    assert!(
        matches!(refused, Err(ResumeError::NoEvidence { .. })),
        "{refused:?}"
    );
    let old = it.authority.unite_feed(ADMIN, it.feed().await).await;
    assert_eq!(old.expect("unites"), united(1, 0, 1));
    assert!(it.resume(Grounds::Evidence).await.expect("resumes"));
}

#[tokio::test]
async fn hold_of_the_backup_that_was_made_a_revocation_since_is_released_by_nobody() {
    let it = Recovered::new().await;
    let hold = RevocationReason::CertificateHold;
    let put_on_hold = it.authority.revoke(ADMIN, &what("me"), hold, None).await;
    assert_eq!(put_on_hold.expect("holds").changed.count, 1);
    assert_eq!(it.status_of("me").await, Status::Held);
    let me = what("me");
    let reason = RevocationReason::KeyCompromise;
    let since = it.before.authority.revoke(ADMIN, &me, reason, None).await;
    since.expect("revokes");
    let feed = it.feed().await;
    let told = it.authority.unite_feed(ADMIN, feed.clone()).await;
    assert_eq!(told.expect("unites"), united(1, 0, 1));
    assert_eq!(it.status_of("me").await, Status::Revoked);
    let again = it.authority.unite_feed(ADMIN, feed).await;
    assert_eq!(again.expect("unites"), united(0, 0, 2));
    // A hold told of later takes nothing back.
    it.authority
        .revoke(ADMIN, &me, hold, None)
        .await
        .expect("is revoked already");
    assert_eq!(it.status_of("me").await, Status::Revoked);
}

#[tokio::test]
async fn paused_authority_signs_no_list_that_lacks_what_was_revoked_since() {
    let it = Recovered::new().await;
    let lists = it.authority.complete_lists(ADMIN).await;
    assert!(
        matches!(
            lists,
            Err(PublishError::Store(StoreError::IssuingPaused { .. }))
        ),
        "{lists:?}"
    );
    it.resume(Grounds::Word).await.expect("goes on");
    assert_eq!(
        it.authority
            .complete_lists(ADMIN)
            .await
            .expect("lists")
            .len(),
        2
    );
}

#[tokio::test]
async fn crl_is_united_whatever_its_age_and_counts_if_it_is_newer_than_the_backup() {
    let it = Recovered::new().await;
    let (you, me) = (it.serial_of("you").await, it.serial_of("me").await);
    let old = it
        .authority
        .unite_crl(ADMIN, it.crl(BORN - 1, &[you]).into())
        .await;
    let old = old.expect("unites");
    assert_eq!((old.revoked, old.is_newer_than_backup), (1, false));
    let refused = it.resume(Grounds::Evidence).await;
    assert!(
        matches!(refused, Err(ResumeError::NoEvidence { .. })),
        "{refused:?}"
    );
    let unknown = SerialNumber::from_random([9; 20]);
    let crl = it.crl(BORN + 60, &[you, me, unknown]);
    let newer = it.authority.unite_crl(ADMIN, crl.into()).await;
    assert_eq!(newer.expect("unites"), united(1, 1, 1));
    // The first statement stands.
    let page = it.authority.show(&what("you")).await.expect("is there");
    let revocation = page.entries[0].revocation.expect("revoked");
    assert_eq!(revocation.revoked_at.seconds(), BORN - 1);
    assert!(it.resume(Grounds::Evidence).await.expect("resumes"));
}

#[tokio::test]
async fn evidence_of_others_and_altered_evidence_change_nothing() {
    let it = Recovered::new().await;
    let stranger = Recovered::new().await;
    let you = it.serial_of("you").await;
    let foreign = it
        .authority
        .unite_crl(ADMIN, stranger.crl(BORN + 60, &[you]).into())
        .await;
    // Every authority has issuers of the same name, with other keys.
    assert!(
        matches!(foreign, Err(EvidenceError::Crl { .. })),
        "{foreign:?}"
    );
    let mut altered = it.crl(BORN + 60, &[you]);
    let place = altered.len() / 2;
    altered[place] ^= 1;
    let altered = it.authority.unite_crl(ADMIN, altered.into()).await;
    assert!(
        matches!(altered, Err(EvidenceError::Crl { .. })),
        "{altered:?}"
    );
    let root = Certificate::parse(it.authority.root().der()).expect("decodes");
    let garbage = it
        .authority
        .unite_crl(ADMIN, root.der().to_vec().into())
        .await;
    assert!(
        matches!(garbage, Err(EvidenceError::Crl { .. })),
        "{garbage:?}"
    );

    let revoked = |issuer_key| Revoked {
        issuer_key,
        serial: you,
        reason: RevocationReason::KeyCompromise,
        revoked_at: UnixTime::from_seconds(BORN + 60),
    };
    let ours = revoked(it.authority.intermediate().spki());
    let feed = Snapshot {
        history: HistoryId("other".to_owned()),
        sequence: Sequence(u64::MAX),
        at: UnixTime::from_seconds(BORN + 60),
        revoked: vec![ours, revoked(Fingerprint::from_bytes([7; 32]))],
    };
    let mixed = it.authority.unite_feed(ADMIN, feed).await;
    assert!(
        matches!(
            mixed,
            Err(EvidenceError::Store(StoreError::UnknownIssuerKey { .. }))
        ),
        "{mixed:?}"
    );
    assert_eq!(
        it.status_of("you").await,
        Status::Valid,
        "judged whole before anything changes"
    );
    let refused = it.resume(Grounds::Evidence).await;
    assert!(
        matches!(refused, Err(ResumeError::NoEvidence { .. })),
        "{refused:?}"
    );
    assert!(it.is_refused().await);
}

#[tokio::test]
async fn everything_that_recovery_does_is_in_a_log_that_is_whole() {
    let it = Recovered::new().await;
    let you = it.serial_of("you").await;
    let told = it
        .authority
        .unite_crl(ADMIN, it.crl(BORN + 60, &[you]).into())
        .await;
    told.expect("unites");
    it.resume(Grounds::Evidence).await.expect("resumes");
    let Recovered {
        authority, folder, ..
    } = it;
    drop(authority);
    let path = folder.path.join("inventory.db");
    let whole = AuditLog::open(&path).expect("opens").verify(None);
    whole.expect("whole");
    let store = countersign_store::store::Store::open(&path, Box::new(|_| {})).expect("opens");
    let records = store.audit(0, 1000).await.expect("reads");
    let last: Vec<Action> = records
        .iter()
        .rev()
        .take(5)
        .rev()
        .map(|it| it.action)
        .collect();
    assert_eq!(
        last,
        [
            Action::Backup,
            Action::Restore,
            Action::Revoke,
            Action::Evidence,
            Action::Resume
        ]
    );
    assert!(records.iter().rev().take(4).all(|it| it.actor == ADMIN));
    assert_eq!(
        records.last().expect("some").reason,
        "restored from Tuesday"
    );
}

#[tokio::test]
async fn new_history_begins_behind_the_old_one_even_if_the_clock_went_back() {
    let before = Fixture::new();
    // A clock that was far ahead when the authority was made.
    let sequence = before.authority.feed_position().await.expect("reads").1;
    let bytes = backup(&before.authority).await;
    let folder = Folder::new();
    let file = folder.path.with_extension("tar");
    fs::write(&file, bytes).expect("writes");
    let state = folder.state();
    let lock = state.lock().expect("locks");
    let early: countersign_runtime::clock::SharedClock = Arc::new(ManualClock::new(BORN - 1000));
    let restored =
        countersign_authority::restore::restore(&state, &lock, &file, None, ADMIN, &early);
    assert_eq!(restored.expect("restores").base, Sequence(sequence.0 + 1));
}

#[tokio::test]
async fn evidence_with_impossible_times_is_refused_and_the_authority_goes_on() {
    let it = Recovered::new().await;
    let admin = AdminClient::in_process(router(Arc::clone(&it.authority)), ADMIN);
    let issuer_key = it.authority.intermediate().spki().to_string();
    let serial = it.serial_of("you").await.to_string();
    let feed = |at: u64, revoked_at: u64| {
        let revoked = json!({
            "issuer_key": issuer_key, "serial": serial, "reason": "key-compromise", "revoked_at": revoked_at,
        });
        json!({ "history": "first", "sequence": 1, "at": at, "revoked": [revoked] }).to_string()
    };
    let post = async |body: String| {
        admin
            .post_bytes::<EvidenceResponse>(EVIDENCE_FEED, "application/json", body.into_bytes())
            .await
    };
    for (at, revoked_at) in [
        (BORN + 60, u64::MAX),
        (u64::MAX, BORN),
        (BORN, 253_402_300_800),
    ] {
        let refused = post(feed(at, revoked_at)).await;
        assert!(
            matches!(&refused, Err(ClientError::Refused { problem }) if problem.status == 422),
            "{refused:?}"
        );
    }
    assert_eq!(it.status_of("you").await, Status::Valid);
    let good = post(feed(BORN + 60, BORN + 60)).await;
    assert_eq!(good.expect("the writer lives").revoked, 1);
}

#[tokio::test]
async fn shard_and_list_of_another_issuer_are_united_and_let_nothing_go_on() {
    let it = Recovered::new().await;
    let you = it.serial_of("you").await;
    let shard = CrlScope {
        distribution_point: Some(Uri::parse("http://pki.example.com/crl/a/1.crl").expect("a URI")),
        ..CrlScope::default()
    };
    let leaves = CrlScope {
        holders: Holders::Users,
        ..CrlScope::default()
    };
    let lists = it.before.authority.superior_lists().await.expect("lists");
    let root = lists[0].signed.as_ref().expect("signed").der().to_vec();
    for (crl, revoked) in [
        (it.crl_of(BORN + 60, &[you], shard), 1),
        (it.crl_of(BORN + 60, &[], leaves), 0),
        (root, 0),
    ] {
        let told = it
            .authority
            .unite_crl(ADMIN, crl.into())
            .await
            .expect("unites");
        assert_eq!((told.revoked, told.is_whole), (revoked, false));
        let refused = it.resume(Grounds::Evidence).await;
        assert!(
            matches!(refused, Err(ResumeError::NoEvidence { .. })),
            "{refused:?}"
        );
    }
    let told = it
        .authority
        .unite_crl(ADMIN, it.crl(BORN + 60, &[you]).into())
        .await;
    assert!(told.expect("unites").is_whole);
    assert!(it.resume(Grounds::Evidence).await.expect("resumes"));
}

#[tokio::test]
async fn list_of_the_backup_is_given_out_by_nobody_and_the_next_is_above_it() {
    let before = Fixture::new();
    let url = PublicationUrl::parse("http://pki.example.com").expect("a URL");
    let publication = Publication::open(&before.authority, url.clone())
        .await
        .expect("opens");
    let certificate = before.issue("you").await.certificate;
    publication.refresh().await;
    let path = certificate.crl_uris()[0]
        .strip_prefix("http://pki.example.com")
        .expect("its shard")
        .to_owned();
    assert!(publication.document(None, &path).is_some());
    let bytes = backup(&before.authority).await;
    // Revoked since, and said so to everybody.
    let (reason, you) = (RevocationReason::KeyCompromise, what("you"));
    let revoked = before.authority.revoke(ADMIN, &you, reason, None).await;
    revoked.expect("revokes");
    before.clock.set(BORN + 60);
    publication.refresh().await;
    let number = |publication: &Publication| {
        let document = publication.document(None, &path)?;
        ParsedCrl::parse(&document.body).expect("a CRL").number()
    };
    let given_out = number(&publication).expect("signed");
    drop(publication);

    let (folder, _) = restored(&bytes).expect("restores");
    let passphrase = before.folder.path.join("ca/passphrase");
    fs::copy(passphrase, folder.path.join("ca/passphrase")).expect("copies");
    let authority = folder.open(&Arc::new(ManualClock::new(BORN + 120)));
    authority.ready().await.expect("unseals");
    let publication = Publication::open(&authority, url).await.expect("opens");
    publication.refresh().await;
    assert_eq!(
        number(&publication),
        None,
        "it would let in who was revoked since"
    );
    let lists = authority.complete_lists(ADMIN).await;
    assert!(lists.is_err(), "{lists:?}");
    let resumed = authority.resume(ADMIN, Grounds::Word, "nothing was revoked".to_owned());
    resumed.await.expect("resumes");
    publication.refresh().await;
    assert!(
        number(&publication) > Some(given_out),
        "though nothing on it has changed"
    );
    let again = publication.refresh().await;
    assert!(
        again > std::time::Duration::from_secs(10),
        "and it is not signed all the time"
    );
}
