//! Revocation as everybody may ask for it: the public listener and the files, before the programs that use them.

mod openssl;
mod pkilint;
mod servers;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::pem;
use countersign_testkit::ephemeral;
use countersign_testkit::process::Process;

use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::peer;

/// An authority that publishes, beside a gateway.
struct Site {
    installation: Installation,
    process: Process,
    public: SocketAddr,
}

impl Site {
    fn new() -> Self {
        Self::start(Installation::new())
    }

    fn start(installation: Installation) -> Self {
        let public = ephemeral::address();
        let process = installation.serve(&configuration(public, &format!("http://{public}/pki")));
        assert_eq!(process.field("public"), public.to_string());
        Self {
            installation,
            process,
            public,
        }
    }

    fn intermediate(&self) -> PathBuf {
        self.installation.state().join("ca/intermediate.pem")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/pki{path}", self.public)
    }

    fn revoke(&self, name: &str) {
        self.installation
            .ok(&["revoke", name, "--reason", "key-compromise"]);
    }

    /// `ca crl`: every list of the chain.
    fn crl_file(&self) -> PathBuf {
        let path = self.installation.path("all.crl");
        self.installation.ok(&["ca", "crl", "--out", text(&path)]);
        path
    }

    /// The list at `url` and the root's, in PEM.
    fn with_roots(&self, name: &str, list: &[u8]) -> PathBuf {
        let lists = self.installation.json(&["ca", "crl"]);
        let root = lists["lists"][1]["pem"].as_str().expect("the root's");
        let both = pem::encode("X509 CRL", list) + root;
        self.installation.write(name, &both)
    }
}

/// Waits until the list at `url` has the certificate: it is signed within a second of the revocation.
fn list_with(url: &str, revoked: &Certificate) -> Vec<u8> {
    let begun = Instant::now();
    loop {
        let der = fetch(url);
        let list = ParsedCrl::parse(&der).expect("a CRL");
        if list
            .entries()
            .iter()
            .any(|entry| entry.serial == revoked.serial())
        {
            return der;
        }
        assert!(
            begun.elapsed() < HANG,
            "{url} does not list {}",
            revoked.serial()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn configuration(public: SocketAddr, url: &str) -> String {
    format!(
        "[authority.public]\naddress = \"{public}\"\nurl = \"{url}\"\n\
         [gateway]\nmetrics_address = \"127.0.0.1:0\"\n\
         [[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
    )
}

fn leaf(issued: &Issued) -> Certificate {
    first_certificate(&issued.certificate())
}

fn first_certificate(path: &Path) -> Certificate {
    let blocks = pem::decode_all(&fs::read(path).expect("readable")).expect("PEM");
    Certificate::parse(&blocks[0].der).expect("a certificate")
}

fn shard_url(certificate: &Certificate) -> String {
    certificate.crl_uris()[0].to_owned()
}

/// The path and the options, as a request of our own: head and body of the answer.
fn http(address: &str, request: &str) -> (String, Vec<u8>) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(HANG)).expect("an option");
    // Whoever is refused early may not take it all.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&answer)));
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer)
        .expect("ASCII")
        .to_ascii_lowercase();
    (head, body)
}

fn get(url: &str, headers: &str) -> (String, Vec<u8>) {
    ask("GET", url, headers, "")
}

fn ask(method: &str, url: &str, headers: &str, body: &str) -> (String, Vec<u8>) {
    let rest = url.strip_prefix("http://").expect("http");
    let (host, path) = rest.split_at(rest.find('/').expect("a path"));
    http(
        host,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n{body}"
        ),
    )
}

