//! Access events: what was asked for by whom, where somebody asks for it.

use std::path::Path;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::process::Process;
use countersign_testkit::upstream::Upstream;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::in_time;
use crate::installation::{Installation, binary, text};

fn start(installation: &Installation, upstream: &Upstream, log: &str) -> Process {
    let service = upstream.address();
    let config = installation.write(
        "access.toml",
        &format!(
            "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n\
             [[gateway.listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
             [[gateway.listener.route]]\nupstream = \"http://{service}\"\nallow = [{{ cn = \"shop\" }}]\n\
             [[gateway.listener]]\nname = \"bytes\"\naddress = \"127.0.0.1:0\"\n\
             upstream = \"tcp://{service}\"\nallow = [{{ cn = \"shop\" }}]\n"
        ),
    );
    let (state, log) = (installation.state(), format!("COUNTERSIGN_LOG={log}"));
    let run = ["run", "-c", text(&config), "--state", text(&state)];
    Process::start(
        Path::new("/usr/bin/env"),
        &[&[&log, text(binary())], &run[..]].concat(),
    )
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn each_request_and_each_tunnel_is_one_event_where_that_is_asked_for() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let intern = installation.issue("client", "intern", &[]);
    for (log, is_asked_for) in [("info,access=debug", true), ("info", false)] {
        let gateway = start(&installation, &upstream, log);
        let address = |index: usize| {
            let address = gateway.ready()["listeners"][index].as_str();
            address.expect("an address").parse().expect("an address")
        };
        let get = || {
            let request = Request::get("/orders?token=secret").header("host", "localhost");
            request.body(Full::default()).expect("a request")
        };
        let client = shop.client(Protocol::Http1Tls13);
        for (client, status) in [
            (&client, 200),
            (&client, 200),
            (&intern.client(Protocol::Http1Tls13), 403),
        ] {
            let outcome = client.request(address(0), get()).await;
            assert_eq!(outcome.status(), Some(status), "{outcome:?}");
        }
        let asked = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut stream = client.connect(address(1)).await.expect("let in");
        stream.write_all(asked.as_bytes()).await.expect("written");
        stream.read_u8().await.expect("an answer");
        stream.shutdown().await.expect("half closed");
        let mut rest = Vec::new();
        in_time("the end", stream.read_to_end(&mut rest))
            .await
            .expect("the end");
        if !is_asked_for {
            let log = gateway.log();
            assert!(!log.contains("\"access\""), "{log}");
            continue;
        }

        let ended = event(&gateway.wait_for_log(&["\"access\"", "\"connection\""]));
        assert_eq!(ended["listener"], "bytes", "{ended}");
        assert_eq!(ended["src.id"], "cn:shop (internal)", "{ended}");
        assert_eq!(ended["end"], "ended", "{ended}");
        assert_eq!(ended["received_bytes"], asked.len(), "{ended}");
        assert!(ended["sent_bytes"].as_u64() > Some(0), "{ended}");
        assert!(ended["duration_ms"].is_u64(), "{ended}");

        let refused = event(&gateway.wait_for_log(&["\"access\"", "403"]));
        assert_eq!(refused["src.id"], "cn:intern (internal)", "{refused}");
        let log = gateway.log();
        let served = log.lines().filter(|line| line.contains("\"access\""));
        let served: Vec<Value> = served.map(event).filter(|it| it["status"] == 200).collect();
        assert_eq!(served.len(), 2, "{log}");
        for (event, resumed) in served.iter().zip([false, true]) {
            assert_eq!(event["resumed"], resumed, "{event}");
            for (name, value) in [
                ("listener", "web"),
                ("src.id", "cn:shop (internal)"),
                ("method", "GET"),
                ("host", "localhost"),
                ("path", "/orders"),
                ("tls", "TLSv1.3"),
            ] {
                assert_eq!(event[name], value, "{event}");
            }
            assert!(event["src.addr"].is_string() && event["duration_ms"].is_u64());
        }
        // A query may hold a secret.
        assert!(!log.contains("secret"), "{log}");
    }
}
