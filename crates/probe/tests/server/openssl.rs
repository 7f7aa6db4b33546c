//! `openssl s_server` in its many modes.

use std::process::Command;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::doctor::question::{Question, TlsVersion};
use countersign_diagnose::doctor::target::{Attempt, Shown};
use countersign_testkit::pki::{Leaf, TestCa};
use rcgen::ExtendedKeyUsagePurpose;

use crate::peers::{Peer, program};
use crate::world::{World, copy, told};

/// `s_server` with the world's server certificate and these arguments.
fn server(world: &World, test: &str, arguments: &[&str]) -> Option<Peer> {
    let openssl = program(test, "openssl")?;
    Some(Peer::start(|_, address| {
        let mut command = Command::new(&openssl);
        command
            .current_dir(world.folder())
            .args(["s_server", "-accept"])
            .arg(address.to_string())
            .args([
                "-cert",
                "server.pem",
                "-cert_chain",
                "server.pem",
                "-key",
                "server.key",
            ])
            .args(arguments);
        command
    }))
}

#[tokio::test]
async fn server_that_requires_a_certificate_and_gets_a_good_one_is_healthy() {
    let test = "server_that_requires_a_certificate_and_gets_a_good_one_is_healthy";
    let world = World::new();
    for arguments in [
        &["-Verify", "3", "-CAfile", "ca.pem", "-verify_return_error"][..],
        &[
            "-Verify",
            "3",
            "-CAfile",
            "ca.pem",
            "-verify_return_error",
            "-www",
        ],
        &[
            "-Verify",
            "3",
            "-CAfile",
            "ca.pem",
            "-verify_return_error",
            "-www",
            "-tls1_2",
        ],
    ] {
        let Some(server) = server(&world, test, arguments) else {
            return;
        };
        world.asks(server.address).check(None).await;
    }
}

#[tokio::test]
async fn certificate_of_a_stranger_is_of_a_ca_that_the_server_does_not_trust() {
    let test = "certificate_of_a_stranger_is_of_a_ca_that_the_server_does_not_trust";
    let world = World::new();
    let stranger = TestCa::new("elsewhere").issue(Leaf::client("you"));
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [
            "-Verify",
            "3",
            "-CAfile",
            "ca.pem",
            "-verify_return_error",
            version,
        ];
        let Some(server) = server(&world, test, &arguments) else {
            return;
        };
        let asked = world.asks(server.address).with_client(&stranger);
        asked.check(Some(Cause::ClientCaNotTrusted)).await;
    }
}

/// Requires a certificate of the world's CA, by the given version, and answers requests.
const REQUIRES: [&str; 6] = [
    "-Verify",
    "3",
    "-CAfile",
    "ca.pem",
    "-verify_return_error",
    "-www",
];

fn requires<'a>(further: &[&'a str]) -> Vec<&'a str> {
    [&REQUIRES[..], further].concat()
}

#[tokio::test]
async fn flaw_of_the_clients_certificate_is_what_its_refusal_is_told_by() {
    let test = "flaw_of_the_clients_certificate_is_what_its_refusal_is_told_by";
    let world = World::new();
    let server_only = [ExtendedKeyUsagePurpose::ServerAuth];
    let mut alone = world.ca.issue(Leaf::client("you"));
    alone.chain.truncate(1);
    let cases = [
        (
            world.ca.issue(Leaf::client("you").valid(-7200, -3600)),
            Cause::LeafExpired,
        ),
        (
            world.ca.issue(Leaf::client("you").valid(3600, 7200)),
            Cause::NotYetValid,
        ),
        (
            world.ca.issue(Leaf::client("you").usages(&server_only)),
            Cause::EkuMissingClientauth,
        ),
        (alone, Cause::ChainMissingIntermediate),
        (copy(&world.client).with_other_key(), Cause::KeyCertMismatch),
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = server(&world, test, &requires(&[version])) else {
            return;
        };
        for (client, cause) in &cases {
            world
                .asks(server.address)
                .with_client(client)
                .check(Some(*cause))
                .await;
        }
    }
}

