//! Owners, labels, notes, certificates of others, and pages while rows come in.

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::name::{NameKind, TypedName};
use countersign_store::annotation::{
    Annotate, Annotated, LabelKey, LabelValue, MAX_LABELS, Note, Owner,
};
use countersign_store::audit::{Action, Change};
use countersign_store::error::StoreError;
use countersign_store::import::Import;
use countersign_store::inventory::{
    EntryId, Filter, Glob, IMPORTED, IssuerFilter, NameFilter, Selector, Status,
};

use crate::fixture::{ADMIN, Fixture, HOUR, now};

fn named(name: &str) -> Selector {
    Selector::Names(vec![name.parse().expect("a name")])
}

fn label(key: &str, value: &str) -> (LabelKey, LabelValue) {
    (
        LabelKey::parse(key).expect("a key"),
        LabelValue::parse(value).expect("a value"),
    )
}

/// A certificate that another authority has issued.
async fn of_others(name: &str) -> Certificate {
    let others = Fixture::new();
    others.issue(name, HOUR).await.certificate().clone()
}

async fn names(fixture: &Fixture, filter: Filter) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.store.list(filter.clone(), after, 1, now()).await;
        let page = page.expect("lists");
        let shown = page.entries.iter().filter_map(|entry| entry.principal());
        names.extend(shown.map(TypedName::bare));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

#[tokio::test]
async fn owner_and_labels_are_said_of_an_identity_and_found_again() {
    let fixture = Fixture::new();
    for name in ["a", "b", "a"] {
        fixture.issue(name, HOUR).await;
    }
    let change = Annotate {
        owner: Some(Some(Owner::parse("payments").expect("an owner"))),
        set: vec![label("env", "prod"), label("tier", "1")],
        note: Some(Some(Note::parse("ask first").expect("a note"))),
        ..Annotate::default()
    };
    let annotate = async |what: &str, change: Annotate| {
        let done = fixture.store.annotate(named(what), change, ADMIN, now());
        done.await.expect("annotates")
    };
    let Annotated::Done(name, annotation) = annotate("dns:a.example.com", change.clone()).await
    else {
        panic!("one identity is meant");
    };
    assert_eq!(name.to_string(), "dns:a.example.com");
    assert_eq!(annotation.owner.as_deref(), Some("payments"));
    let owned = Filter {
        owner: Some("payments".to_owned()),
        ..Filter::default()
    };
    let with = |pairs: &[(&str, &str)]| Filter {
        labels: pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Filter::default()
    };
    let both = ["a.example.com", "a.example.com"];
    assert_eq!(names(&fixture, owned.clone()).await, both);
    assert_eq!(
        names(&fixture, with(&[("env", "prod"), ("tier", "1")])).await,
        both
    );
    assert!(
        names(&fixture, with(&[("env", "prod"), ("tier", "2")]))
            .await
            .is_empty()
    );
    assert!(names(&fixture, with(&[("env", "PROD")])).await.is_empty());

    // The name that is shown is the identity, whichever of its names is asked for.
    let change = Annotate {
        owner: Some(None),
        remove: vec![LabelKey::parse("tier").expect("a key")],
        ..Annotate::default()
    };
    assert!(
        matches!(annotate("cn:a", change).await, Annotated::Done(name, _) if name.kind() == NameKind::Dns)
    );
    assert!(names(&fixture, owned).await.is_empty());
    assert_eq!(names(&fixture, with(&[("env", "prod")])).await, both);
    let entry = fixture
        .store
        .find(named("cn:a"))
        .await
        .expect("finds")
        .entries
        .remove(0);
    assert_eq!(entry.annotation.note.as_deref(), Some("ask first"));
    assert_eq!(entry.annotation.labels.len(), 1);

    let audit = fixture.store.audit(0, 1000).await.expect("reads");
    let said: Vec<_> = audit
        .iter()
        .filter(|record| record.action == Action::Annotate)
        .collect();
    assert_eq!(said.len(), 2);
    assert_eq!(said[0].object, "dns:a.example.com");
    assert_eq!(
        said[0].change,
        Some(Change {
            before: "no owner; no label env; no label tier; no note".to_owned(),
            after: r#"owner "payments"; label env="prod"; label tier="1"; note "ask first""#
                .to_owned(),
        })
    );
    assert_eq!(
        said[1].change,
        Some(Change {
            before: r#"owner "payments"; label tier="1""#.to_owned(),
            after: "no owner; no label tier".to_owned(),
        })
    );
}

