//! Ports that hold no TLS, not yet, or nothing at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use Expect::Root;
use countersign_diagnose::cause::Cause;
use countersign_testkit::ephemeral;

use crate::doctor_corpus::live_client::PLAIN_NGINX;
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::servers::{Flow, carry, greet, read_out, reset};

const CURL_WITHOUT: &str = "curl -sS --max-time 3 --cacert root.pem https://TARGET/";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "plaintext HTTP on the port",
        source: "https://github.com/openssl/openssl/issues/6805",
        expect: Root(&[Cause::PeerNotTls]),
        build: |w| {
            let address = w.nginx("server { listen ADDRESS; location / { return 200 ok; } }");
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "wrong version number")
        },
    },
    Scenario {
        name: "SSH on the port",
        source: "https://github.com/encode/httpx/issues/646",
        expect: Root(&[Cause::PeerNotTls]),
        build: |w| {
            let address = w.listen(|stream| greet(stream, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"));
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "wrong version number")
        },
    },
    Scenario {
        name: "http:// to nginx's TLS port",
        source: "https://github.com/openssl/openssl/pull/30204",
        expect: Root(&[Cause::PlainHttpToTlsPort]),
        build: |w| {
            let address = w.mutual_nginx("");
            w.ask()
                .to(format!("http://localhost:{}/", address.port()))
                .shows(
                    "curl -sS --max-time 3 TARGET",
                    "The plain HTTP request was sent to HTTPS port",
                )
        },
    },
    Scenario {
        name: "http:// to Apache's TLS port",
        source: "https://github.com/openssl/openssl/issues/27293",
        expect: Root(&[Cause::PlainHttpToTlsPort]),
        build: |w| {
            let address = w.apache(crate::doctor_corpus::live_client::MUTUAL_APACHE);
            w.ask()
                .to(format!("http://localhost:{}/", address.port()))
                .shows(
                    "curl -sS --max-time 3 TARGET",
                    "speaking plain HTTP to an SSL-enabled server port",
                )
        },
    },
    Scenario {
        name: "SMTP without STARTTLS",
        source: "https://github.com/nodemailer/nodemailer/issues/1154",
        expect: Root(&[Cause::StarttlsRequired]),
        build: |w| {
            let address = w.listen(|stream| {
                let _ = smtp(&stream);
            });
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "wrong version number")
        },
    },
    Scenario {
        name: "IMAP without STARTTLS",
        source: "https://docs.openssl.org/3.0/man1/openssl-s_client/",
        expect: Root(&[Cause::StarttlsRequired]),
        build: |w| {
            let greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n";
            let address = w.listen(move |stream| greet(stream, greeting));
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "wrong version number")
        },
    },
    Scenario {
        name: "MySQL on the port",
        source: "https://github.com/benborla/mcp-server-mysql/issues/90",
        expect: Root(&[Cause::StarttlsRequired, Cause::PeerNotTls]),
        build: |w| {
            let greeting = "\u{4a}\0\0\0\u{a}8.0.36\0\u{8}\0\0\0abcdefgh\0";
            let address = w.listen(move |stream| greet(stream, greeting));
            w.connect_bare(address)
                .shows(CURL_WITHOUT, "wrong version number")
        },
    },
    Scenario {
        name: "PostgreSQL without ssl = on",
        source: "https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.12",
        expect: Root(&[Cause::PeerNotTls]),
        build: |w| {
            let address = w.listen(|stream| {
                let _ = postgres(&stream, b"N");
                read_out(stream);
            });
            w.connect_bare(address)
                .to(format!("postgres://localhost:{}/app", address.port()))
                .shows(
                    &format!(
                        "openssl s_client -starttls postgres -connect localhost:{}",
                        address.port()
                    ),
                    "no peer certificate available",
                )
        },
    },
    Scenario {
        name: "connection reset on the first bytes",
        source: "https://github.com/denoland/dotland/issues/2680",
        expect: Root(&[Cause::ResetBeforeServerHello]),
        build: |w| {
            let address = w.listen(reset);
            w.connect_bare(address).shows(CURL_WITHOUT, "reset by peer")
        },
    },
    Scenario {
        name: "port that takes everything and says nothing",
        source: "https://github.com/envoyproxy/envoy/issues/26172",
        expect: Root(&[Cause::NoTlsAnswer]),
        build: |w| {
            let address = w.listen(read_out);
            w.connect_bare(address).shows(
                "curl -sS --max-time 1 --cacert root.pem https://TARGET/",
                "timed out",
            )
        },
    },
    Scenario {
        name: "silent port, client in a hurry",
        source: "https://github.com/envoyproxy/envoy/issues/26172",
        expect: Root(&[Cause::NoTlsAnswer]),
        build: |w| {
            let address = w.listen(read_out);
            w.connect_bare(address).with("--timeout 2")
        },
    },
    Scenario {
        name: "server stalls in the middle of the handshake",
        source: "https://github.com/Nyr/openvpn-install/issues/453",
        expect: Root(&[Cause::HandshakeTimeout]),
        build: |w| {
            let behind = w.mutual_s_server("-tls1_2");
            let address = w.listen(move |stream| carry(stream, behind, Flow::Cut(200)));
            w.connect(address).shows(
                "curl -sS --max-time 1 --cacert root.pem https://TARGET/",
                "timed out",
            )
        },
    },
    Scenario {
        name: "nothing listens",
        source: "https://github.com/etcd-io/etcd/issues/9398",
        expect: Root(&[Cause::ConnectionRefused]),
        build: |w| {
            let address = ephemeral::address();
            w.connect(address).shows(CURL_WITHOUT, "Couldn't connect")
        },
    },
    Scenario {
        name: "host name that does not exist",
        source: "https://www.rfc-editor.org/rfc/rfc6761#section-6.4",
        expect: Root(&[Cause::NameNotResolved]),
        build: |w| {
            w.ask()
                .to("api.corpus.invalid:8443")
                .with("--ca root.pem")
                .shows(CURL_WITHOUT, "Could not resolve host")
        },
    },
    Scenario {
        name: "something that looks like TLS and is not",
        source: "https://github.com/openssl/openssl/issues/17384",
        expect: Root(&[Cause::MalformedHandshake]),
        build: |w| {
            let address = w.listen(|mut stream| {
                let _ = stream.peek(&mut [0]);
                // A record of TLS 1.2 with a ServerHello whose session identifier is longer than the message.
                let _ = stream
                    .write_all(&[0x16, 3, 3, 0, 10, 2, 0, 0, 6, 3, 3, 0xff, 0xff, 0xff, 0xff]);
                read_out(stream);
            });
            w.connect_bare(address).shows(CURL_WITHOUT, "SSL")
        },
    },
    Scenario {
        name: "port serves plaintext HTTP as well (permissive mesh)",
        source: "https://istio.io/latest/docs/concepts/security/#permissive-mode",
        expect: Root(&[Cause::PlaintextAlsoAccepted]),
        build: |w| {
            let tls = w.mutual_nginx("");
            let plain = w.nginx("server { listen ADDRESS; location / { return 200 plain; } }");
            let address = w.listen(move |stream| {
                let mut first = [0];
                let is_tls = stream.peek(&mut first).is_ok_and(|read| read > 0) && first[0] == 0x16;
                carry(stream, if is_tls { tls } else { plain }, Flow::Whole);
            });
            w.connect(address)
                .with("--expect-enforced")
                .shows("curl -sS --max-time 3 http://TARGET/", "plain")
        },
    },
    Scenario {
        name: "nginx waits for a PROXY header",
        source: "https://github.com/hashicorp/consul/issues/3926",
        expect: Root(&[Cause::ProxyHeaderMissing]),
        build: |w| {
            let proxied = PLAIN_NGINX.replace("ADDRESS ssl", "ADDRESS ssl proxy_protocol");
            let address = w.nginx(&proxied);
            w.connect_bare(address)
                .shows(&format!("{CURL_WITHOUT} --haproxy-protocol"), "ok")
        },
    },
    Scenario {
        name: "HAProxy waits for a PROXY header",
        source: "https://github.com/varnishcache/varnish-cache/issues/2151",
        expect: Root(&[Cause::ProxyHeaderMissing]),
        build: |w| {
            let address = w.haproxy_bind("accept-proxy");
            w.connect_bare(address).shows(
                &format!("{CURL_WITHOUT} --haproxy-protocol -o /dev/null -w %{{http_code}}"),
                "200",
            )
        },
    },
];

