//! CRLs: who may have made them, what they speak of, and that a bad one is never passed over.

use countersign_pki::chain::{ChainFaultKind as Fault, CrlFault};
use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use rcgen::SigningKey as _;

use super::{Pki, Scene, pki, text};
use crate::chain::forge::{
    DAY, ECDSA_SHA256, Issued, KEY_CERT_SIGN, NOW, Plan, ca, extension, key_id, leaf, time, tlv,
};

const ISSUING_DISTRIBUTION_POINT: u8 = 28;
const CRL_SIGN: u8 = 0x02;

/// A CRL to be, sound unless told otherwise.
#[derive(Clone)]
struct List {
    revoked: Vec<Vec<u8>>,
    number: Option<bool>,
    this_update: u64,
    next_update: Option<u64>,
    quotes: Option<Vec<u8>>,
    more_extensions: Vec<Vec<u8>>,
}

fn list(revoked: &[&Issued]) -> List {
    List {
        revoked: revoked.iter().map(|it| it.plan.serial.clone()).collect(),
        number: Some(false),
        this_update: NOW.seconds() - DAY,
        next_update: Some(NOW.seconds() + DAY),
        quotes: None,
        more_extensions: vec![],
    }
}

impl List {
    fn of(&self, issuer: &Issued) -> Vec<u8> {
        self.signed(issuer, issuer)
    }

    /// In the name of one issuer, by the key of another.
    fn signed(&self, issuer: &Issued, by: &Issued) -> Vec<u8> {
        let algorithm = tlv(0x30, ECDSA_SHA256);
        let entries: Vec<_> = self
            .revoked
            .iter()
            .map(|serial| {
                tlv(
                    0x30,
                    &[tlv(0x02, serial), time(NOW.seconds() - DAY)].concat(),
                )
            })
            .collect();
        let quoted = self
            .quotes
            .clone()
            .unwrap_or_else(|| key_id(&issuer.plan.spki));
        let mut extensions = vec![extension(35, false, &tlv(0x30, &tlv(0x80, &quoted)))];
        extensions.extend(
            self.number
                .map(|critical| extension(20, critical, &tlv(0x02, &[9]))),
        );
        extensions.extend(self.more_extensions.iter().cloned());
        let mut fields = vec![
            tlv(0x02, &[1]),
            algorithm.clone(),
            issuer.plan.subject.clone(),
            time(self.this_update),
        ];
        fields.extend(self.next_update.map(time));
        if !entries.is_empty() {
            fields.push(tlv(0x30, &entries.concat()));
        }
        fields.push(tlv(0xa0, &tlv(0x30, &extensions.concat())));
        let list = tlv(0x30, &fields.concat());
        let signature = by.plan.key.sign(&list).expect("a signature");
        let signature = tlv(0x03, &[&[0][..], &signature].concat());
        tlv(0x30, &[list, algorithm, signature].concat())
    }

    fn about(mut self, fields: &[Vec<u8>]) -> Self {
        let point = tlv(0x30, &fields.concat());
        self.more_extensions = vec![extension(ISSUING_DISTRIBUTION_POINT, true, &point)];
        self
    }
}

/// A PKI whose CAs may sign CRLs.
fn signing() -> Pki {
    let may_sign = |plan: Plan| Plan {
        key_usage: Some(KEY_CERT_SIGN | CRL_SIGN),
        ..plan
    };
    let root = may_sign(ca("Root")).self_signed();
    let issuer = may_sign(ca("Issuer")).signed_by(&root);
    let api = leaf("api", &[]).signed_by(&issuer);
    Pki { root, issuer, api }
}

fn scene(pki: &Pki) -> Scene {
    Scene::new(&[&pki.api, &pki.issuer], &[&pki.root])
}

fn unusable(issuer: &str, fault: CrlFault) -> Fault {
    Fault::CrlUnusable {
        issuer: text(issuer),
        fault,
    }
}

fn unprocessed(why: &str) -> Fault {
    unusable("CN=Issuer", CrlFault::Unprocessed { why: text(why) })
}

fn missing(issuer: &str, subject: &str) -> Fault {
    let subject = text(subject);
    unusable(issuer, CrlFault::Missing { subject })
}

fn revoked(subject: &str, certificate: &Issued, issuer: &Issued) -> Fault {
    Fault::Revoked {
        subject: text(subject),
        serial: certificate.serial(),
        issuer_key: Fingerprint::of(&issuer.plan.spki),
        revoked_at: UnixTime::from_seconds(NOW.seconds() - DAY),
        reason: RevocationReason::Unspecified,
    }
}