#[tokio::test]
async fn intermediate_that_is_at_hand_shows_what_the_clients_file_lacks() {
    let test = "intermediate_that_is_at_hand_shows_what_the_clients_file_lacks";
    let world = World::new();
    let Some(server) = server(&world, test, &requires(&[])) else {
        return;
    };
    let mut alone = world.ca.issue(Leaf::client("you"));
    alone.chain.truncate(1);
    let mut asked = world.asks(server.address).with_client(&alone);
    let issuing = world.ca.intermediate.der().to_vec();
    asked.wanted.issuers.push(issuing.clone());
    asked.known.issuers.push(issuing);
    let (seen, _) = asked.check(Some(Cause::ChainMissingIntermediate)).await;
    let completed = seen
        .attempts
        .iter()
        .find(|attempt| attempt.trial.certificate == Shown::OwnCompleted);
    assert!(
        completed.is_some_and(Attempt::is_accepted_by_tls),
        "{}",
        told(&seen)
    );
}

#[tokio::test]
async fn whoever_comes_without_a_certificate_is_told_that_one_is_required() {
    let test = "whoever_comes_without_a_certificate_is_told_that_one_is_required";
    let world = World::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = server(&world, test, &requires(&[version])) else {
            return;
        };
        world
            .asks(server.address)
            .without_client()
            .check(Some(Cause::ClientCertNotSent))
            .await;
        let meant = world
            .asks(server.address)
            .question(|question| question.no_client_cert = true);
        meant.check(Some(Cause::ClientCertNotSent)).await;
        // Who only wants to know that it is enforced has what they want.
        let enforced = world
            .asks(server.address)
            .without_client()
            .question(|question| question.expect_enforced = true);
        enforced.check(None).await;
    }
}

#[tokio::test]
async fn server_that_takes_any_certificate_enforces_nothing() {
    let test = "server_that_takes_any_certificate_enforces_nothing";
    let world = World::new();
    let Some(server) = server(&world, test, &["-Verify", "3", "-CAfile", "ca.pem", "-www"]) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::ClientAuthNotEnforced))
        .await;
}

#[tokio::test]
async fn server_that_only_asks_is_at_fault_where_it_has_to_enforce() {
    let test = "server_that_only_asks_is_at_fault_where_it_has_to_enforce";
    let world = World::new();
    let arguments = [
        "-verify",
        "3",
        "-CAfile",
        "ca.pem",
        "-verify_return_error",
        "-www",
    ];
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    world.asks(server.address).check(None).await;
    let enforced = world
        .asks(server.address)
        .question(|question| question.expect_enforced = true);
    enforced.check(Some(Cause::ClientAuthNotEnforced)).await;
}

#[tokio::test]
async fn plain_tls_server_is_healthy_unless_a_certificate_is_for_it() {
    let test = "plain_tls_server_is_healthy_unless_a_certificate_is_for_it";
    let world = World::new();
    for arguments in [&["-www"][..], &["-www", "-tls1_2"], &[]] {
        let Some(server) = server(&world, test, arguments) else {
            return;
        };
        world
            .asks(server.address)
            .without_client()
            .check(None)
            .await;
        world
            .asks(server.address)
            .check(Some(Cause::ClientCertNotRequested))
            .await;
    }
}

#[tokio::test]
async fn server_of_another_age_is_told_by_its_version() {
    let test = "server_of_another_age_is_told_by_its_version";
    let world = World::new();
    for version in ["-tls1", "-tls1_1"] {
        let Some(server) = server(&world, test, &[version, "-cipher", "ALL:@SECLEVEL=0"]) else {
            return;
        };
        let (_, diagnosis) = world
            .asks(server.address)
            .check(Some(Cause::TlsVersionMismatch))
            .await;
        let message = diagnosis.findings[0].message();
        let named = if version == "-tls1" {
            "TLS 1.0"
        } else {
            "TLS 1.1"
        };
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn clients_own_limits_meet_no_version_of_the_server() {
    let test = "clients_own_limits_meet_no_version_of_the_server";
    let world = World::new();
    let old = |question: &mut Question| question.max_tls = Some(TlsVersion::Tls12);
    let new = |question: &mut Question| question.min_tls = Some(TlsVersion::Tls13);
    for (arguments, change) in [
        (&["-tls1_3"][..], &old as &dyn Fn(&mut Question)),
        (&["-tls1_2"][..], &new),
    ] {
        let Some(server) = server(&world, test, arguments) else {
            return;
        };
        let asked = world.asks(server.address).without_client().question(change);
        asked.check(Some(Cause::TlsVersionMismatch)).await;
    }
}

#[tokio::test]
async fn suites_that_openssl_alone_still_offers_are_a_risk() {
    let test = "suites_that_openssl_alone_still_offers_are_a_risk";
    let world = World::new();
    let arguments = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"];
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    let (_, diagnosis) = world.asks(server.address).check(None).await;
    let first = &diagnosis.findings[0];
    assert_eq!(first.cause, Cause::NoSharedCipher);
    assert!(first.message().contains("ECDHE-ECDSA-AES128-SHA"));
}

#[tokio::test]
async fn suite_that_does_not_fit_the_key_is_told_as_such() {
    let test = "suite_that_does_not_fit_the_key_is_told_as_such";
    let world = World::new();
    let arguments = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::NoSharedCipher))
        .await;
}