#[tokio::test]
async fn annotation_that_is_not_of_one_identity_or_too_much_changes_nothing() {
    let fixture = Fixture::new();
    fixture.issue("a", HOUR).await;
    fixture.issue("b", HOUR).await;
    let annotate = async |selector: Selector, change: Annotate| {
        let done = fixture.store.annotate(selector, change, ADMIN, now());
        done.await.expect("answers")
    };
    let owned = Annotate {
        owner: Some(Some(Owner::parse("x").expect("an owner"))),
        ..Annotate::default()
    };
    assert_eq!(
        annotate(named("dns:c.example.com"), owned.clone()).await,
        Annotated::NotFound
    );
    let two = Selector::Names(vec![
        "dns:a.example.com".parse().expect("a name"),
        "dns:b.example.com".parse().expect("a name"),
    ]);
    assert!(matches!(annotate(two, owned).await, Annotated::Ambiguous(names) if names.len() == 2));
    let many = |count: usize| Annotate {
        set: (0..count).map(|it| label(&format!("k{it}"), "v")).collect(),
        ..Annotate::default()
    };
    let a = || named("dns:a.example.com");
    assert_eq!(
        annotate(a(), many(MAX_LABELS + 1)).await,
        Annotated::TooManyLabels(MAX_LABELS + 1)
    );
    assert!(matches!(
        annotate(a(), many(MAX_LABELS)).await,
        Annotated::Done(..)
    ));
    let one_more = Annotate {
        set: vec![label("one-more", "v")],
        ..Annotate::default()
    };
    assert_eq!(
        annotate(a(), one_more).await,
        Annotated::TooManyLabels(MAX_LABELS + 1)
    );
    let audit = fixture.store.audit(0, 1000).await.expect("reads");
    let said = audit
        .iter()
        .filter(|record| record.action == Action::Annotate);
    assert_eq!(said.count(), 1);
}

#[tokio::test]
async fn certificates_of_others_are_watched_and_never_ours() {
    let fixture = Fixture::new();
    let ours = fixture.issue("ours", HOUR).await.certificate().clone();
    let theirs = of_others("theirs").await;
    let import = async |owner: Option<&str>| {
        let owner = owner.map(|owner| Owner::parse(owner).expect("an owner"));
        let both = vec![theirs.clone(), ours.clone()];
        let done = fixture.store.import(both, owner, ADMIN, now());
        done.await.expect("imports")
    };
    assert_eq!(import(None).await, [Import::Imported, Import::Ours]);
    assert_eq!(import(None).await, [Import::AlreadyImported, Import::Ours]);
    assert_eq!(
        import(Some("partner")).await,
        [Import::AlreadyImported, Import::Ours]
    );
    let entry = fixture
        .store
        .find(named("dns:theirs.example.com"))
        .await
        .expect("finds");
    let entry = &entry.entries[0];
    assert!(entry.is_imported() && entry.status_at(now()) == Status::Valid);
    assert_eq!(entry.annotation.owner.as_deref(), Some("partner"));
    let of = |filter: Filter| names(&fixture, filter);
    let expiring = Filter {
        expiring_before: Some(now().plus(2 * HOUR)),
        ..Filter::default()
    };
    assert_eq!(
        of(expiring).await,
        ["ours.example.com", "theirs.example.com"]
    );
    let imported = Filter {
        profile: Some(IMPORTED.to_owned()),
        ..Filter::default()
    };
    assert_eq!(of(imported).await, ["theirs.example.com"]);
    assert_eq!(fixture.store.tally(now()).await.expect("counts").valid, 1);

    let before = fixture.store.snapshot(now()).await.expect("reads").sequence;
    for selector in [
        named("dns:theirs.example.com"),
        Selector::Serial(theirs.serial()),
        Selector::Fingerprint(theirs.fingerprint()),
    ] {
        let outcome = fixture
            .store
            .revoke(selector, ADMIN, RevocationReason::Unspecified, now())
            .await
            .expect("answers");
        assert_eq!((outcome.changed.count, outcome.imported), (0, 1));
    }
    let snapshot = fixture.store.snapshot(now()).await.expect("reads");
    assert_eq!((snapshot.sequence, snapshot.revoked.len()), (before, 0));

    assert_eq!(
        import(Some("another")).await,
        [Import::AlreadyImported, Import::Ours]
    );
    assert_eq!(
        import(Some("another")).await,
        [Import::AlreadyImported, Import::Ours]
    );
    let audit = fixture.store.audit(3, 1000).await.expect("reads");
    let said: Vec<_> = audit
        .iter()
        .map(|record| {
            let change = record.change.as_ref();
            let change = change.map(|it| (it.before.as_str(), it.after.as_str()));
            (record.action, record.object.as_str(), change)
        })
        .collect();
    let fingerprint = theirs.fingerprint().to_string();
    let identity = "dns:theirs.example.com";
    assert_eq!(
        said,
        [
            (Action::Import, fingerprint.as_str(), None),
            (
                Action::Annotate,
                identity,
                Some(("no owner", "owner \"partner\""))
            ),
            (
                Action::Annotate,
                identity,
                Some(("owner \"partner\"", "owner \"another\""))
            ),
        ]
    );
}