#[test]
fn a_certificate_on_its_issuers_list_is_revoked_and_one_that_is_not_is_good() {
    let pki = signing();
    let other = leaf("other", &[]).signed_by(&pki.issuer);
    let check = |list: Vec<u8>| scene(&pki).asking(&[list]);
    check(list(&[]).of(&pki.issuer)).accepted();
    check(list(&[&other]).of(&pki.issuer)).accepted();
    check(list(&[&other, &pki.api]).of(&pki.issuer)).refused(&revoked(
        "CN=api",
        &pki.api,
        &pki.issuer,
    ));
}

#[test]
fn a_revoked_intermediate_is_found_on_its_issuers_list() {
    let pki = signing();
    let lists = [
        list(&[]).of(&pki.issuer),
        list(&[&pki.issuer]).of(&pki.root),
    ];
    scene(&pki)
        .asking(&lists)
        .refused(&revoked("CN=Issuer", &pki.issuer, &pki.root));
}

#[test]
fn the_leaf_must_be_covered_and_when_strict_every_certificate() {
    let pki = signing();
    let own = list(&[]).of(&pki.issuer);
    let roots = list(&[]).of(&pki.root);
    scene(&pki)
        .asking(std::slice::from_ref(&roots))
        .refused(&missing("CN=Issuer", "CN=api"));
    scene(&pki).asking(std::slice::from_ref(&own)).accepted();
    scene(&pki)
        .strict()
        .asking(std::slice::from_ref(&own))
        .refused(&missing("CN=Root", "CN=Issuer"));
    scene(&pki).strict().asking(&[own, roots]).accepted();
}

#[test]
fn a_list_of_another_issuer_says_nothing_and_covers_nothing() {
    let pki = signing();
    let stranger = ca("Stranger").self_signed();
    let strange = list(&[&pki.api]).of(&stranger);
    scene(&pki)
        .asking(std::slice::from_ref(&strange))
        .refused(&missing("CN=Issuer", "CN=api"));
    scene(&pki)
        .asking(&[strange, list(&[]).of(&pki.issuer)])
        .accepted();
    // The same name, another key, and it says so.
    let namesake = ca("Issuer").self_signed();
    let forged = list(&[&pki.api]).of(&namesake);
    scene(&pki)
        .asking(&[forged, list(&[]).of(&pki.issuer)])
        .accepted();
}

#[test]
fn a_list_that_the_issuers_key_did_not_sign_is_refused_even_beside_a_good_one() {
    let pki = signing();
    let forged = list(&[]).signed(&pki.issuer, &pki.root);
    let good = list(&[]).of(&pki.issuer);
    let mut altered = good.clone();
    *altered.last_mut().expect("a signature") ^= 1;
    let bad = unusable("CN=Issuer", CrlFault::BadSignature);
    for wrong in [forged, altered] {
        scene(&pki)
            .asking(std::slice::from_ref(&wrong))
            .refused(&bad);
        scene(&pki).asking(&[good.clone(), wrong]).refused(&bad);
    }
}

#[test]
fn an_issuer_without_crl_sign_makes_no_lists_and_one_without_key_usage_may() {
    let mut pki = pki();
    scene(&pki)
        .asking(&[list(&[]).of(&pki.issuer)])
        .refused(&unusable("CN=Issuer", CrlFault::WrongIssuer));
    pki.issuer = Plan {
        key_usage: None,
        ..ca("Issuer")
    }
    .signed_by(&pki.root);
    pki.api = leaf("api", &[]).signed_by(&pki.issuer);
    scene(&pki).asking(&[list(&[]).of(&pki.issuer)]).accepted();
    scene(&pki)
        .asking(&[list(&[&pki.api]).of(&pki.issuer)])
        .refused(&revoked("CN=api", &pki.api, &pki.issuer));
}

#[test]
fn a_list_needs_a_number_that_is_not_critical() {
    let pki = signing();
    let check = |number| {
        let list = List {
            number,
            ..list(&[])
        };
        scene(&pki).asking(&[list.of(&pki.issuer)])
    };
    check(Some(false)).accepted();
    check(None).refused(&unprocessed("it has no cRLNumber"));
    check(Some(true)).refused(&unprocessed(
        "it has the critical extension 2.5.29.20, which is not understood",
    ));
}

#[test]
fn a_list_counts_from_its_this_update_to_its_next_update() {
    let pki = signing();
    let now = NOW.seconds();
    let check = |this_update, next_update| {
        let list = List {
            this_update,
            next_update,
            ..list(&[])
        };
        scene(&pki).asking(&[list.of(&pki.issuer)])
    };
    check(now, Some(now)).accepted();
    check(now - 2, Some(now - 1)).refused(&unusable(
        "CN=Issuer",
        CrlFault::Expired {
            next_update: UnixTime::from_seconds(now - 1),
        },
    ));
    check(now + 1, Some(now + 2)).refused(&unprocessed(
        "it begins later (this_update 2026-01-01T00:00:01Z, now 2026-01-01T00:00:00Z)",
    ));
    check(now, None).refused(&unprocessed("it has no nextUpdate"));
}

