use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use countersign_pki::crl::{
    CrlEntry, CrlRows, CrlScope, CrlTemplate, Holders, ParsedCrl, shard_of,
};
use countersign_pki::feed::RevocationReason;
use countersign_pki::time::UnixTime;
use rcgen::SigningKey as _;

use super::{Ca, DAY, ECDSA, Holder, now, run, uri};
use crate::installation::{Answer, text};
use crate::peers::peer;

const SEVEN: &str = "http://crl.example/7.crl";
const EIGHT: &str = "http://crl.example/8.crl";

/// A CRL in PEM that covers `point` and `holders` and lists `revoked`.
fn crl(ca: &Ca, name: &str, point: Option<&str>, holders: Holders, revoked: &[&Holder]) -> PathBuf {
    let scope = CrlScope {
        distribution_point: point.map(uri),
        holders,
    };
    crl_until(ca, name, scope, revoked, now().plus(DAY))
}

fn crl_until(
    ca: &Ca,
    name: &str,
    scope: CrlScope,
    revoked: &[&Holder],
    next_update: UnixTime,
) -> PathBuf {
    let template = CrlTemplate {
        this_update: next_update.minus(2 * DAY),
        next_update,
        number: 300,
        scope,
    };
    let mut serials: Vec<_> = revoked
        .iter()
        .map(|holder| holder.certificate.serial())
        .collect();
    serials.sort_unstable();
    let rows: Vec<Vec<u8>> = serials
        .into_iter()
        .map(|serial| CrlEntry {
            serial,
            revoked_at: now().minus(DAY),
            reason: RevocationReason::KeyCompromise,
            invalid_since: Some(now().minus(2 * DAY)),
        })
        .map(|entry| entry.encode())
        .collect();
    let bytes = rows.iter().map(Vec::len).sum();
    let to_be_signed = template
        .to_be_signed_from(&ca.certificate, ECDSA, CrlRows { bytes, rows })
        .expect("sorted rows");
    let signature = ca.key.sign(to_be_signed.bytes()).expect("a signature");
    ca.write_pem(name, "X509 CRL", &to_be_signed.complete(&signature))
}

fn verify(openssl: &Path, ca: &Ca, lists: &[&PathBuf], leaf: &Holder) -> Answer {
    let issuer = ca.file();
    let mut arguments = vec!["verify", "-crl_check", "-extended_crl", "-x509_strict"];
    arguments.extend(["-CAfile", text(&issuer)]);
    for list in lists {
        arguments.extend(["-CRLfile", text(list)]);
    }
    arguments.push(text(&leaf.file));
    run(openssl, &arguments)
}

fn accepted(answer: &Answer) {
    assert!(
        answer.code == Some(0) && answer.stdout.ends_with(": OK\n"),
        "{answer:#?}"
    );
}

fn refused(answer: &Answer, why: &str) {
    assert_eq!(answer.code, Some(2), "{why}: {answer:#?}");
    assert!(answer.all().contains(why), "{why}: {answer:#?}");
}

#[test]
fn openssl_verifies_a_list_and_shows_what_it_says() {
    let name = "openssl_verifies_a_list_and_shows_what_it_says";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let ca = Ca::new();
    let revoked = [ca.leaf(2, Some(SEVEN)), ca.leaf(3, Some(SEVEN))];
    let [first, second] = &revoked;
    let list = crl(&ca, "7.crl", Some(SEVEN), Holders::Users, &[second, first]);
    let shown = |authority: &Ca| {
        let issuer = authority.file();
        let options = ["-CAfile", text(&issuer), "-verify", "-noout", "-text"];
        run(
            &openssl,
            &[&["crl", "-in", text(&list)], &options[..]].concat(),
        )
    };
    let answer = shown(&ca);
    assert!(answer.all().contains("verify OK"), "{answer:#?}");
    for line in [
        "X509v3 Issuing Distribution Point: critical",
        "Only User Certificates",
        SEVEN,
        "X509v3 CRL Number: \n                300",
        "X509v3 Authority Key Identifier:",
        "Key Compromise",
        "Invalidity Date:",
    ] {
        assert!(answer.stdout.contains(line), "{line}: {answer:#?}");
    }
    for holder in &revoked {
        let serial = holder.certificate.serial().to_string().to_uppercase();
        assert!(answer.stdout.contains(&serial), "{answer:#?}");
    }
    let answer = shown(&Ca::new());
    assert!(!answer.all().contains("verify OK"), "{answer:#?}");
}

#[test]
fn openssl_finds_the_revoked_in_complete_lists() {
    let name = "openssl_finds_the_revoked_in_complete_lists";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let ca = Ca::new();
    let (good, bad) = (ca.leaf(2, None), ca.leaf(3, None));
    let list = crl(&ca, "all.crl", None, Holders::All, &[&bad]);
    accepted(&verify(&openssl, &ca, &[&list], &good));
    refused(
        &verify(&openssl, &ca, &[&list], &bad),
        "certificate revoked",
    );
    let empty = crl(&ca, "empty.crl", None, Holders::All, &[]);
    accepted(&verify(&openssl, &ca, &[&empty], &good));
    refused(
        &verify(&openssl, &ca, &[], &good),
        "unable to get certificate CRL",
    );
    let late = crl_until(
        &ca,
        "late.crl",
        CrlScope::default(),
        &[],
        now().minus(DAY / 2),
    );
    refused(&verify(&openssl, &ca, &[&late], &good), "CRL has expired");
    let stranger = Ca::new();
    let foreign = crl(&stranger, "foreign.crl", None, Holders::All, &[]);
    let answer = verify(&openssl, &ca, &[&foreign], &good);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
}

