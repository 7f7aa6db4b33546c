//! Rules of RFC 5280 beside webpki: those that hold always, and those of `--strict`.

use countersign_pki::chain::ChainFaultKind as Fault;

use super::{Pki, Scene, pki, text};
use crate::chain::forge::{
    Issued, KEY_CERT_SIGN, Plan, ca, common_name, dns, email, extension, ip, leaf,
    name_constraints, tlv,
};

const NAME_CONSTRAINTS: u8 = 30;
const POLICY_CONSTRAINTS: u8 = 36;

/// requireExplicitPolicy 0, which webpki refuses where it is critical.
fn policy_constraints(critical: bool) -> Vec<u8> {
    extension(POLICY_CONSTRAINTS, critical, &tlv(0x30, &tlv(0x80, &[0])))
}

fn with(plan: Plan, more: Vec<u8>) -> Plan {
    Plan {
        more_extensions: vec![more],
        ..plan
    }
}

fn malformed(why: &str) -> Fault {
    Fault::Malformed { why: text(why) }
}

// ---- always ----

#[test]
fn name_constraints_belong_to_cas() {
    let Pki { root, issuer, .. } = pki();
    for constraints in [
        name_constraints(&[dns("example.com")], &[]),
        extension(NAME_CONSTRAINTS, false, &tlv(0x30, &[])),
    ] {
        let api = with(leaf("api", &[dns("api.example.com")]), constraints).signed_by(&issuer);
        Scene::new(&[&api, &issuer], &[&root]).refused(&malformed(
            "CN=api has nameConstraints, which only a CA may have",
        ));
    }
}

#[test]
fn constraints_that_verifiers_read_differently_are_refused_wherever_they_stand() {
    let ambiguous = |bases: (&[Vec<u8>], &[Vec<u8>])| name_constraints(bases.0, bases.1);
    for constraints in [
        ambiguous((&[dns(".example.com")], &[])),
        ambiguous((&[dns("example.com"), dns(".example.net")], &[])),
        ambiguous((&[], &[dns(".example.net")])),
    ] {
        let root = with(ca("Root"), constraints.clone()).self_signed();
        let api = leaf("api", &[dns("api.example.com")]).signed_by(&root);
        Scene::new(&[&api], &[&root]).refused(&Fault::NameConstraintsUnsupported {
            subject: text("CN=Root"),
        });
        let root = ca("Root").self_signed();
        let issuer = with(ca("Issuer"), constraints).signed_by(&root);
        let api = leaf("api", &[dns("api.example.com")]).signed_by(&issuer);
        Scene::new(&[&api, &issuer], &[&root]).refused(&Fault::NameConstraintsUnsupported {
            subject: text("CN=Issuer"),
        });
    }
}

#[test]
fn plain_constraints_and_other_forms_with_a_period_are_judged_as_before() {
    for constraints in [
        name_constraints(&[dns("example.com")], &[dns("secret.example.com")]),
        name_constraints(&[email(".example.com")], &[]),
        name_constraints(&[], &[ip(&[10, 0, 0, 0, 255, 0, 0, 0])]),
    ] {
        let root = with(ca("Root"), constraints).self_signed();
        let api = leaf("api", &[dns("api.example.com")]).signed_by(&root);
        Scene::new(&[&api], &[&root]).accepted();
    }
}

#[test]
fn constraints_on_email_hold_for_an_address_in_the_subject() {
    let email_address: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
    let attribute = |id: &[u8], tag: u8, text: &str| {
        tlv(0x30, &[tlv(0x06, id), tlv(tag, text.as_bytes())].concat())
    };
    let common_name = attribute(&[0x55, 4, 3], 0x0c, "api");
    let address = attribute(email_address, 0x16, "root@evil.example");
    let alone = tlv(
        0x30,
        &[tlv(0x31, &common_name), tlv(0x31, &address)].concat(),
    );
    let joined = tlv(0x30, &tlv(0x31, &[common_name, address].concat()));
    for constraints in [
        name_constraints(&[email("example.com")], &[]),
        name_constraints(&[], &[email("evil.example")]),
    ] {
        for (subject, names) in [
            (alone.clone(), vec![]),
            (joined.clone(), vec![]),
            (alone.clone(), vec![dns("api.example.com")]),
        ] {
            let api = Plan {
                subject,
                ..leaf("api", &names)
            };
            let root = with(ca("Root"), constraints.clone()).self_signed();
            let below = api.clone().signed_by(&root);
            Scene::new(&[&below], &[&root]).refused(&Fault::NameConstraintsUnsupported {
                subject: text("CN=Root"),
            });
            let root = ca("Root").self_signed();
            let issuer = with(ca("Issuer"), constraints.clone()).signed_by(&root);
            let below = api.clone().signed_by(&issuer);
            Scene::new(&[&below, &issuer], &[&root]).refused(&Fault::NameConstraintsUnsupported {
                subject: text("CN=Issuer"),
            });
            let issuer = with(ca("Issuer"), name_constraints(&[dns("example.com")], &[]));
            let issuer = issuer.signed_by(&root);
            let below = api.signed_by(&issuer);
            Scene::new(&[&below, &issuer], &[&root]).accepted();
        }
    }
}