/// Waits for an `SSLRequest` (PostgreSQL's protocol, §55.2.10) and answers it; true if there was one.
pub(super) fn postgres(mut stream: &TcpStream, answer: &[u8]) -> std::io::Result<bool> {
    let mut request = [0; 8];
    stream.read_exact(&mut request)?;
    let is_request = request == [0, 0, 0, 8, 4, 210, 22, 47];
    if is_request {
        stream.write_all(answer)?;
    }
    Ok(is_request)
}

/// The plaintext part of an SMTP session up to STARTTLS; true if the client asked for it.
pub(super) fn smtp(stream: &TcpStream) -> std::io::Result<bool> {
    // Far more than a client on loopback takes.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut reader, mut writer) = (BufReader::with_capacity(1, stream), stream);
    writer.write_all(b"220 mail.example.com ESMTP Postfix\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let word = line.trim().to_ascii_uppercase();
        if word == "STARTTLS" {
            writer.write_all(b"220 2.0.0 Ready to start TLS\r\n")?;
            return Ok(true);
        } else if word.starts_with("EHLO") {
            writer.write_all(b"250-mail.example.com\r\n250-STARTTLS\r\n250 HELP\r\n")?;
        } else if word == "QUIT" {
            writer.write_all(b"221 Bye\r\n")?;
            return Ok(false);
        } else {
            writer.write_all(b"530 5.7.0 Must issue a STARTTLS command first\r\n")?;
        }
    }
}
