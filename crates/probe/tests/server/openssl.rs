//! `openssl s_server` in its many modes.

use std::process::Command;

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa};

use crate::peers::{Peer, program};
use crate::world::World;

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
        let asked = world.asks(server.address).as_client(&stranger);
        asked.check(Some(Cause::ClientCaNotTrusted)).await;
    }
}