#[test]
fn constraints_without_a_subtree_are_refused() {
    let empty: [&[u8]; 4] = [
        &[],
        &tlv(0xa0, &[]),
        &[tlv(0xa0, &[]), tlv(0xa1, &[])].concat(),
        &tlv(0xa1, &[5, 0]),
    ];
    for content in empty {
        let root = ca("Root").self_signed();
        let constraints = extension(NAME_CONSTRAINTS, true, &tlv(0x30, content));
        let issuer = with(ca("Issuer"), constraints).signed_by(&root);
        let api = leaf("api", &[dns("api.example.com")]).signed_by(&issuer);
        let chain = [&api, &issuer];
        let scene = Scene::new(&chain, &[&root]);
        let refused = scene.verdict().expect_err("refused");
        assert!(matches!(refused, Fault::Malformed { .. }), "{refused:?}");
    }
}

#[test]
fn an_issuer_with_two_extensions_of_a_kind_is_refused() {
    let Pki { root, .. } = pki();
    let unknown = extension(99, false, &tlv(0x05, &[]));
    // keyIdentifier of another key: who takes the last sees another issuer than who takes the first.
    let key_id = extension(35, false, &tlv(0x30, &tlv(0x80, &[1; 20])));
    for (more, id) in [
        (vec![unknown.clone(), unknown], "2.5.29.99"),
        (vec![key_id], "2.5.29.35"),
    ] {
        let plan = Plan {
            more_extensions: more,
            ..ca("Issuer")
        };
        let issuer = plan.signed_by(&root);
        let api = leaf("api", &[]).signed_by(&issuer);
        Scene::new(&[&api, &issuer], &[&root])
            .refused(&malformed(&format!("extension {id} stands there twice")));
    }
    let many = Plan {
        more_extensions: (100..120).map(|id| extension(id, false, &[])).collect(),
        ..ca("Issuer")
    };
    let issuer = many.signed_by(&root);
    let api = leaf("api", &[]).signed_by(&issuer);
    Scene::new(&[&api, &issuer], &[&root]).accepted();
}

#[test]
fn policy_constraints_are_refused_critical_or_not() {
    let Pki { root, .. } = pki();
    let refused = |critical: bool| {
        let issuer = with(ca("Issuer"), policy_constraints(critical)).signed_by(&root);
        let api = leaf("api", &[]).signed_by(&issuer);
        Scene::new(&[&api, &issuer], &[&root]).verdict()
    };
    assert_eq!(
        refused(false).expect_err("refused"),
        malformed("CN=Issuer has policyConstraints that are not critical")
    );
    assert!(matches!(refused(true), Err(Fault::Malformed { .. })));
}

#[test]
fn an_empty_subject_needs_a_critical_subject_alt_name() {
    let Pki { root, issuer, .. } = pki();
    // The forge marks it critical where the subject is empty: here the name comes as an extension of its own.
    let names = |critical| extension(17, critical, &tlv(0x30, &dns("api.example.com")));
    let check = |subject: &str, critical: bool| {
        let api = with(leaf(subject, &[]), names(critical)).signed_by(&issuer);
        Scene::new(&[&api, &issuer], &[&root])
    };
    check("api", false).accepted();
    check("", true).accepted();
    check("", false).refused(&malformed(
        "its subject is empty and its subjectAltName is not critical",
    ));
    assert_eq!(common_name(""), tlv(0x30, &[]));
}

#[test]
fn a_leaf_that_may_sign_certificates_is_refused() {
    let Pki { root, issuer, .. } = pki();
    let api = Plan {
        key_usage: Some(0x80 | KEY_CERT_SIGN),
        ..leaf("api", &[])
    };
    Scene::new(&[&api.signed_by(&issuer), &issuer], &[&root]).refused(&Fault::CaUsedAsEndEntity);
}

// ---- strict ----

/// Accepted every day, refused when strict.
fn check(chain: &[&Issued], root: &Issued, expected: &Fault) {
    Scene::new(chain, &[root]).accepted();
    Scene::new(chain, &[root]).strict().refused(expected);
}

