//! What is published: lists and OCSP answers, kept up to date, and kept when nothing can be signed.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::IssueError;
use countersign_authority::public::PublicListener;
use countersign_authority::publish::{
    ANSWER_LIFETIME, Document, LIST_LIFETIME, OcspAnswer, Publication, PublishError, REFRESH_AFTER,
};
use countersign_authority::what::{Meant, What};
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::feed::RevocationReason;
use countersign_pki::identity::{BundleName, Identity};
use countersign_pki::ocsp::{
    CertId, CertIdHash, IssuerHashes, OcspRequest, TRY_LATER, UNAUTHORIZED,
};
use countersign_pki::publication::{OCSP_PATH, PublicationUrl, SHARDS};
use countersign_pki::serial::SerialNumber;
use countersign_policy::issuance::{Actor, Profile, Request};
use countersign_runtime::drain::drain;
use countersign_store::inventory::{Filter, Status};
use countersign_store::revocation::Withdrawal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::fixture::{ADMIN, BORN, DAY_S, Fixture, client, key, requested, what};

const URL: &str = "http://pki.example.com/pki";

async fn open(fixture: &Fixture) -> Arc<Publication> {
    let url = PublicationUrl::parse(URL).expect("a URL");
    let publication = Publication::open(&fixture.authority, url)
        .await
        .expect("opens");
    publication.refresh().await;
    publication
}

fn list_at(publication: &Publication, url: &str) -> (Document, ParsedCrl) {
    let path = url
        .strip_prefix("http://pki.example.com")
        .expect("published there");
    let document = publication.document(None, path).expect("served");
    let parsed = ParsedCrl::parse(&document.body).expect("a CRL");
    (document, parsed)
}

fn complete(fixture: &Fixture, publication: &Publication) -> (Document, ParsedCrl) {
    let path = PublicationUrl::complete_list_path(fixture.authority.intermediate());
    list_at(publication, &format!("{URL}{path}"))
}

fn shard_of(certificate: &Certificate) -> String {
    let uris = certificate.crl_uris();
    assert_eq!(uris.len(), 1);
    uris[0].to_owned()
}

fn has(list: &ParsedCrl, serial: SerialNumber) -> bool {
    list.entries().iter().any(|entry| entry.serial == serial)
}

async fn revoke(fixture: &Fixture, name: &str) {
    let reason = RevocationReason::KeyCompromise;
    let what = what(name);
    let revoked = fixture.authority.revoke(ADMIN, &what, reason, None);
    revoked.await.expect("revokes");
}

/// `SEQUENCE` and the like, of any length.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    let header = match content.len() {
        0..=127 => vec![tag, length[1]],
        128..=255 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [header, content].concat()
}

fn request(ids: &[CertId], nonce: Option<&[u8]>) -> OcspRequest {
    let questions: Vec<Vec<u8>> = ids.iter().map(|id| tlv(0x30, &[id.der()])).collect();
    let questions: Vec<&[u8]> = questions.iter().map(Vec::as_slice).collect();
    let extensions = nonce.map_or_else(Vec::new, |nonce| {
        let oid = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 48, 1, 2];
        let value = tlv(0x04, &[&tlv(0x04, &[nonce])]);
        tlv(0xa2, &[&tlv(0x30, &[&tlv(0x30, &[&oid, &value])])])
    });
    let der = tlv(0x30, &[&tlv(0x30, &[&tlv(0x30, &questions), &extensions])]);
    OcspRequest::parse(&der).expect("a request")
}

fn id(issuer: &Certificate, serial: SerialNumber) -> CertId {
    CertId::of(&IssuerHashes::of(issuer), serial, CertIdHash::Sha1)
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Good,
    Revoked,
    Unknown,
}

/// What a signed answer says of `id`.
fn said(document: &Document, id: &CertId) -> Said {
    let body = &document.body;
    let at = body
        .windows(id.der().len())
        .position(|window| window == id.der())
        .expect("the answer repeats the question");
    match body[at + id.der().len()] {
        0x80 => Said::Good,
        0xa1 => Said::Revoked,
        0x82 => Said::Unknown,
        tag => panic!("status {tag:#x}"),
    }
}

