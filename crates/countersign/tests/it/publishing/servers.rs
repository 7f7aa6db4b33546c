//! nginx and `HAProxy`: servers that read lists and OCSP answers from files.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Site, fetch, leaf, list_with, shard_url};
use crate::haproxy::HaProxy;
use crate::installation::{Answer, Issued, text};
use crate::nginx::Nginx;
use crate::openssl::{SessionUse, s_client};
use crate::peers::peer;

/// One GET with the client's certificate: what curl says.
fn status(curl: &Path, server: SocketAddr, client: &Issued) -> String {
    let url = format!("https://localhost:{}/", server.port());
    let resolve = format!("localhost:{}:127.0.0.1", server.port());
    let mut command = Command::new(curl);
    command.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{response_code}",
        "--resolve",
        &resolve,
    ]);
    let answer = Answer::of(command.args(client.curl()).arg(url));
    if answer.code == Some(0) {
        answer.stdout
    } else {
        answer.all()
    }
}

#[test]
fn nginx_refuses_what_is_on_the_list() {
    let test = "nginx_refuses_what_is_on_the_list";
    let (Some(nginx), Some(curl)) = (peer(test, "nginx"), peer(test, "curl")) else {
        return;
    };
    let site = Site::new();
    let server = site.installation.issue("server", "localhost", &[]);
    let you = site.installation.issue("client", "you", &[]);
    let other = site.installation.issue("client", "other", &[]);
    let list = site.crl_file();
    let start = || {
        Nginx::start(&nginx, |address| {
            format!(
                "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
                 ssl_client_certificate {}; ssl_verify_client on; ssl_verify_depth 2; ssl_crl {};\n\
                 location / {{ return 204; }} }}",
                text(&server.certificate()),
                text(&server.key()),
                text(&server.ca()),
                text(&list),
            )
        })
    };
    let before = start();
    assert_eq!(status(&curl, before.address(), &you), "204");
    site.revoke("you");
    site.crl_file();
    let after = start();
    assert_eq!(status(&curl, after.address(), &you), "400");
    assert_eq!(status(&curl, after.address(), &other), "204");
}

#[test]
fn nginx_staples_an_answer() {
    let test = "nginx_staples_an_answer";
    let (Some(nginx), Some(openssl)) = (peer(test, "nginx"), peer(test, "openssl")) else {
        return;
    };
    let site = Site::new();
    let server = site.installation.issue("server", "localhost", &[]);
    let staple = site.installation.path("staple.der");
    let (intermediate, certificate, url) =
        (site.intermediate(), server.certificate(), site.url("/ocsp"));
    let mut command = Command::new(&openssl);
    command.args([
        "ocsp",
        "-url",
        &url,
        "-no_nonce",
        "-issuer",
        text(&intermediate),
        "-noverify",
    ]);
    command.args(["-cert", text(&certificate), "-respout", text(&staple)]);
    let fetched = Answer::of(&mut command);
    assert_eq!(fetched.code, Some(0), "{fetched:#?}");
    let nginx = Nginx::start(&nginx, |address| {
        format!(
            "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
             ssl_stapling on; ssl_stapling_file {}; location / {{ return 204; }} }}",
            text(&certificate),
            text(&server.key()),
            text(&staple),
        )
    });
    let ca = server.ca();
    let options = ["-status", "-CAfile", text(&ca), "-verify_return_error"];
    let seen = s_client(&openssl, nginx.address(), None, &options, SessionUse::None);
    for words in [
        "OCSP Response Status: successful",
        "Cert Status: good",
        "Verify return code: 0",
    ] {
        assert!(seen.output.contains(words), "{words}: {}", seen.output);
    }
}

#[test]
fn haproxy_refuses_what_is_on_the_list() {
    let test = "haproxy_refuses_what_is_on_the_list";
    let (Some(haproxy), Some(curl)) = (peer(test, "haproxy"), peer(test, "curl")) else {
        return;
    };
    let site = Site::new();
    let server = site.installation.issue("server", "localhost", &[]);
    let you = site.installation.issue("client", "you", &[]);
    let other = site.installation.issue("client", "other", &[]);
    let list = site.crl_file();
    let before = looking_at(&haproxy, &server, &list);
    assert_eq!(status(&curl, before.address, &you), "200");
    site.revoke("you");
    site.crl_file();
    let after = looking_at(&haproxy, &server, &list);
    let refused = status(&curl, after.address, &you);
    assert!(refused.contains("certificate revoked"), "{refused}");
    assert_eq!(status(&curl, after.address, &other), "200");
}

#[test]
fn haproxy_takes_shards_and_no_other_for_the_one_that_it_needs() {
    let test = "haproxy_takes_shards_and_no_other_for_the_one_that_it_needs";
    let (Some(haproxy), Some(curl)) = (peer(test, "haproxy"), peer(test, "curl")) else {
        return;
    };
    let site = Site::new();
    let server = site.installation.issue("server", "localhost", &[]);
    let you = site.installation.issue("client", "you", &[]);
    let mut other = site.installation.issue("client", "other", &[]);
    // One of 128 shards: soon there is somebody on another one.
    while shard_url(&leaf(&other)) == shard_url(&leaf(&you)) {
        other = site.installation.issue("client", "other", &["--force"]);
    }
    let ask = |list: &[u8], whose: &Issued| {
        let server = looking_at(&haproxy, &server, &site.with_roots("shard.crl", list));
        status(&curl, server.address, whose)
    };
    let url = shard_url(&leaf(&you));
    assert_eq!(ask(&fetch(&url), &you), "200");
    site.revoke("you");
    let shard = list_with(&url, &leaf(&you));
    let refused = ask(&shard, &you);
    assert!(refused.contains("certificate revoked"), "{refused}");
    // Whose shard is not there is not let in on somebody else's.
    assert_ne!(ask(&shard, &other), "200");
    assert_eq!(ask(&fetch(&shard_url(&leaf(&other))), &other), "200");
}

/// `HAProxy` that asks for certificates and looks at the list.
fn looking_at(program: &Path, server: &Issued, crl: &Path) -> HaProxy {
    let read = |path: PathBuf| fs::read_to_string(path).expect("readable");
    // One file for both.
    let both = read(server.certificate()) + &read(server.key());
    HaProxy::start(program, |address, folder| {
        let file = folder.join("server.pem");
        fs::write(&file, &both).expect("writable");
        format!(
            "frontend in\n mode http\n bind {address} ssl crt {} ca-file {} verify required crl-file {}\n \
             http-request return status 200\n",
            text(&file),
            text(&server.ca()),
            text(crl),
        )
    })
}
