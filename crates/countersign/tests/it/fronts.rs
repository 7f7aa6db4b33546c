//! `HAProxy` and nginx at both ends of the PROXY protocol: who connects to the first is who the last is told of.

use std::net::SocketAddr;
use std::path::Path;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::haproxy::HaProxy;
use crate::installation::{Installation, Issued};
use crate::nginx::Nginx;
use crate::peers::peer;

/// Passes everything on behind a header.
fn front(haproxy: &Path, gateway: SocketAddr, sends: &str) -> HaProxy {
    HaProxy::start(haproxy, |address, _| {
        format!("listen front\n mode tcp\n bind {address}\n server gateway {gateway} {sends}\n")
    })
}

/// Says whom it was told of.
fn told_haproxy(haproxy: &Path) -> HaProxy {
    HaProxy::start(haproxy, |address, _| {
        format!(
            "frontend told\n mode http\n bind {address} accept-proxy\n \
             http-request return status 200 content-type text/plain lf-string \"%[src]:%[src_port] %[fc_pp_authority]\"\n"
        )
    })
}

/// The same; its port for looking whether it is up takes no header.
fn told_nginx(nginx: &Path, told: SocketAddr) -> Nginx {
    Nginx::start(nginx, |up| {
        format!(
            "server {{ listen {up}; return 204; }}\n\
             server {{ listen {told} proxy_protocol; default_type text/plain;\n\
             return 200 \"$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_port\"; }}"
        )
    })
}

/// A listener of bytes before `upstream`, and whom its fronts are.
fn gateway(
    installation: &Installation,
    keys: &str,
    upstream: SocketAddr,
) -> (countersign_testkit::process::Process, SocketAddr) {
    let address = ephemeral::address();
    let process = installation.serve(&format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"{}\"\n[[gateway.listener]]\naddress = \"{address}\"\n\
         upstream = \"tcp://{upstream}\"\nallow = [{{ cn = \"you\" }}]\n{keys}\n",
        ephemeral::address()
    ));
    (process, address)
}

/// Our own address, and what is answered to a request; nothing if there is no connection.
fn ask(you: &Issued, at: SocketAddr) -> (String, String) {
    let asking = async {
        let client = you.client(Protocol::Http1Tls13);
        let mut stream = match client.connect(at).await {
            Ok(stream) => stream,
            Err(error) => return (String::new(), error.to_string()),
        };
        let own = stream.get_ref().0.local_addr().expect("connected");
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        let exchanged = async {
            stream.write_all(request).await?;
            stream.flush().await?;
            stream.read_to_string(&mut answer).await
        };
        let _ = exchanged.await;
        (own.to_string(), answer)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(asking)
}

#[test]
fn client_behind_haproxy_is_who_haproxy_and_nginx_are_told_of() {
    let test = "client_behind_haproxy_is_who_haproxy_and_nginx_are_told_of";
    let (Some(haproxy), Some(nginx)) = (peer(test, "haproxy"), peer(test, "nginx")) else {
        return;
    };
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let (by_haproxy, by_nginx) = (told_haproxy(&haproxy), ephemeral::address());
    let _nginx = told_nginx(&nginx, by_nginx);
    let senders = [
        ("send-proxy", "v1"),
        ("send-proxy-v2", "v2"),
        (
            "send-proxy-v2-ssl-cn proxy-v2-options crc32c,authority",
            "v2",
        ),
    ];
    for upstream in [by_haproxy.address, by_nginx] {
        for (sends, version) in senders {
            let keys = format!(
                "proxy_protocol = {{ from = [\"127.0.0.1\"] }}\nupstream_proxy_protocol = \"{version}\""
            );
            let (_process, address) = gateway(&installation, &keys, upstream);
            let front = front(&haproxy, address, sends);
            let (own, answer) = ask(&you, front.address);
            assert!(answer.starts_with("HTTP/1.1 200"), "{sends}: {answer}");
            assert!(
                answer.contains(&own),
                "{sends} {version}: {own} in {answer}"
            );
            if upstream == by_haproxy.address && version == "v2" {
                assert!(answer.contains(" localhost"), "{answer}");
            }
            // Past the front nobody is taken for anybody.
            let (_, answer) = ask(&you, address);
            assert!(!answer.contains("200"), "{answer}");
        }
    }
}

#[test]
fn haproxy_is_not_believed_where_it_is_not_named() {
    let test = "haproxy_is_not_believed_where_it_is_not_named";
    let Some(haproxy) = peer(test, "haproxy") else {
        return;
    };
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let told = told_haproxy(&haproxy);
    for keys in ["", "proxy_protocol = { from = [\"192.0.2.0/24\"] }"] {
        let keys = format!("upstream_proxy_protocol = \"v2\"\n{keys}");
        let (_process, address) = gateway(&installation, &keys, told.address);
        for sends in ["send-proxy", "send-proxy-v2"] {
            let front = front(&haproxy, address, sends);
            let (_, answer) = ask(&you, front.address);
            assert!(!answer.contains("200"), "{sends}: {answer}");
        }
        // Without a header it is a client like any other, and its own address goes on.
        let plain = front(&haproxy, address, "");
        let (own, answer) = ask(&you, plain.address);
        assert!(answer.contains("127.0.0.1:"), "{answer}");
        assert!(!answer.contains(&own), "{own} in {answer}");
    }
    let explained = installation.ok(&["explain", "--from", "127.0.0.1", "--since", "1m"]);
    assert!(explained.contains("proxy-header-untrusted"), "{explained}");
}
