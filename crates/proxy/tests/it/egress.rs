//! The way out: programs of this host speak plaintext, the server elsewhere sees a certificate. The server is another gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use countersign_testkit::service::Service;
use tempfile::TempDir;

use crate::harness::{HOST, Harness};
use crate::http2::soon;

/// A gateway that requires a certificate, before a service that answers with the head that it has got.
fn server() -> (Service, Harness) {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            );
            conversation.send(answer.as_bytes());
        }
    });
    let route = format!(
        "host = \"localhost\"\nupstream = \"http://{}\"\nallow = [{{ cn = \"order-service\" }}]\n",
        service.address()
    );
    let gateway = Harness::start("", &route);
    (service, gateway)
}

/// A gateway whose way out leads there, by the server's name.
fn way_out(server: &Harness, scheme: &str, name: &str) -> (TempDir, Harness) {
    way_out_of(server, scheme, name, |_| {
        "address = \"127.0.0.1:0\"".to_owned()
    })
}

/// The same, where its address is what `written` makes of a folder.
fn way_out_of(
    server: &Harness,
    scheme: &str,
    name: &str,
    written: impl FnOnce(&Path) -> String,
) -> (TempDir, Harness) {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = server.client.write(folder.path(), "client");
    let listener = format!(
        "[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n\
         [[gateway.egress]]\n{}\nupstream = \"{scheme}://localhost:{}\"\n\
         upstream_tls = {{ trust = \"inner\", name = [\"{name}\"], certificate = \"{}\", key = \"{}\" }}\n",
        written(folder.path()),
        server.address().port(),
        certificate.display(),
        key.display()
    );
    (folder, Harness::before(server, &listener))
}