#[tokio::test]
async fn served_certificate_is_judged_as_the_client_would() {
    let test = "served_certificate_is_judged_as_the_client_would";
    let world = World::new();
    let mut alone = world.ca.issue(Leaf::server(&["localhost"]));
    alone.chain.truncate(1);
    let client_only = [ExtendedKeyUsagePurpose::ClientAuth];
    let elsewhere = TestCa::new("elsewhere");
    let cases = [
        (
            world
                .ca
                .issue(Leaf::server(&["localhost"]).valid(-7200, -3600)),
            Cause::LeafExpired,
        ),
        (
            world
                .ca
                .issue(Leaf::server(&["localhost"]).valid(3600, 7200)),
            Cause::NotYetValid,
        ),
        (
            world.ca.issue(Leaf::server(&["other.example"])),
            Cause::NameMismatch,
        ),
        (
            world
                .ca
                .issue(Leaf::server(&["localhost"]).usages(&client_only)),
            Cause::EkuMissingServerauth,
        ),
        (
            elsewhere.issue(Leaf::server(&["localhost"])),
            Cause::ServerCaNotTrusted,
        ),
        (alone, Cause::ChainMissingIntermediate),
        (
            world
                .ca
                .issue(Leaf::client("localhost").usages(&[ExtendedKeyUsagePurpose::ServerAuth])),
            Cause::SanMissing,
        ),
    ];
    for (identity, cause) in cases {
        identity.write(world.folder(), "server");
        let Some(server) = server(&world, test, &requires(&[])) else {
            return;
        };
        let (seen, _) = world.asks(server.address).check(Some(cause)).await;
        let is_shown = seen
            .attempts
            .iter()
            .any(|attempt| attempt.sent_certificate && attempt.trial.certificate == Shown::Own);
        let may_be_shown = matches!(cause, Cause::NameMismatch | Cause::SanMissing);
        assert_eq!(is_shown, may_be_shown, "{}", told(&seen));
    }
}

#[tokio::test]
async fn address_that_the_certificate_does_not_hold_is_told() {
    let test = "address_that_the_certificate_does_not_hold_is_told";
    let world = World::new();
    let mut leaf = Leaf::server(&["localhost"]);
    leaf.params.subject_alt_names.pop();
    world.ca.issue(leaf).write(world.folder(), "server");
    let Some(server) = server(&world, test, &requires(&[])) else {
        return;
    };
    let target = server.address.to_string();
    world
        .asks_for(&target)
        .check(Some(Cause::IpSanMissing))
        .await;
    let meant = world
        .asks_for(&target)
        .question(|question| question.name = Some("localhost".to_owned()));
    meant.check(None).await;
}

#[tokio::test]
async fn certificate_that_was_renewed_and_not_loaded_is_told_with_both() {
    let test = "certificate_that_was_renewed_and_not_loaded_is_told_with_both";
    let world = World::new();
    world
        .ca
        .issue(Leaf::server(&["localhost"]).valid(-7200, -60))
        .write(world.folder(), "server");
    let Some(server) = server(&world, test, &requires(&[])) else {
        return;
    };
    let mut asked = world.asks(server.address);
    asked.known.server_cert_file = world.server.chain.iter().map(|der| der.to_vec()).collect();
    let (_, diagnosis) = asked.check(Some(Cause::ServerNotReloaded)).await;
    let expired = diagnosis
        .findings
        .iter()
        .find(|finding| finding.cause == Cause::LeafExpired);
    assert_eq!(
        expired.and_then(|finding| finding.follows_from),
        Some(Cause::ServerNotReloaded)
    );
}

