//! From a request to a recorded certificate.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::{Authority, IssueError, RenewError};
use countersign_authority::sealed;
use countersign_authority::secret::Secret;
use countersign_authority::signer::{FileSigner, SignError, Signer};
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::CrlToBeSigned;
use countersign_pki::feed::RevocationReason;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_policy::issuance::{Actor, Denied, Profile, Request};
use countersign_runtime::clock::ManualClock;
use countersign_store::intent::Intended;
use countersign_store::inventory::{Filter, Status};
use countersign_store::issuer::IssuerRole;
use tokio::task::JoinSet;

use crate::fixture::{ADMIN, BORN, DAY_S, Fixture, Folder, client, key, requested, what};

/// Looks into the inventory over a connection of its own before it signs, or fails instead.
struct Witness {
    inner: FileSigner,
    inventory: PathBuf,
    fails: bool,
}

impl Signer for Witness {
    fn certificate(&self) -> &Certificate {
        self.inner.certificate()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }

    fn sign(&self, intended: &Intended) -> Result<Vec<u8>, SignError> {
        let rows = |table: &str| count(&self.inventory, table, intended.id().number());
        assert_eq!(
            (rows("intent"), rows("certificate")),
            (1, 0),
            "the intent is durable, the certificate is not yet"
        );
        if self.fails {
            Err(SignError::WrongSignature)
        } else {
            self.inner.sign(intended)
        }
    }

    fn sign_crl(&self, crl: &CrlToBeSigned) -> Result<Vec<u8>, SignError> {
        self.inner.sign_crl(crl)
    }
}

fn count(inventory: &PathBuf, table: &str, id: i64) -> i64 {
    let second = rusqlite::Connection::open(inventory).expect("opens");
    second
        .query_row(
            &format!("SELECT count(*) FROM {table} WHERE id = ?1"),
            [id],
            |row| row.get(0),
        )
        .expect("counts")
}

fn witnessed(folder: &Folder, fails: bool) -> Arc<Authority> {
    let state = folder.state();
    let passphrase = Secret::read_passphrase(&state.passphrase()).expect("reads");
    let sealed = fs::read(folder.path.join("ca/intermediate.key.sealed")).expect("reads");
    let key = sealed::unseal(&sealed, IssuerRole::Intermediate, &passphrase).expect("opens");
    let pem = fs::read(folder.path.join("ca/intermediate.pem")).expect("reads");
    let certificate =
        Certificate::parse(&countersign_pki::pem::decode_all(&pem).expect("PEM")[0].der)
            .expect("a certificate");
    let inner = FileSigner::new(certificate, &key).expect("its key");
    let signer = Witness {
        inner,
        inventory: state.inventory(),
        fails,
    };
    let lock = state.lock().expect("locks");
    Authority::open_with_signer(
        state,
        lock,
        Arc::new(signer),
        Arc::new(ManualClock::new(BORN)),
    )
    .expect("opens")
}

#[tokio::test]
async fn intent_is_durable_before_the_key_is_used_and_the_certificate_before_the_answer() {
    let folder = Folder::new();
    folder.init();
    let authority = witnessed(&folder, false);
    let issued = authority.issue(ADMIN, client("you")).await.expect("issues");
    let second = rusqlite::Connection::open(folder.state().inventory()).expect("opens");
    let der: Vec<u8> = second
        .query_row("SELECT der FROM certificate", [], |row| row.get(0))
        .expect("one row");
    assert_eq!(der, issued.certificate.der().as_ref());
}

#[tokio::test]
async fn failed_signature_leaves_a_serial_that_is_listed_and_not_renewed() {
    let folder = Folder::new();
    folder.init();
    let authority = witnessed(&folder, true);
    let error = authority
        .issue(ADMIN, client("you"))
        .await
        .expect_err("no signature");
    assert!(
        matches!(error, IssueError::Sign(SignError::WrongSignature)),
        "{error}"
    );
    let entries = authority.show(&what("you")).await.expect("listed");
    let [entry] = &entries.entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(entry.status_at(entry.not_before), Status::Unknown);
    let error = authority
        .renew(ADMIN, &what("you"), requested(&key()))
        .await
        .expect_err("nobody has it");
    assert!(matches!(error, RenewError::NeverSigned { .. }), "{error}");
}

