//! What the lists of a bundle say of a path, when it is verified and of whoever was: a list stands in for no other.

use std::sync::Arc;
use std::time::Duration;

use countersign_pki::chain::{ChainFaultKind as Fault, CrlFault, revocation_of};
use countersign_pki::crl::{AcceptedCrl, CrlEntry, CrlScope, CrlTemplate, Holders};
use countersign_pki::feed::RevocationReason;
use countersign_pki::identity::BundleName;
use countersign_pki::name::Uri;
use countersign_pki::revocation::{BundleLists, RevocationIndex, RevocationMode, RevocationStatus};
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use rcgen::SigningKey as _;

use crate::chain::Scene;
use crate::chain::forge::{DAY, Issued, KEY_CERT_SIGN, NOW, Plan, ca, extension, leaf, tlv, uri};

const HERE: &str = "http://lists.example/here.crl";
const ELSEWHERE: &str = "http://lists.example/elsewhere.crl";
const CRL_SIGN: u8 = 0x02;
const CRL_DISTRIBUTION_POINTS: u8 = 31;

struct Path {
    root: Issued,
    issuer: Issued,
    /// Of the shard [`HERE`].
    api: Issued,
}

impl Path {
    fn new() -> Self {
        let may_sign = |plan: Plan| Plan {
            key_usage: Some(KEY_CERT_SIGN | CRL_SIGN),
            ..plan
        };
        let root = may_sign(ca("Root")).self_signed();
        let issuer = may_sign(ca("Issuer")).signed_by(&root);
        let point = tlv(0x30, &tlv(0xa0, &tlv(0xa0, &uri(HERE))));
        let points = extension(CRL_DISTRIBUTION_POINTS, false, &tlv(0x30, &point));
        let api = Plan {
            more_extensions: vec![points],
            ..leaf("api", &[])
        };
        let api = api.signed_by(&issuer);
        Self { root, issuer, api }
    }

    /// What is said under these lists, by the verifier and of a peer that it accepted before there were any.
    fn check(
        &self,
        mode: RevocationMode,
        lists: &[&Arc<AcceptedCrl>],
        expected: &Result<RevocationStatus, Fault>,
    ) {
        let chain = [&self.api, &self.issuer];
        let scene = Scene::new(&chain, &[("internal", None, &[&self.root])]);
        let peer = scene.accepted();
        let scopes: Vec<_> = lists.iter().map(|list| list.scope().to_string()).collect();
        // In any order.
        for turn in 0..lists.len().max(1) {
            let mut lists: Vec<_> = lists.iter().copied().map(Arc::clone).collect();
            lists.rotate_left(turn);
            let lists = Arc::new(BundleLists::new(mode, lists));
            let index = RevocationIndex::default().with_lists(BundleName::internal(), Some(lists));
            assert_eq!(&revocation_of(&peer, &index, NOW), expected, "{scopes:?}");
            let scene = Scene::new(&chain, &[("internal", None, &[&self.root])]).revoking(index);
            match expected {
                Ok(_) => drop(scene.accepted()),
                Err(fault) => scene.refused(fault),
            }
        }
    }

    fn covers(&self, lists: &[&Arc<AcceptedCrl>]) {
        self.check(RevocationMode::Hard, lists, &Ok(RevocationStatus::Checked));
    }

    fn leaves_out(&self, lists: &[&Arc<AcceptedCrl>], issuer: &str, subject: &str) {
        let subject = subject.to_owned();
        let missing = unusable(issuer, CrlFault::Missing { subject });
        self.check(RevocationMode::Hard, lists, &Err(missing.clone()));
        self.check(RevocationMode::Grace(Duration::MAX), lists, &Err(missing));
        let unknown = Ok(RevocationStatus::NotChecked);
        self.check(RevocationMode::DangerousSoft, lists, &unknown);
    }
}

fn unusable(issuer: &str, fault: CrlFault) -> Fault {
    Fault::CrlUnusable {
        issuer: issuer.to_owned(),
        fault,
    }
}

fn every() -> CrlScope {
    CrlScope::default()
}

fn only(holders: Holders) -> CrlScope {
    CrlScope { holders, ..every() }
}

fn shard(point: &str) -> CrlScope {
    CrlScope {
        distribution_point: Some(Uri::parse(point).expect("a URI")),
        ..every()
    }
}

/// Good when it was accepted; `until` is in days from [`NOW`].
fn list_until(until: i64, by: &Issued, scope: CrlScope, revoked: &[&Issued]) -> Arc<AcceptedCrl> {
    let day =
        |days: i64| UnixTime::from_seconds(NOW.seconds().saturating_add_signed(days * 86_400));
    let template = CrlTemplate {
        this_update: day(-3),
        next_update: day(until),
        number: 1,
        scope,
    };
    let entries: Vec<_> = revoked
        .iter()
        .map(|revoked| CrlEntry {
            serial: revoked.serial(),
            revoked_at: UnixTime::from_seconds(NOW.seconds() - DAY),
            reason: RevocationReason::KeyCompromise,
            invalid_since: None,
        })
        .collect();
    let issuer = by.certificate();
    let list = template.to_be_signed(&issuer, SignatureAlgorithm::EcdsaP256Sha256, &entries);
    let signature = by.plan.key.sign(list.bytes()).expect("a signature");
    let accepted = AcceptedCrl::accept(&list.complete(&signature), &[issuer], day(-2));
    Arc::new(accepted.expect("a good list"))
}