async fn ask(publication: &Publication, id: &CertId) -> (Document, Said) {
    match publication
        .answer(&request(std::slice::from_ref(id), None))
        .await
    {
        OcspAnswer::ForAll(document) | OcspAnswer::ForOne(document) => {
            let said = said(&document, id);
            (document, said)
        }
        OcspAnswer::Not(why) => panic!("no answer: {why:?}"),
    }
}

async fn refusal(publication: &Publication, request: &OcspRequest) -> Option<[u8; 5]> {
    match publication.answer(request).await {
        OcspAnswer::Not(why) => Some(why),
        OcspAnswer::ForAll(_) | OcspAnswer::ForOne(_) => None,
    }
}

/// Changes the inventory's file past the authority, as damage does.
fn damage(fixture: &Fixture, sql: &str) {
    let second = rusqlite::Connection::open(fixture.folder.state().inventory()).expect("opens");
    second.execute_batch(sql).expect("runs");
}

/// No list can be written from then on, as when the disk is full.
const NO_WRITES: &str =
    "CREATE TRIGGER full BEFORE UPDATE ON crl BEGIN SELECT raise(ABORT, 'full'); END";
const WRITES: &str = "DROP TRIGGER full";
/// Nothing can be looked up.
const NO_READS: &str = "ALTER TABLE revocation RENAME TO gone";
const READS: &str = "ALTER TABLE gone RENAME TO revocation";

#[tokio::test]
async fn certificates_carry_where_to_ask_once_it_is_published_and_after_a_restart() {
    let fixture = Fixture::new();
    let before = fixture.issue("before").await.certificate;
    assert!(before.crl_uris().is_empty());
    assert_eq!(fixture.authority.publication_url(), None);
    drop(open(&fixture).await);
    let check = |certificate: &Certificate| {
        assert!(shard_of(certificate).starts_with(&format!("{URL}/crl/")));
        let der = certificate.der();
        for uri in [
            format!("{URL}{OCSP_PATH}"),
            format!(
                "{URL}{}",
                PublicationUrl::certificate_path(fixture.authority.intermediate())
            ),
        ] {
            assert!(
                der.windows(uri.len())
                    .any(|window| window == uri.as_bytes()),
                "{uri}"
            );
        }
    };
    check(&fixture.issue("after").await.certificate);
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    drop(authority);
    let authority = folder.open(&clock);
    assert_eq!(
        authority.publication_url().map(|url| url.to_string()),
        Some(URL.to_owned())
    );
    let issued = authority
        .issue(ADMIN, client("later"))
        .await
        .expect("issues");
    assert!(shard_of(&issued.certificate).starts_with(URL));
    authority.publish_at(None).await.expect("writes");
    let issued = authority
        .issue(ADMIN, client("last"))
        .await
        .expect("issues");
    assert!(issued.certificate.crl_uris().is_empty());
}

#[tokio::test]
async fn everything_that_certificates_name_is_served_and_verifies() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let issuer = fixture.authority.intermediate();
    for shard in 0..SHARDS.get() {
        let url = format!("{URL}{}", PublicationUrl::shard_path(issuer, shard));
        let (_, list) = list_at(&publication, &url);
        list.verify(issuer).expect("the issuing CA's");
        let scope = list.scope().expect("judged").distribution_point.clone();
        assert_eq!(scope.map(|uri| uri.as_str().to_owned()), Some(url));
    }
    let (document, list) = complete(&fixture, &publication);
    list.verify(issuer).expect("the issuing CA's");
    assert_eq!(list.scope().expect("judged").distribution_point, None);
    assert_eq!(document.media_type, "application/pkix-crl");
    assert_eq!(
        list.next_update(),
        Some(publication.now().plus(LIST_LIFETIME))
    );
    for ca in [
        fixture.authority.root(),
        issuer,
        fixture.authority.operator(),
    ] {
        let path = format!("/pki{}", PublicationUrl::certificate_path(ca));
        let document = publication.document(None, &path).expect("served");
        assert_eq!(&document.body[..], ca.der().as_ref());
        assert_eq!(document.media_type, "application/pkix-cert");
    }
    let root = format!(
        "{URL}{}",
        PublicationUrl::complete_list_path(fixture.authority.root())
    );
    let (_, list) = list_at(&publication, &root);
    list.verify(fixture.authority.root()).expect("the root's");
    for path in [
        "",
        "/",
        "/pki",
        "/pki/crl",
        "/crl/0.crl",
        "/pki/ocsp",
        "/pki/../pki/ca",
    ] {
        assert!(publication.document(None, path).is_none(), "{path}");
    }
}

