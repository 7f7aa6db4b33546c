//! Peers that nobody here wrote: curl, OpenSSL, Python and nginx, under our certificates, on both ends.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::pki::{Leaf, TestCa};
use countersign_testkit::upstream::Upstream;
use rustls::NamedGroup;

use crate::http::Connection;
use crate::installation::{Answer, Installation, Issued, text};
use crate::nginx::Nginx;
use crate::openssl::{SessionUse, s_client};
use crate::peers::peer;
use crate::websocket::{WebSocket, echo_service};

#[test]
fn curl_speaks_http1_and_http2() {
    let Some(curl) = peer("curl_speaks_http1_and_http2", "curl") else {
        return;
    };
    let installation = Installation::new();
    let upstream = Upstream::start();
    let gateway = installation.up_before(upstream.address());
    let you = Issued::of_first_run(&gateway);
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in ["--tls-max=1.2", "--tlsv1.3"] {
            let tls: Vec<&str> = tls.split('=').collect();
            let format = ["-w", "\n%{http_version} %{response_code}", option];
            let answer = ask(
                &curl,
                gateway.gateway(),
                Some(&you),
                &[&tls[..], &format].concat(),
            );
            assert_eq!(answer.code, Some(0), "{answer:#?}");
            assert!(
                answer.stdout.ends_with(&format!("\n{version} 200")),
                "{answer:#?}"
            );
            assert!(
                answer.stdout.contains("X-Client-CN: you")
                    || answer.stdout.contains("x-client-cn: you"),
                "{answer:#?}"
            );
        }
    }
}

