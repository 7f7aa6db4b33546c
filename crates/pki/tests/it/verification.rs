//! What a verification out of files adds to a handshake's: CRLs, names, depth, `--strict`, and a more patient reading of trust.

mod crls;
mod names;
mod profile;

use countersign_pki::chain::{ChainFaultKind as Fault, ExpectedName, Purpose, Rules, Strictness};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::verification::{InvalidVerification, Verification};

use crate::chain::forge::{Issued, NOW, Plan, ca, dns, extension, leaf, tlv};

/// A root, an intermediate and a leaf `api` under it, none of them wanting anything.
pub(crate) struct Pki {
    pub(crate) root: Issued,
    pub(crate) issuer: Issued,
    pub(crate) api: Issued,
}

pub(crate) fn pki() -> Pki {
    let root = ca("Root").self_signed();
    let issuer = ca("Issuer").signed_by(&root);
    let api = leaf("api", &[dns("api.example.com")]).signed_by(&issuer);
    Pki { root, issuer, api }
}

/// One verification; a client's, by the usual rules, unless told otherwise.
#[derive(Clone)]
pub(crate) struct Scene {
    chain: Vec<Vec<u8>>,
    anchors: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    names: Vec<&'static str>,
    trust_domain: Option<&'static str>,
    purpose: Purpose,
    rules: Rules,
}

impl Scene {
    pub(crate) fn new(chain: &[&Issued], anchors: &[&Issued]) -> Self {
        let ders = |issued: &[&Issued]| issued.iter().map(|it| it.der.to_vec()).collect();
        Self {
            chain: ders(chain),
            anchors: ders(anchors),
            lists: vec![],
            names: vec![],
            trust_domain: None,
            purpose: Purpose::ClientAuth,
            rules: Rules::default(),
        }
    }

    pub(crate) fn asking(mut self, lists: &[Vec<u8>]) -> Self {
        self.lists = lists.to_vec();
        self
    }

