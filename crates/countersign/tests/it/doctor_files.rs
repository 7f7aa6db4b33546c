//! `countersign doctor` on files alone: what is wrong is named first, and what only looks so is not.
//!
//! Each fault stands beside healthy set-ups that resemble it.

mod chains;
mod form;
mod keys;
pub(crate) mod workshop;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use self::workshop::{CA, CLIENT, Workshop};
use crate::installation::{Installation, countersign, text};
use crate::json::array;
use crate::peers::peer;

fn workshop(test: &str) -> Option<Workshop> {
    peer(test, "openssl").map(Workshop::new)
}

#[test]
fn names_are_looked_for_as_clients_do() {
    let Some(at) = workshop("names_are_looked_for") else {
        return;
    };
    let server = |name: &str| {
        format!("--server-cert server.pem --server-key server.key --ca root.pem --name {name}")
    };
    for name in [
        "api.example",
        "API.Example.",
        "x.w.example",
        "10.0.0.1",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
    ] {
        at.healthy(&server(name));
    }
    at.fault(&server("other.example"), "name-mismatch");
    at.fault(&server("a.b.w.example"), "wildcard-mismatch");
    at.fault(&server("w.example"), "wildcard-mismatch");
    at.fault(&server("10.0.0.2"), "ip-san-missing");
    at.issue(
        "in-cn",
        "/CN=api.example",
        "root",
        "extendedKeyUsage=serverAuth\n",
    );
    at.fault(
        "--server-cert in-cn.pem --ca root.pem --name api.example",
        "san-missing",
    );
    at.issue("in-dns", "/CN=x", "root", "subjectAltName=DNS:10.0.0.1\n");
    at.fault(
        "--server-cert in-dns.pem --ca root.pem --name 10.0.0.1",
        "ip-san-missing",
    );
}

#[test]
fn revocation_lists_are_asked_and_judged() {
    let Some(at) = workshop("revocation_lists") else {
        return;
    };
    let line = |list: &str| {
        format!("--cert client.pem --key client.key --client-ca root.pem --crl {list}")
    };
    at.list("good.crl", "root", None, "-crldays 30");
    at.healthy(&line("good.crl"));
    at.list("revoked.crl", "root", Some("client"), "-crldays 30");
    at.fault(&line("revoked.crl"), "certificate-revoked");
    at.list(
        "stale.crl",
        "root",
        None,
        "-crl_lastupdate 20240101000000Z -crl_nextupdate 20240201000000Z",
    );
    at.fault(&line("stale.crl"), "crl-expired");
    at.list("other.crl", "other", None, "-crldays 30");
    at.fault(&line("other.crl"), "crl-wrong-issuer");
    at.openssl("crl -in good.crl -outform DER -out good.der");
    at.healthy(&line("good.der"));
    let mut broken = at.bytes("good.der");
    *broken.last_mut().expect("bytes") ^= 1;
    at.write("broken.der", broken);
    at.fault(&line("broken.der"), "crl-bad-signature");
    at.fault(&line("root.pem"), "crl-missing");

    at.list("inter.crl", "inter", None, "-crldays 30");
    let chain = "--cert chain.pem --key leaf.key --client-ca root.pem";
    at.fault(&format!("{chain} --crl inter.crl"), "crl-missing");
    at.fault(&format!("{chain} --crl good.crl"), "crl-missing");
    at.healthy(&format!("{chain} --crl good.crl --crl inter.crl"));
}

