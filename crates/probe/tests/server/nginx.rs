//! nginx: its virtual hosts, and its refusals by page instead of alert.

use std::fs;
use std::process::Command;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa};

use crate::peers::{Peer, program};
use crate::world::World;

/// `servers` is what stands in `http {}`, with `ADDRESS` for the address; paths are relative to the world's folder.
fn server(world: &World, test: &str, servers: &str) -> Option<Peer> {
    let nginx = program(test, "nginx")?;
    Some(Peer::start(|folder, address| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        let servers = servers
            .replace("ADDRESS", &address.to_string())
            .replace("AT/", &format!("{}/", world.folder().display()));
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}\n}}\n",
            folder.display()
        );
        fs::write(folder.join("nginx.conf"), configuration).expect("writable");
        let mut command = Command::new(&nginx);
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"));
        command
    }))
}

fn mutual(further: &str) -> String {
    format!(
        "server {{ listen ADDRESS ssl; server_name localhost; ssl_certificate AT/server.pem; ssl_certificate_key AT/server.key;\n\
         ssl_client_certificate AT/ca.pem; ssl_verify_client on; ssl_verify_depth 2; {further}\nreturn 200 ok; }}"
    )
}

#[tokio::test]
async fn mutual_tls_that_works_is_healthy() {
    let test = "mutual_tls_that_works_is_healthy";
    let world = World::new();
    for further in [
        "",
        "ssl_protocols TLSv1.2;",
        "ssl_protocols TLSv1.3;",
        "ssl_session_tickets off;",
        "return 404 no;",
        "return 401 no;",
    ] {
        let Some(server) = server(&world, test, &mutual(further)) else {
            return;
        };
        let (seen, _) = world.asks(server.address).check(None).await;
        assert!(seen.attempts.len() <= 5, "{}", seen.attempts.len());
        let url = format!("https://localhost:{}/", server.address.port());
        world.asks_for(&url).check(None).await;
    }
}

#[tokio::test]
async fn no_to_everybody_without_a_word_of_a_login_is_a_risk_and_with_one_is_nothing() {
    let test = "no_to_everybody_without_a_word_of_a_login_is_a_risk_and_with_one_is_nothing";
    let world = World::new();
    for (page, with_client, without_client) in [
        (
            "return 401;",
            Some(Cause::IdentityNotAllowed),
            Some(Cause::ClientCertNotSent),
        ),
        (
            "add_header WWW-Authenticate 'Bearer realm=\"api\"' always; return 401;",
            None,
            None,
        ),
        // Another page is there for everybody.
        (
            "if ($uri = /) { return 401; } return 404;",
            Some(Cause::RequestNotAllowed),
            None,
        ),
    ] {
        let site = mutual(page).replace("ssl_verify_client on", "ssl_verify_client optional");
        let Some(server) = server(&world, test, &site) else {
            return;
        };
        let (_, with) = world.asks(server.address).check(None).await;
        let (_, without) = (world.asks(server.address).without_client())
            .check(None)
            .await;
        for (diagnosis, expected) in [(with, with_client), (without, without_client)] {
            let mut causes = diagnosis.findings.iter().map(|it| it.cause);
            let found = causes.find(|it| *it != Cause::ClientAuthNotEnforced);
            assert_eq!(found, expected, "{page}: {diagnosis:#?}");
        }
    }
}

#[tokio::test]
async fn page_of_a_refusal_is_told_by_the_certificate() {
    let test = "page_of_a_refusal_is_told_by_the_certificate";
    let world = World::new();
    let Some(server) = server(&world, test, &mutual("")) else {
        return;
    };
    let elsewhere = TestCa::new("elsewhere").issue(Leaf::client("you"));
    let expired = world.ca.issue(Leaf::client("you").valid(-7200, -3600));
    let for_servers = world.ca.issue(Leaf::server(&["you"]));
    let mut alone = world.ca.issue(Leaf::client("you"));
    alone.chain.truncate(1);
    for (client, cause) in [
        (elsewhere, Cause::ClientCaNotTrusted),
        (expired, Cause::LeafExpired),
        (for_servers, Cause::EkuMissingClientauth),
        (alone, Cause::ChainMissingIntermediate),
    ] {
        world
            .asks(server.address)
            .with_client(&client)
            .check(Some(cause))
            .await;
    }
    world
        .asks(server.address)
        .without_client()
        .check(Some(Cause::ClientCertNotSent))
        .await;
    let enforced = world
        .asks(server.address)
        .without_client()
        .question(|question| question.expect_enforced = true);
    enforced.check(None).await;
}

