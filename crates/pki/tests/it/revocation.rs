//! A revocation reaches every handshake that is verified against the new index, and none before.

use countersign_pki::chain::ChainFaultKind;
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::revocation::RevocationIndex;

use crate::chain::Scene;
use crate::chain::forge::{Issued, NOW, ca, leaf};

fn statement(of: &Issued) -> Revoked {
    Revoked {
        issuer_key: of.issuer_key,
        serial: of.serial(),
        reason: RevocationReason::KeyCompromise,
        revoked_at: NOW,
    }
}

fn refusal(of: &Issued, subject: &str) -> ChainFaultKind {
    ChainFaultKind::Revoked {
        subject: subject.to_owned(),
        serial: of.serial(),
        issuer_key: of.issuer_key,
        revoked_at: NOW,
        reason: RevocationReason::KeyCompromise,
    }
}

#[test]
fn a_revoked_leaf_is_refused_from_the_next_generation_on() {
    let root = ca("Root").self_signed();
    let (api, other) = (
        leaf("api", &[]).signed_by(&root),
        leaf("other", &[]).signed_by(&root),
    );
    let before = RevocationIndex::default();
    let after = before.with([statement(&api)]);
    let scene = |leaf: &Issued| Scene::new(&[leaf], &[("internal", None, &[&root])]);
    scene(&api).revoking(before).accepted();
    scene(&other).revoking(after.clone()).accepted();
    scene(&api)
        .revoking(after)
        .refused(&refusal(&api, "CN=api"));
}

#[test]
fn a_revoked_intermediate_takes_everything_below_it_away() {
    let root = ca("Root").self_signed();
    let issuer = ca("Issuer").signed_by(&root);
    let api = leaf("api", &[]).signed_by(&issuer);
    let scene = Scene::new(&[&api, &issuer], &[("internal", None, &[&root])]);
    scene
        .revoking(RevocationIndex::new([statement(&issuer)]))
        .refused(&refusal(&issuer, "CN=Issuer"));
}

#[test]
fn known_signatures_decide_nothing_but_signatures() {
    let root = ca("Root").self_signed();
    let issuer = ca("Issuer").signed_by(&root);
    let api = leaf("api", &[]).signed_by(&issuer);
    let mut scene = Scene::new(&[&api, &issuer], &[("internal", None, &[&root])]);
    for (revoked, subject) in [(&api, "CN=api"), (&issuer, "CN=Issuer")] {
        scene.accepted();
        scene = scene.revoking(RevocationIndex::new([statement(revoked)]));
        scene.refused(&refusal(revoked, subject));
        scene = scene.revoking(RevocationIndex::default());
    }
}

#[test]
fn a_revocation_by_the_key_holds_when_the_issuer_is_renamed() {
    let root = ca("Root").self_signed();
    let issuer = ca("Issuer").signed_by(&root);
    let api = leaf("api", &[]).signed_by(&issuer);
    let renamed = ca("Issuer, renamed")
        .with_key(issuer.plan.key.clone())
        .signed_by(&root);
    let reissued = api.plan.signed_by(&renamed);
    let scene = Scene::new(&[&reissued, &renamed], &[("internal", None, &[&root])]);
    scene
        .revoking(RevocationIndex::new([statement(&api)]))
        .refused(&refusal(&api, "CN=api"));
}

#[test]
fn the_same_serial_of_another_issuer_is_not_revoked() {
    let (root, other) = (ca("Root").self_signed(), ca("Other").self_signed());
    let api = leaf("api", &[]).signed_by(&root);
    let twin = api.plan.signed_by(&other);
    let scene = Scene::new(&[&api], &[("internal", None, &[&root])]);
    scene
        .revoking(RevocationIndex::new([statement(&twin)]))
        .accepted();
}

#[test]
fn revocation_outweighs_expiry() {
    let root = ca("Root").self_signed();
    let api = leaf("api", &[]).valid(-9, -8).signed_by(&root);
    let scene = Scene::new(&[&api], &[("internal", None, &[&root])]);
    scene
        .revoking(RevocationIndex::new([statement(&api)]))
        .refused(&refusal(&api, "CN=api"));
}