#[test]
fn the_policy_is_asked_as_it_is_written() {
    let Some(at) = workshop("the_policy_is_asked") else {
        return;
    };
    let ask = |name: &str, allow: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let line = [
            "--cert",
            &certificate,
            "--key",
            &key,
            "--client-ca",
            "root.pem",
            "--allow",
            allow,
        ];
        line.map(str::to_owned).to_vec()
    };
    let healthy = |name: &str, allow: &str| {
        let line = ask(name, allow);
        at.healthy_of(&line.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let fault = |name: &str, allow: &str, cause: &str| {
        let line = ask(name, allow);
        at.fault_of(&line.iter().map(String::as_str).collect::<Vec<_>>(), cause);
    };
    for allow in [
        "cn:client",
        "client",
        "dns:client.example",
        "dns:*.example",
        "CN=client,O=Acme",
        "dn:CN=client, O=Acme",
    ] {
        healthy("client", allow);
    }
    for allow in [
        "/O=Acme/CN=client",
        "O = Acme, CN = client",
        "dn:O=Acme,CN=client",
        "CN=Client,O=ACME",
    ] {
        fault("client", allow, "dn-format-mismatch");
    }
    for allow in [
        "cn:other",
        "dns:other.example",
        "CN=client,O=Other",
        "spiffe://acme.example/client",
    ] {
        fault("client", allow, "identity-not-allowed");
    }
    let id = "spiffe://acme.example/ns/a";
    at.issue(
        "workload",
        "/CN=w",
        "root",
        &format!("extendedKeyUsage=clientAuth\nsubjectAltName=URI:{id}\n"),
    );
    healthy("workload", id);
    healthy("workload", "spiffe://acme.example/ns/*");
    fault(
        "workload",
        "spiffe://acme.example/ns/b",
        "identity-not-allowed",
    );
    fault(
        "workload",
        "spiffe://stage.example/ns/a",
        "trust-domain-mismatch",
    );
    at.issue(
        "twofold",
        "/CN=w",
        "root",
        &format!("extendedKeyUsage=clientAuth\nsubjectAltName=URI:{id},URI:{id}b\n"),
    );
    fault("twofold", id, "identity-ambiguous");
}

#[test]
fn configurations_of_servers_are_read() {
    let Some(at) = workshop("configurations_of_servers") else {
        return;
    };
    at.issue("lower", "/O=Acme/CN=Lower Issuing CA", "inter", CA);
    at.issue("low", "/CN=low", "lower", CLIENT);
    at.join(&["low.pem", "lower.pem", "inter.pem"], "low-chain.pem");
    let nginx = |verify: &str, more: &str| {
        format!(
            "server {{\n  ssl_certificate s.pem;\n  ssl_verify_client {verify};\n  {more}\n}}\n"
        )
    };
    at.write("nginx.conf", nginx("on", "ssl_verify_depth 1;"));
    at.write("nginx-default.conf", nginx("on", ""));
    at.write("nginx-deep.conf", nginx("on", "ssl_verify_depth 3;"));
    at.write(
        "nginx-optional.conf",
        nginx("optional", "ssl_verify_depth 3;"),
    );
    at.write("nginx-off.conf", nginx("off", "# ssl_verify_client on;"));
    at.write("nginx-tls.conf", nginx("on", "ssl_protocols TLSv1.3;"));
    at.write(
        "apache.conf",
        "SSLEngine on\nSSLVerifyClient require\nSSLVerifyDepth 2\n",
    );
    at.write(
        "envoy.yaml",
        "common_tls_context:\n  max_verify_depth: 1\nrequire_client_certificate: true\n",
    );
    at.write(
        "haproxy.cfg",
        "frontend f\n  bind :443 ssl crt a ca-file b verify optional\n",
    );
    let long = "--cert low-chain.pem --key low.key --client-ca root.pem --file";
    for file in [
        "nginx.conf",
        "nginx-default.conf",
        "apache.conf",
        "envoy.yaml",
    ] {
        at.fault(&format!("{long} {file}"), "verify-depth-too-small");
        at.healthy(&format!(
            "--cert chain.pem --key leaf.key --client-ca root.pem --file {file}"
        ));
    }
    at.healthy(&format!("{long} nginx-deep.conf"));
    let short = "--cert client.pem --key client.key --client-ca root.pem";
    for file in ["nginx-optional.conf", "haproxy.cfg"] {
        at.fault(
            &format!("{short} --file {file} --expect-enforced"),
            "client-auth-not-enforced",
        );
        at.healthy(&format!("{short} --file {file}"));
    }
    at.fault(
        &format!("{short} --file nginx-off.conf --expect-enforced"),
        "client-cert-not-requested",
    );
    at.healthy(&format!("{short} --file nginx-deep.conf --expect-enforced"));
    at.fault(
        &format!("{short} --file nginx-tls.conf --max-tls 1.2"),
        "tls-version-mismatch",
    );
    at.healthy(&format!("{short} --file nginx-tls.conf --min-tls 1.2"));
}

#[test]
fn an_open_server_beside_one_that_vouches_for_its_clients_is_found() {
    let Some(at) = workshop("an_open_server") else {
        return;
    };
    let vouching = "server {\n listen 443 ssl;\n ssl_certificate s.pem;\n ssl_verify_client on;\n ssl_verify_depth 2;\n location / {\n  proxy_set_header X-Client-DN $ssl_client_s_dn;\n  proxy_pass http://app;\n }\n}\n";
    let with = |name: &str, other: &str| {
        at.write(name, format!("http {{\n{vouching}{other}\n}}\n"));
        format!("--file {name}")
    };
    let open = with(
        "open.conf",
        "server {\n listen 80;\n location / { proxy_pass http://app/; }\n}",
    );
    at.fault(&open, "identity-header-spoofable");
    for (name, other) in [
        ("alone.conf", ""),
        (
            "cleared.conf",
            "server { listen 80; location / { proxy_set_header x-client-dn \"\"; proxy_pass http://app; } }",
        ),
        (
            "around.conf",
            "proxy_set_header X-Client-DN \"\"; server { listen 80; location / { proxy_pass http://app; } }",
        ),
        (
            "elsewhere.conf",
            "server { listen 80; location / { proxy_pass http://site; } }",
        ),
        (
            "local.conf",
            "server { listen 127.0.0.1:80; location / { proxy_pass http://app; } }",
        ),
        (
            "redirect.conf",
            "server { listen 80; return 301 https://$host$request_uri; location / { proxy_pass http://app; } }",
        ),
        (
            "guarded.conf",
            "server { listen 80; allow 10.0.0.0/8; deny all; location / { proxy_pass http://app; } }",
        ),
        (
            "remark.conf",
            "# server { listen 80; location / { proxy_pass http://app; } }",
        ),
    ] {
        at.healthy(&with(name, other));
    }
}

#[test]
fn strict_verifiers_want_more() {
    let Some(at) = workshop("strict_verifiers") else {
        return;
    };
    at.self_signed(
        "lax",
        "/CN=Lax CA",
        "ec:P-256",
        &["basicConstraints=CA:TRUE"],
    );
    at.issue("of-lax", "/CN=l", "lax", CLIENT);
    let line = "--cert of-lax.pem --key of-lax.key --client-ca lax.pem";
    at.healthy(line);
    at.fault(&format!("{line} --strict"), "ca-extensions-incomplete");
    at.healthy("--cert chain.pem --key leaf.key --client-ca root.pem --strict");
}

#[test]
fn the_answer_for_people_begins_with_the_verdict_and_is_plain_in_a_pipe() {
    let Some(at) = workshop("the_answer_for_people") else {
        return;
    };
    let line = [
        "doctor",
        "--cert",
        "leaf.pem",
        "--key",
        "leaf.key",
        "--client-ca",
        "root.pem",
        "--file",
        "inter.pem",
    ];
    let answer = countersign(at.path(), &line);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    let first = answer.stdout.lines().next();
    assert_eq!(first, Some("fault: chain-missing-intermediate (client)"));
    assert!(
        answer.stdout.contains("cat leaf.pem inter.pem > chain.pem"),
        "{answer:#?}"
    );
    let findings = at.answer(&line[1..]).1["findings"].clone();
    let message = findings[0]["message"].as_str().expect("a sentence");
    let whole = format!("  {message}");
    assert!(
        message.len() > 80 && answer.stdout.lines().any(|line| line == whole),
        "a line stays one that grep finds: {answer:#?}"
    );
    assert!(!answer.stdout.contains('\u{1b}'), "no colour into a pipe");

    let healthy = countersign(
        at.path(),
        &["doctor", "--cert", "client.pem", "--key", "client.key"],
    );
    assert_eq!(healthy.code, Some(0), "{healthy:#?}");
    assert!(healthy.stdout.starts_with("healthy"), "{healthy:#?}");
    assert!(
        healthy.stdout.contains("--client-ca FILE"),
        "what it would need: {healthy:#?}"
    );
}

#[test]
fn exit_codes_tell_usage_from_nothing_to_see() {
    let Some(at) = workshop("exit_codes") else {
        return;
    };
    assert_eq!(countersign(at.path(), &["doctor"]).code, Some(2));
    let unread = countersign(at.path(), &["doctor", "--file", "missing.conf"]);
    assert_eq!(unread.code, Some(3), "{unread:#?}");
    let causes = countersign(at.path(), &["doctor", "--list-causes", "--json"]);
    let causes: Value = serde_json::from_str(&causes.stdout).expect("JSON");
    let is_listed =
        |cause: &&Value| cause["cause"] == "rotation-half-applied" && cause["fix"].is_string();
    assert_eq!(array(&causes).iter().filter(is_listed).count(), 1);
}

#[test]
fn log_may_be_a_pipe_and_one_that_nobody_writes_to_is_not_waited_for() {
    let installation = Installation::empty();
    let pipe = installation.path("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let folder = installation.path("");
    let log = ["doctor", "--log", text(&pipe), "--json"];
    countersign(&folder, &log[..3]).assert_fault(2, &["nobody writes to this pipe"]);

    let path = pipe.clone();
    let writer = thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(path)?;
        // In two parts, the second of which comes when the first was read.
        pipe.write_all(&vec![b'\n'; 80_000])?;
        pipe.write_all(
            b"error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required\n",
        )
    });
    let read = countersign(&folder, &log);
    writer.join().expect("no panic").expect("writes");
    assert!(read.stdout.contains("client-cert-not-sent"), "{read:#?}");
}