fn lacks(subject: &str, why: &'static str) -> Fault {
    Fault::NotStrict {
        subject: text(subject),
        why,
    }
}

#[test]
fn a_conforming_chain_passes_strict_too() {
    let Pki { root, issuer, api } = pki();
    Scene::new(&[&api, &issuer], &[&root]).strict().accepted();
    Scene::new(&[&leaf("api", &[]).signed_by(&root)], &[&root])
        .strict()
        .accepted();
}

#[test]
fn every_certificate_but_a_self_signed_root_quotes_its_issuers_key_when_strict() {
    let Pki { root, issuer, .. } = pki();
    let silent = |plan: Plan| Plan {
        quotes_issuer_key: false,
        ..plan
    };
    let missing = "lacks authorityKeyIdentifier";
    let api = silent(leaf("api", &[])).signed_by(&issuer);
    check(&[&api, &issuer], &root, &lacks("CN=api", missing));

    let quiet = silent(ca("Issuer")).signed_by(&root);
    let api = leaf("api", &[]).signed_by(&quiet);
    check(&[&api, &quiet], &root, &lacks("CN=Issuer", missing));
    // As an anchor it is still not self-signed.
    check(&[&api], &quiet, &lacks("CN=Issuer", missing));

    let root = silent(ca("Root")).self_signed();
    let api = leaf("api", &[]).signed_by(&root);
    Scene::new(&[&api], &[&root]).strict().accepted();
}

#[test]
fn a_key_identifier_that_is_not_the_issuers_is_refused_when_strict() {
    let Pki { root, issuer, .. } = pki();
    let wrong = extension(35, false, &tlv(0x30, &tlv(0x80, &[7; 20])));
    let quoting = |plan: Plan| Plan {
        quotes_issuer_key: false,
        more_extensions: vec![wrong.clone()],
        ..plan
    };
    let api = quoting(leaf("api", &[])).signed_by(&issuer);
    let mismatch = |subject: &str| Fault::KeyIdMismatch {
        subject: text(subject),
    };
    check(&[&api, &issuer], &root, &mismatch("CN=api"));
    let root = quoting(ca("Root")).self_signed();
    let api = leaf("api", &[]).signed_by(&root);
    check(&[&api], &root, &mismatch("CN=Root"));
}

#[test]
fn a_ca_needs_its_extensions_when_strict() {
    let Pki { root, .. } = pki();
    let constraints = extension(
        NAME_CONSTRAINTS,
        false,
        &tlv(0x30, &tlv(0xa0, &tlv(0x30, &dns("example.com")))),
    );
    let basic = extension(19, false, &tlv(0x30, &tlv(0x01, &[0xff])));
    let table = [
        (
            Plan {
                key_usage: None,
                ..ca("Lax")
            },
            "is a CA without keyUsage",
        ),
        (
            Plan {
                basic_constraints: None,
                more_extensions: vec![basic],
                ..ca("Lax")
            },
            "has basicConstraints that are not critical",
        ),
        (
            with(ca("Lax"), constraints),
            "has nameConstraints that are not critical",
        ),
        (
            Plan {
                has_key_id: false,
                ..ca("Lax")
            },
            "is a CA without subjectKeyIdentifier",
        ),
    ];
    for (lax, why) in table {
        let expected = lacks("CN=Lax", why);
        let names = [dns("api.example.com")];
        let issuer = lax.signed_by(&root);
        let api = leaf("api", &names).signed_by(&issuer);
        check(&[&api, &issuer], &root, &expected);
        let own_root = lax.self_signed();
        let api = leaf("api", &names).signed_by(&own_root);
        check(&[&api], &own_root, &expected);
    }
}

#[test]
fn constraints_that_are_not_critical_are_enforced_all_the_same() {
    let constraints = extension(
        NAME_CONSTRAINTS,
        false,
        &tlv(0x30, &tlv(0xa0, &tlv(0x30, &dns("example.com")))),
    );
    let root = with(ca("Root"), constraints).self_signed();
    let api = leaf("api", &[dns("api.example.net")]).signed_by(&root);
    Scene::new(&[&api], &[&root]).refused(&Fault::NameConstraintsViolated {
        subject: text("CN=Root"),
    });
}

#[test]
fn an_underscore_is_no_host_name_when_strict() {
    let Pki { root, .. } = pki();
    let api = leaf("api", &[dns("my_service.internal")]).signed_by(&root);
    check(
        &[&api],
        &root,
        &malformed("dns:my_service.internal holds an underscore"),
    );
}