#[tokio::test]
async fn concurrent_issues_have_serials_of_their_own_and_are_all_in_the_inventory() {
    let fixture = Fixture::new();
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let authority = Arc::clone(&fixture.authority);
        tasks.spawn(async move {
            authority
                .issue(ADMIN, client(&format!("n{number}")))
                .await
                .expect("issues")
                .fingerprint
        });
    }
    let handed_out: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    let page = fixture
        .authority
        .list(Filter::default(), None, 1000)
        .await
        .expect("lists");
    let known: BTreeSet<_> = page
        .entries
        .iter()
        .filter_map(|entry| Some(entry.signed.as_ref()?.fingerprint))
        .collect();
    let serials: BTreeSet<_> = page.entries.iter().map(|entry| entry.serial).collect();
    assert_eq!((handed_out.len(), serials.len()), (64, 64));
    assert_eq!(handed_out, known);
}

#[tokio::test]
async fn issue_whose_caller_has_gone_is_finished() {
    let fixture = Fixture::new();
    fixture.authority.ready().await.expect("ready");
    for _ in 0..20 {
        let mut issue = Box::pin(fixture.authority.issue(ADMIN, client("gone")));
        let _begun = issue
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    // Each task holds the authority until it is done.
    while Arc::strong_count(&authority) > 1 {
        tokio::task::yield_now().await;
    }
    drop(authority);
    let tally = folder.open(&clock).tally().await.expect("counts");
    assert_eq!((tally.valid, tally.unknown), (20, 0));
}

#[tokio::test]
async fn policy_refuses_before_anything_is_written() {
    let fixture = Fixture::new();
    let refused = [
        Request {
            name: String::new(),
            ..client("x")
        },
        Request {
            name: "a\0b".to_owned(),
            ..client("x")
        },
        Request {
            lifetime: Some(Duration::from_secs(100 * 365 * DAY_S)),
            ..client("x")
        },
        Request {
            spki_der: b"no key".to_vec(),
            ..client("x")
        },
        Request {
            profile: Profile::WORKLOAD,
            name: "spiffe://elsewhere.example/api".to_owned(),
            ..client("x")
        },
    ];
    for request in refused {
        let error = fixture
            .authority
            .issue(ADMIN, request.clone())
            .await
            .expect_err("refused");
        assert!(
            matches!(error, IssueError::Denied(_)),
            "{request:?}: {error}"
        );
    }
    let page = fixture
        .authority
        .list(Filter::default(), None, 10)
        .await
        .expect("lists");
    assert!(page.entries.is_empty());
}

#[tokio::test]
async fn renewal_keeps_names_profile_and_length_of_life() {
    let fixture = Fixture::new();
    let lifetime = Some(Duration::from_secs(7 * DAY_S));
    let sans = vec!["dns:b.example.com".parse().expect("a name")];
    let check = async |request: Request, name: &str| {
        let first = fixture
            .authority
            .issue(ADMIN, request)
            .await
            .expect("issues");
        fixture.clock.advance(Duration::from_secs(3 * DAY_S));
        let next = fixture
            .authority
            .renew(ADMIN, &what(name), requested(&key()))
            .await
            .expect("renews");
        assert_eq!(
            next.certificate.subject_alt_names(),
            first.certificate.subject_alt_names()
        );
        assert_eq!(next.certificate.subject(), first.certificate.subject());
        assert_eq!(
            next.certificate.extended_key_usage(),
            first.certificate.extended_key_usage()
        );
        assert_eq!(
            next.not_after.since(first.not_after),
            Duration::from_secs(3 * DAY_S)
        );
        assert_ne!(
            (next.serial, next.certificate.spki()),
            (first.serial, first.certificate.spki())
        );
    };
    let base = || Request {
        lifetime,
        subject_alt_names: sans.clone(),
        ..client("x")
    };
    check(
        Request {
            name: "c".to_owned(),
            ..base()
        },
        "cn:c",
    )
    .await;
    check(
        Request {
            profile: Profile::SERVER,
            name: "s.example.com".to_owned(),
            ..base()
        },
        "dns:s.example.com",
    )
    .await;
    check(
        Request {
            profile: Profile::PEER,
            name: "p.example.com".to_owned(),
            ..base()
        },
        "p.example.com",
    )
    .await;
    check(
        Request {
            profile: Profile::WORKLOAD,
            name: "ns/api".to_owned(),
            ..base()
        },
        "spiffe://countersign.internal/ns/api",
    )
    .await;
}

#[tokio::test]
async fn revoked_expired_unknown_and_ambiguous_certificates_are_not_renewed() {
    let fixture = Fixture::new();
    let renew = async |name: &str| {
        fixture
            .authority
            .renew(ADMIN, &what(name), requested(&key()))
            .await
    };
    fixture.issue("revoked").await;
    fixture
        .authority
        .revoke(
            ADMIN,
            &what("revoked"),
            RevocationReason::KeyCompromise,
            None,
        )
        .await
        .expect("revokes");
    assert!(matches!(
        renew("revoked").await,
        Err(RenewError::Revoked { .. })
    ));
    fixture.issue_for("short", 3600).await.expect("issues");
    fixture.clock.advance(Duration::from_hours(2));
    assert!(matches!(
        renew("short").await,
        Err(RenewError::Expired { .. })
    ));
    assert!(matches!(
        renew("nobody").await,
        Err(RenewError::NotFound { .. })
    ));
    let shared = "dns:shared.example.com".parse().expect("a name");
    for name in ["one", "two"] {
        let request = Request {
            subject_alt_names: vec![Clone::clone(&shared)],
            ..client(name)
        };
        fixture
            .authority
            .issue(ADMIN, request)
            .await
            .expect("issues");
    }
    assert!(matches!(
        renew("shared.example.com").await,
        Err(RenewError::Ambiguous { count: 2, .. })
    ));
    renew("cn:one").await.expect("one of them");
}

#[tokio::test]
async fn names_that_look_like_serials_and_addresses_are_shown_renewed_and_revoked() {
    let fixture = Fixture::new();
    let server = || Request {
        profile: Profile::SERVER,
        subject_alt_names: vec!["ip:2001:db8::1".parse().expect("a name")],
        ..client("edge.example.com")
    };
    let (hexadecimal, digest) = ("ab".repeat(20), "cd".repeat(32));
    let addresses = ["2001:db8::1", "2001:0db8:0:0:0:0:0:1"].map(|name| (name, server()));
    let words = ["ab:cd", "dead:beef", &hexadecimal, &digest].map(|name| (name, client(name)));
    for (name, request) in addresses.into_iter().chain(words) {
        let issued = fixture.authority.issue(ADMIN, request).await;
        issued.expect(name);
        let renewed = fixture
            .authority
            .renew(ADMIN, &what(name), requested(&key()))
            .await;
        renewed.expect(name);
        fixture.authority.show(&what(name)).await.expect(name);
        let receipt = fixture
            .authority
            .revoke(ADMIN, &what(name), RevocationReason::Unspecified, None)
            .await
            .expect(name);
        assert_eq!(receipt.changed.count, 2, "{name}");
    }
}

#[tokio::test]
async fn serial_that_is_known_is_never_taken_for_a_name() {
    let fixture = Fixture::new();
    let serial = fixture.issue("you").await.serial;
    let pairs: Vec<String> = serial
        .to_string()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect();
    fixture.issue(&serial.to_string()).await;
    for text in [serial.to_string(), pairs.join(":")] {
        let shown = fixture.authority.show(&what(&text)).await.expect("known");
        let serials: Vec<_> = shown.entries.iter().map(|entry| entry.serial).collect();
        assert_eq!(serials, [serial], "{text}");
    }
}

#[tokio::test]
async fn page_of_a_name_says_that_there_are_more_and_renewal_sees_them_all() {
    let fixture = Fixture::new();
    let shared = "dns:shared.example.com";
    let request = |name: &str| Request {
        subject_alt_names: vec![shared.parse().expect("a name")],
        ..client(name)
    };
    let first = fixture.authority.issue(ADMIN, request("first")).await;
    first.expect("issues");
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let (authority, request) = (Arc::clone(&fixture.authority), request("next"));
        tasks.spawn(async move { authority.issue(ADMIN, request).await.map(drop) });
    }
    for issued in tasks.join_all().await {
        issued.expect("issues");
    }
    let shown = fixture.authority.show(&what(shared)).await.expect("known");
    assert_eq!((shown.entries.len(), shown.next.is_some()), (1000, true));
    let shown = fixture.authority.show(&what("cn:next")).await;
    assert_eq!(shown.expect("known").next, None);
    let renewed = fixture
        .authority
        .renew(ADMIN, &what(shared), requested(&key()))
        .await;
    assert!(matches!(
        renewed,
        Err(RenewError::Ambiguous { count: 1001, .. })
    ));
}