#[tokio::test]
async fn revocation_is_on_its_shard_and_the_complete_list_and_the_others_are_left_alone() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let certificate = fixture.issue("you").await.certificate;
    let shard = shard_of(&certificate);
    let etags = |publication: &Publication| -> Vec<Arc<str>> {
        let issuer = fixture.authority.intermediate();
        (0..SHARDS.get())
            .map(|shard| format!("{URL}{}", PublicationUrl::shard_path(issuer, shard)))
            .filter(|url| *url != shard)
            .map(|url| list_at(publication, &url).0.etag)
            .collect()
    };
    let before = (
        list_at(&publication, &shard),
        complete(&fixture, &publication),
        etags(&publication),
    );
    fixture.clock.set(BORN + 5);
    revoke(&fixture, "you").await;
    publication.refresh().await;
    for ((old, was), (new, is)) in [
        (before.0, list_at(&publication, &shard)),
        (before.1, complete(&fixture, &publication)),
    ] {
        assert!(!has(&was, certificate.serial()) && has(&is, certificate.serial()));
        assert!(is.number() > was.number());
        assert_ne!(old.etag, new.etag);
    }
    assert_eq!(before.2, etags(&publication));
}

#[tokio::test]
async fn revocations_of_one_second_share_a_list_and_numbers_never_pass_the_clock() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    for name in ["a", "b"] {
        fixture.issue(name).await;
        revoke(&fixture, name).await;
        // The lists of this second are signed already.
        assert!(publication.refresh().await <= Duration::from_secs(1));
        assert!(complete(&fixture, &publication).1.entries().is_empty());
    }
    fixture.clock.set(BORN + 1);
    publication.refresh().await;
    let (_, list) = complete(&fixture, &publication);
    assert_eq!(list.entries().len(), 2);
    assert_eq!(list.number(), Some(BORN + 1));
}

#[tokio::test]
async fn lists_are_signed_anew_long_before_they_end_and_not_all_the_time() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let (first, _) = complete(&fixture, &publication);
    fixture.clock.set(BORN + REFRESH_AFTER.as_secs() - 1);
    publication.refresh().await;
    assert_eq!(complete(&fixture, &publication).0.etag, first.etag);
    fixture.clock.set(BORN + REFRESH_AFTER.as_secs());
    publication.refresh().await;
    let (second, list) = complete(&fixture, &publication);
    assert_ne!(second.etag, first.etag);
    assert_eq!(list.this_update().seconds(), BORN + REFRESH_AFTER.as_secs());
    // A clock that was ahead is set back: a list of the future would be refused.
    fixture.clock.set(BORN + 10);
    publication.refresh().await;
    let (_, list) = complete(&fixture, &publication);
    assert_eq!(list.this_update().seconds(), BORN + 10);
    assert_eq!(list.number(), Some(BORN + REFRESH_AFTER.as_secs() + 1));
}

#[tokio::test]
async fn last_lists_are_served_at_once_after_a_restart() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let (before, _) = complete(&fixture, &publication);
    drop(publication);
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    drop(authority);
    let authority = folder.open(&clock);
    let fixture = Fixture {
        authority,
        clock,
        folder,
    };
    let url = PublicationUrl::parse(URL).expect("a URL");
    // Nothing is signed by opening.
    let publication = Publication::open(&fixture.authority, url)
        .await
        .expect("opens");
    assert_eq!(complete(&fixture, &publication).0.etag, before.etag);
}

#[tokio::test]
async fn lists_are_served_while_none_can_be_written_and_not_past_their_end() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let (first, _) = complete(&fixture, &publication);
    damage(&fixture, NO_WRITES);
    fixture.clock.set(BORN + 2 * DAY_S);
    assert!(
        publication.refresh().await <= Duration::from_secs(10),
        "tried again soon"
    );
    let (kept, _) = complete(&fixture, &publication);
    assert_eq!(kept.etag, first.etag);
    assert!(!kept.is_over(publication.now()));
    fixture.clock.set(BORN + LIST_LIFETIME.as_secs());
    publication.refresh().await;
    assert!(
        complete(&fixture, &publication)
            .0
            .is_over(publication.now())
    );
    damage(&fixture, WRITES);
    publication.refresh().await;
    let (healed, _) = complete(&fixture, &publication);
    assert!(!healed.is_over(publication.now()));
}