pub(crate) fn fetch(url: &str) -> Vec<u8> {
    let (head, body) = get(url, "");
    assert!(head.starts_with("http/1.1 200"), "{url}: {head}");
    body
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let line = head.lines().find_map(|line| line.strip_prefix(&*prefix));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[test]
fn lists_and_ca_certificates_are_served_with_what_caches_need() {
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let url = shard_url(&leaf(&you));
    assert!(url.starts_with(&site.url("/crl/")), "{url}");
    let (head, body) = get(&url, "");
    assert_eq!(header(&head, "content-type"), "application/pkix-crl");
    assert_eq!(header(&head, "content-length"), body.len().to_string());
    let cache = header(&head, "cache-control");
    assert_eq!(cache, "max-age=300, public, no-transform, must-revalidate");
    let list = ParsedCrl::parse(&body).expect("a CRL");
    list.verify(&first_certificate(&site.intermediate()))
        .expect("the issuing CA's");
    for (name, time) in [
        ("last-modified", list.this_update()),
        ("expires", list.next_update().expect("always")),
    ] {
        let told = httpdate(header(&head, name));
        assert_eq!(told, time.seconds(), "{name}");
    }

    let etag = header(&head, "etag");
    let (again, nothing) = get(&url, &format!("If-None-Match: {etag}\r\n"));
    assert!(again.starts_with("http/1.1 304"), "{again}");
    assert!(nothing.is_empty());
    assert_eq!(header(&again, "etag"), etag);
    let (other, _) = get(&url, "If-None-Match: \"other\"\r\n");
    assert!(other.starts_with("http/1.1 200"), "{other}");
    let (only_head, nothing) = ask("HEAD", &url, "", "");
    assert!(nothing.is_empty());
    for name in ["content-length", "content-type", "etag"] {
        assert_eq!(header(&only_head, name), header(&head, name));
    }

    for file in ["root", "intermediate"] {
        let path = site.installation.state().join(format!("ca/{file}.pem"));
        let certificate = first_certificate(&path);
        let id: String = certificate.spki().to_string().chars().take(16).collect();
        let (head, body) = get(&site.url(&format!("/ca/{id}.cer")), "");
        assert_eq!(header(&head, "content-type"), "application/pkix-cert");
        assert_eq!(body, certificate.der().as_ref());
    }
}

#[test]
fn public_listener_has_nothing_else() {
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let list = shard_url(&leaf(&you));
    let check = |method: &str, url: &str, headers: &str, body: &str, status: u16| {
        let (head, _) = ask(method, url, headers, body);
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")),
            "{method} {url}: {head}"
        );
        assert_eq!(header(&head, "cache-control"), "no-store", "{method} {url}");
    };
    let root = format!("http://{}", site.public);
    for path in [
        "/",
        "/pki",
        "/pki/",
        "/v1/status",
        "/v1/issue",
        "/metrics",
        "/healthz",
        "/pki/v1/status",
        "/pki/crl",
        "/pki/crl/",
        "/pki/crl/x.crl",
        "/pki/ca",
        "/pki/../v1/status",
        "/pki/%2e%2e/v1",
        "/ocsp",
        "/pki/ocspx",
    ] {
        check("GET", &format!("{root}{path}"), "", "", 404);
    }
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        check(method, &list, "", "", 405);
        check(method, &site.url("/ocsp"), "", "", 405);
    }
    check("POST", &list, "Content-Length: 1\r\n", "x", 405);
    let ocsp = site.url("/ocsp");
    check("POST", &ocsp, "Content-Length: 1\r\n", "x", 415);
    check(
        "POST",
        &ocsp,
        "Content-Type: text/plain\r\nContent-Length: 1\r\n",
        "x",
        415,
    );
    let large = "x".repeat(4097);
    let headers = "Content-Type: application/ocsp-request\r\nContent-Length: 4097\r\n";
    check("POST", &ocsp, headers, &large, 413);
    let chunked = "Content-Type: application/ocsp-request\r\nTransfer-Encoding: chunked\r\n";
    check(
        "POST",
        &ocsp,
        chunked,
        &format!("1001\r\n{large}\r\n0\r\n\r\n"),
        413,
    );
    let (head, _) = get(&list, &format!("X: {}\r\n", "x".repeat(64 * 1024)));
    assert!(head.starts_with("http/1.1 431"), "{head}");
}

