//! HTTP/2 from end to end, between programs of other people.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use countersign_testkit::ephemeral;

use crate::installation::{Answer, Installation, text};
use crate::nginx::Nginx;
use crate::peers::peer;

/// h2load over plaintext to an egress, mutual TLS to a gateway, mutual TLS to nginx: HTTP/2 on each of the three. nginx ends a
/// connection after 1000 requests, whatever is on its way there.
#[test]
fn h2load_gets_every_answer_of_an_nginx_that_goes_away_again_and_again() {
    let test = "h2load_gets_every_answer_of_an_nginx_that_goes_away_again_and_again";
    let (Some(h2load), Some(nginx)) = (peer(test, "h2load"), peer(test, "nginx")) else {
        return;
    };
    let installation = Installation::new();
    let server = installation.issue("server", "localhost", &[]);
    let caller = installation.issue("client", "billing", &[]);
    let nginx = Nginx::start(&nginx, |address| {
        format!(
            "server {{ listen {address} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
             ssl_verify_client on; ssl_client_certificate {}; keepalive_requests 1000;\n\
             location / {{ return 200 \"$server_protocol $ssl_client_s_dn\"; }} }}\n",
            text(&server.certificate()),
            text(&server.key()),
            text(&server.ca()),
        )
    });
    let (gateway, egress) = (ephemeral::address(), ephemeral::address());
    let shown = format!(
        "certificate = \"{}\", key = \"{}\"",
        text(&caller.certificate()),
        text(&caller.key())
    );
    let _running = installation.serve(&format!(
        "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n\
         [[gateway.listener]]\naddress = \"{gateway}\"\n\
         [[gateway.listener.route]]\nhost = \"localhost\"\nupstream = \"https://localhost:{}\"\n\
         upstream_tls = {{ {shown} }}\nallow = [{{ cn = \"billing\" }}]\n\
         [[gateway.egress]]\naddress = \"{egress}\"\nupstream = \"https://localhost:{}\"\n\
         upstream_protocol = \"h2\"\nupstream_tls = {{ {shown} }}\n",
        nginx.address().port(),
        gateway.port(),
    ));
    let answer = get(egress);
    assert!(answer.contains("HTTP/2.0 CN=billing"), "{answer}");

    let url = format!("http://{egress}/");
    let loaded = Answer::of(Command::new(h2load).args(["-n", "5000", "-c", "5", "-m", "20", &url]));
    assert_eq!(loaded.code, Some(0), "{loaded:#?}");
    let all = "5000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(loaded.stdout.contains(all), "{}", loaded.stdout);
    assert!(
        loaded.stdout.contains("status codes: 5000 2xx"),
        "{}",
        loaded.stdout
    );
}

fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
