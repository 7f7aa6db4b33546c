//! What is in the inventory is found by every filter, labelled, watched and given to other programs.

use std::collections::BTreeSet;

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType, date_time_ymd,
};
use serde_json::Value;

use crate::installation::{Installation, countersign, text};
use crate::json::array;

fn names(installation: &Installation, filters: &[&str]) -> Vec<String> {
    installation
        .certificates(filters)
        .iter()
        .filter_map(|it| it["name"].as_str().map(str::to_owned))
        .collect()
}

/// A certificate of somebody else, in PEM.
fn of_others(common_name: &str, ends: i32) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        DnValue::Utf8String(common_name.to_owned()),
    );
    let uri = Ia5String::try_from("https://partner.example/id").expect("ASCII");
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(ends, 1, 1);
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}

#[test]
fn every_filter_finds_what_it_says_and_nothing_else() {
    let installation = Installation::new();
    installation.issue("server", "api.example.test", &["--dns", "www.example.test"]);
    installation.issue("workload", "/ns/prod/web", &["--ttl", "1h"]);
    installation.issue("client", "partner", &["--email", "p@example.test"]);
    installation.ok(&["revoke", "partner"]);
    let shown = installation.json(&["show", "api.example.test"]);
    let api = &shown["certificates"][0];
    let field = |name: &str| api[name].as_str().expect("text").to_owned();
    let (serial, fingerprint, issuer) = (field("serial"), field("fingerprint"), field("issuer"));
    let (server, workload, client) = (
        "dns:api.example.test",
        "spiffe://countersign.internal/ns/prod/web",
        "email:p@example.test",
    );
    let check = |filters: &[&str], expected: &[&str]| {
        let found = names(&installation, filters);
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, expected.iter().copied().collect(), "{filters:?}");
    };
    check(&["--name", "api.example.test"], &[server]);
    check(&["--name", "API.*"], &[server]);
    check(&["--name", "*.example.test"], &[server]);
    check(&["--name", "partner"], &[client]);
    check(&["--san", "partner"], &[]);
    check(&["--san", "*example.test"], &[server, client]);
    check(&["--san", "dns:*.example.test"], &[server]);
    check(&["--san", "www.example.test"], &[server]);
    check(&["--identity", workload], &[workload]);
    check(&["--identity", "dns:*.example.test"], &[]);
    check(
        &["--issuer", &issuer, "--profile", "server", "--name", "api*"],
        &[server],
    );
    check(
        &["--issuer", "Countersign Issuing CA", "--name", "api*"],
        &[server],
    );
    check(&["--issuer", "Countersign Root CA"], &[]);
    check(&["--profile", "workload"], &[workload]);
    check(&["--profile", "imported"], &[]);
    check(&["--serial", &serial], &[server]);
    check(&["--fingerprint", &fingerprint], &[server]);
    check(&["--fingerprint", &fingerprint, "--profile", "client"], &[]);
    check(&["--status", "revoked"], &[client]);
    check(&["--status", "expired"], &[]);
    check(&["--expiring", "2h"], &[workload]);
    check(&["--issued-by", "uid:4294967295"], &[]);
    check(&["--owner", "nobody"], &[]);
    check(&["--label", "env=prod"], &[]);
    let key = installation.issue("client", "keyed", &[]).key();
    let inspected = countersign(&installation.path(""), &["inspect", text(&key), "--json"]);
    let inspected: Value = serde_json::from_str(&inspected.stdout).expect("JSON");
    let spki = inspected[0]["spki"].as_str().expect("a hash");
    check(&["--spki", spki], &["cn:keyed"]);
    check(&["--spki", &fingerprint], &[]);
    let ours = names(&installation, &["--issued-by", "authority"]);
    assert!(ours.contains(&"cn:you".to_owned()) && !ours.contains(&server.to_owned()));
    for (filters, word) in [
        (&["--name", "a*b"][..], "name"),
        (&["--san", "cn:a"], "san"),
        (&["--serial", "nonsense"], "serial"),
        (&["--issued-by", "nonsense"], "issued_by"),
        (&["--after", "nonsense"], "after"),
    ] {
        let refused = installation.run(&[&["list"], filters].concat());
        refused.assert_fault(2, &[word, "hint: "]);
    }
}

#[test]
fn pages_say_that_there_is_more_and_how_to_go_on() {
    let installation = Installation::new();
    for name in ["a", "b", "c"] {
        installation.issue("client", name, &[]);
    }
    let said = installation.ok(&["list", "--limit", "2"]);
    let cursor = said
        .split("--after ")
        .nth(1)
        .and_then(|rest| rest.split('`').next());
    let cursor = cursor.unwrap_or_else(|| panic!("a cursor: {said}"));
    let rest = installation.json(&["list", "--limit", "1000", "--after", cursor]);
    assert_eq!(rest["next"], Value::Null);
    let all = installation.certificates(&[]);
    assert_eq!(array(&rest["certificates"]), &all[2..]);
    let page = installation.json(&["list", "--limit", "2"]);
    assert_eq!(page["next"].as_str(), Some(cursor));
    let whole = installation.ok(&["list", "--all"]);
    assert_eq!(whole.lines().count(), all.len() + 1);
    assert!(!whole.contains("--after"), "{whole}");
    let wrong = installation.run(&["list", "--status", "live", "--after", cursor]);
    wrong.assert_fault(2, &["other filters"]);
}