#[tokio::test]
async fn revoked_client_of_a_trusted_ca_is_told_from_a_strangers() {
    let test = "revoked_client_of_a_trusted_ca_is_told_from_a_strangers";
    let world = World::new();
    let mut leaf = Leaf::client("you");
    leaf.params.serial_number = Some(77.into());
    let client = world.ca.issue(leaf);
    fs::write(
        world.at("crl.pem"),
        world.ca.lists(1, &[77.into()]).concat(),
    )
    .unwrap();
    let Some(server) = server(&world, test, &mutual("ssl_crl AT/crl.pem;")) else {
        return;
    };
    world.asks(server.address).check(None).await;
    world
        .asks(server.address)
        .with_client(&client)
        .check(Some(Cause::CertificateRevoked))
        .await;
}

#[tokio::test]
async fn depth_that_is_too_small_is_told() {
    let test = "depth_that_is_too_small_is_told";
    let world = World::new();
    let servers = mutual("").replace("ssl_verify_depth 2;", "ssl_verify_depth 1;");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world.asks(server.address).check(None).await;
    let deep = crate::world::deep_client(&world.ca);
    world
        .asks(server.address)
        .with_client(&deep)
        .check(Some(Cause::VerifyDepthTooSmall))
        .await;
}

#[tokio::test]
async fn optional_certificates_are_at_fault_only_where_they_must_not_be() {
    let test = "optional_certificates_are_at_fault_only_where_they_must_not_be";
    let world = World::new();
    let servers = mutual("").replace("ssl_verify_client on;", "ssl_verify_client optional;");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world.asks(server.address).check(None).await;
    let enforced = world
        .asks(server.address)
        .question(|question| question.expect_enforced = true);
    enforced.check(Some(Cause::ClientAuthNotEnforced)).await;
    let nobody = world.asks(server.address).without_client();
    nobody
        .question(|question| question.expect_enforced = true)
        .check(Some(Cause::ClientAuthNotEnforced))
        .await;
}

#[tokio::test]
async fn who_is_not_in_the_list_of_names_is_not_allowed() {
    let test = "who_is_not_in_the_list_of_names_is_not_allowed";
    let world = World::new();
    let servers = mutual("if ($ssl_client_s_dn != \"CN=you\") { return 403; }\n");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world.asks(server.address).check(None).await;
    let other = world.ca.issue(Leaf::client("other"));
    world
        .asks(server.address)
        .with_client(&other)
        .check(Some(Cause::IdentityNotAllowed))
        .await;
}

#[tokio::test]
async fn virtual_host_is_found_by_its_name() {
    let test = "virtual_host_is_found_by_its_name";
    let world = World::new();
    world
        .ca
        .issue(Leaf::server(&["api.example"]))
        .write(world.folder(), "api");
    let mut other = Leaf::server(&["www.example"]);
    other.params.subject_alt_names.pop();
    world.ca.issue(other).write(world.folder(), "server");
    let servers = format!(
        "server {{ listen ADDRESS ssl default_server; server_name www.example; ssl_certificate AT/server.pem; ssl_certificate_key AT/server.key; return 200 www; }}\n{}",
        mutual("")
            .replace("localhost", "api.example")
            .replace("AT/server.", "AT/api.")
    );
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    let target = server.address.to_string();
    let with_name = world
        .asks_for(&target)
        .question(|question| question.name = Some("api.example".to_owned()));
    with_name.check(None).await;
    let tried = world
        .asks_for(&target)
        .question(|question| question.also_try_names = vec!["api.example".to_owned()]);
    tried.check(Some(Cause::SniSelectsWrongVhost)).await;
    world
        .asks_for(&target)
        .check(Some(Cause::IpSanMissing))
        .await;
}