#[tokio::test]
async fn record_of_labels_tells_one_from_two() {
    let fixture = Fixture::new();
    fixture.issue("a", HOUR).await;
    let annotate = async |set: Vec<(LabelKey, LabelValue)>| {
        let change = Annotate {
            set,
            ..Annotate::default()
        };
        let selector = named("dns:a.example.com");
        let done = fixture.store.annotate(selector, change, ADMIN, now());
        done.await.expect("annotates");
        let audit = fixture.store.audit(0, 1000).await.expect("reads");
        let last = audit.last().and_then(|record| record.change.clone());
        last.expect("a change").after
    };
    assert_eq!(
        annotate(vec![label("a", "1; label b=\"2\"")]).await,
        r#"label a="1; label b=\"2\"""#
    );
    assert_eq!(
        annotate(vec![label("a", "1"), label("b", "2")]).await,
        r#"label a="1"; label b="2""#
    );
}

#[tokio::test]
async fn issuer_is_found_by_common_name_and_by_subject() {
    let fixture = Fixture::new();
    fixture.issue("a", HOUR).await;
    let count = async |issuer: IssuerFilter| {
        let filter = Filter {
            issuer: Some(issuer),
            ..Filter::default()
        };
        names(&fixture, filter).await.len()
    };
    let beginning = |text: &str| IssuerFilter::Beginning(text.to_owned());
    let subject = |text: &str| IssuerFilter::Subject(text.to_owned());
    assert_eq!(count(beginning("CN=Test Issuing CA")).await, 1);
    assert_eq!(count(subject("CN=Test Issuing CA")).await, 1);
    for other in ["CN=Test", "CN=Test Issuing C", "CN=test issuing ca", ""] {
        assert_eq!(count(beginning(other)).await, 0, "{other}");
        assert_eq!(count(subject(other)).await, 0, "{other}");
    }
}

/// Every order, with rows that come in before, behind and between the pages.
#[tokio::test]
async fn rows_that_come_in_between_pages_neither_repeat_nor_hide_one() {
    let kinds = NameKind::ALL.to_vec();
    let like = |glob| Filter {
        names: vec![NameFilter::Like(glob, kinds.clone())],
        ..Filter::default()
    };
    let filters = [
        Filter::default(),
        like(Glob::Prefix("n".to_owned())),
        like(Glob::Suffix("com".to_owned())),
        Filter {
            status: Some(Status::Valid),
            ..Filter::default()
        },
        Filter {
            owner: Some("team".to_owned()),
            ..Filter::default()
        },
    ];
    let fixture = Fixture::new();
    for number in 0..6 {
        // Two of a name.
        let stored = fixture
            .issue(&format!("n{}", number / 2), (7 - number) * HOUR)
            .await;
        let change = Annotate {
            owner: Some(Some(Owner::parse("team").expect("an owner"))),
            ..Annotate::default()
        };
        let selector = Selector::Serial(stored.certificate().serial());
        fixture
            .store
            .annotate(selector, change, ADMIN, now())
            .await
            .expect("annotates");
    }
    for (round, filter) in filters.into_iter().enumerate() {
        let whole = fixture
            .store
            .list(filter.clone(), None, 100, now())
            .await
            .expect("lists");
        let expected: Vec<_> = whole.entries.iter().map(|entry| entry.id).collect();
        let (mut seen, mut after, mut turn) = (Vec::new(), None, 0);
        loop {
            let page = fixture
                .store
                .list(filter.clone(), after, 2, now())
                .await
                .expect("lists");
            seen.extend(page.entries.iter().map(|entry| entry.id));
            after = page.next;
            if after.is_none() {
                break;
            }
            turn += 1;
            let names: &[&str] = if turn < 5 { &["a", "n1", "z"] } else { &[] };
            for name in names {
                let name = if *name == "n1" {
                    (*name).to_owned()
                } else {
                    format!("{name}{round}{turn}")
                };
                fixture.issue(&name, HOUR).await;
            }
            assert!(turn < 50, "pages end");
        }
        let unique: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "{filter:?}");
        assert!(expected.iter().all(|id| unique.contains(id)), "{filter:?}");
    }
}

#[tokio::test]
async fn cursor_of_another_order_is_refused() {
    let fixture = Fixture::new();
    fixture.issue("a", HOUR).await;
    fixture.issue("b", HOUR).await;
    let page = fixture
        .store
        .list(Filter::default(), None, 1, now())
        .await
        .expect("lists");
    let live = Filter {
        status: Some(Status::Valid),
        ..Filter::default()
    };
    let refused = fixture.store.list(live, page.next, 1, now()).await;
    assert_eq!(refused.map(|_| ()), Err(StoreError::CursorOfAnotherList));
}