#[test]
fn nonsense_is_answered_malformed_request() {
    let site = Site::new();
    let malformed = [0x30, 3, 0x0a, 1, 1];
    let ocsp = site.url("/ocsp");
    let (head, body) = get(&format!("{ocsp}/nonsense"), "");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-type"), "application/ocsp-response");
    assert_eq!(header(&head, "cache-control"), "no-store");
    assert_eq!(body, malformed);
    for path in ["", "/", "/%", "/%zz", "/MA==", "//"] {
        assert_eq!(get(&format!("{ocsp}{path}"), "").1, malformed, "{path:?}");
    }
    let headers = "Content-Type: application/ocsp-request\r\nContent-Length: 3\r\n";
    assert_eq!(ask("POST", &ocsp, headers, "abc").1, malformed);
    let empty = "Content-Type: application/ocsp-request\r\nContent-Length: 0\r\n";
    assert_eq!(ask("POST", &ocsp, empty, "").1, malformed);
}

#[test]
fn revoked_certificate_is_on_its_shard_after_a_crash_too() {
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let certificate = leaf(&you);
    let url = shard_url(&certificate);
    let before = ParsedCrl::parse(&fetch(&url)).expect("a CRL").number();
    site.revoke("you");
    let Site {
        installation,
        process,
        public,
    } = site;
    // Killed at any instant after the revocation was acknowledged.
    process.kill();
    let process = installation.serve(&configuration(public, &format!("http://{public}/pki")));
    let _site = Site {
        installation,
        process,
        public,
    };
    let after = ParsedCrl::parse(&list_with(&url, &certificate)).expect("a CRL");
    assert!(
        after.number() > before,
        "{:?} after {before:?}",
        after.number()
    );
}

#[test]
fn crl_file_is_written_whether_a_process_serves_or_not() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let certificate = leaf(&you);
    assert!(certificate.crl_uris().is_empty(), "nothing is published");
    let listed = |text: &str| -> Vec<bool> {
        let blocks = pem::decode_all(text.as_bytes()).expect("PEM");
        let lists = blocks
            .iter()
            .map(|block| ParsedCrl::parse(&block.der).expect("a CRL"));
        lists
            .map(|list| {
                list.entries()
                    .iter()
                    .any(|entry| entry.serial == certificate.serial())
            })
            .collect()
    };
    assert_eq!(listed(&installation.ok(&["ca", "crl"])), [false, false]);
    installation.ok(&["revoke", "you"]);
    assert_eq!(listed(&installation.ok(&["ca", "crl"])), [true, false]);
    let served = installation.up(&[]);
    assert!(served.ready()["public"].is_null(), "nothing is published");
    let file = installation.path("all.crl");
    let json = installation.json(&["ca", "crl", "--out", text(&file)]);
    assert_eq!(
        listed(&fs::read_to_string(&file).expect("written")),
        [true, false]
    );
    assert_eq!(
        json["lists"][0]["issuer"],
        "CN=Countersign Issuing CA,O=Countersign"
    );
    let nowhere = installation.path("no/such/folder/all.crl");
    let answer = installation.run(&["ca", "crl", "--out", text(&nowhere)]);
    assert_eq!(answer.code, Some(3), "{answer:#?}");
    assert!(answer.stderr.contains("cannot write"), "{answer:#?}");
}

#[test]
fn our_own_verifier_takes_complete_lists_and_shards() {
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let other = site.installation.issue("client", "other", &[]);
    let (certificate, ca) = (you.certificate(), you.ca());
    let verify = |crl: &Path| {
        let folder = site.installation.path("");
        let arguments = [
            "verify",
            "--as",
            "client",
            "--trust",
            text(&ca),
            "--cert",
            text(&certificate),
            "--crl",
            text(crl),
            "--json",
        ];
        let answer = crate::installation::countersign(&folder, &arguments);
        let verdict: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
        verdict["cause"].as_str().unwrap_or("valid").to_owned()
    };
    let url = shard_url(&leaf(&you));
    assert_eq!(verify(&site.crl_file()), "valid");
    assert_eq!(verify(&site.with_roots("shard", &fetch(&url))), "valid");
    let others = shard_url(&leaf(&other));
    if others != url {
        assert_eq!(
            verify(&site.with_roots("others", &fetch(&others))),
            "crl-missing"
        );
    }
    site.revoke("you");
    let shard = list_with(&url, &leaf(&you));
    assert_eq!(verify(&site.crl_file()), "certificate-revoked");
    assert_eq!(
        verify(&site.with_roots("shard", &shard)),
        "certificate-revoked"
    );
}