#[test]
fn owner_and_labels_stay_with_the_identity() {
    let installation = Installation::new();
    let issued = installation.issue("client", "partner", &[]);
    installation.ok(&[
        "label",
        "partner",
        "--owner",
        "payments",
        "--label",
        "env=prod",
        "--note",
        "ask first",
    ]);
    installation.ok(&["renew", text(issued.folder())]);
    assert_eq!(
        names(&installation, &["--owner", "payments"]),
        ["cn:partner"; 2]
    );
    assert_eq!(
        names(&installation, &["--label", "env=prod"]),
        ["cn:partner"; 2]
    );
    let shown = installation.ok(&["show", "partner"]);
    for words in ["payments", "env=prod", "ask first"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let said = installation.json(&["label", "partner", "--owner", "", "--remove", "env"]);
    assert_eq!(
        (&said["owner"], &said["note"]),
        (&Value::Null, &"ask first".into())
    );
    for (arguments, code, word) in [
        (&["nobody", "--owner", "x"][..], 1, "nobody"),
        (&["partner", "--owner", "\u{1b}[2J"], 2, "control"),
        (&["partner", "--note", "two\nlines"], 2, "control"),
        (&["partner", "--label", "a b=c"], 2, "key"),
    ] {
        let refused = installation.run(&[&["label"], arguments].concat());
        refused.assert_fault(code, &[word]);
        assert!(!refused.stderr.contains('\u{1b}'), "{refused:#?}");
    }
    let many: Vec<String> = (0..33).map(|it| format!("--label=k{it}=v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = installation.run(&[&["label", "partner"], &many[..]].concat());
    refused.assert_fault(2, &["32"]);
}

#[test]
fn certificates_of_others_are_watched_for_their_end() {
    let installation = Installation::new();
    let quiet = installation.run(&["list", "--expiring", "1d", "--check"]);
    assert_eq!(quiet.code, Some(0), "{quiet:#?}");
    let bundle = of_others("partner ca", 2090) + &of_others("old partner", 2021);
    let file = installation.write("partner.pem", &bundle);
    let first = installation.json(&["import", text(&file), "--owner", "partner-team"]);
    let outcome = |answer: &Value| -> Vec<String> {
        let all = array(&answer["certificates"]).iter();
        all.filter_map(|it| it["outcome"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(outcome(&first), ["imported", "imported"]);
    let again = installation.json(&["import", text(&file)]);
    assert_eq!(outcome(&again), ["already-imported", "already-imported"]);
    let imported = installation.certificates(&["--profile", "imported"]);
    assert_eq!(imported.len(), 2);
    assert!(imported.iter().all(|it| it["owner"] == "partner-team"));
    let expired = installation.certificates(&["--profile", "imported", "--status", "expired"]);
    assert_eq!(expired.len(), 1);
    let soon = [
        "list",
        "--profile",
        "imported",
        "--expiring",
        "36500d",
        "--check",
    ];
    assert_eq!(installation.run(&soon).code, Some(1));
    let none = [
        "list",
        "--profile",
        "imported",
        "--expiring",
        "1d",
        "--check",
    ];
    assert_eq!(installation.run(&none).code, Some(0));
    let broken = [
        "list",
        "--expiring",
        "1d",
        "--check",
        "--serial",
        "nonsense",
    ];
    assert_eq!(installation.run(&broken).code, Some(2));

    let fingerprint = imported[0]["fingerprint"].as_str().expect("text");
    for command in [
        &["revoke", fingerprint][..],
        &["renew", fingerprint, "--out", "next"],
    ] {
        let refused = installation.run(command);
        refused.assert_fault(1, &["was imported", "partner"]);
    }
    let ours = installation.issue("client", "ours", &[]);
    let own = installation.json(&["import", text(&ours.certificate())]);
    assert_eq!(outcome(&own)[0], "ours");
    let garbage = installation.write("garbage.pem", "nothing");
    installation
        .run(&["import", text(&garbage)])
        .assert_fault(2, &["garbage.pem"]);
}

#[test]
fn hostile_names_reach_neither_terminal_nor_spreadsheet() {
    let installation = Installation::new();
    let reordering = of_others("\u{202e}txet", 2090);
    let formula = of_others("=HYPERLINK(\"http://x.example\")", 2090);
    let sequence = of_others("\u{1b}]0;owned\u{7}", 2090);
    // No character string of a DN (RFC 4514 has no notation for it either).
    let file = installation.write("sequence.pem", &sequence);
    let refused = installation.run(&["import", text(&file)]);
    refused.assert_fault(2, &["sequence.pem", "control character"]);
    assert!(!refused.stderr.contains('\u{1b}'), "{refused:#?}");
    let file = installation.write("hostile.pem", &(reordering + &formula));
    let said = installation.ok(&["import", text(&file)]);
    let listed = installation.ok(&["list", "--profile", "imported"]);
    let shown = installation.ok(&["show", "https://partner.example/id"]);
    let csv = installation.ok(&["list", "--profile", "imported", "--csv"]);
    for answer in [&said, &listed, &shown, &csv] {
        assert!(
            !answer.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{answer:?}"
        );
    }
    assert_eq!(listed.lines().count(), 3, "{listed}");
    installation.ok(&[
        "label",
        "--owner",
        "=cmd|' /C calc'!A0",
        "cn:=HYPERLINK(\"http://x.example\")",
    ]);
    let csv = installation.ok(&["list", "--profile", "imported", "--csv"]);
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert!(
        lines[0].starts_with("serial,fingerprint,status,profile,name,"),
        "{csv}"
    );
    assert!(csv.contains("\"'=cmd|' /C calc'!A0\""), "{csv}");
    for start in [",=", ",\"=", ",+", ",-", ",@"] {
        assert!(!csv.contains(start), "{start}: {csv}");
    }
    let both = installation.run(&["list", "--csv", "--json"]);
    assert_eq!(both.code, Some(2), "{both:#?}");
}