    pub(crate) fn named(mut self, names: &[&'static str]) -> Self {
        self.names = names.to_vec();
        self
    }

    pub(crate) fn within(mut self, trust_domain: &'static str) -> Self {
        self.trust_domain = Some(trust_domain);
        self
    }

    pub(crate) fn serving(mut self) -> Self {
        self.purpose = Purpose::ServerAuth;
        self
    }

    pub(crate) fn strict(mut self) -> Self {
        self.rules.strictness = Strictness::Strict;
        self
    }

    pub(crate) fn deep(mut self, intermediates: usize) -> Self {
        self.rules.intermediates = intermediates;
        self
    }

    fn prepared(&self) -> Result<Verification, InvalidVerification> {
        Verification::new(
            BundleName::parse("trust").expect("a name"),
            self.trust_domain
                .map(|domain| TrustDomain::parse(domain).expect("a trust domain")),
            &self.anchors,
            &self.lists,
            self.rules,
        )
    }

    fn verdict(&self) -> Result<VerifiedPeer, Fault> {
        let names: Vec<_> = self
            .names
            .iter()
            .map(|name| ExpectedName::parse(name, self.purpose).expect("a name"))
            .collect();
        let verification = self.prepared().expect("anchors and CRLs");
        verification
            .verify(&self.chain, self.purpose, &names, NOW)
            .map_err(|fault| fault.kind)
    }

    pub(crate) fn accepted(&self) -> VerifiedPeer {
        self.verdict().expect("accepted")
    }

    pub(crate) fn refused(&self, expected: &Fault) {
        assert_eq!(&self.verdict().expect_err("refused"), expected);
    }
}

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

// ---- depth ----

#[test]
fn a_path_deeper_than_allowed_is_refused_and_self_issued_issuers_do_not_count() {
    let Pki { root, issuer, .. } = pki();
    let second = ca("Second").signed_by(&issuer);
    let again = ca("Issuer").signed_by(&issuer);
    let below = leaf("api", &[]).signed_by(&second);
    let deep = Scene::new(&[&below, &second, &issuer], &[&root]);
    deep.clone().deep(2).accepted();
    for limit in [0, 1] {
        deep.clone().deep(limit).refused(&Fault::DepthExceeded {
            intermediates: 2,
            limit,
        });
    }
    let below_again = leaf("api", &[]).signed_by(&again);
    Scene::new(&[&below_again, &again, &issuer], &[&root])
        .deep(1)
        .accepted();
}

#[test]
fn a_shorter_path_is_found_where_the_longer_is_too_deep() {
    let Pki { root, issuer, api } = pki();
    let other = ca("Other").self_signed();
    let crossed = Plan {
        subject: root.plan.subject.clone(),
        ..ca("Root").with_key(root.plan.key.clone())
    }
    .signed_by(&other);
    let both = Scene::new(&[&api, &issuer, &crossed], &[&root, &other]).deep(1);
    assert_eq!(both.accepted().anchor_key(), root.spki());
    Scene::new(&[&api, &issuer, &crossed], &[&other])
        .deep(1)
        .refused(&Fault::DepthExceeded {
            intermediates: 2,
            limit: 1,
        });
}

// ---- trust ----

#[test]
fn anchors_of_no_use_are_left_out_and_named() {
    let Pki { root, issuer, api } = pki();
    let no_ca = leaf("nobody", &[]).self_signed();
    let baffling = Plan {
        more_extensions: vec![extension(99, true, &tlv(0x05, &[]))],
        ..ca("Baffling")
    }
    .self_signed();
    let mut scene = Scene::new(&[&api, &issuer], &[&no_ca, &baffling, &root]);
    scene.anchors.push(b"nonsense".to_vec());
    scene.accepted();
    let verification = scene.prepared().expect("one good anchor");
    let places: Vec<_> = verification.left_out().iter().map(|it| it.place).collect();
    assert_eq!((places, verification.anchors().len()), (vec![1, 2, 4], 1));

    let none = Scene::new(&[&api, &issuer], &[&no_ca, &baffling]);
    let error = none.prepared().expect_err("no anchor").to_string();
    assert!(error.contains("CN=nobody"), "{error}");
    assert!(Scene::new(&[&api, &issuer], &[]).prepared().is_err());
}

#[test]
fn an_anchor_left_out_vouches_for_nobody() {
    let Pki { root, .. } = pki();
    let baffling = Plan {
        more_extensions: vec![extension(99, true, &tlv(0x05, &[]))],
        ..ca("Baffling")
    }
    .self_signed();
    let api = leaf("api", &[]).signed_by(&baffling);
    Scene::new(&[&api], &[&baffling, &root]).refused(&Fault::UnknownIssuer {
        issuer: text("CN=Baffling"),
    });
}

#[test]
fn an_expired_anchor_is_a_verdict_and_not_a_fault_of_the_file() {
    let root = ca("Root").valid(-50, -1).self_signed();
    let api = leaf("api", &[]).signed_by(&root);
    Scene::new(&[&api], &[&root]).refused(&Fault::RootExpired {
        subject: text("CN=Root"),
        not_after: root.not_after(),
    });
}

#[test]
fn only_an_anchor_may_have_the_serial_number_zero() {
    let zero = |plan: Plan| Plan {
        serial: vec![0],
        ..plan
    };
    let root = zero(ca("Root")).self_signed();
    Scene::new(&[&leaf("api", &[]).signed_by(&root)], &[&root]).accepted();

    let issuer = zero(ca("Issuer")).signed_by(&root);
    let below = leaf("api", &[]).signed_by(&issuer);
    Scene::new(&[&below, &issuer], &[&root]).refused(&Fault::BadSerial {
        subject: text("CN=Issuer"),
        why: text("serial number is zero"),
    });
    let api = zero(leaf("api", &[])).signed_by(&root);
    let refused = Scene::new(&[&api], &[&root]).verdict();
    assert!(
        matches!(refused, Err(Fault::Malformed { .. })),
        "{refused:?}"
    );
    for serial in [
        vec![0xff],
        vec![0, 0],
        [&[1][..], &[0; 20]].concat(),
        vec![],
    ] {
        let root = Plan {
            serial,
            ..ca("Root")
        }
        .self_signed();
        assert!(Scene::new(&[&api], &[&root]).prepared().is_err());
    }
}

#[test]
fn files_may_hold_more_certificates_than_a_peer_may_send() {
    let Pki { root, issuer, api } = pki();
    let strangers: Vec<_> = (0..20)
        .map(|n| ca(&format!("Stranger {n}")).self_signed())
        .collect();
    let mut chain = vec![&api, &issuer];
    chain.extend(&strangers);
    Scene::new(&chain, &[&root]).accepted();
    let mut scene = Scene::new(&chain, &[&root]);
    scene.chain = vec![scene.chain[0].clone(); 129];
    scene.refused(&Fault::TooDeep {
        sent: 129,
        limit: 128,
    });
}