#[tokio::test]
async fn answers_say_good_revoked_and_unknown() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let issuer = fixture.authority.intermediate().clone();
    let serial = fixture.issue("you").await.serial;
    let other = fixture.issue("other").await.serial;
    let (first, status) = ask(&publication, &id(&issuer, serial)).await;
    assert_eq!(status, Said::Good);
    assert_eq!(first.media_type, "application/ocsp-response");
    // Signed once for everybody.
    fixture.clock.set(BORN + 60);
    assert_eq!(
        ask(&publication, &id(&issuer, serial)).await.0.etag,
        first.etag
    );
    let other_id = id(&issuer, other);
    assert_eq!(ask(&publication, &other_id).await.1, Said::Good);
    // Acknowledged means answered so, whatever was signed before.
    revoke(&fixture, "you").await;
    assert_eq!(
        ask(&publication, &id(&issuer, serial)).await.1,
        Said::Revoked
    );
    assert_eq!(ask(&publication, &other_id).await.1, Said::Good);
    let nobodys = id(&issuer, SerialNumber::from_random([1; 20]));
    assert_eq!(ask(&publication, &nobodys).await.1, Said::Unknown);
    let sha256 = CertId::of(&IssuerHashes::of(&issuer), other, CertIdHash::Sha256);
    assert_eq!(ask(&publication, &sha256).await.1, Said::Good);
}

#[tokio::test]
async fn hold_is_on_the_lists_and_in_the_answers_until_it_is_released() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let issued = [fixture.issue("you").await, fixture.issue("you").await];
    let serials = issued.each_ref().map(|issued| issued.serial);
    let ids = serials.map(|serial| id(fixture.authority.intermediate(), serial));
    let mut second = BORN;
    let mut shown = async || {
        // Lists of one second are one list.
        second += 2;
        fixture.clock.set(second);
        publication.refresh().await;
        let (_, complete) = complete(&fixture, &publication);
        let mut shown = Vec::new();
        for (issued, id) in issued.iter().zip(&ids) {
            let (_, shard) = list_at(&publication, &shard_of(&issued.certificate));
            let said = ask(&publication, id).await.1;
            shown.push((
                has(&complete, issued.serial),
                has(&shard, issued.serial),
                said,
            ));
        }
        shown
    };
    let good = || (false, false, Said::Good);
    let revoked = || (true, true, Said::Revoked);
    assert_eq!(shown().await, [good(), good()]);
    // Both in one message of the feed.
    let hold = RevocationReason::CertificateHold;
    let you = what("you");
    let put_on_hold = fixture.authority.revoke(ADMIN, &you, hold, None).await;
    assert_eq!(put_on_hold.expect("holds").changed.count, 2);
    assert_eq!(shown().await, [revoked(), revoked()]);
    let release = async |what: &What| {
        let meant = Meant::just(what.clone());
        fixture
            .authority
            .withdraw(ADMIN, &meant, Withdrawal::Release, None, None)
            .await
    };
    release(&what(&serials[0].to_string()))
        .await
        .expect("releases");
    assert_eq!(shown().await, [good(), revoked()]);
    revoke(&fixture, &serials[1].to_string()).await;
    release(&you).await.expect_err("revoked for good");
    assert_eq!(shown().await, [good(), revoked()]);
}

#[tokio::test]
async fn other_issuers_are_answered_unauthorized_and_beside_ours_unknown() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let serial = fixture.issue("you").await.serial;
    let ours = id(fixture.authority.intermediate(), serial);
    // The root's key is not here, so nobody answers for the root.
    let roots = id(
        fixture.authority.root(),
        fixture.authority.intermediate().serial(),
    );
    let theirs = request(std::slice::from_ref(&roots), None);
    assert_eq!(refusal(&publication, &theirs).await, Some(UNAUTHORIZED));
    let both = request(&[roots.clone(), ours.clone()], None);
    let OcspAnswer::ForOne(document) = publication.answer(&both).await else {
        panic!("an answer of its own");
    };
    assert_eq!(
        (said(&document, &roots), said(&document, &ours)),
        (Said::Unknown, Said::Good)
    );
}