#[tokio::test]
async fn protocols_of_the_application_have_to_meet() {
    let test = "protocols_of_the_application_have_to_meet";
    let world = World::new();
    let Some(server) = server(&world, test, &requires(&["-alpn", "h2"])) else {
        return;
    };
    let with = |names: &'static [&'static str]| {
        world.asks(server.address).question(move |question| {
            question.alpn = names.iter().map(ToString::to_string).collect();
        })
    };
    with(&["h2"]).check(None).await;
    with(&["h2", "http/1.1"]).check(None).await;
    with(&["http/1.1"]).check(Some(Cause::AlpnMismatch)).await;
    // Nobody said what the client offers, and there is something that does.
    world.asks(server.address).check(None).await;
}

#[tokio::test]
async fn key_whose_signatures_the_server_does_not_take_is_told() {
    let test = "key_whose_signatures_the_server_does_not_take_is_told";
    let world = World::new();
    let arguments = requires(&["-tls1_2", "-client_sigalgs", "RSA-PSS+SHA256"]);
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::SigalgUnsupported))
        .await;
}

#[tokio::test]
async fn ca_of_the_same_name_with_another_key_is_told_from_a_strange_ca() {
    let test = "ca_of_the_same_name_with_another_key_is_told_from_a_strange_ca";
    let world = World::new();
    let other = TestCa::new("client");
    let client = TestCa::new("client").issue(Leaf::client("you"));
    std::fs::write(world.at("client-ca.pem"), other.root_pem()).unwrap();
    let arguments = [
        "-Verify",
        "3",
        "-CAfile",
        "client-ca.pem",
        "-verify_return_error",
    ];
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    let asked = world.asks(server.address).with_client(&client);
    asked.check(Some(Cause::SameNameDifferentKeyCa)).await;
}

#[tokio::test]
async fn two_generations_of_a_ca_are_told_as_such() {
    let test = "two_generations_of_a_ca_are_told_as_such";
    let world = World::new();
    let [old, new] = ["clients 2024", "clients 2026"].map(TestCa::new);
    std::fs::write(world.at("client-ca.pem"), old.root_pem()).unwrap();
    let arguments = [
        "-Verify",
        "3",
        "-CAfile",
        "client-ca.pem",
        "-verify_return_error",
    ];
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    let client = new.issue(Leaf::client("you"));
    let asked = world.asks(server.address).with_client(&client);
    asked.check(Some(Cause::CaRotatedWithoutOverlap)).await;
}

#[tokio::test]
async fn anchor_that_is_no_root_is_told() {
    let test = "anchor_that_is_no_root_is_told";
    let world = World::new();
    std::fs::write(world.at("client-ca.pem"), world.ca.intermediate.pem()).unwrap();
    let arguments = [
        "-Verify",
        "3",
        "-CAfile",
        "client-ca.pem",
        "-verify_return_error",
    ];
    let Some(server) = server(&world, test, &arguments) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::TrustAnchorIsIntermediate))
        .await;
}

#[tokio::test]
async fn without_an_anchor_nothing_is_shown_and_that_is_said() {
    let test = "without_an_anchor_nothing_is_shown_and_that_is_said";
    let world = World::new();
    let Some(server) = server(&world, test, &requires(&[])) else {
        return;
    };
    let mut asked = world.asks(server.address);
    asked.wanted.anchors.clear();
    asked.known.anchors.clear();
    let (seen, diagnosis) = asked.check(None).await;
    let is_own = |attempt: &Attempt| attempt.trial.certificate == Shown::Own;
    assert!(!seen.attempts.iter().any(is_own), "{}", told(&seen));
    let causes: Vec<_> = diagnosis.findings.iter().map(|it| it.cause).collect();
    assert_eq!(
        causes,
        [Cause::ServerCaNotTrusted, Cause::ClientCertNotSent]
    );
}

#[tokio::test]
async fn chain_that_clients_do_not_take_is_too_large_and_nothing_else() {
    let test = "chain_that_clients_do_not_take_is_too_large_and_nothing_else";
    let world = World::new();
    let name = "n".repeat(60);
    let many: String = (0..250)
        .map(|number| TestCa::new(&format!("{name} {number}")).root_pem())
        .collect();
    std::fs::write(world.at("many.pem"), many).expect("writable");
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-cert_chain", "many.pem", version];
        let Some(server) = server(&world, test, &arguments) else {
            return;
        };
        let asked = world.asks(server.address);
        let (seen, diagnosis) = asked.check(Some(Cause::HandshakeTooLarge)).await;
        assert_eq!(
            diagnosis.findings.len(),
            1,
            "{diagnosis:#?}\n{}",
            told(&seen)
        );
    }
}