/// What a program of this host is answered.
fn ask(address: SocketAddr, head: &str) -> String {
    let stream = TcpStream::connect(address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a socket");
    ask_by(stream, head)
}

fn ask_by(mut stream: impl Read + Write, head: &str) -> String {
    let request = format!("{head}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("open");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("an answer and an end");
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn program_without_tls_speaks_as_this_host_to_the_server_by_its_name() {
    let (_service, server) = server();
    let (_folder, outer) = way_out(&server, "https", HOST);
    let out = outer.handle.egress_addresses()[0].tcp().expect("of TCP");
    let told = &outer.handle.status().egress[0];
    let leads_to = format!("localhost:{} over TLS", server.address().port());
    assert_eq!((told.address.tcp(), &told.upstream), (Some(out), &leads_to));
    for host in [
        out.to_string(),
        format!("localhost:{}", server.address().port()),
    ] {
        let answer = tokio::task::block_in_place(|| {
            ask(
                out,
                &format!("GET /hook HTTP/1.1\r\nhost: {host}\r\nx-client-cn: admin"),
            )
        });
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        // What the service behind the server was told: the server's name, and who this host is.
        let name = format!("\nhost: localhost:{}\n", server.address().port());
        assert!(answer.contains(&name), "{answer}");
        assert!(
            answer.contains("\nx-client-cn: order-service\n"),
            "{answer}"
        );
        assert!(!answer.contains("admin"), "{answer}");
    }
    assert!(server.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_of_others_get_nothing_out() {
    let (service, server) = server();
    let (_folder, outer) = way_out(&server, "https", HOST);
    let out = outer.handle.egress_addresses()[0].tcp().expect("of TCP");
    for head in [
        // A form of a browser that knows no Fetch Metadata, and a WebSocket, which has none in any browser.
        format!(
            "POST /hook HTTP/1.1\r\nhost: {out}\r\norigin: https://evil.example\r\ncontent-length: 0"
        ),
        format!(
            "GET /hook HTTP/1.1\r\nhost: {out}\r\norigin: https://evil.example\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
        ),
        format!("POST /hook HTTP/1.1\r\nhost: {out}\r\norigin: null\r\ncontent-length: 0"),
        "GET / HTTP/1.1\r\nhost: evil.example".to_owned(),
        format!(
            "POST /hook HTTP/1.1\r\nhost: {out}\r\nsec-fetch-site: cross-site\r\ncontent-length: 0"
        ),
        format!(
            "POST /hook HTTP/1.1\r\nhost: {out}\r\nsec-fetch-site: same-site\r\ncontent-length: 0"
        ),
        format!(
            "POST /hook HTTP/1.1\r\nhost: {out}\r\nsec-fetch-site: none\r\nsec-fetch-site: cross-site\r\ncontent-length: 0"
        ),
    ] {
        let answer = tokio::task::block_in_place(|| ask(out, &head));
        assert!(answer.starts_with("http/1.1 400"), "{head}: {answer}");
    }
    assert_eq!(service.accepted(), 0);
    assert!(server.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_not_the_one_gets_nothing() {
    let (service, server) = server();
    let (_folder, outer) = way_out(&server, "https", "spiffe://inner.example/orders");
    let out = outer.handle.egress_addresses()[0].tcp().expect("of TCP");
    let answer = tokio::task::block_in_place(|| {
        ask(
            out,
            "POST /hook HTTP/1.1\r\nhost: localhost\r\ncontent-length: 6\r\n\r\nsecret",
        )
    });
    assert!(answer.starts_with("http/1.1 502"), "{answer}");
    assert_eq!(service.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_out_as_they_are() {
    let (_service, server) = server();
    let (_folder, outer) = way_out(&server, "tls", HOST);
    let out = outer.handle.egress_addresses()[0].tcp().expect("of TCP");
    let host = format!("localhost:{}", server.address().port());
    let answer = tokio::task::block_in_place(|| {
        ask(
            out,
            &format!("GET /hook HTTP/1.1\r\nhost: {host}\r\nx-mine: 1"),
        )
    });
    assert!(
        answer.starts_with("http/1.1 200") && answer.contains("x-mine: 1"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_changes_where_the_way_out_leads() {
    let ((_one_service, one), (_two_service, two)) = (server(), server());
    let (_folder, outer) = way_out(&one, "https", HOST);
    let out = outer.handle.egress_addresses()[0].tcp().expect("of TCP");
    let ask = || tokio::task::block_in_place(|| ask(out, "GET / HTTP/1.1\r\nhost: localhost"));
    assert!(ask().starts_with("http/1.1 200"));
    // The other one is under another CA.
    let egress = format!(
        "[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n\
         [[gateway.egress]]\naddress = \"127.0.0.1:0\"\nupstream = \"https://localhost:{}\"\n\
         upstream_tls = {{ trust = \"inner\", name = [\"{HOST}\"] }}\n",
        two.address().port()
    );
    outer
        .handle
        .reload(outer.bytes_plan(&egress))
        .await
        .expect("reloads");
    assert!(ask().starts_with("http/1.1 502"));
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_speaks_http2_by_prior_knowledge_gets_out_and_no_web_page_of_it() {
    let (service, server) = server();
    let (_folder, outer) = way_out(&server, "https", HOST);
    let out = outer.handle.egress_addresses()[0].tcp().expect("of TCP");
    let socket = tokio::net::TcpStream::connect(out).await.expect("connects");
    let (mut sender, connection) = h2::client::handshake(socket).await.expect("h2");
    tokio::spawn(connection);
    for (host, page, status) in [
        (out.to_string(), None, 200),
        ("localhost".to_owned(), None, 200),
        ("evil.example".to_owned(), None, 400),
        (out.to_string(), Some("https://evil.example"), 400),
    ] {
        let mut request = http::Request::post(format!("http://{host}/hook"));
        if let Some(page) = page {
            request = request.header("origin", page);
        }
        let request = request.body(()).expect("a request");
        let (answer, _) = sender.send_request(request, true).expect("open");
        let answer = soon(answer).await.expect("an answer");
        assert_eq!(answer.status(), status, "{host} {page:?}");
    }
    assert_eq!(service.accepted(), 1);

    // Half a preface and then silence, and something that only begins like one.
    let mut half = TcpStream::connect(out).expect("connects");
    half.write_all(b"PRI * HTTP/2.0").expect("open");
    let answer = tokio::task::block_in_place(|| ask(out, "PUT / HTTP/1.1\r\nhost: localhost"));
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn program_speaks_by_a_socket_of_its_mode_under_any_name_of_the_host() {
    let (_service, server) = server();
    let (folder, outer) = way_out_of(&server, "https", HOST, |folder| {
        let path = folder.join("out.sock");
        let path = path.display();
        format!("address = \"unix:{path}\"\nsocket_mode = \"0660\"")
    });
    let path = folder.path().join("out.sock");
    let address = &outer.handle.egress_addresses()[0];
    assert_eq!(address.path(), Some(path.as_path()));
    let metadata = std::fs::metadata(&path).expect("bound");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    let ask = |head: &str| {
        let stream = UnixStream::connect(&path).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a socket");
        tokio::task::block_in_place(|| ask_by(stream, head))
    };
    for host in ["localhost", "orders", "evil.example"] {
        let answer = ask(&format!(
            "GET /hook HTTP/1.1\r\nhost: {host}\r\norigin: https://{host}\r\nx-client-cn: admin"
        ));
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        let name = format!("\nhost: localhost:{}\n", server.address().port());
        assert!(answer.contains(&name), "{answer}");
        assert!(
            answer.contains("\nx-client-cn: order-service\n") && !answer.contains("admin"),
            "{answer}"
        );
    }
    // Whatever the name, there is one of it.
    let answer = ask("GET / HTTP/1.1\r\nhost: localhost\r\nhost: orders");
    assert!(answer.starts_with("http/1.1 400"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_leads_to_nobody_but_the_server_and_bytes_go_by_it_too() {
    let (service, server) = server();
    for (scheme, name, passes) in [
        ("https", "spiffe://inner.example/orders", false),
        ("tls", "spiffe://inner.example/orders", false),
        ("tls", HOST, true),
    ] {
        let (folder, _outer) = way_out_of(&server, scheme, name, |folder| {
            format!("address = \"unix:{}\"", folder.join("out.sock").display())
        });
        let stream = UnixStream::connect(folder.path().join("out.sock")).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a socket");
        let host = format!("localhost:{}", server.address().port());
        let head = format!("GET /hook HTTP/1.1\r\nhost: {host}\r\nx-mine: secret");
        let before = service.accepted();
        let answer = tokio::task::block_in_place(|| ask_by(stream, &head));
        assert_eq!(answer.contains("x-mine: secret"), passes, "{answer}");
        assert_eq!(service.accepted() > before, passes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ways_out_share_no_socket_and_no_port() {
    let (_service, server) = server();
    for address in ["unix:/run/out.sock", "127.0.0.1:9080"] {
        let egress = format!(
            "[[gateway.egress]]\naddress = \"{address}\"\nupstream = \"https://localhost:1\"\n"
        );
        let routes = "[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n";
        let error = server.refused_plan(&format!("{routes}{egress}{egress}"));
        assert!(
            error.to_string().contains("the address of another one"),
            "{error}"
        );
    }
}
