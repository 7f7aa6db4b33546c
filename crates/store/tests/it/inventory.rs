//! Finding and listing.

use std::time::Duration;

use countersign_pki::feed::RevocationReason;
use countersign_pki::name::NameKind;
use countersign_store::inventory::{Filter, Glob, NameFilter, Selector, Status};

use crate::fixture::{ADMIN, Fixture, HOUR, now};

const DAY: Duration = Duration::from_hours(24);

/// `valid` for 30 days, `short` for an hour, `revoked`, `unknown`.
async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.issue("valid", 30 * DAY).await;
    fixture.issue("short", HOUR).await;
    let revoked = fixture.issue("revoked", 30 * DAY).await;
    let selector = Selector::Fingerprint(revoked.certificate().fingerprint());
    fixture
        .store
        .revoke(selector, ADMIN, RevocationReason::Unspecified, now())
        .await
        .expect("revokes");
    fixture.intend("unknown", 30 * DAY).await;
    fixture
}

fn every_kind() -> Vec<NameKind> {
    NameKind::ALL.to_vec()
}

async fn check(fixture: &Fixture, filter: Filter, after: Duration, expected: &[&str]) {
    let page = fixture
        .store
        .list(filter.clone(), None, 100, now().plus(after))
        .await
        .expect("lists");
    let names: Vec<_> = page
        .entries
        .iter()
        .map(|entry| entry.principal().expect("a name").bare())
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|name| format!("{name}.example.com"))
        .collect();
    assert_eq!(names, expected, "{filter:?}");
    for entry in &page.entries {
        assert!(
            filter
                .status
                .is_none_or(|status| status == entry.status_at(now().plus(after))),
            "{entry:?}"
        );
    }
}

#[tokio::test]
async fn list_filters_by_status_end_and_name() {
    let fixture = fixture().await;
    let status = |status| Filter {
        status: Some(status),
        ..Filter::default()
    };
    let expiring = |within| Filter {
        expiring_before: Some(now().plus(within)),
        ..Filter::default()
    };
    let named = |name| Filter {
        names: vec![name],
        ..Filter::default()
    };
    let exactly = |name: &str| named(NameFilter::Exactly(vec![name.parse().expect("a name")]));
    let begins = |part: &str| {
        named(NameFilter::Like(
            Glob::Prefix(part.to_owned()),
            every_kind(),
        ))
    };
    let ends = |part: &str| {
        named(NameFilter::Like(
            Glob::Suffix(part.to_owned()),
            every_kind(),
        ))
    };
    let zero = Duration::ZERO;

    check(
        &fixture,
        Filter::default(),
        zero,
        &["unknown", "revoked", "short", "valid"],
    )
    .await;
    check(&fixture, status(Status::Valid), zero, &["short", "valid"]).await;
    check(&fixture, status(Status::Valid), DAY, &["valid"]).await;
    check(&fixture, status(Status::Expired), DAY, &["short"]).await;
    check(&fixture, status(Status::Revoked), zero, &["revoked"]).await;
    check(&fixture, status(Status::Unknown), zero, &["unknown"]).await;
    check(&fixture, expiring(2 * HOUR), zero, &["short"]).await;
    check(&fixture, expiring(31 * DAY), DAY, &["valid", "unknown"]).await;
    check(&fixture, exactly("cn:valid"), zero, &["valid"]).await;
    check(&fixture, exactly("dns:valid.example.com"), zero, &["valid"]).await;
    check(&fixture, exactly("dns:valid"), zero, &[]).await;
    check(&fixture, exactly("email:valid@example.com"), zero, &[]).await;
    // By the name backwards: …d, …k, …r, …t.
    let all = &["revoked", "valid", "unknown", "short"];
    check(&fixture, ends(".EXAMPLE.com"), zero, all).await;
    check(&fixture, begins("VALI"), zero, &["valid"]).await;
    check(&fixture, begins("alid"), zero, &[]).await;
    check(&fixture, begins("%"), zero, &[]).await;
    check(&fixture, begins("' OR 1=1 --"), zero, &[]).await;
}

#[tokio::test]
async fn pages_are_disjoint_and_complete() {
    let fixture = Fixture::new();
    for number in 0..7 {
        fixture.intend(&format!("n{number}"), HOUR).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = fixture
            .store
            .list(Filter::default(), after, 3, now())
            .await
            .expect("lists");
        assert!(page.entries.len() <= 3);
        seen.extend(page.entries.iter().map(|entry| entry.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|one, other| one > other));
}

#[tokio::test]
async fn find_knows_serial_fingerprint_and_every_kind_of_name_exactly() {
    let fixture = fixture().await;
    let stored = fixture.issue("api", HOUR).await;
    let certificate = stored.certificate();
    let found = async |selector| {
        let page = fixture.store.find(selector).await.expect("finds");
        assert_eq!(page.next, None);
        page.entries.len()
    };
    let named =
        async |name: &str| found(Selector::Names(vec![name.parse().expect("a name")])).await;
    assert_eq!(found(Selector::Serial(certificate.serial())).await, 1);
    assert_eq!(
        found(Selector::Fingerprint(certificate.fingerprint())).await,
        1
    );
    assert_eq!(found(Selector::Names(vec![])).await, 0);
    assert_eq!(named("cn:api").await, 1);
    assert_eq!(named("dns:api.example.com").await, 1);
    assert_eq!(named("dns:API.example.com.").await, 1);
    assert_eq!(named("cn:API").await, 0);
    assert_eq!(named("dns:api").await, 0);
    assert_eq!(named("dn:CN=api").await, 1);
    assert_eq!(
        named(&format!(
            "serial:{}@CN=Test Issuing CA",
            certificate.serial()
        ))
        .await,
        1
    );
    assert_eq!(
        named(&format!("serial:{}@CN=Another CA", certificate.serial())).await,
        0
    );
    assert_eq!(named(&format!("spki:{}", certificate.spki())).await, 1);
    let both = vec![
        "cn:api".parse().expect("a name"),
        "dns:api.example.com".parse().expect("a name"),
    ];
    assert_eq!(found(Selector::Names(both)).await, 1);
}

#[tokio::test]
async fn tally_counts_each_row_once() {
    let fixture = fixture().await;
    let tally = fixture.store.tally(now().plus(DAY)).await.expect("counts");
    assert_eq!(
        (tally.valid, tally.expired, tally.revoked, tally.unknown),
        (1, 1, 1, 1)
    );
}

#[tokio::test]
async fn what_was_stored_comes_back() {
    let fixture = Fixture::new();
    let stored = fixture.issue("api", HOUR).await;
    let certificate = stored.certificate();
    let entry = fixture
        .reopened()
        .store
        .find(Selector::Serial(certificate.serial()))
        .await
        .expect("finds")
        .entries
        .remove(0);
    assert_eq!(
        entry.signed.as_ref().map(|signed| signed.der.as_slice()),
        Some(certificate.der().as_ref())
    );
    assert_eq!(
        (entry.not_before, entry.not_after),
        (certificate.not_before(), certificate.not_after())
    );
    assert_eq!(entry.spki, certificate.spki());
    assert_eq!((entry.actor, entry.intended_at), (ADMIN, now()));
    let kept: Vec<_> = entry.names.iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["dns:api.example.com", "cn:api", "dn:CN=api"]);
}