fn list(by: &Issued, scope: CrlScope) -> Arc<AcceptedCrl> {
    list_until(1, by, scope, &[])
}

#[test]
fn narrow_list_covers_no_more_beside_one_of_everything_of_another_issuer() {
    let path = Path::new();
    let (root, issuer) = (&path.root, &path.issuer);
    let all_of_root = list(root, every());
    let all_of_issuer = list(issuer, every());
    path.covers(&[&all_of_root, &all_of_issuer]);
    for scope in [only(Holders::Authorities), shard(ELSEWHERE)] {
        let narrow = list(issuer, scope);
        path.leaves_out(&[&all_of_root, &narrow], "CN=Issuer", "CN=api");
        // Beside one of its own that leaves nothing out, it takes nothing away.
        path.covers(&[&all_of_root, &narrow, &all_of_issuer]);
    }
    for scope in [only(Holders::Users), shard(HERE)] {
        let narrow = list(issuer, scope);
        path.covers(&[&all_of_root, &narrow]);
    }
    // The issuer itself is an authority's certificate, and of no shard.
    for scope in [only(Holders::Users), shard(HERE)] {
        let narrow = list(root, scope);
        path.leaves_out(&[&narrow, &all_of_issuer], "CN=Root", "CN=Issuer");
        path.covers(&[
            &narrow,
            &all_of_issuer,
            &list(root, only(Holders::Authorities)),
        ]);
    }
}

#[test]
fn list_of_everything_of_one_issuer_covers_nobody_of_another() {
    let path = Path::new();
    let all_of_root = list(&path.root, every());
    path.leaves_out(&[&all_of_root], "CN=Issuer", "CN=api");
    path.leaves_out(&[], "CN=Issuer", "CN=api");
    let twin = ca("Issuer");
    let twin = Plan {
        key_usage: Some(KEY_CERT_SIGN | CRL_SIGN),
        ..twin
    };
    // The same name, and another key.
    let twin = list(&twin.signed_by(&path.root), every());
    path.leaves_out(&[&all_of_root, &twin], "CN=Issuer", "CN=api");
    // Whoever has no list of its own is asked about at the leaf alone.
    path.covers(&[&list(&path.issuer, every())]);
}

#[test]
fn list_of_everything_that_is_over_covers_nobody() {
    let path = Path::new();
    let all_of_root = list(&path.root, every());
    let over = list_until(-1, &path.issuer, every(), &[]);
    let end = over.next_update();
    let expired = Err(unusable(
        "CN=Issuer",
        CrlFault::Expired { next_update: end },
    ));
    let lists = [&all_of_root, &over];
    path.check(RevocationMode::Hard, &lists, &expired);
    let grace = |days| RevocationMode::Grace(Duration::from_secs(days * DAY));
    path.check(grace(0), &lists, &expired);
    path.check(grace(2), &lists, &Ok(RevocationStatus::InGrace));
    // A fresh one that leaves the certificate out does not make it younger.
    let narrow = list(&path.issuer, only(Holders::Authorities));
    path.check(RevocationMode::Hard, &[&over, &narrow], &expired);
}

#[test]
fn whoever_is_on_a_list_is_revoked_whatever_it_covers_and_whatever_others_say() {
    let path = Path::new();
    let revoked = |subject: &str, certificate: &Issued| Fault::Revoked {
        subject: subject.to_owned(),
        serial: certificate.serial(),
        issuer_key: certificate.issuer_key,
        revoked_at: UnixTime::from_seconds(NOW.seconds() - DAY),
        reason: RevocationReason::KeyCompromise,
    };
    let (all_of_root, all_of_issuer) = (list(&path.root, every()), list(&path.issuer, every()));
    for scope in [
        every(),
        only(Holders::Authorities),
        only(Holders::Users),
        shard(ELSEWHERE),
    ] {
        for (by, certificate, subject) in [
            (&path.issuer, &path.api, "CN=api"),
            (&path.root, &path.issuer, "CN=Issuer"),
        ] {
            let naming = list_until(-1, by, scope.clone(), &[certificate]);
            for mode in [RevocationMode::Hard, RevocationMode::DangerousSoft] {
                let lists = [&all_of_root, &all_of_issuer, &naming];
                path.check(mode, &lists, &Err(revoked(subject, certificate)));
            }
        }
        // The same serial of another issuer is another certificate.
        let naming = list_until(1, &path.root, scope, &[&path.api]);
        path.covers(&[&all_of_root, &all_of_issuer, &naming]);
    }
}