#[tokio::test]
async fn name_that_is_turned_away_is_told_with_one_that_is_not() {
    let test = "name_that_is_turned_away_is_told_with_one_that_is_not";
    let world = World::new();
    world
        .ca
        .issue(Leaf::server(&["api.example"]))
        .write(world.folder(), "api");
    let servers = format!(
        "server {{ listen ADDRESS ssl default_server; ssl_reject_handshake on; }}\n{}",
        mutual("")
            .replace("localhost", "api.example")
            .replace("AT/server.", "AT/api.")
    );
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    let tried = world
        .asks(server.address)
        .question(|question| question.also_try_names = vec!["api.example".to_owned()]);
    let (_, diagnosis) = tried.check(Some(Cause::SniUnknown)).await;
    assert_eq!(
        diagnosis.findings[0].evidence.get("answers_for"),
        Some("api.example")
    );
    world
        .asks(server.address)
        .check(Some(Cause::SniUnknown))
        .await;
}

#[tokio::test]
async fn host_of_the_request_that_is_not_the_connections_is_misdirected() {
    let test = "host_of_the_request_that_is_not_the_connections_is_misdirected";
    let world = World::new();
    world
        .ca
        .issue(Leaf::server(&["api.example"]))
        .write(world.folder(), "api");
    let servers = format!(
        "{}\n{}",
        mutual(""),
        mutual("")
            .replace("localhost", "api.example")
            .replace("AT/server.", "AT/api.")
    );
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    let asked = world
        .asks(server.address)
        .question(|question| question.host_header = Some("api.example".to_owned()));
    asked.check(Some(Cause::SniHostMismatch)).await;
}

#[tokio::test]
async fn plain_http_to_its_tls_port_and_plaintext_beside_tls_are_told_apart() {
    let test = "plain_http_to_its_tls_port_and_plaintext_beside_tls_are_told_apart";
    let world = World::new();
    let Some(mutual) = server(&world, test, &mutual("")) else {
        return;
    };
    let url = format!("http://localhost:{}/", mutual.address.port());
    world
        .asks_for(&url)
        .check(Some(Cause::PlainHttpToTlsPort))
        .await;
    let plain = "server { listen ADDRESS; return 200 ok; }";
    let Some(plain) = server(&world, test, plain) else {
        return;
    };
    world
        .asks(plain.address)
        .check(Some(Cause::PeerNotTls))
        .await;
}

#[tokio::test]
async fn listener_that_expects_a_proxy_header_is_recognised() {
    let test = "listener_that_expects_a_proxy_header_is_recognised";
    let world = World::new();
    let servers = mutual("").replace("listen ADDRESS ssl;", "listen ADDRESS ssl proxy_protocol;");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::ProxyHeaderMissing))
        .await;
}

#[tokio::test]
async fn list_that_leaves_out_the_issuer_keeps_clients_from_sending() {
    let test = "list_that_leaves_out_the_issuer_keeps_clients_from_sending";
    let world = World::new();
    fs::write(
        world.at("announced.pem"),
        TestCa::new("elsewhere").root_pem(),
    )
    .unwrap();
    let servers = mutual("ssl_trusted_certificate AT/ca.pem;").replace(
        "ssl_client_certificate AT/ca.pem;",
        "ssl_client_certificate AT/announced.pem;",
    );
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::CaNamesExcludeIssuer))
        .await;
}

#[tokio::test]
async fn answer_of_a_tls_terminator_that_does_not_ask_is_told_from_one_that_does() {
    let test = "answer_of_a_tls_terminator_that_does_not_ask_is_told_from_one_that_does";
    let world = World::new();
    let servers = mutual("").replace("ssl_verify_client on;", "ssl_verify_client off;");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::ClientCertNotRequested))
        .await;
    let enforced = world
        .asks(server.address)
        .without_client()
        .question(|question| question.expect_enforced = true);
    enforced.check(Some(Cause::ClientCertNotRequested)).await;
    world
        .asks(server.address)
        .without_client()
        .check(None)
        .await;
}

