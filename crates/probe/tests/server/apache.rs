//! Apache, which may ask for a certificate behind the handshake.

use std::fs;
use std::process::Command;

use countersign_diagnose::cause::Cause;

use crate::peers::{Peer, program};
use crate::world::World;

fn server(world: &World, test: &str, host: &str) -> Option<Peer> {
    let apache = program(test, "apache2")?;
    Some(Peer::start(|folder, address| {
        let at = world.folder().display();
        let modules: String = [
            ("mpm_event", "mpm_event"),
            ("authz_core", "authz_core"),
            ("socache_shmcb", "socache_shmcb"),
            ("ssl", "ssl"),
        ]
        .map(|(name, file)| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{file}.so\n")
        })
        .concat();
        fs::create_dir(folder.join("www")).expect("writable");
        fs::create_dir(folder.join("www/private")).expect("writable");
        for page in ["www/index.html", "www/private/index.html"] {
            fs::write(folder.join(page), "ok").expect("writable");
        }
        let configuration = format!(
            "{modules}ServerRoot {0}\nPidFile {0}/pid\nListen {address}\nServerName localhost\nErrorLog /dev/stderr\nLogLevel error\nUser nobody\nGroup nogroup\n\
             Mutex file:{0} default\nDocumentRoot {0}/www\n<Directory {0}/www>\nRequire all granted\n</Directory>\n\
             <VirtualHost {address}>\nServerName localhost\nSSLEngine on\nSSLCertificateFile {at}/server.pem\nSSLCertificateKeyFile {at}/server.key\nSSLCACertificateFile {at}/ca.pem\n{host}\n</VirtualHost>\n",
            folder.display()
        );
        fs::write(folder.join("apache.conf"), configuration).expect("writable");
        let mut command = Command::new(&apache);
        command.args(["-X", "-f"]).arg(folder.join("apache.conf"));
        command
    }))
}

#[tokio::test]
async fn certificate_that_is_asked_for_by_path_is_told() {
    let test = "certificate_that_is_asked_for_by_path_is_told";
    let world = World::new();
    for protocol in ["TLSv1.3", "TLSv1.2"] {
        let host = format!(
            "SSLProtocol {protocol}\n<Location /private>\nSSLVerifyClient require\nSSLVerifyDepth 3\n</Location>"
        );
        let Some(server) = server(&world, test, &host) else {
            return;
        };
        let url = format!("https://localhost:{}/private/", server.address.port());
        world
            .asks_for(&url)
            .check(Some(Cause::PostHandshakeAuthUnavailable))
            .await;
        let url = format!("https://localhost:{}/", server.address.port());
        world.asks_for(&url).without_client().check(None).await;
    }
}

#[tokio::test]
async fn whole_host_that_requires_a_certificate_is_healthy() {
    let test = "whole_host_that_requires_a_certificate_is_healthy";
    let world = World::new();
    let Some(server) = server(&world, test, "SSLVerifyClient require\nSSLVerifyDepth 3") else {
        return;
    };
    world.asks(server.address).check(None).await;
    world
        .asks(server.address)
        .without_client()
        .check(Some(Cause::ClientCertNotSent))
        .await;
    let url = format!("http://localhost:{}/", server.address.port());
    world
        .asks_for(&url)
        .check(Some(Cause::PlainHttpToTlsPort))
        .await;
}