#[test]
fn what_cannot_be_published_is_refused_with_its_place() {
    let installation = Installation::new();
    let check = |toml: &str, code: i32, words: &[&str]| {
        let file = installation.write("countersign.toml", toml);
        installation
            .run(&["run", "-c", text(&file)])
            .assert_fault(code, words);
    };
    let public = ephemeral::address();
    check(
        &configuration(public, "https://pki.example.com"),
        2,
        &[
            "countersign.toml:3:1",
            "authority.public.url",
            "write http://",
        ],
    );
    check(
        &configuration(public, "pki.example.com"),
        2,
        &["it does not begin with http://"],
    );
    check(
        "[authority.public]\naddress = \"127.0.0.1:0\"\n",
        2,
        &["missing field `url`"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("bound");
    check(
        &configuration(taken.1, "http://pki.example.com"),
        3,
        &["cannot listen on", "the port is in use"],
    );
}

#[test]
fn what_is_published_changes_with_a_restart_only() {
    let site = Site::new();
    let other = configuration(site.public, "http://other.example");
    site.installation.write("countersign.toml", &other);
    site.process.signal(rustix::process::Signal::HUP);
    site.process
        .wait_for_log(&["not reloaded", "authority.public"]);
    let you = site.installation.issue("client", "you", &[]);
    assert!(shard_url(&leaf(&you)).starts_with(&site.url("")));
    let status = site.installation.json(&["status"]);
    assert_eq!(status["authority"]["publication_url"], site.url(""));
}

#[test]
fn certificates_of_a_former_url_are_served_their_own_lists() {
    let site = Site::new();
    let old = leaf(&site.installation.issue("client", "old", &[]));
    let Site {
        installation,
        process,
        public,
    } = site;
    assert!(process.interrupt().success());
    // The same listener under another name.
    let host = format!("localhost:{}", public.port());
    let process = installation.serve(&configuration(public, &format!("http://{host}/pki")));
    let site = Site {
        installation,
        process,
        public,
    };
    let new = leaf(&site.installation.issue("client", "new", &[]));
    for name in ["old", "new"] {
        site.revoke(name);
    }
    for certificate in [&old, &new] {
        let url = shard_url(certificate);
        let list = ParsedCrl::parse(&list_with(&url, certificate)).expect("a CRL");
        assert!(list.scope().expect("judged").covers(certificate), "{url}");
    }
    assert!(shard_url(&new).starts_with(&format!("http://{host}/")));
}

#[test]
fn curl_fetches_from_the_url_in_a_certificate() {
    let Some(curl) = peer("curl_fetches_from_the_url_in_a_certificate", "curl") else {
        return;
    };
    let site = Site::new();
    let you = site.installation.issue("client", "you", &[]);
    let (file, url) = (
        site.installation.path("fetched.crl"),
        shard_url(&leaf(&you)),
    );
    for (turn, expected) in [("first", "200"), ("second", "304")] {
        let mut command = Command::new(&curl);
        command.args(["-sS", "-w", "%{response_code}", "-o", text(&file)]);
        if turn == "second" {
            command.args(["-z", text(&file)]);
        }
        // curl takes the file's time for what it has.
        let answer = Answer::of(command.args(["-R", &url]));
        assert_eq!(
            (answer.code, answer.stdout.as_str()),
            (Some(0), expected),
            "{answer:#?}"
        );
    }
    ParsedCrl::parse(&fs::read(&file).expect("fetched")).expect("a CRL");
}

/// Seconds of an HTTP date in lower case.
fn httpdate(text: &str) -> u64 {
    let python = format!(
        "import calendar,email.utils;print(calendar.timegm(email.utils.parsedate('{text}')))"
    );
    let answer = Answer::of(Command::new("python3").args(["-c", &python]));
    answer.stdout.trim().parse().expect("a number")
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
