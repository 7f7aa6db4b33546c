//! What people have without the doctor: `openssl verify`, `openssl s_client`, curl. Their words are read in their favour: what
//! can stand for one cause alone names it; what stands for many (`unknown ca`, `unable to get local issuer certificate`) names
//! none.

use std::path::Path;
use std::process::Command;

use crate::doctor_corpus::workshop::Invocation;
use crate::installation::Answer;

/// One of them, and what it says of a scenario: a slug, `healthy`, or `None` where it names nothing or cannot look.
pub(crate) struct Baseline {
    pub(crate) name: &'static str,
    pub(crate) ask: fn(&Invocation) -> Option<&'static str>,
}

pub(crate) const BASELINES: [Baseline; 3] = [
    Baseline {
        name: "openssl verify",
        ask: verify,
    },
    Baseline {
        name: "openssl s_client",
        ask: s_client,
    },
    Baseline {
        name: "curl",
        ask: curl,
    },
];

fn verify(invocation: &Invocation) -> Option<&'static str> {
    let client = invocation
        .value("--cert")
        .zip(invocation.value("--client-ca"));
    let server = invocation
        .value("--server-cert")
        .zip(invocation.value("--ca"));
    for (sides, purpose) in [(client, "sslclient"), (server, "sslserver")] {
        let Some((certificate, bundle)) = sides else {
            continue;
        };
        let mut arguments = vec!["verify", "-purpose", purpose, "-CAfile", bundle];
        arguments.extend(["-untrusted", certificate]);
        if let Some(lists) = invocation.value("--crl") {
            arguments.extend(["-crl_check_all", "-CRLfile", lists]);
        }
        if invocation.arguments.iter().any(|flag| flag == "--strict") {
            arguments.push("-x509_strict");
        }
        if let Some(name) = invocation
            .value("--name")
            .filter(|_| purpose == "sslserver")
        {
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            arguments.extend([
                if is_address {
                    "-verify_ip"
                } else {
                    "-verify_hostname"
                },
                name,
            ]);
        }
        arguments.push(certificate);
        let answer = run(&invocation.folder, "openssl", &arguments);
        if answer.code != Some(0) {
            return named(&answer.all(), purpose == "sslclient");
        }
    }
    (client.is_some() || server.is_some()).then_some("healthy")
}

fn s_client(invocation: &Invocation) -> Option<&'static str> {
    let (address, host) = target(invocation)?;
    let name = invocation.value("--name").unwrap_or(&host);
    let mut arguments = vec!["s_client", "-connect", &address, "-verify_return_error"];
    if name.parse::<std::net::IpAddr>().is_ok() {
        arguments.extend(["-verify_ip", name]);
    } else {
        arguments.extend(["-servername", name, "-verify_hostname", name]);
    }
    for (flag, option) in [
        ("--ca", "-CAfile"),
        ("--cert", "-cert"),
        ("--key", "-key"),
        ("--alpn", "-alpn"),
        ("--starttls", "-starttls"),
    ] {
        arguments.extend(
            invocation
                .value(flag)
                .into_iter()
                .flat_map(|value| [option, value]),
        );
    }
    if invocation
        .target
        .as_deref()
        .is_some_and(|target| target.starts_with("postgres://"))
    {
        arguments.extend(["-starttls", "postgres"]);
    }
    let timed = [&["-k", "1", SECONDS, "openssl"], &arguments[..]].concat();
    let answer = run(&invocation.folder, "timeout", &timed);
    match named(&answer.all(), false) {
        None if answer.code == Some(0) => Some("healthy"),
        named => named,
    }
}

fn curl(invocation: &Invocation) -> Option<&'static str> {
    let (address, host) = target(invocation)?;
    let asked = invocation.target.as_deref()?;
    let name = invocation.value("--name").unwrap_or(&host);
    let port = address.rsplit(':').next()?;
    let url = if asked.contains("://") {
        asked.to_owned()
    } else {
        format!("https://{name}:{port}/")
    };
    let through = format!("{name}:{port}:{address}");
    let mut arguments = vec!["-sS", "--max-time", SECONDS, "-w", "%{http_code}", &url];
    if name != host {
        arguments.extend(["--connect-to", &through]);
    }
    let host_header = invocation
        .value("--host-header")
        .map(|host| format!("Host: {host}"));
    arguments.extend(host_header.iter().flat_map(|header| ["-H", header]));
    for (flag, option) in [
        ("--ca", "--cacert"),
        ("--cert", "--cert"),
        ("--key", "--key"),
    ] {
        arguments.extend(
            invocation
                .value(flag)
                .into_iter()
                .flat_map(|value| [option, value]),
        );
    }
    let answer = run(&invocation.folder, "curl", &arguments);
    match named(&answer.all(), false) {
        None if answer.code == Some(0) && !answer.stdout.ends_with("400") => Some("healthy"),
        named => named,
    }
}