#[test]
fn curl_is_refused_without_a_certificate_and_with_a_strangers() {
    let Some(curl) = peer(
        "curl_is_refused_without_a_certificate_and_with_a_strangers",
        "curl",
    ) else {
        return;
    };
    let installation = Installation::new();
    let upstream = Upstream::start();
    let gateway = installation.up_before(upstream.address());
    let stranger = stranger(&installation, &Issued::of_first_run(&gateway));
    let trusting = Issued::of_first_run(&gateway);
    let ca = trusting.ca();
    for option in ["--http1.1", "--http2"] {
        let none = ask(
            &curl,
            gateway.gateway(),
            None,
            &["--cacert", text(&ca), option],
        );
        // curl(1): 35 in the handshake (TLS 1.2), 56 after it (TLS 1.3), where the alert comes with the first read; 16 when
        // that read is the HTTP/2 layer's.
        assert!(matches!(none.code, Some(16 | 35 | 55 | 56)), "{none:#?}");
        assert!(
            none.stderr.contains("certificate required") || none.code == Some(16),
            "{none:#?}"
        );
        let unknown = ask(&curl, gateway.gateway(), Some(&stranger), &[option]);
        assert!(
            matches!(unknown.code, Some(16 | 35 | 55 | 56)),
            "{unknown:#?}"
        );
        assert!(
            unknown.stderr.contains("unknown ca") || unknown.code == Some(16),
            "{unknown:#?}"
        );
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn curl_uploads_a_file_in_chunks() {
    let Some(curl) = peer("curl_uploads_a_file_in_chunks", "curl") else {
        return;
    };
    let installation = Installation::new();
    let upstream = Upstream::start();
    let gateway = installation.up_before(upstream.address());
    let file = installation.write("upload", &"0123456789abcdef".repeat(64 * 1024));
    let data = format!("@{}", text(&file));
    for option in ["--http1.1", "--http2"] {
        let before = upstream.received().len();
        let options = [
            option,
            "-H",
            "Transfer-Encoding: chunked",
            "--data-binary",
            &data,
        ];
        let answer = ask(
            &curl,
            gateway.gateway(),
            Some(&Issued::of_first_run(&gateway)),
            &options,
        );
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        assert!(upstream.received().len() - before >= 1 << 20);
    }
}

#[test]
fn openssl_speaks_tls12_and_tls13_and_resumes() {
    let Some(openssl) = peer("openssl_speaks_tls12_and_tls13_and_resumes", "openssl") else {
        return;
    };
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let you = Issued::of_first_run(&gateway);
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = installation.path("session.pem");
        let first = s_client(
            &openssl,
            gateway.gateway(),
            Some(&you),
            &[option],
            SessionUse::Keep(&session),
        );
        assert!(first.answered() && !first.reused(), "{first:#?}");
        for words in [
            &format!("New, {version}"),
            "Verify return code: 0 (ok)",
            "Server Temp Key: X25519",
        ] {
            assert!(first.output.contains(words), "{words}: {first:#?}");
        }
        let again = s_client(
            &openssl,
            gateway.gateway(),
            Some(&you),
            &[option],
            SessionUse::Resume(&session),
        );
        assert!(again.answered() && again.reused(), "{again:#?}");
    }
}

#[test]
fn openssl_session_of_one_client_is_no_ticket_for_another_listener() {
    let name = "openssl_session_of_one_client_is_no_ticket_for_another_listener";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let listener = "[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n[[gateway.listener.route]]\nupstream = \"demo\"\n";
    let gateway = installation.serve(&format!(
        "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n{listener}allow = [\"any-trusted\"]\n{listener}allow = [{{ cn = \"other\" }}]\n"
    ));
    let you = installation.issue("client", "partner", &[]);
    let listeners = &gateway.ready()["listeners"];
    let address = |index: usize| -> SocketAddr {
        listeners[index]
            .as_str()
            .and_then(|it| it.parse().ok())
            .unwrap_or_else(|| panic!("{listeners}"))
    };
    for option in ["-tls1_2", "-tls1_3"] {
        let session = installation.path("session.pem");
        let first = s_client(
            &openssl,
            address(0),
            Some(&you),
            &[option],
            SessionUse::Keep(&session),
        );
        assert!(first.answered(), "{first:#?}");
        let other = s_client(
            &openssl,
            address(1),
            Some(&you),
            &[option],
            SessionUse::Resume(&session),
        );
        assert!(!other.reused() && !other.answered(), "{other:#?}");
        assert!(other.output.contains("HTTP/1.1 403"), "{other:#?}");
    }
}

#[test]
fn client_that_would_show_a_certificate_later_is_never_asked_to() {
    let name = "client_that_would_show_a_certificate_later_is_never_asked_to";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    let installation = Installation::new();
    let gateway = installation.serve(
        "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         client_certificate = \"request\"\n[[gateway.listener.route]]\nupstream = \"demo\"\n\
         client_certificate = \"require\"\nallow = [\"any-trusted\"]\n",
    );
    let options = ["-tls1_3", "-enable_pha", "-msg"];
    let anonymous = s_client(
        &openssl,
        gateway.gateway(),
        None,
        &options,
        SessionUse::None,
    );
    assert!(anonymous.output.contains("HTTP/1.1 403"), "{anonymous:#?}");
    // Asked in the handshake, once, and not for the route behind it (RFC 8446 §4.6.2).
    let messages: Vec<&str> = anonymous
        .output
        .lines()
        .filter(|line| line.starts_with("<<< ") && line.contains(", Handshake [length "))
        .collect();
    let places = |message: &str| {
        let all = messages.iter().enumerate();
        all.filter(|(_, line)| line.ends_with(message))
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    let (asked, finished) = (places(", CertificateRequest"), places(", Finished"));
    assert_eq!((asked.len(), finished.len()), (1, 1), "{anonymous:#?}");
    assert!(asked < finished, "{anonymous:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_quantum_key_exchange_comes_first() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let you = Issued::of_first_run(&gateway);
    for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
        let connection = Connection::open(&you.client(protocol), protocol, gateway.gateway())
            .await
            .expect("let in");
        assert_eq!(
            connection.handshake().group,
            Some(NamedGroup::X25519MLKEM768),
            "{protocol:?}"
        );
    }
}

#[test]
fn python_that_verifies_strictly_accepts_the_gateway() {
    let Some(python) = peer(
        "python_that_verifies_strictly_accepts_the_gateway",
        "python3",
    ) else {
        return;
    };
    let installation = Installation::new();
    let gateway = installation.up(&["--name", "api.example.test"]);
    let you = Issued::of_first_run(&gateway);
    for host in ["localhost", "127.0.0.1", "api.example.test"] {
        let answer = python_get(&python, gateway.gateway(), host, &you);
        assert_eq!(
            (answer.code, answer.stdout.trim()),
            (Some(0), "200"),
            "{host}: {answer:#?}"
        );
    }
    let wrong = python_get(&python, gateway.gateway(), "other.example.test", &you);
    assert!(
        wrong.code != Some(0) && wrong.stderr.contains("CERTIFICATE_VERIFY_FAILED"),
        "{wrong:#?}"
    );
    let stranger = python_get(
        &python,
        gateway.gateway(),
        "localhost",
        &stranger(&installation, &you),
    );
    assert!(
        stranger.code != Some(0) && stranger.stderr.contains("UNKNOWN_CA"),
        "{stranger:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_passes_through() {
    let installation = Installation::new();
    let service = echo_service();
    let gateway = installation.up_before(service.address());
    for protocol in [Protocol::Http1Tls12, Protocol::Http1Tls13] {
        let mut socket = WebSocket::open(
            &Issued::of_first_run(&gateway).client(protocol),
            gateway.gateway(),
        )
        .await;
        for number in 0..50 {
            let message = format!("message {number}");
            assert_eq!(socket.echo(&message).await.expect("open"), message);
        }
    }
}

#[test]
fn nginx_behind_the_gateway_learns_who_the_client_is() {
    let name = "nginx_behind_the_gateway_learns_who_the_client_is";
    let (Some(curl), Some(nginx)) = (peer(name, "curl"), peer(name, "nginx")) else {
        return;
    };
    let installation = Installation::new();
    let nginx = Nginx::start(&nginx, |address| {
        format!(
            "server {{ listen {address}; location / {{ \
             return 200 \"verify=$http_x_client_verify dn=$http_x_client_dn cn=$http_x_client_cn\"; }} }}"
        )
    });
    let gateway = installation.up_before(nginx.address());
    for option in ["--http1.1", "--http2"] {
        let options = [option, "-H", "X-Client-CN: root", "-H", "X_Client_CN: root"];
        let answer = ask(
            &curl,
            gateway.gateway(),
            Some(&Issued::of_first_run(&gateway)),
            &options,
        );
        assert_eq!(
            answer.stdout, "verify=SUCCESS dn=CN=you cn=you",
            "{answer:#?}"
        );
    }
}

#[test]
fn nginx_as_server_under_our_certificates_admits_ours_and_refuses_a_strangers() {
    let name = "nginx_as_server_under_our_certificates_admits_ours_and_refuses_a_strangers";
    let (Some(curl), Some(nginx)) = (peer(name, "curl"), peer(name, "nginx")) else {
        return;
    };
    let installation = Installation::new();
    let server = installation.issue("server", "localhost", &[]);
    let client = installation.issue("client", "partner", &[]);
    let peer = installation.issue("peer", "peer.example", &[]);
    let workload = installation.issue("workload", "/ns/prod/api", &[]);
    let nginx = Nginx::start(&nginx, |address| {
        format!(
            "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; \
             ssl_verify_client on; ssl_verify_depth 2; \
             location / {{ return 200 \"$ssl_client_verify $ssl_client_s_dn\"; }} }}",
            text(&server.certificate()),
            text(&server.key()),
            text(&server.ca())
        )
    });
    let admitted = ask(&curl, nginx.address(), Some(&client), &[]);
    assert_eq!(admitted.stdout, "SUCCESS CN=partner", "{admitted:#?}");
    for other in [&peer, &workload] {
        let admitted = ask(&curl, nginx.address(), Some(other), &[]);
        assert!(admitted.stdout.starts_with("SUCCESS"), "{admitted:#?}");
    }
    let refusals = [stranger(&installation, &client), server.clone()];
    for refused in refusals {
        let answer = ask(
            &curl,
            nginx.address(),
            Some(&refused),
            &["-w", " %{response_code}"],
        );
        assert!(
            answer.stdout.contains("The SSL certificate error") && answer.stdout.ends_with(" 400"),
            "{answer:#?}"
        );
    }
}

#[test]
fn nginx_as_client_under_our_certificates_is_let_in() {
    let name = "nginx_as_client_under_our_certificates_is_let_in";
    let (Some(curl), Some(program)) = (peer(name, "curl"), peer(name, "nginx")) else {
        return;
    };
    let installation = Installation::new();
    let upstream = Upstream::start();
    let gateway = installation.up_before(upstream.address());
    let client = installation.issue("client", "nginx", &[]);
    let proxy = |identity: &str| {
        Nginx::start(&program, |address| {
            format!(
                "server {{ listen {address}; location / {{ proxy_pass https://{}; proxy_set_header Host localhost; \
                 proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_verify on; proxy_ssl_verify_depth 2; \
                 proxy_ssl_trusted_certificate {}; {identity} }} }}",
                gateway.gateway(),
                text(&client.ca())
            )
        })
    };
    let with = proxy(&format!(
        "proxy_ssl_certificate {}; proxy_ssl_certificate_key {};",
        text(&client.certificate()),
        text(&client.key())
    ));
    let get = |nginx: &Nginx| {
        let url = format!("http://{}/through-nginx", nginx.address());
        Answer::of(Command::new(&curl).args([
            "-s",
            "-w",
            "\n%{response_code}",
            "--max-time",
            "30",
            &url,
        ]))
    };
    for _ in 0..3 {
        let answer = get(&with);
        assert!(answer.stdout.ends_with("\n200"), "{answer:#?}");
        assert!(
            answer
                .stdout
                .to_ascii_lowercase()
                .contains("x-client-cn: nginx"),
            "{answer:#?}"
        );
    }
    let before = upstream.received().len();
    let answer = get(&proxy(""));
    assert!(!answer.stdout.ends_with("\n200"), "{answer:#?}");
    assert_eq!(
        upstream.received().len(),
        before,
        "no byte of it reached the upstream"
    );
}

/// `curl https://localhost:PORT/` with an identity.
fn ask(curl: &Path, address: SocketAddr, identity: Option<&Issued>, options: &[&str]) -> Answer {
    let resolve = format!("localhost:{}:{}", address.port(), address.ip());
    let url = format!("https://localhost:{}/path", address.port());
    let mut command = Command::new(curl);
    command
        .args(["-sS", "--max-time", "30", "--resolve", &resolve])
        .args(options);
    if let Some(identity) = identity {
        command.args(identity.curl());
    }
    Answer::of(command.arg(&url))
}

/// A certificate of another CA, in the same kind of folder; it trusts whom `like` trusts.
fn stranger(installation: &Installation, like: &Issued) -> Issued {
    let folder = installation.path("stranger");
    std::fs::create_dir_all(&folder).expect("writable");
    let identity = TestCa::new("stranger").issue(Leaf::client("you"));
    std::fs::write(folder.join("cert.pem"), identity.chain_pem()).expect("writable");
    std::fs::write(folder.join("key.pem"), &identity.key_pem).expect("writable");
    std::fs::copy(like.ca(), folder.join("ca.pem")).expect("copied");
    Issued::at(folder)
}

fn python_get(python: &Path, gateway: SocketAddr, host: &str, client: &Issued) -> Answer {
    let script = "
import http.client, socket, ssl, sys
ip, port, host, cert, key, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.load_cert_chain(cert, key)
raw = socket.create_connection((ip, int(port)), timeout=30)
connection = http.client.HTTPSConnection(host, int(port), context=context)
connection.sock = context.wrap_socket(raw, server_hostname=host)
connection.request('GET', '/', headers={'Host': host})
print(connection.getresponse().status)
";
    let port = gateway.port().to_string();
    let (certificate, key, ca) = (client.certificate(), client.key(), client.ca());
    let mut command = Command::new(python);
    command.args(["-c", script, &gateway.ip().to_string(), &port, host]);
    Answer::of(command.args([text(&certificate), text(&key), text(&ca)]))
}