#[tokio::test]
async fn start_page_that_is_forbidden_to_everybody_is_no_fault() {
    let test = "start_page_that_is_forbidden_to_everybody_is_no_fault";
    let world = World::new();
    fs::create_dir(world.at("empty")).unwrap();
    let servers = mutual("root AT/empty;").replace("return 200 ok;", "");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    world.asks(server.address).check(None).await;
    let servers = mutual("location /admin { return 403; }\nlocation / { return 200 ok; }")
        .replace("return 200 ok; }\n", "}\n")
        .replace("\nreturn 200 ok; }", "\n}");
    let Some(server) = self::server(&world, test, &servers) else {
        return;
    };
    let url = format!("https://localhost:{}/admin/x", server.address.port());
    world
        .asks_for(&url)
        .check(Some(Cause::RequestNotAllowed))
        .await;
}

#[tokio::test]
async fn revoked_client_that_is_let_in_shows_that_nobody_checks() {
    let test = "revoked_client_that_is_let_in_shows_that_nobody_checks";
    let world = World::new();
    let mut leaf = Leaf::client("you");
    leaf.params.serial_number = Some(79.into());
    let client = world.ca.issue(leaf);
    let Some(server) = server(&world, test, &mutual("")) else {
        return;
    };
    let lists = |revoked: &[rcgen::SerialNumber]| {
        let lists = world.ca.lists(1, revoked).concat();
        countersign_pki::pem::decode_all(lists.as_bytes())
            .unwrap()
            .into_iter()
            .map(|block| block.der)
            .collect::<Vec<_>>()
    };
    let mut asked = world.asks(server.address).with_client(&client);
    asked.known.crls = lists(&[79.into()]);
    asked.check(Some(Cause::RevocationNotChecked)).await;
    asked.known.crls = lists(&[80.into()]);
    asked.check(None).await;
}

#[tokio::test]
async fn virtual_host_that_asks_is_found_behind_one_that_does_not() {
    let test = "virtual_host_that_asks_is_found_behind_one_that_does_not";
    let world = World::new();
    world
        .ca
        .issue(Leaf::server(&["localhost", "api.example"]))
        .write(world.folder(), "server");
    let servers = format!(
        "server {{ listen ADDRESS ssl default_server; server_name localhost; ssl_certificate AT/server.pem; ssl_certificate_key AT/server.key; return 200 www; }}\n{}",
        mutual("").replace("localhost", "api.example")
    );
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    let tried = world
        .asks(server.address)
        .question(|question| question.also_try_names = vec!["api.example".to_owned()]);
    tried.check(Some(Cause::SniSelectsWrongVhost)).await;
}

#[tokio::test]
async fn list_of_many_cas_is_too_large() {
    let test = "list_of_many_cas_is_too_large";
    let world = World::new();
    let name = "n".repeat(60);
    let many: String = (0..900)
        .map(|number| TestCa::new(&format!("{name} {number}")).root_pem())
        .collect();
    fs::write(world.at("ca.pem"), format!("{}{many}", world.ca.root_pem())).unwrap();
    let Some(server) = server(&world, test, &mutual("")) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::HandshakeTooLarge))
        .await;
}

#[tokio::test]
async fn answer_that_http2_would_hide_is_read_over_http1() {
    let test = "answer_that_http2_would_hide_is_read_over_http1";
    let world = World::new();
    let servers = mutual("").replace("listen ADDRESS ssl;", "listen ADDRESS ssl http2;");
    let Some(server) = server(&world, test, &servers) else {
        return;
    };
    let elsewhere = TestCa::new("elsewhere").issue(Leaf::client("you"));
    let with = |alpn: &'static [&'static str]| {
        world.asks(server.address).question(move |question| {
            question.alpn = alpn.iter().map(ToString::to_string).collect();
            question.expect_enforced = true;
        })
    };
    with(&["h2", "http/1.1"]).check(None).await;
    with(&["h2"]).check(None).await;
    let strange = with(&["h2", "http/1.1"]).with_client(&elsewhere);
    strange.check(Some(Cause::ClientCaNotTrusted)).await;
}