#[tokio::test]
async fn nonce_is_repeated_in_an_answer_of_its_own() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let id = id(
        fixture.authority.intermediate(),
        fixture.issue("you").await.serial,
    );
    let (common, _) = ask(&publication, &id).await;
    for nonce in [&[7_u8; 1][..], &[8; 32], &[9; 128]] {
        let request = request(std::slice::from_ref(&id), Some(nonce));
        let OcspAnswer::ForOne(document) = publication.answer(&request).await else {
            panic!("an answer of its own");
        };
        assert_eq!(said(&document, &id), Said::Good);
        assert!(
            document
                .body
                .windows(nonce.len())
                .any(|window| window == nonce)
        );
    }
    // And it is not what the next one gets.
    assert_eq!(ask(&publication, &id).await.0.etag, common.etag);
}

#[tokio::test]
async fn answers_are_renewed_at_half_of_their_life() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let id = id(
        fixture.authority.intermediate(),
        fixture.issue("you").await.serial,
    );
    let (first, _) = ask(&publication, &id).await;
    let half = ANSWER_LIFETIME.as_secs() / 2;
    fixture.clock.set(BORN + half - 1);
    assert_eq!(ask(&publication, &id).await.0.etag, first.etag);
    fixture.clock.set(BORN + half);
    assert_ne!(ask(&publication, &id).await.0.etag, first.etag);
    // A clock set back: what was produced later is not shown.
    fixture.clock.set(BORN);
    let (earlier, _) = ask(&publication, &id).await;
    assert_eq!(
        earlier.times.map(|(this_update, _)| this_update.seconds()),
        Some(BORN)
    );
}

#[tokio::test]
async fn answers_are_given_while_nothing_can_be_looked_up_and_not_past_their_end() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let issuer = fixture.authority.intermediate().clone();
    let asked = id(&issuer, fixture.issue("asked").await.serial);
    let never_asked = id(&issuer, fixture.issue("never").await.serial);
    let (first, _) = ask(&publication, &asked).await;
    damage(&fixture, NO_READS);
    let refused = async |id: &CertId| {
        let request = request(std::slice::from_ref(id), None);
        refusal(&publication, &request).await == Some(TRY_LATER)
    };
    assert!(refused(&never_asked).await);
    let end = BORN + ANSWER_LIFETIME.as_secs();
    fixture.clock.set(end - 1);
    assert_eq!(ask(&publication, &asked).await.0.etag, first.etag);
    // With a nonce too, without repeating it (RFC 9654 §2.1).
    let nonce = request(std::slice::from_ref(&asked), Some(&[1; 32]));
    assert_eq!(refusal(&publication, &nonce).await, None);
    fixture.clock.set(end);
    assert!(refused(&asked).await);
    damage(&fixture, READS);
    assert_eq!(ask(&publication, &asked).await.1, Said::Good);
    assert_eq!(ask(&publication, &never_asked).await.1, Said::Good);
}

#[tokio::test]
async fn numbers_made_up_exhaust_their_own_budget_alone() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let issuer = fixture.authority.intermediate().clone();
    let known = id(&issuer, fixture.issue("you").await.serial);
    let mut refused = false;
    for number in 0..1000_u32 {
        let mut random = [3; 20];
        random[16..].copy_from_slice(&number.to_be_bytes());
        let made_up = request(&[id(&issuer, SerialNumber::from_random(random))], None);
        refused = refusal(&publication, &made_up).await == Some(TRY_LATER);
        if refused {
            break;
        }
    }
    assert!(refused, "there is a bound");
    assert_eq!(ask(&publication, &known).await.1, Said::Good);
}

