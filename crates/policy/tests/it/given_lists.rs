//! CRLs of others: which is the last word, and what the next one may take back.

use std::sync::OnceLock;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlEntry, CrlScope, CrlTemplate, Holders, ParsedCrl};
use countersign_pki::feed::RevocationReason::{self, CertificateHold, KeyCompromise, Superseded};
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_policy::given_lists::{
    LeftOut, Named, Standing, Statement, Succession, UnfitSuccessor, follow, left_out, supersedes,
    united,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

fn issuer() -> &'static Certificate {
    static ISSUER: OnceLock<Certificate> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(params, key).expect("a root");
        Certificate::parse(root.as_ref().der()).expect("a certificate")
    })
}

fn serial(number: u8) -> SerialNumber {
    format!("{number:02x}").parse().expect("a serial number")
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(1_800_000_000 + seconds)
}

/// Nobody looks at the signature here.
fn scoped(
    this_update: u64,
    number: u64,
    holders: Holders,
    entries: &[(u8, RevocationReason)],
) -> ParsedCrl {
    let template = CrlTemplate {
        this_update: at(this_update),
        next_update: at(this_update + 1000),
        number,
        scope: CrlScope {
            holders,
            ..CrlScope::default()
        },
    };
    let entry = |(number, reason): &(u8, RevocationReason)| CrlEntry {
        serial: serial(*number),
        revoked_at: at(0),
        reason: *reason,
        invalid_since: None,
    };
    let entries: Vec<CrlEntry> = entries.iter().map(entry).collect();
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let list = template.to_be_signed(issuer(), algorithm, &entries);
    ParsedCrl::parse(&list.complete(&[1; 70])).expect("a CRL")
}

fn list(this_update: u64, number: u64, entries: &[(u8, RevocationReason)]) -> ParsedCrl {
    scoped(this_update, number, Holders::All, entries)
}

fn followed(
    before: &ParsedCrl,
    after: &ParsedCrl,
    standing: Standing,
    unseen: LeftOut,
) -> Result<Succession, UnfitSuccessor> {
    let gone = left_out(before, after);
    follow(
        before,
        after,
        gone.into_iter().map(|it| (it, standing)),
        unseen,
    )
}

#[test]
fn last_word_is_the_later_one_of_the_same_scope_or_of_everything() {
    let (all, users) = (Holders::All, Holders::Users);
    for (later, earlier, expected) in [
        ((2, 2, all), (1, 1, all), true),
        ((2, 2, all), (1, 1, users), true),
        ((2, 2, users), (1, 1, users), true),
        ((2, 2, users), (1, 1, all), false),
        ((2, 2, users), (1, 1, Holders::Authorities), false),
        ((1, 1, all), (2, 2, all), false),
        // Its number is not asked where the time says it.
        ((2, 1, all), (1, 2, all), true),
        ((1, 2, all), (1, 1, all), true),
        ((1, 1, all), (1, 1, all), false),
    ] {
        let [a, b] = [later, earlier].map(|(time, number, of)| scoped(time, number, of, &[]));
        assert_eq!(supersedes(&a, &b), expected, "{later:?} {earlier:?}");
    }
}

#[test]
fn list_that_was_signed_earlier_or_has_a_lower_number_does_not_follow() {
    let before = list(10, 5, &[]);
    let check =
        |after: &ParsedCrl| followed(&before, after, Standing::Unknown, LeftOut::Expired).map(drop);
    let older = Err(UnfitSuccessor::Older { than: at(10) });
    assert_eq!(check(&list(9, 6, &[])), older);
    assert_eq!(check(&list(10, 5, &[])), older);
    assert_eq!(check(&list(10, 4, &[])), older);
    assert_eq!(
        check(&list(11, 4, &[])),
        Err(UnfitSuccessor::LowerNumber { number: 4, last: 5 })
    );
    assert_eq!(check(&list(11, 5, &[])), Ok(()));
    assert_eq!(check(&list(10, 6, &[])), Ok(()));
}

#[test]
fn revocation_is_taken_back_when_its_certificate_is_over_and_not_before() {
    let before = list(10, 1, &[(1, Superseded), (2, Superseded)]);
    let after = list(20, 2, &[(2, Superseded)]);
    let check = |standing: Standing, unseen: LeftOut| followed(&before, &after, standing, unseen);
    let nothing = Ok(Succession::default());
    for unseen in [LeftOut::Expired, LeftOut::Unexplained] {
        assert_eq!(check(Standing::Ends(at(19)), unseen), nothing);
        assert_eq!(check(Standing::NotRevoked, unseen), nothing);
        // Whoever gives it cannot say otherwise of a certificate that is known here.
        assert_eq!(
            check(Standing::Ends(at(20)), unseen),
            Err(UnfitSuccessor::TakesBack {
                serial: serial(1),
                not_after: at(20)
            })
        );
    }
    assert_eq!(
        check(Standing::Unknown, LeftOut::Unexplained),
        Err(UnfitSuccessor::Unexplained {
            first: serial(1),
            count: 1
        })
    );
    let expired = vec![serial(1)];
    let succession = Succession {
        expired,
        ..Succession::default()
    };
    assert_eq!(check(Standing::Unknown, LeftOut::Expired), Ok(succession));
}