#[tokio::test]
async fn cursor_of_another_pattern_brings_no_row_that_does_not_fit() {
    let fixture = Fixture::new();
    for name in ["a1", "a2", "m1", "m2", "z1", "z2"] {
        fixture.issue(name, HOUR).await;
    }
    let like = |glob: Glob| Filter {
        names: vec![NameFilter::Like(glob, vec![NameKind::Dns])],
        ..Filter::default()
    };
    let cursor = async |prefix: &str| {
        let filter = like(Glob::Prefix(prefix.to_owned()));
        let page = fixture.store.list(filter, None, 1, now()).await;
        page.expect("lists").next.expect("there are more")
    };
    for (of, expected) in [
        ("a", &["m1.example.com", "m2.example.com"][..]),
        ("m", &["m2.example.com"]),
        ("z", &[]),
    ] {
        let after = cursor(of).await;
        let filter = like(Glob::Prefix("m".to_owned()));
        let page = fixture.store.list(filter, Some(after), 10, now()).await;
        let entries = page.expect("lists").entries;
        let names: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry.principal().map(TypedName::bare))
            .collect();
        assert_eq!(names, expected, "behind a row of {of}*");
    }
    // Made up: newer than each row, at a name that does not fit.
    let mut forged = cursor("a").await;
    forged.id = EntryId::from_number(i64::MAX);
    let filter = like(Glob::Prefix("m".to_owned()));
    let page = fixture.store.list(filter, Some(forged), 10, now()).await;
    assert_eq!(page.expect("lists").entries.len(), 2);
}

#[tokio::test]
async fn imported_certificate_with_the_issuer_serial_and_names_of_ours_stands_for_nothing_of_it() {
    let fixture = Fixture::new();
    let same = [3; 20];
    let intend = async |fixture: &Fixture| {
        let approved = fixture.approved_with("a", HOUR, same);
        let (issuer, reason) = (fixture.issuer, String::new());
        let intended = fixture.store.intend(approved, issuer, None, reason, now());
        intended.await.expect("intends")
    };
    // Another CA of the same name, which copies all but the key.
    let namesake = Fixture::new();
    let forged = intend(&namesake).await;
    let signature = namesake.sign(&forged);
    let forged = namesake.store.complete(forged, &signature, now()).await;
    let forged = forged.expect("completes").certificate().clone();

    // Between the intent and the certificate too.
    let ours = intend(&fixture).await;
    let import = fixture
        .store
        .import(vec![forged.clone()], None, ADMIN, now());
    assert_eq!(import.await.expect("imports"), [Import::Imported]);
    let of_serial = async || {
        let found = fixture.store.find(Selector::Serial(forged.serial())).await;
        let entries = found.expect("finds").entries;
        let [theirs, ours] = <[_; 2]>::try_from(entries).expect("both");
        assert!(theirs.is_imported() && !ours.is_imported());
        assert_eq!((&theirs.issuer, &theirs.names), (&ours.issuer, &ours.names));
        (theirs, ours)
    };
    assert_eq!(of_serial().await.1.status_at(now()), Status::Unknown);
    let signature = fixture.sign(&ours);
    let stored = fixture.store.complete(ours, &signature, now()).await;
    let stored = stored.expect("completes");
    let (theirs, found) = of_serial().await;
    assert_eq!(
        found.signed.map(|it| it.fingerprint),
        Some(stored.certificate().fingerprint())
    );

    // It renews nothing: no intent stands behind it.
    let (approved, reason) = (fixture.approved("b", HOUR), String::new());
    let renew = fixture
        .store
        .intend(approved, fixture.issuer, Some(theirs.id), reason, now());
    renew.await.expect_err("no predecessor of ours");

    let revoke = fixture.store.revoke(
        Selector::Serial(forged.serial()),
        ADMIN,
        RevocationReason::Unspecified,
        now(),
    );
    let outcome = revoke.await.expect("revokes");
    assert_eq!((outcome.changed.count, outcome.imported), (1, 1));
    let fingerprint = stored.certificate().fingerprint();
    assert_eq!(outcome.changed.first[0].fingerprint, Some(fingerprint));
    let (theirs, ours) = of_serial().await;
    assert_eq!(ours.status_at(now()), Status::Revoked);
    assert_eq!(theirs.status_at(now()), Status::Valid);
    let tally = fixture.store.tally(now()).await.expect("counts");
    assert_eq!((tally.revoked, tally.valid, tally.unknown), (1, 0, 0));
    let revoked = Filter {
        status: Some(Status::Revoked),
        ..Filter::default()
    };
    assert_eq!(names(&fixture, revoked).await, ["a.example.com"]);
}