#[tokio::test]
async fn responder_is_a_short_certificate_of_the_inventory_and_renewed_at_half_of_it() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let responders = async || {
        let filter = Filter {
            profile: Some(Profile::OCSP_RESPONDER.to_string()),
            ..Filter::default()
        };
        let page = fixture
            .authority
            .list(filter, None, 100)
            .await
            .expect("lists");
        page.entries
    };
    let [first] = &responders().await[..] else {
        panic!("one");
    };
    assert_eq!(first.status_at(publication.now()), Status::Valid);
    let der = first.signed.as_ref().expect("recorded").der.clone();
    let certificate = Certificate::parse(&der).expect("a certificate");
    assert!(certificate.has_ocsp_no_check() && !certificate.is_ca());
    let usage = certificate.extended_key_usage().expect("some");
    assert!(usage.ocsp_signing && !usage.server_auth && !usage.client_auth && !usage.any);
    let id = id(
        fixture.authority.intermediate(),
        fixture.issue("you").await.serial,
    );
    let signed_by = |document: &Document, der: &[u8]| {
        document.body.windows(der.len()).any(|window| window == der)
    };
    assert!(signed_by(&ask(&publication, &id).await.0, &der));

    fixture.clock.set(BORN + 3 * DAY_S);
    publication.refresh().await;
    assert_eq!(responders().await.len(), 1);
    fixture.clock.set(BORN + 4 * DAY_S);
    publication.refresh().await;
    assert_eq!(responders().await.len(), 2);
    assert!(!signed_by(&ask(&publication, &id).await.0, &der));
    // Revoked, it is not used any more.
    let newest = responders().await.remove(0);
    revoke(&fixture, &newest.serial.to_string()).await;
    publication.refresh().await;
    assert_eq!(responders().await.len(), 3);
}

#[tokio::test]
async fn nobody_can_ask_for_a_responders_certificate() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let asked = Request {
        profile: Profile::OCSP_RESPONDER,
        ..client("OCSP Responder")
    };
    let holder = |profile| Actor::Holder {
        certificate: None,
        identity: Identity {
            bundle: BundleName::internal(),
            name: "cn:OCSP Responder".parse().expect("a name"),
        },
        profile,
    };
    for actor in [
        ADMIN,
        holder(Profile::CLIENT),
        holder(Profile::OCSP_RESPONDER),
    ] {
        let refused = fixture.authority.issue(actor, asked.clone()).await;
        assert!(matches!(refused, Err(IssueError::Denied(_))), "{refused:?}");
    }
    let renewed = fixture
        .authority
        .renew(ADMIN, &what("cn:OCSP Responder"), requested(&key()))
        .await;
    assert!(renewed.is_err(), "{renewed:?}");
    drop(publication);
}