#[test]
fn hold_is_lifted_and_a_revocation_does_not_become_one() {
    let check = |before: RevocationReason, after: &[(u8, RevocationReason)]| {
        let (before, after) = (list(10, 1, &[(1, before)]), list(20, 2, after));
        let standing = Standing::Ends(at(1000));
        followed(&before, &after, standing, LeftOut::Unexplained)
    };
    let lifted = Succession {
        lifted: vec![serial(1)],
        ..Succession::default()
    };
    let nothing = Ok(Succession::default());
    assert_eq!(check(CertificateHold, &[]), Ok(lifted));
    assert_eq!(check(CertificateHold, &[(1, CertificateHold)]), nothing);
    assert_eq!(check(CertificateHold, &[(1, Superseded)]), nothing);
    assert_eq!(check(Superseded, &[(1, Superseded)]), nothing);
    // The next list could lift it.
    let taken_back = check(Superseded, &[(1, CertificateHold)]);
    assert!(
        matches!(taken_back, Err(UnfitSuccessor::TakesBack { .. })),
        "{taken_back:?}"
    );
}

/// What comes of it in every order; `None`: nothing is said of certificate 1.
fn check_united(lists: &[ParsedCrl], expected: Option<(RevocationReason, &str)>) {
    let named: Vec<Named> = (1..)
        .zip(lists)
        .map(|(number, list): (u8, _)| (format!("{number}.crl"), list.clone()))
        .collect();
    let mut orders: Vec<Vec<&Named>> = vec![Vec::new()];
    for list in &named {
        orders = orders
            .iter()
            .flat_map(|order| {
                (0..=order.len()).map(|place| {
                    let mut next = order.clone();
                    next.insert(place, list);
                    next
                })
            })
            .collect();
    }
    for order in orders {
        let said = united(&order, &[]);
        let said: Vec<_> = said.iter().map(words).collect();
        let files: Vec<&str> = order.iter().map(|(file, _)| &**file).collect();
        assert_eq!(said, Vec::from_iter(expected), "{files:?}");
    }
}

fn words(said: &Statement) -> (RevocationReason, &str) {
    let source = said.source.as_str();
    (said.entry.reason, source.trim_start_matches("CRL "))
}

#[test]
fn several_lists_say_the_same_in_whatever_order_they_are_given() {
    let shows = |at: u64, reason: RevocationReason| list(at, at, &[(1, reason)]);
    let silent = |at: u64| list(at, at, &[]);
    // A hold ends with a later list that tells of it, and begins again with one after that.
    check_united(&[shows(1, CertificateHold), silent(2)], None);
    check_united(
        &[silent(1), shows(2, CertificateHold)],
        Some((CertificateHold, "2.crl")),
    );
    check_united(
        &[
            shows(1, CertificateHold),
            silent(2),
            shows(3, CertificateHold),
        ],
        Some((CertificateHold, "3.crl")),
    );
    check_united(
        &[
            shows(1, CertificateHold),
            shows(2, CertificateHold),
            silent(3),
        ],
        None,
    );
    // A revocation is final, whatever a later list says or does not say.
    check_united(
        &[shows(1, Superseded), silent(2)],
        Some((Superseded, "1.crl")),
    );
    check_united(
        &[shows(1, Superseded), shows(2, CertificateHold), silent(3)],
        Some((Superseded, "1.crl")),
    );
    check_united(
        &[shows(1, CertificateHold), shows(2, Superseded)],
        Some((Superseded, "2.crl")),
    );
    // The latest reason, but a key that was given away stays so.
    check_united(
        &[
            shows(1, Superseded),
            shows(2, RevocationReason::CessationOfOperation),
        ],
        Some((RevocationReason::CessationOfOperation, "2.crl")),
    );
    check_united(
        &[shows(1, KeyCompromise), shows(2, Superseded)],
        Some((KeyCompromise, "1.crl")),
    );
    // What tells of others lifts nothing.
    let held = || shows(1, CertificateHold);
    check_united(
        &[held(), scoped(2, 2, Holders::Authorities, &[])],
        Some((CertificateHold, "1.crl")),
    );
    let held_users = || scoped(1, 1, Holders::Users, &[(1, CertificateHold)]);
    check_united(&[held_users(), scoped(2, 2, Holders::Users, &[])], None);
    check_united(&[held_users(), silent(2)], None);
    // Of one second and one number, nobody can say which is the later.
    check_united(&[held(), silent(1)], Some((CertificateHold, "1.crl")));
}

#[test]
fn index_adds_what_is_revoked_and_its_silence_lifts_nothing() {
    let held: Named = ("held.crl".to_owned(), list(1, 1, &[(1, CertificateHold)]));
    let indexed = |number: u8, reason: RevocationReason| {
        let entry = CrlEntry {
            serial: serial(number),
            revoked_at: at(5),
            reason,
            invalid_since: None,
        };
        ("index.txt".to_owned(), entry)
    };
    let said = united(&[&held], &[indexed(2, Superseded)]);
    let said: Vec<_> = said.iter().map(words).collect();
    assert_eq!(
        said,
        [(CertificateHold, "held.crl"), (Superseded, "index.txt")]
    );
    let said = united(&[&held], &[indexed(1, Superseded)]);
    assert_eq!(words(&said[0]), (Superseded, "index.txt"));
    assert_eq!(said.len(), 1);
    let silent: Named = ("silent.crl".to_owned(), list(2, 2, &[]));
    let said = united(&[&silent], &[indexed(1, CertificateHold)]);
    assert_eq!(words(&said[0]), (CertificateHold, "index.txt"));
}