#[tokio::test]
async fn holder_renews_and_revokes_nothing_by_name() {
    let fixture = Fixture::new();
    fixture.issue("ann").await;
    // Of the holder's name, and of one more.
    let wider = Request {
        subject_alt_names: vec!["dns:api.example.com".parse().expect("a name")],
        ..client("bob")
    };
    fixture.authority.issue(ADMIN, wider).await.expect("issues");
    let holder = |name: &str| Actor::Holder {
        certificate: None,
        identity: countersign_pki::identity::Identity {
            bundle: countersign_pki::identity::BundleName::internal(),
            name: name.parse().expect("a name"),
        },
        profile: Profile::CLIENT,
    };
    for (name, asked) in [
        ("cn:ann", "cn:ann"),
        ("cn:ann", "cn:bob"),
        ("dns:api.example.com", "dns:api.example.com"),
    ] {
        let renewed = fixture
            .authority
            .renew(holder(name), &what(asked), requested(&key()))
            .await;
        assert!(
            matches!(renewed, Err(RenewError::NotTheHolder { .. })),
            "{name}, {asked}"
        );
    }
    fixture
        .authority
        .revoke(
            holder("cn:ann"),
            &what("cn:ann"),
            RevocationReason::Unspecified,
            None,
        )
        .await
        .expect_err("no right");
    let other = fixture
        .authority
        .issue(holder("cn:ann"), client("carol"))
        .await;
    assert!(matches!(
        other,
        Err(IssueError::Denied(Denied::NotPermitted { .. }))
    ));
}