#[test]
fn critical_extensions_that_are_not_understood_make_a_list_useless() {
    let pki = signing();
    // A delta CRL, and something of the future.
    for (number, oid) in [(27, "2.5.29.27"), (99, "2.5.29.99")] {
        let delta = List {
            more_extensions: vec![extension(number, true, &tlv(0x02, &[8]))],
            ..list(&[])
        };
        scene(&pki)
            .asking(&[delta.of(&pki.issuer)])
            .refused(&unprocessed(&format!(
                "it has the critical extension {oid}, which is not understood"
            )));
    }
}

#[test]
fn a_list_covers_only_what_its_distribution_point_says() {
    let pki = signing();
    let check = |fields: &[Vec<u8>]| scene(&pki).asking(&[list(&[]).about(fields).of(&pki.issuer)]);
    let set = |number: u8| tlv(0x80 | number, &[0xff]);
    check(&[]).accepted();
    check(&[set(1)]).accepted();
    check(&[set(2)]).refused(&missing("CN=Issuer", "CN=api"));
    // Of some reasons only, indirect, of attribute certificates.
    for fields in [tlv(0x83, &[1, 0x40]), set(4), set(5)] {
        check(&[fields]).refused(&unprocessed(
            "it has the critical extension 2.5.29.28, which is not understood",
        ));
    }
    // Not critical, as it must be; its scope counts all the same.
    let mut lax = list(&[]);
    lax.more_extensions = vec![extension(
        ISSUING_DISTRIBUTION_POINT,
        false,
        &tlv(0x30, &set(2)),
    )];
    scene(&pki)
        .asking(&[lax.of(&pki.issuer)])
        .refused(&missing("CN=Issuer", "CN=api"));
}

#[test]
fn a_list_of_a_point_covers_the_certificates_that_name_the_point() {
    let mut pki = signing();
    let point = |url: &str| tlv(0xa0, &tlv(0xa0, &tlv(0x86, url.as_bytes())));
    let own = point("http://crl.example.com/1");
    let check = |pki: &Pki, url: &str| {
        scene(pki).asking(&[list(&[&pki.api]).about(&[point(url)]).of(&pki.issuer)])
    };
    check(&pki, "http://crl.example.com/1").refused(&missing("CN=Issuer", "CN=api"));
    pki.api = Plan {
        more_extensions: vec![extension(31, false, &tlv(0x30, &tlv(0x30, &own)))],
        ..leaf("api", &[])
    }
    .signed_by(&pki.issuer);
    check(&pki, "http://crl.example.com/1").refused(&revoked("CN=api", &pki.api, &pki.issuer));
    check(&pki, "http://crl.example.com/2").refused(&missing("CN=Issuer", "CN=api"));
    scene(&pki)
        .asking(&[
            list(&[]).about(&[own]).of(&pki.issuer),
            list(&[&pki.api])
                .about(&[point("http://crl.example.com/2")])
                .of(&pki.issuer),
        ])
        .accepted();
}

#[test]
fn what_is_no_list_is_refused_before_anything_is_verified() {
    let pki = signing();
    let good = list(&[]).of(&pki.issuer);
    for bytes in [&b""[..], b"nonsense", &good[..good.len() - 1], &pki.api.der] {
        let scene = scene(&pki).asking(&[good.clone(), bytes.to_vec()]);
        let error = scene.prepared().expect_err("no CRL").to_string();
        assert!(error.ends_with("(the 2. one)"), "{error}");
    }
}

#[test]
fn a_list_that_calls_its_key_by_another_identifier_revokes_all_the_same() {
    let pki = signing();
    let of_issuer = list(&[]).of(&pki.issuer);
    let misquoting = List {
        quotes: Some(vec![1; 20]),
        ..list(&[&pki.issuer])
    };
    let revoked = scene(&pki).asking(&[of_issuer.clone(), misquoting.of(&pki.root)]);
    let refused = revoked.verdict().expect_err("refused");
    assert!(matches!(refused, Fault::Revoked { .. }), "{refused:?}");
    // Another CA's of that name.
    let stranger = ca("Root").self_signed();
    let theirs = misquoting.signed(&pki.root, &stranger);
    scene(&pki).asking(&[of_issuer, theirs]).accepted();
}