#[test]
fn openssl_takes_no_shard_for_another() {
    let Some(openssl) = peer("openssl_takes_no_shard_for_another", "openssl") else {
        return;
    };
    let ca = Ca::new();
    let (good, bad) = (ca.leaf(2, Some(SEVEN)), ca.leaf(3, Some(SEVEN)));
    let elsewhere = ca.leaf(4, Some(EIGHT));
    let seven = crl(&ca, "7.crl", Some(SEVEN), Holders::Users, &[&bad]);
    let eight = crl(&ca, "8.crl", Some(EIGHT), Holders::Users, &[&elsewhere]);
    for lists in [&[&seven][..], &[&seven, &eight], &[&eight, &seven]] {
        accepted(&verify(&openssl, &ca, lists, &good));
        refused(&verify(&openssl, &ca, lists, &bad), "certificate revoked");
    }
    refused(
        &verify(&openssl, &ca, &[&seven, &eight], &elsewhere),
        "certificate revoked",
    );
    for (list, leaf) in [(&eight, &good), (&eight, &bad), (&seven, &elsewhere)] {
        let answer = verify(&openssl, &ca, &[list], leaf);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(!answer.all().contains("certificate revoked"), "{answer:#?}");
    }
    let authorities = crl(&ca, "ca.crl", Some(SEVEN), Holders::Authorities, &[]);
    let answer = verify(&openssl, &ca, &[&authorities], &good);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
}

#[test]
fn shards_by_serial_number_leave_no_revoked_certificate_out() {
    let name = "shards_by_serial_number_leave_no_revoked_certificate_out";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let ca = Ca::new();
    let shards = NonZeroU16::new(3).expect("not zero");
    let point = |shard: u16| format!("http://crl.example/{shard}.crl");
    let serial_of = |number: u8| countersign_pki::serial::SerialNumber::from_random([number; 20]);
    let leaves: Vec<Holder> = (2..8)
        .map(|number| ca.leaf(number, Some(&point(shard_of(serial_of(number), shards)))))
        .collect();
    let lists: Vec<PathBuf> = (0..shards.get())
        .map(|shard| {
            let mine: Vec<&Holder> = leaves
                .iter()
                .filter(|leaf| shard_of(leaf.certificate.serial(), shards) == shard)
                .collect();
            let name = format!("{shard}.crl");
            crl(&ca, &name, Some(&point(shard)), Holders::Users, &mine)
        })
        .collect();
    let lists: Vec<&PathBuf> = lists.iter().collect();
    for leaf in &leaves {
        refused(&verify(&openssl, &ca, &lists, leaf), "certificate revoked");
    }
}

#[test]
fn lists_of_openssl_are_read_with_their_scope() {
    let name = "lists_of_openssl_are_read_with_their_scope";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let ca = Ca::new();
    let key = ca.write("ca.key", ca.key.serialize_pem().as_bytes());
    ca.write("index", b"");
    let out = ca.path("openssl.crl");
    for (scope, told) in [
        ("", Some("every certificate of the issuer")),
        (
            "onlyuser = TRUE\nfullname = URI:http://crl.example/7.crl\n",
            Some("user certificates of http://crl.example/7.crl"),
        ),
        ("onlyCA = TRUE\n", Some("CA certificates of the issuer")),
        ("onlysomereasons = keyCompromise\n", None),
        ("indirectCRL = TRUE\n", None),
        ("onlyAA = TRUE\n", None),
    ] {
        let point = if scope.is_empty() {
            ""
        } else {
            "issuingDistributionPoint = critical,@scope\n"
        };
        let configuration = format!(
            "[ca]\ndefault_ca = ours\n[ours]\ndatabase = {}\ndefault_md = sha256\ncrl_extensions = list\n\
             [list]\nauthorityKeyIdentifier = keyid\n{point}[scope]\n{scope}",
            text(&ca.path("index"))
        );
        let configuration = ca.write("openssl.cnf", configuration.as_bytes());
        let issuer = ca.file();
        let options = ["-cert", text(&issuer), "-keyfile", text(&key)];
        let to = ["-gencrl", "-crldays", "1", "-out", text(&out)];
        let answer = run(
            &openssl,
            &[&["ca", "-config", text(&configuration)], &options[..], &to].concat(),
        );
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let pem = std::fs::read(&out).expect("written");
        let blocks = countersign_pki::pem::decode_all(&pem).expect("PEM");
        let list = ParsedCrl::parse(&blocks[0].der).expect("OpenSSL writes DER");
        assert_eq!(list.scope().map(ToString::to_string).as_deref(), told);
        assert_eq!(list.verify(&ca.certificate).is_ok(), told.is_some());
    }
}