#[tokio::test]
async fn file_has_the_lists_of_the_whole_chain_and_every_revocation() {
    let fixture = Fixture::new();
    let serial = fixture.issue("you").await.serial;
    let lists = async || {
        fixture
            .authority
            .complete_lists(ADMIN)
            .await
            .expect("lists")
    };
    let first = lists().await;
    assert_eq!(first.len(), 2);
    assert_eq!(
        first[0].issuer,
        fixture.authority.intermediate().subject().to_string()
    );
    assert_eq!(
        first[1].issuer,
        fixture.authority.root().subject().to_string()
    );
    // Nothing has changed: the same list.
    assert_eq!(lists().await[0].number, first[0].number);
    revoke(&fixture, "you").await;
    let second = lists().await;
    assert!(second[0].number > first[0].number, "in the same second too");
    let block = countersign_pki::pem::decode_all(second[0].pem.as_bytes())
        .expect("PEM")
        .remove(0);
    let parsed = ParsedCrl::parse(&block.der).expect("a CRL");
    assert!(has(&parsed, serial));
    let holder = Actor::Holder {
        certificate: None,
        identity: Identity {
            bundle: BundleName::internal(),
            name: "cn:you".parse().expect("a name"),
        },
        profile: Profile::CLIENT,
    };
    let refused = fixture.authority.complete_lists(holder).await;
    assert!(
        matches!(refused, Err(PublishError::NotPermitted { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn listener_serves_no_older_list_than_a_file_has() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let serial = fixture.issue("you").await.serial;
    revoke(&fixture, "you").await;
    let lists = fixture.authority.complete_lists(ADMIN).await;
    let number = lists.expect("lists")[0].number;
    publication.refresh().await;
    let (_, list) = complete(&fixture, &publication);
    assert!(has(&list, serial) && list.number() == Some(number));
}

#[tokio::test]
async fn status_names_lists_that_are_not_signed_anew() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let risk = async || {
        let status = fixture.authority.status().await.expect("a status");
        assert_eq!(status.publication_url.as_deref(), Some(URL));
        status
            .risks
            .into_iter()
            .find(|risk| risk.sentence.contains("published revocation list"))
    };
    assert_eq!(risk().await, None);
    fixture.clock.set(BORN + LIST_LIFETIME.as_secs() / 2);
    assert!(
        risk()
            .await
            .expect("a risk")
            .sentence
            .contains("is over in")
    );
    fixture.clock.set(BORN + LIST_LIFETIME.as_secs() + DAY_S);
    assert!(
        risk()
            .await
            .expect("a risk")
            .sentence
            .contains("is over for ")
    );
    publication.refresh().await;
    assert_eq!(risk().await, None);
}

/// What is at the URL that a certificate carries, asked for as clients do: the host in lower case, without the port of HTTP.
fn document_at(publication: &Publication, url: &str) -> Option<Document> {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (authority, path) = rest.split_at(rest.find('/').expect("a path"));
    let host = authority.to_ascii_lowercase();
    publication.document(Some(host.strip_suffix(":80").unwrap_or(&host)), path)
}

#[tokio::test]
async fn certificate_issued_before_the_url_changed_finds_its_own_list_however_the_url_was_written()
{
    let fixture = Fixture::new();
    let mut issued = Vec::new();
    let mut opened = None;
    for url in ["http://Old.example:80", "http://new.example"] {
        let url = PublicationUrl::parse(url).expect("a URL");
        let publication = Publication::open(&fixture.authority, url).await;
        opened = Some(publication.expect("opens"));
        issued.push(fixture.issue("you").await.certificate);
    }
    let publication = opened.expect("the second");
    revoke(&fixture, "you").await;
    publication.refresh().await;
    for certificate in issued {
        let url = shard_of(&certificate);
        let document = document_at(&publication, &url).expect("served");
        let list = ParsedCrl::parse(&document.body).expect("a CRL");
        assert!(list.scope().expect("judged").covers(&certificate), "{url}");
        assert!(has(&list, certificate.serial()), "{url}");
    }
}

#[tokio::test]
async fn everything_that_earlier_certificates_name_is_served_when_the_path_changes() {
    let fixture = Fixture::new();
    drop(open(&fixture).await);
    let certificate = fixture.issue("you").await.certificate;
    let url = PublicationUrl::parse("http://pki.example.com/new").expect("a URL");
    let publication = Publication::open(&fixture.authority, url)
        .await
        .expect("opens");
    publication.refresh().await;
    assert!(document_at(&publication, &shard_of(&certificate)).is_some());
    let issuer = fixture.authority.intermediate();
    for at in ["/pki", "/new"] {
        for path in [
            PublicationUrl::certificate_path(issuer),
            PublicationUrl::complete_list_path(issuer),
            PublicationUrl::complete_list_path(fixture.authority.root()),
        ] {
            let path = format!("{at}{path}");
            assert!(
                publication
                    .document(Some("pki.example.com"), &path)
                    .is_some(),
                "{path}"
            );
        }
        assert_eq!(
            publication.ocsp_request(&format!("{at}/ocsp/MA")),
            Some("/MA")
        );
        assert_eq!(publication.ocsp_request(&format!("{at}/ocsp")), Some(""));
        assert_eq!(publication.ocsp_request(&format!("{at}/ocspx")), None);
    }
    assert_eq!(publication.ocsp_request("/ocsp"), None);
    assert_eq!(publication.ocsp_request("/other/ocsp"), None);
}

#[tokio::test]
async fn source_that_holds_all_it_may_keeps_no_other_from_being_answered() {
    let fixture = Fixture::new();
    let publication = open(&fixture).await;
    let any = "127.0.0.1:0".parse().expect("an address");
    let listener = PublicListener::bind(any).expect("binds");
    let address = listener.address();
    let (control, drain) = drain();
    let workers = listener.serve(publication, drain).expect("a thread");
    let get = async |from: &str| {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from = format!("{from}:0").parse().expect("an address");
        socket.bind(from).expect("binds");
        let mut stream = socket.connect(address).await.expect("connects");
        let path = PublicationUrl::certificate_path(fixture.authority.root());
        let asked = format!("GET /pki{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        // Whoever is turned away may be so before it has asked.
        let _ = stream.write_all(asked.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer.starts_with(b"HTTP/1.1 200")
    };
    assert!(get("127.0.0.1").await);
    let mut idle = Vec::new();
    // A quarter of all places.
    for _ in 0..256 {
        idle.push(TcpStream::connect(address).await.expect("connects"));
    }
    assert!(!get("127.0.0.1").await);
    assert!(get("127.0.0.2").await);
    drop(idle);
    drop(control);
    workers.join().expect("no panic");
}