/// `host:port` and the host.
fn target(invocation: &Invocation) -> Option<(String, String)> {
    let target = invocation.target.as_deref()?;
    let authority = target.split("://").last()?.split('/').next()?;
    let (host, _) = authority.rsplit_once(':')?;
    Some((authority.to_owned(), host.to_owned()))
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Answer {
    Answer::of(Command::new(program).args(arguments).current_dir(folder))
}

/// The cause that these words can stand for alone.
fn named(said: &str, is_client: bool) -> Option<&'static str> {
    let depth = |number: u8| {
        said.contains(&format!("at {number} depth"))
            || said
                .split("verify error")
                .next()
                .and_then(|before| before.rsplit("depth=").next())
                .is_some_and(|text| text.starts_with(&number.to_string()))
    };
    if said.contains("certificate has expired") {
        return match (depth(0), depth(1), said.contains("depth")) {
            (true, _, _) | (_, _, false) => Some("leaf-expired"),
            (_, true, _) => Some("intermediate-expired"),
            _ => Some("root-expired"),
        };
    }
    if said.contains("certificate purpose") && depth(0) {
        return Some(if is_client {
            "eku-missing-clientauth"
        } else {
            "eku-missing-serverauth"
        });
    }
    let found = WORDS.iter().find(|(words, _)| said.contains(words));
    found.map(|&(_, slug)| slug)
}

/// Longer than anything here takes that answers at all.
const SECONDS: &str = "2";

const WORDS: &[(&str, &str)] = &[
    ("certificate is not yet valid", "not-yet-valid"),
    ("path length constraint exceeded", "pathlen-exceeded"),
    ("invalid CA certificate", "issuer-not-a-ca"),
    (
        "key usage does not include certificate signing",
        "issuer-cannot-sign",
    ),
    ("permitted subtree violation", "name-constraints-violated"),
    ("excluded subtree violation", "name-constraints-violated"),
    (
        "unsupported name constraint type",
        "name-constraints-unsupported",
    ),
    ("subject key identifier mismatch", "aki-mismatch"),
    ("certificate chain too long", "verify-depth-too-small"),
    (
        "Missing Authority Key Identifier",
        "ca-extensions-incomplete",
    ),
    (
        "CA cert does not include key usage extension",
        "ca-extensions-incomplete",
    ),
    ("certificate revoked", "certificate-revoked"),
    ("CRL has expired", "crl-expired"),
    ("CRL is not yet valid", "crl-unprocessed"),
    ("unable to get certificate CRL", "crl-missing"),
    ("CRL signature failure", "crl-bad-signature"),
    ("certificate signature failure", "bad-signature"),
    ("IP address mismatch", "ip-san-missing"),
    ("ostname mismatch", "name-mismatch"),
    ("matches target host name", "name-mismatch"),
    ("key too small", "weak-key"),
    ("certificate key too weak", "weak-key"),
    ("digest algorithm too weak", "weak-signature"),
    ("md too weak", "weak-signature"),
    ("key values mismatch", "key-cert-mismatch"),
    ("No such file", "file-missing"),
    ("alert certificate expired", "leaf-expired"),
    ("alert certificate required", "client-cert-not-sent"),
    (
        "No required SSL certificate was sent",
        "client-cert-not-sent",
    ),
    ("unsupported protocol", "tls-version-mismatch"),
    ("alert protocol version", "tls-version-mismatch"),
    ("no application protocol", "alpn-mismatch"),
    ("unrecognized name", "sni-unknown"),
    ("excessive message size", "handshake-too-large"),
    ("421 Misdirected", "sni-host-mismatch"),
    (
        "plain HTTP request was sent to HTTPS port",
        "plain-http-to-tls-port",
    ),
    (
        "speaking plain HTTP to an SSL-enabled server port",
        "plain-http-to-tls-port",
    ),
    ("Could not resolve host", "name-not-resolved"),
    ("Name or service not known", "name-not-resolved"),
    ("Connection refused", "connection-refused"),
    ("Couldn't connect", "connection-refused"),
    ("reset by peer", "reset-before-server-hello"),
    ("errno=104", "reset-before-server-hello"),
];