#[tokio::test]
async fn rsa_key_with_a_small_exponent_gets_no_certificate() {
    // RSAPublicKey of 2048 bits in its SubjectPublicKeyInfo; the lengths are those of an exponent of three bytes.
    let rsa = |exponent: [u8; 3]| {
        let algorithm = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100";
        let header = (0..algorithm.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&algorithm[at..at + 2], 16).expect("hexadecimal"));
        let modulus = [0xff; 256];
        header
            .chain(modulus)
            .chain([0x02, 0x03])
            .chain(exponent)
            .collect::<Vec<u8>>()
    };
    let fixture = Fixture::new();
    let issue = async |exponent| {
        let spki_der = rsa(exponent);
        let request = Request {
            spki_der,
            ..client("you")
        };
        fixture.authority.issue(ADMIN, request).await
    };
    issue([0x01, 0x00, 0x01]).await.expect("65537");
    for small in [[0x00, 0xff, 0xff], [0x00, 0x80, 0x03], [0xff, 0x00, 0x01]] {
        assert!(
            matches!(
                issue(small).await,
                Err(IssueError::Denied(Denied::Key { .. }))
            ),
            "{small:?}"
        );
    }
}

#[tokio::test]
async fn restart_keeps_every_identity() {
    let fixture = Fixture::new();
    let issued = fixture.issue("you").await;
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    let root = authority.root().fingerprint();
    drop(authority);
    let authority = folder.open(&clock);
    assert_eq!(authority.root().fingerprint(), root);
    assert_eq!(
        authority
            .show(&what(&issued.fingerprint.to_string()))
            .await
            .expect("known")
            .entries[0]
            .serial,
        issued.serial
    );
}
