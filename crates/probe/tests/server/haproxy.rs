//! `HAProxy`, which refuses by alert.

use std::fs;
use std::process::Command;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa};

use crate::peers::{Peer, program};
use crate::world::World;

/// `bind` is what stands behind `bind ADDRESS ssl crt …`.
fn server(world: &World, test: &str, bind: &str, rules: &str) -> Option<Peer> {
    let haproxy = program(test, "haproxy")?;
    let both = ["server.pem", "server.key"]
        .map(|name| fs::read_to_string(world.at(name)).expect("readable"));
    fs::write(world.at("both.pem"), both.concat()).expect("writable");
    Some(Peer::start(|folder, address| {
        let at = world.folder().display();
        let configuration = format!(
            "defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 1s\n\
             frontend told\n bind {address} ssl crt {at}/both.pem {}\n{rules} http-request return status 200 content-type text/plain string ok\n",
            bind.replace("AT/", &format!("{at}/"))
        );
        fs::write(folder.join("haproxy.cfg"), configuration).expect("writable");
        let mut command = Command::new(&haproxy);
        command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
        command
    }))
}

#[tokio::test]
async fn who_may_come_in_and_who_may_not_is_told() {
    let test = "who_may_come_in_and_who_may_not_is_told";
    let world = World::new();
    let elsewhere = TestCa::new("elsewhere").issue(Leaf::client("you"));
    let expired = world.ca.issue(Leaf::client("you").valid(-7200, -3600));
    let for_servers = world.ca.issue(Leaf::server(&["you"]));
    for further in ["", "alpn h2,http/1.1", "ssl-max-ver TLSv1.2"] {
        let bind = format!("ca-file AT/ca.pem verify required {further}");
        let Some(server) = server(&world, test, &bind, "") else {
            return;
        };
        world.asks(server.address).check(None).await;
        world
            .asks(server.address)
            .without_client()
            .check(Some(Cause::ClientCertNotSent))
            .await;
        for (client, cause) in [
            (&elsewhere, Cause::ClientCaNotTrusted),
            (&expired, Cause::LeafExpired),
            (&for_servers, Cause::EkuMissingClientauth),
        ] {
            world
                .asks(server.address)
                .with_client(client)
                .check(Some(cause))
                .await;
        }
    }
}

#[tokio::test]
async fn revoked_certificate_is_told() {
    let test = "revoked_certificate_is_told";
    let world = World::new();
    let mut leaf = Leaf::client("you");
    leaf.params.serial_number = Some(78.into());
    let client = world.ca.issue(leaf);
    fs::write(
        world.at("crl.pem"),
        world.ca.lists(1, &[78.into()]).concat(),
    )
    .unwrap();
    let bind = "ca-file AT/ca.pem verify required crl-file AT/crl.pem";
    let Some(server) = server(&world, test, bind, "") else {
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
async fn list_that_is_missing_for_an_issuer_is_told() {
    let test = "list_that_is_missing_for_an_issuer_is_told";
    let world = World::new();
    fs::write(world.at("crl.pem"), &world.ca.lists(1, &[])[0]).unwrap();
    let bind = "ca-file AT/ca.pem verify required crl-file AT/crl.pem";
    let Some(server) = server(&world, test, bind, "") else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::CrlMissing))
        .await;
}

#[tokio::test]
async fn name_that_it_does_not_serve_strictly_is_told() {
    let test = "name_that_it_does_not_serve_strictly_is_told";
    let world = World::new();
    let Some(server) = server(&world, test, "strict-sni", "") else {
        return;
    };
    let asked = world.asks(server.address).without_client();
    asked.check(None).await;
    let target = server.address.to_string();
    let other = world
        .asks_for(&target)
        .without_client()
        .question(|question| question.name = Some("other.example".to_owned()));
    other.check(Some(Cause::SniUnknown)).await;
}

#[tokio::test]
async fn proxy_header_that_it_wants_is_told() {
    let test = "proxy_header_that_it_wants_is_told";
    let world = World::new();
    let bind = "accept-proxy ca-file AT/ca.pem verify required";
    let Some(server) = server(&world, test, bind, "") else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::ProxyHeaderMissing))
        .await;
}

#[tokio::test]
async fn rule_by_name_is_told_as_such() {
    let test = "rule_by_name_is_told_as_such";
    let world = World::new();
    let rule = " http-request deny unless { ssl_c_s_dn(CN) -m str boss }\n";
    let Some(server) = server(&world, test, "ca-file AT/ca.pem verify required", rule) else {
        return;
    };
    world
        .asks(server.address)
        .check(Some(Cause::IdentityNotAllowed))
        .await;
}

#[tokio::test]
async fn session_of_an_open_name_that_opens_a_guarded_one_is_told() {
    let test = "session_of_an_open_name_that_opens_a_guarded_one_is_told";
    let world = World::new();
    let identity = |name: &str| {
        let identity = world.ca.issue(Leaf::server(&[name]));
        identity.write(world.folder(), name);
        let both = [format!("{name}.pem"), format!("{name}.key")]
            .map(|file| fs::read_to_string(world.at(&file)).expect("readable"));
        fs::write(world.at(&format!("{name}.both")), both.concat()).expect("writable");
    };
    for name in ["open.example", "guarded.example"] {
        identity(name);
    }
    let at = world.folder().display();
    let verify = format!("[verify required ca-file {at}/ca.pem]");
    for (open, bind, cause) in [
        ("", "", Some(Cause::ResumptionSkipsCheck)),
        ("", "ssl-max-ver TLSv1.2", Some(Cause::ResumptionSkipsCheck)),
        // Guarded as well, so that nobody is given a session.
        (verify.as_str(), "", None),
    ] {
        fs::write(
            world.at("hosts"),
            format!(
                "{at}/open.example.both {open}\n{at}/guarded.example.both {verify} guarded.example\n"
            ),
        )
        .expect("writable");
        let Some(server) = server(&world, test, &format!("crt-list AT/hosts {bind}"), "") else {
            return;
        };
        let target = server.address.to_string();
        let asked = world.asks_for(&target).question(|question| {
            question.name = Some("guarded.example".to_owned());
            question.also_try_names = vec!["open.example".to_owned()];
        });
        asked.check(cause).await;
    }
}
