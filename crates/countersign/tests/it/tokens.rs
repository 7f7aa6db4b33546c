//! Tokens and API keys beside certificates, through the real binary. Tokens are signed by OpenSSL.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::fingerprint::Fingerprint;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_testkit::process::Process;
use countersign_testkit::service::Service;
use countersign_testkit::upstream::Upstream;
use http::Request;
use http_body_util::BodyExt;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

use crate::http::{Connection, Sent, get, in_time};
use crate::installation::{Installation, Issued, countersign, text};
use crate::metrics::plain_get;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.expect("openssl is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {told}");
    output.stdout
}

/// A key of OpenSSL's, which signs as an issuer of tokens does.
pub(crate) struct Signer {
    folder: PathBuf,
    kind: &'static str,
    kid: &'static str,
}

impl Signer {
    pub(crate) fn new(
        installation: &Installation,
        kind: &'static str,
        key_id: &'static str,
    ) -> Self {
        let folder = installation.path(&format!("signer-{kind}-{key_id}"));
        fs::create_dir(&folder).expect("writable");
        let signer = Self {
            folder,
            kind,
            kid: key_id,
        };
        let key = signer.file("key.pem");
        let mut arguments = vec!["genpkey", "-out", text(&key), "-algorithm"];
        arguments.extend_from_slice(match kind {
            "ES256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "EdDSA" => &["ED25519"],
            _ => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        });
        openssl(&arguments);
        signer
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn jwk(&self) -> String {
        let key = self.file("key.pem");
        let spki = openssl(&["pkey", "-in", text(&key), "-pubout", "-outform", "DER"]);
        let kid = self.kid;
        match self.kind {
            "ES256" => {
                let (x, y) = spki[spki.len() - 64..].split_at(32);
                let (x, y) = (b64(x), b64(y));
                format!(r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","x":"{x}","y":"{y}"}}"#)
            }
            "EdDSA" => {
                let x = b64(&spki[spki.len() - 32..]);
                format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
            }
            _ => {
                let n = openssl(&["rsa", "-in", text(&key), "-noout", "-modulus"]);
                let n = String::from_utf8(n).expect("text");
                let n = n.trim().strip_prefix("Modulus=").expect("a modulus");
                let bytes = (0..n.len()).step_by(2);
                let bytes = bytes.map(|at| u8::from_str_radix(&n[at..at + 2], 16).expect("hex"));
                let n = b64(bytes.collect::<Vec<u8>>());
                format!(r#"{{"kty":"RSA","kid":"{kid}","n":"{n}","e":"AQAB"}}"#)
            }
        }
    }

    pub(crate) fn set(signers: &[&Self]) -> String {
        let keys: Vec<String> = signers.iter().map(|it| it.jwk()).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    fn sign(&self, message: &str) -> Vec<u8> {
        let (key, file) = (self.file("key.pem"), self.file("message"));
        fs::write(&file, message).expect("writable");
        if self.kind == "EdDSA" {
            let arguments = ["pkeyutl", "-sign", "-rawin", "-inkey", text(&key)];
            return openssl(&[&arguments[..], &["-in", text(&file)]].concat());
        }
        let signature = openssl(&["dgst", "-sha256", "-sign", text(&key), text(&file)]);
        if self.kind != "ES256" {
            return signature;
        }
        // SEQUENCE of two INTEGERs into two numbers of 32 bytes (RFC 7518 §3.4).
        let r_length = usize::from(signature[3]);
        let (r, s) = (&signature[4..4 + r_length], &signature[6 + r_length..]);
        let fixed = |number: &[u8]| {
            let number = &number[number.len().saturating_sub(32)..];
            [&vec![0; 32 - number.len()], number].concat()
        };
        [fixed(r), fixed(s)].concat()
    }

    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(&signed);
        format!("{signed}.{}", b64(signature))
    }

    pub(crate) fn token(&self, claims: &str) -> String {
        let header = format!(
            r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#,
            self.kind, self.kid
        );
        self.token_of(&header, claims)
    }
}

pub(crate) fn thumbprint(of: &Issued) -> String {
    let leaf = of.identity().chain.remove(0);
    b64(Fingerprint::of(&leaf).as_bytes())
}

/// Claims that are good for `bound` for so many seconds.
pub(crate) fn claims(bound: &Issued, seconds: i64) -> String {
    let (now, cnf) = (now(), thumbprint(bound));
    let end = now.cast_signed() + seconds;
    format!(
        r#"{{"iss":"https://id.example.com","aud":["payments"],"iat":{now},"exp":{end},"scope":"read write","sub":"ann","cnf":{{"x5t#S256":"{cnf}"}}}}"#
    )
}

const ISSUER: &str = "[[gateway.token_issuer]]\nname = \"corp\"\nissuer = \"https://id.example.com\"\naudience = [\"payments\"]\nclock_skew = \"0s\"\n";

fn configuration(issuer: &str, upstream: &Upstream, routes: &str) -> String {
    format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"{}\"\n{issuer}\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n{}",
        ephemeral::address(),
        routes.replace(
            "UPSTREAM",
            &format!("upstream = \"http://{}\"", upstream.address())
        )
    )
}

const ROUTE: &str = "[[gateway.listener.route]]\nUPSTREAM\nallow = [{ cn = \"shop\", token = { issuer = \"corp\", claims = { scope = \"read\" } } }]\n";

fn asked(path: &str, headers: &[(&str, &str)]) -> Request<Sent> {
    let mut request = get(path);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a name");
        request
            .headers_mut()
            .append(name, value.parse().expect("a value"));
    }
    request
}

async fn open(who: &Issued, process: &Process) -> Connection {
    let client = who.client(Protocol::Http1Tls13);
    let connection = Connection::open(&client, Protocol::Http1Tls13, process.gateway()).await;
    connection.expect("let in")
}

/// Status, challenge and body.
async fn answer(connection: &mut Connection, headers: &[(&str, &str)]) -> (u16, String, String) {
    let response = connection
        .send(asked("/x", headers))
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|it| it.to_str().expect("text").to_owned());
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    (status, challenge.unwrap_or_default(), body)
}

async fn bearer(connection: &mut Connection, token: &str) -> (u16, String) {
    let value = format!("Bearer {token}");
    let (status, challenge, _) = answer(connection, &[("authorization", &value)]).await;
    (status, challenge)
}

/// The cause of the refusal that was logged last with this word in its line.
fn cause(process: &Process, word: &str) -> String {
    process.wait_for_log(&["refused", word])
}

/// Tokens that somebody has made who would like to be let in.
fn attacks(
    [ec, rsa, _]: &[Signer; 3],
    attacker: &Signer,
    (shop, other): (&Issued, &Issued),
) -> Vec<(&'static str, String)> {
    let good = claims(shop, 600);
    let forged = |header: &str| attacker.token_of(header, &good);
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        ec.token(&good.replacen(from, to, 1))
    };
    let (signed, signature) = {
        let token = ec.token(&good);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        (signed.to_owned(), signature.to_owned())
    };
    let stripped = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(&good));
    vec![
        ("no signature", stripped),
        (
            "signature of another",
            format!(
                "{}.{signature}",
                rsa.token(&good).rsplit_once('.').expect("parts").0
            ),
        ),
        (
            "claims of another",
            format!(
                "{}.{}.{signature}",
                signed.split_once('.').expect("parts").0,
                b64(good.replace("read", "root"))
            ),
        ),
        (
            "embedded key",
            forged(&format!(r#"{{"alg":"ES256","jwk":{}}}"#, attacker.jwk())),
        ),
        ("kid of a good key", forged(r#"{"alg":"ES256","kid":"e"}"#)),
        (
            "path as kid",
            forged(r#"{"alg":"ES256","kid":"../../../dev/null"}"#),
        ),
        (
            "jku",
            forged(r#"{"alg":"ES256","kid":"x","jku":"http://127.0.0.1:1/"}"#),
        ),
        (
            "crit",
            ec.token_of(r#"{"alg":"ES256","kid":"e","crit":["x"],"x":1}"#, &good),
        ),
        (
            "b64",
            ec.token_of(r#"{"alg":"ES256","kid":"e","b64":false}"#, &good),
        ),
        (
            "member twice",
            changed(r#""sub":"ann""#, r#""sub":"ann","sub":"bob""#),
        ),
        ("audience", changed("payments", "payments2")),
        ("issuer", changed("id.example.com", "id.example.org")),
        ("no end", changed("\"exp\"", "\"end\"")),
        ("over", ec.token(&claims(shop, -1))),
        ("for ever", ec.token(&claims(shop, 40 * 24 * 3600))),
        ("of another certificate", ec.token(&claims(other, 600))),
        ("of no certificate", changed("\"cnf\"", "\"cng\"")),
        ("another binding", changed("x5t#S256", "jkt")),
        (
            "too long",
            ec.token(&good.replace("ann", &"a".repeat(9000))),
        ),
        ("no token", "x.y.z".to_owned()),
    ]
}

#[tokio::test]
async fn token_of_each_algorithm_admits_beside_its_certificate_and_no_attack_does() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let other = installation.issue("client", "other", &[]);
    let signers = [
        Signer::new(&installation, "ES256", "e"),
        Signer::new(&installation, "RS256", "r"),
        Signer::new(&installation, "EdDSA", "d"),
    ];
    let attacker = Signer::new(&installation, "ES256", "x");
    let set = Signer::set(&signers.each_ref());
    installation.write("corp.json", &set);
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\n");
    let process = installation.serve(&configuration(&issuer, &upstream, ROUTE));
    let mut connection = open(&shop, &process).await;
    let good = claims(&shop, 600);
    for signer in &signers {
        let outcome = bearer(&mut connection, &signer.token(&good)).await;
        assert_eq!(outcome, (200, String::new()), "{}", signer.kind);
    }
    let invalid = "Bearer realm=\"gateway\", error=\"invalid_token\"";
    let ec = &signers[0];
    let scope = good.replacen("read write", "write", 1);
    for (attack, token) in attacks(&signers, &attacker, (&shop, &other)) {
        let outcome = bearer(&mut connection, &token).await;
        assert_eq!(outcome, (401, invalid.to_owned()), "{attack}");
    }
    // Good, and not what the rule asks for.
    let (status, challenge) = bearer(&mut connection, &ec.token(&scope)).await;
    assert_eq!(status, 403);
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    // None, none that is one, and two of which each is good.
    let value = format!("Bearer {}", ec.token(&good));
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", "Basic c2hvcDpzaG9w")], 401),
        (
            vec![("authorization", &*value), ("authorization", &*value)],
            401,
        ),
        (
            vec![("authorization", &*value), ("authorization", "Basic x")],
            401,
        ),
        // The upstream would not get it.
        (
            vec![("authorization", &*value), ("connection", "authorization")],
            401,
        ),
        (
            vec![("authorization", &*value.replace("Bearer ", "bearer "))],
            200,
        ),
        (vec![("authorization", &*value)], 200),
    ] {
        assert_eq!(
            answer(&mut connection, &headers).await.0,
            status,
            "{headers:?}"
        );
    }
    // With another certificate the token of the first is nothing, and its holder is nobody anyway.
    let mut of_other = open(&other, &process).await;
    assert_eq!(bearer(&mut of_other, &ec.token(&good)).await.0, 403);
    // The upstream gets it as it came; log and refusals do not.
    assert!(upstream.received_text().contains(&value));
    let log = process.log();
    let (_, signature) = value.rsplit_once('.').expect("three parts");
    for part in [signature, &value] {
        assert!(!log.contains(part), "{log}");
    }
    assert!(cause(&process, "token-not-bound-to-certificate").contains("bound to"));
    for slug in [
        "token-missing",
        "token-expired",
        "token-wrong-audience",
        "token-invalid",
    ] {
        cause(&process, slug);
    }
}

#[tokio::test]
async fn token_ends_on_a_connection_that_stays_and_key_that_is_withdrawn_takes_its_tokens_along() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let (one, two) = (
        Signer::new(&installation, "ES256", "one"),
        Signer::new(&installation, "ES256", "two"),
    );
    installation.write("corp.json", &Signer::set(&[&one, &two]));
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\nforward_token = false\n");
    let file = configuration(&issuer, &upstream, ROUTE);
    let process = installation.serve(&file);
    let mut connection = open(&shop, &process).await;
    let short = one.token(&claims(&shop, 4));
    assert_eq!(bearer(&mut connection, &short).await.0, 200);
    while bearer(&mut connection, &short).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bearer(&mut connection, &short).await.0, 401);
    cause(&process, "token-expired");

    let (first, second) = (
        one.token(&claims(&shop, 600)),
        two.token(&claims(&shop, 600)),
    );
    assert_eq!(bearer(&mut connection, &first).await.0, 200);
    // What is no set of keys leaves the old one in force.
    installation.write("corp.json", "{\"keys\":[]}");
    process.signal(rustix::process::Signal::HUP);
    process.wait_for_log(&["jwks_file"]);
    assert_eq!(bearer(&mut connection, &first).await.0, 200);
    installation.write("corp.json", &Signer::set(&[&two]));
    process.signal(rustix::process::Signal::HUP);
    process.wait_for_log(&["configuration reloaded"]);
    assert_eq!(bearer(&mut connection, &first).await.0, 401);
    assert_eq!(bearer(&mut connection, &second).await.0, 200);
    // It was asked not to tell upstreams.
    assert!(!upstream.received_text().contains(&second));
    assert!(
        !upstream
            .received_text()
            .to_ascii_lowercase()
            .contains("authorization")
    );
}

#[tokio::test]
async fn api_key_counts_for_its_holder_and_reaches_no_upstream() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let other = installation.issue("client", "other", &[]);
    let folder = installation.path(".");
    let new = ["--json", "api-key", "new", "shop-key", "--for", "cn:shop"];
    let key = countersign(&folder, &new);
    let key: serde_json::Value = serde_json::from_str(&key.stdout).expect("JSON");
    let (secret, block) = (key["key"].as_str(), key["configuration"].as_str());
    let (secret, block) = (secret.expect("a key"), block.expect("a block"));
    assert!(!block.contains(secret), "{block}");
    let old = Fingerprint::of(b"old");
    let keys = format!(
        "{block}\n[[gateway.api_key]]\nname = \"old\"\nsha256 = \"{old}\"\nfor = \"cn:shop\"\nnot_after_unix_s = 1000\n"
    );
    let routes = "[[gateway.listener.route]]\nUPSTREAM\nallow = [{ cn = \"shop\", api_key = \"shop-key\" }, { cn = \"other\", api_key = true }]\n";
    let process = installation.serve(&configuration(&keys, &upstream, routes));
    let mut connection = open(&shop, &process).await;
    for (headers, status) in [
        (vec![("x-api-key", secret)], 200),
        (vec![], 403),
        (vec![("x-api-key", "csk_x")], 403),
        (vec![("x-api-key", "old")], 403),
        (vec![("x-api-key", secret), ("x-api-key", secret)], 403),
        // As an upstream may read it.
        (vec![("x_api_key", secret)], 200),
        (vec![("x-api-key", secret), ("x.api.key", secret)], 403),
        (
            vec![("x-api-key", secret), ("connection", "x-api-key")],
            403,
        ),
        (vec![("authorization", secret)], 403),
        (vec![("x-api-key", secret), ("x_api_key", secret)], 403),
        (vec![("x-api-key", secret)], 200),
    ] {
        let told = answer(&mut connection, &headers).await;
        assert_eq!(told.0, status, "{headers:?}: {told:?}");
        assert_eq!(told.1, "");
    }
    let mut of_other = open(&other, &process).await;
    assert_eq!(answer(&mut of_other, &[("x-api-key", secret)]).await.0, 403);
    for slug in ["api-key-missing", "api-key-unknown", "api-key-of-another"] {
        cause(&process, slug);
    }
    for (place, text) in [
        ("upstream", upstream.received_text()),
        ("log", process.log()),
    ] {
        let sent_alone = text.replace(&format!("authorization: {secret}"), "");
        assert!(!sent_alone.contains(secret), "{place}: {text}");
    }
}

#[tokio::test]
async fn api_key_in_a_trailer_reaches_no_upstream_however_it_is_spelt() {
    let installation = Installation::new();
    let shop = installation.issue("client", "shop", &[]);
    let trailers = Arc::new(Mutex::new(String::new()));
    let received = Arc::clone(&trailers);
    let service = Service::start(move |mut conversation| {
        conversation.head();
        while conversation.chunk().is_some() {}
        *received.lock().expect("nobody panics") = conversation.head().unwrap_or_default();
        conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let hash = Fingerprint::of(b"secret");
    let keys =
        format!("[[gateway.api_key]]\nname = \"key\"\nsha256 = \"{hash}\"\nfor = \"cn:shop\"\n");
    let routes = format!(
        "[[gateway.listener.route]]\nupstream = \"http://{}\"\nallow = [{{ cn = \"shop\", api_key = true }}]\n",
        service.address()
    );
    let process = installation.serve(&configuration(&keys, &Upstream::start(), &routes));
    let client = shop.client(Protocol::Http1Tls13);
    let mut stream = client.connect(process.gateway()).await.expect("let in");
    let request = b"POST / HTTP/1.1\r\nhost: localhost\r\nx-api-key: secret\r\nte: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-api-key, x_api_key, x.api.key, x-api.key\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\nx-api-key: secret\r\nx_api_key: secret\r\nx.api.key: secret\r\nx-api.key: secret\r\n\r\n";
    stream.write_all(request).await.expect("open");
    let mut status = [0; 12];
    let read = in_time("the answer", stream.read_exact(&mut status)).await;
    read.expect("open");
    assert_eq!(&status, b"HTTP/1.1 200");
    let trailers = trailers.lock().expect("nobody panics");
    assert!(trailers.contains("x-sum: 1"), "{trailers}");
    assert!(!trailers.contains("secret"), "{trailers}");
}

#[tokio::test]
async fn over_http2_and_grpc_the_same_is_said_in_their_way() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let signer = Signer::new(&installation, "ES256", "e");
    installation.write("corp.json", &Signer::set(&[&signer]));
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\n");
    let process = installation.serve(&configuration(&issuer, &upstream, ROUTE));
    let client = shop.client(Protocol::Http2Tls13);
    let connection = Connection::open(&client, Protocol::Http2Tls13, process.gateway()).await;
    let mut connection = connection.expect("let in");
    let value = format!("Bearer {}", signer.token(&claims(&shop, 600)));
    let foreign = format!("Bearer {}", signer.token(&claims(&shop, -600)));
    for (value, status) in [(None, 401), (Some(&value), 200), (Some(&foreign), 401)] {
        let headers: Vec<_> = value
            .iter()
            .map(|it| ("authorization", it.as_str()))
            .collect();
        assert_eq!(answer(&mut connection, &headers).await.0, status);
    }
    let call = asked(
        "/x",
        &[
            ("content-type", "application/grpc"),
            ("authorization", &foreign),
        ],
    );
    let response = connection.send(call).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "16");
}

#[test]
fn what_could_not_be_judged_is_refused_at_load() {
    let installation = Installation::new();
    let signer = Signer::new(&installation, "ES256", "e");
    installation.write("corp.json", &Signer::set(&[&signer]));
    installation.write("secret.json", r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#);
    installation.write(
        "weak.json",
        &format!(
            r#"{{"keys":[{{"kty":"RSA","n":"{}","e":"AQAB"}}]}}"#,
            b64([0xc3; 128])
        ),
    );
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\n");
    let key = "[[gateway.api_key]]\nname = \"k\"\nsha256 = \"SHA\"\nfor = \"cn:shop\"\n"
        .replace("SHA", &"0".repeat(64));
    let http = |rules: &str| {
        format!("[[gateway.listener.route]]\nupstream = \"http://127.0.0.1:9\"\n{rules}\n")
    };
    let token = "token = { issuer = \"corp\" }";
    let asked = http(&format!("allow = [{{ cn = \"shop\", {token} }}]"));
    for (factors, listener, expected) in [
        (issuer.clone(), http("allow = [{ token = { issuer = \"acme\" } }]"), "no [[gateway.token_issuer]] called \"acme\""),
        (issuer.clone(), http("allow = [{ api_key = \"k\" }]"), "no [[gateway.api_key]] called \"k\""),
        (issuer.clone(), http("allow = [{ api_key = true }]"), "no [[gateway.api_key]]"),
        (key.clone(), http("allow = [{ api_key = false }]"), "asks for nothing"),
        (issuer.clone(), http(&format!("allow = [\"any-trusted\"]\ndeny = [{{ {token} }}]")), "gets round it"),
        (issuer.clone(), http("allow = [{ token = { issuer = \"corp\", claims = { exp = 1 } } }]"), "judged for every token"),
        (issuer.clone(), format!("upstream = \"tcp://127.0.0.1:9\"\nallow = [{{ cn = \"shop\", {token} }}]\n"), "takes bytes"),
        (key.clone(), "upstream = \"tcp://127.0.0.1:9\"\nprotocol = \"postgresql\"\nallow = [{ cn = \"shop\", api_key = true, user = [\"a\"] }]\n".to_owned(), "takes logins"),
        (ISSUER.to_owned(), asked.clone(), "a file or from a URL"),
        (format!("{issuer}jwks_url = \"https://id.example.com/\"\n"), asked.clone(), "a file or from a URL"),
        (format!("{ISSUER}jwks_url = \"http://id.example.com/\"\n"), asked.clone(), "plain http"),
        (format!("{ISSUER}jwks_url = \"https://id.example.com/\"\n"), asked.clone(), "who vouches"),
        (format!("{ISSUER}jwks_file = \"secret.json\"\n"), asked.clone(), "secret"),
        (format!("{ISSUER}jwks_file = \"weak.json\"\n"), asked.clone(), "1024 bits"),
        (format!("{ISSUER}jwks_file = \"absent.json\"\n"), asked.clone(), "absent.json"),
        (format!("{issuer}algorithms = [\"HS256\"]\n"), asked.clone(), "shared secret"),
        (format!("{issuer}algorithms = [\"none\"]\n"), asked.clone(), "shared secret"),
        (issuer.replace("\"payments\"", ""), asked.clone(), "any other service"),
        (format!("{issuer}{issuer}"), asked.clone(), "twice"),
        (key.replace("cn:shop", "shop"), http("allow = [{ api_key = true }]"), "typed name"),
        (key.replace("000", "0"), http("allow = [{ api_key = true }]"), "64 hexadecimal"),
    ] {
        let toml = format!("[gateway]\nmetrics_address = \"127.0.0.1:0\"\n{factors}[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n{listener}");
        let file = installation.write("wrong.toml", &toml);
        let answer = countersign(&installation.path("."), &["config", "check", text(&file)]);
        let told = answer.all();
        assert!(told.contains(expected), "{expected}: {told}\n{toml}");
    }
}

#[tokio::test]
async fn token_outlives_the_renewal_of_a_certificate_that_was_seen_and_not_its_revocation() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let issue = |folder: &str, name: &str, more: &[&str]| {
        let begun = now();
        let folder = installation.path(folder);
        let arguments = ["issue", "client", name, "--out", text(&folder)];
        installation.ok(&[&arguments[..], more].concat());
        // Each is younger than those before.
        while now() <= begun + 1 {
            std::thread::yield_now();
        }
        Issued::at(folder)
    };
    let [first, second] = ["first", "second"].map(|folder| issue(folder, "shop", &[]));
    let of_two = ["shop", "other"].map(|name| {
        issue(
            &format!("twin-{name}"),
            name,
            &["--dns", "twin.example.com"],
        )
    });
    let other = installation.issue("client", "other", &[]);
    let signer = Signer::new(&installation, "ES256", "e");
    installation.write("corp.json", &Signer::set(&[&signer]));
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\n");
    let routes =
        "[[gateway.listener.route]]\nUPSTREAM\nallow = [{ token = { issuer = \"corp\" } }]\n";
    let process = installation.serve(&configuration(&issuer, &upstream, routes));
    let token = signer.token(&claims(&first, 600));
    let status = async |who: &Issued, token: &str| {
        let mut connection = open(who, &process).await;
        bearer(&mut connection, token).await.0
    };
    // Nobody here has seen the first one yet, and seeing another one of the same token is not seeing it.
    assert_eq!(status(&second, &token).await, 401);
    assert_eq!(status(&other, &token).await, 401);
    assert_eq!(status(&second, &token).await, 401);
    assert_eq!(status(&first, &token).await, 200);
    assert_eq!(status(&second, &token).await, 200);
    assert_eq!(status(&other, &token).await, 401);
    let mut open_one = open(&second, &process).await;
    assert_eq!(bearer(&mut open_one, &token).await.0, 200);
    // What is bound to the present one is nothing to whoever has the former one.
    let fresh = signer.token(&claims(&second, 600));
    assert_eq!(bearer(&mut open_one, &fresh).await.0, 200);
    assert_eq!(status(&first, &fresh).await, 401);
    // One that does not say when it was signed may be older than whatever was seen.
    let undated = claims(&first, 600).replacen("\"iat\"", "\"ait\"", 1);
    let undated = signer.token(&undated);
    assert_eq!(status(&first, &undated).await, 200);
    assert_eq!(bearer(&mut open_one, &undated).await.0, 401);
    // Of two names one is the same.
    let of_twin = signer.token(&claims(&of_two[0], 600));
    assert_eq!(status(&of_two[0], &of_twin).await, 200);
    assert_eq!(status(&of_two[1], &of_twin).await, 401);
    let leaf = Fingerprint::of(&first.identity().chain.remove(0)).to_string();
    installation.ok(&["revoke", "--fingerprint", &leaf, "--wait"]);
    assert_eq!(bearer(&mut open_one, &token).await.0, 401);
    assert_eq!(status(&second, &token).await, 401);
    // What is bound to the present one is as good as before.
    assert_eq!(bearer(&mut open_one, &fresh).await.0, 200);
}

#[tokio::test]
async fn keys_from_a_url_are_looked_for_and_count_for_their_life() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let [one, two] = ["one", "two"].map(|kid| Signer::new(&installation, "ES256", kid));
    let published = Arc::new(Mutex::new(Some(Signer::set(&[&one]))));
    let given = Arc::clone(&published);
    let server = Service::start(move |mut conversation| {
        let given = given.lock().expect("nobody panics").clone();
        if let (Some(_), Some(keys)) = (conversation.head(), given) {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                keys.len()
            );
            conversation.send((head + &keys).as_bytes());
        }
    });
    let issuer = format!(
        "{ISSUER}jwks_url = \"http://{}/keys\"\njwks_refresh = \"5s\"\njwks_life = \"5s\"\n",
        server.address()
    );
    let file = configuration(&issuer, &upstream, ROUTE);
    let process = installation.serve(&file);
    let mut connection = open(&shop, &process).await;
    let (first, second) = (
        one.token(&claims(&shop, 3600)),
        two.token(&claims(&shop, 3600)),
    );
    until(&mut connection, &first, 200).await;
    assert_eq!(bearer(&mut connection, &second).await.0, 401);
    // The server dies; its last word counts for a while.
    *published.lock().expect("nobody panics") = None;
    until(&mut connection, &first, 503).await;
    cause(&process, "token-keys-unavailable");
    process.wait_for_log(&["keys of a token issuer cannot be got"]);
    // What is no set of keys is no better.
    *published.lock().expect("nobody panics") = Some("{\"keys\":[]}".to_owned());
    process.wait_for_log(&["token-keys-unavailable"]);
    assert_eq!(bearer(&mut connection, &first).await.0, 503);
    *published.lock().expect("nobody panics") = Some(Signer::set(&[&two]));
    until(&mut connection, &second, 200).await;
    assert_eq!(bearer(&mut connection, &first).await.0, 401);
    let issuers = &installation.json(&["status"])["gateway"]["token_issuers"];
    let corp = &issuers[0];
    assert_eq!((&corp["name"], &corp["keys"]), (&"corp".into(), &1.into()));
    assert!(
        corp["usable"] == true && corp["failures"].as_u64() > Some(0),
        "{corp}"
    );
    assert!(corp["fetched_unix_s"].as_u64() > Some(now() - 60), "{corp}");
    let shown = installation.ok(&["status"]);
    let line = format!(
        "token issuer corp: 1 key from http://{}/keys, fetched ",
        server.address()
    );
    assert!(shown.contains(&line), "{shown}");
    let metrics = file.split('"').nth(1).expect("the address of metrics");
    let metrics = plain_get(metrics.parse().expect("an address"), "/metrics", "");
    for name in ["token_keys_age_seconds", "token_keys_failures_total"] {
        let line = format!("countersign_gateway_{name}{{issuer=\"corp\"}}");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn explain_says_what_rules_decide_of_a_token_and_of_a_key_that_nobody_has() {
    let installation = Installation::new();
    let shop = installation.issue("client", "shop", &[]);
    let other = installation.issue("client", "other", &[]);
    let signer = Signer::new(&installation, "EdDSA", "k");
    installation.write("corp.json", &Signer::set(&[&signer]));
    let hash = Fingerprint::of(b"secret");
    let toml = format!(
        "{ISSUER}jwks_file = \"corp.json\"\n[[gateway.api_key]]\nname = \"ci\"\nsha256 = \"{hash}\"\nfor = \"cn:shop\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [{{ cn = \"shop\", token = {{ issuer = \"corp\", claims = {{ scope = \"read\" }} }} }}, {{ path = \"/ci\", api_key = true }}]\n"
    );
    let file = installation.write("rules.toml", &toml);
    let good = claims(&shop, 600);
    installation.write("good.json", &good);
    installation.write("written.json", &good.replace("read write", "write"));
    installation.write("over.json", &claims(&shop, -10));
    installation.write("elsewhere.json", &good.replace("payments", "ledger"));
    installation.write("of-other.json", &claims(&other, 600));
    installation.write("no.json", "{");
    let root = shop.ca();
    let certificate = shop.certificate();
    let by_certificate = ["--cert", text(&certificate), "--ca", text(&root)];
    let by_name = ["--identity", "cn:shop"];
    let check = |who: &[&str], more: &[&str], code: i32, word: &str| {
        let arguments = [&["policy", "explain", text(&file)], who, more].concat();
        let answer = countersign(&installation.path("."), &arguments);
        assert_eq!(answer.code, Some(code), "{more:?}: {answer:#?}");
        assert!(answer.all().contains(word), "{more:?}: {answer:#?}");
    };
    let of = |name: &str| text(&installation.path(name)).to_owned();
    for who in [&by_certificate[..], &by_name] {
        check(who, &["--token-claims", &of("good.json")], 0, "by allow 1");
        check(who, &[], 1, "token-missing");
        check(who, &["--api-key", "ci", "--path", "/ci"], 0, "by allow 2");
        check(who, &["--api-key", "ci"], 1, "token-missing");
        check(who, &["--api-key", "none", "--path", "/ci"], 1, "");
        for (claims, slug) in [
            ("written.json", ""),
            ("over.json", "token-expired"),
            ("elsewhere.json", "token-wrong-audience"),
            ("no.json", "token-invalid"),
        ] {
            check(who, &["--token-claims", &of(claims)], 1, slug);
        }
    }
    let bound = ["--token-claims", &of("of-other.json")];
    check(&by_certificate, &bound, 1, "token-not-bound-to-certificate");
    check(
        &["--identity", "cn:other"],
        &["--api-key", "ci", "--path", "/ci"],
        1,
        "api-key-of-another",
    );
    check(&[], &["--api-key", "ci"], 2, "without a certificate");
}

/// Of keys over TLS, under the certificate of `identity`.
async fn tls_publisher(identity: &TestIdentity, keys: String) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .expect("a good identity");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else {
                continue;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let length = keys.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{keys}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_over_tls_are_taken_of_whom_the_given_file_vouches_for_and_of_nobody_else() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let signer = Signer::new(&installation, "EdDSA", "k");
    let (trusted, stranger) = (TestCa::new("web"), TestCa::new("web"));
    installation.write("web.pem", &trusted.root_pem());
    let servers = [
        ("corp", &trusted, "localhost"),
        ("unvouched", &stranger, "localhost"),
        ("misnamed", &trusted, "elsewhere.example"),
    ];
    let (mut issuers, mut routes) = (String::new(), String::new());
    for (name, ca, host) in servers {
        let server = tls_publisher(&ca.issue(Leaf::server(&[host])), Signer::set(&[&signer])).await;
        let issuer = ISSUER.replace("\"corp\"", &format!("\"{name}\""));
        let url = format!("https://localhost:{}/keys", server.port());
        let source = format!("jwks_url = \"{url}\"\njwks_server_anchors = \"web.pem\"\n");
        issuers.extend([issuer, source]);
        let route = ROUTE.replace("\"corp\"", &format!("\"{name}\""));
        routes += &route.replacen("UPSTREAM", &format!("path = \"/{name}/**\"\nUPSTREAM"), 1);
    }
    let process = installation.serve(&configuration(&issuers, &upstream, &routes));
    // The others are looked for in the same second, and once more by now or not: neither brings anything.
    let refused = |issuer: &str| {
        process.wait_for_log(&["keys of a token issuer cannot be got", issuer]);
    };
    refused("unvouched");
    refused("misnamed");
    let token = signer.token(&claims(&shop, 3600));
    let bearer = format!("Bearer {token}");
    let mut connection = open(&shop, &process).await;
    let admitted = async {
        while connection
            .send(asked("/corp/x", &[("authorization", &bearer)]))
            .await
            .expect("an answer")
            .status()
            != 200
        {
            tokio::task::yield_now().await;
        }
    };
    in_time("the keys", admitted).await;
    let status = installation.json(&["status"]);
    let issuers = status["gateway"]["token_issuers"].as_array();
    let issuers = issuers.expect("issuers").iter();
    let keys: Vec<_> = issuers
        .map(|it| {
            (
                it["name"].as_str(),
                it["keys"].as_u64(),
                it["usable"].as_bool(),
            )
        })
        .collect();
    let none = |name| (Some(name), Some(0), Some(false));
    let corp = (Some("corp"), Some(1), Some(true));
    assert_eq!(keys, [corp, none("unvouched"), none("misnamed")]);
}

#[tokio::test]
async fn shadow_rule_about_tokens_takes_none_away() {
    let rules = "allow = [{ cn = \"shop\" }]\nshadow.allow = [{ cn = \"shop\", token = { issuer = \"corp\" } }]\n";
    let (received, token) = received_with_hidden_tokens(rules).await;
    assert!(received.contains(&token));
}

#[tokio::test]
async fn token_that_was_not_verified_reaches_no_upstream_that_is_to_see_none() {
    // Let in without a token that is good: whatever is called one stays here.
    let rules =
        "allow = [{ cn = \"shop\", method = [\"GET\"] }, { token = { issuer = \"corp\" } }]\n";
    let (received, _) = received_with_hidden_tokens(rules).await;
    assert!(!received.contains("Bearer"), "{received}");
}

/// What came through of a token that is good, of one that is over, and of what is none.
async fn received_with_hidden_tokens(rules: &str) -> (String, String) {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let signer = Signer::new(&installation, "ES256", "e");
    installation.write("corp.json", &Signer::set(&[&signer]));
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\nforward_token = false\n");
    let routes = format!("[[gateway.listener.route]]\nUPSTREAM\n{rules}");
    let process = installation.serve(&configuration(&issuer, &upstream, &routes));
    let mut connection = open(&shop, &process).await;
    let good = signer.token(&claims(&shop, 600));
    let over = signer.token(&claims(&shop, -600));
    for token in [&good, &over] {
        assert_eq!(bearer(&mut connection, token).await.0, 200);
    }
    let other = [("authorization", "Basic x")];
    assert_eq!(answer(&mut connection, &other).await.0, 200);
    let received = upstream.received_text();
    assert!(received.contains("Basic x"), "{received}");
    (received, good)
}

/// Upgrades whoever asks and returns each byte; anybody else gets the beginning of an answer.
fn without_end() -> Service {
    Service::start(|mut conversation| {
        let Some(head) = conversation.head() else {
            return;
        };
        if head.contains("websocket") {
            conversation.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
        } else {
            conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            conversation.send_chunk(b"a");
        }
        while let Some(byte) = conversation.bytes(1) {
            conversation.send(&byte);
        }
    })
}

/// An open tunnel.
async fn tunnel(who: &Issued, process: &Process, header: &str) -> TlsStream<TcpStream> {
    let client = who.client(Protocol::Http1Tls13);
    let mut stream = client.connect(process.gateway()).await.expect("let in");
    let head = format!(
        "GET /x HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n{header}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("open");
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(
            in_time("the upgrade", stream.read_u8())
                .await
                .expect("open"),
        );
    }
    let read = String::from_utf8_lossy(&read);
    assert!(read.starts_with("HTTP/1.1 101 "), "{read}");
    stream
}

async fn ends(mut stream: TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    // With or without a last word of TLS.
    let _ = in_time("the end", stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn open_exchange_ends_with_its_token_its_key_and_its_api_key() {
    let (installation, upstream) = (Installation::new(), without_end());
    let shop = installation.issue("client", "shop", &[]);
    let (near, far) = (
        Signer::new(&installation, "ES256", "near"),
        Signer::new(&installation, "ES256", "far"),
    );
    installation.write("corp.json", &Signer::set(&[&near]));
    let published = Arc::new(Mutex::new(Signer::set(&[&far])));
    let server = publisher(&published);
    let issuers = format!(
        "{ISSUER}jwks_file = \"corp.json\"\n{}jwks_url = \"http://{}/keys\"\njwks_refresh = \"5s\"\n",
        ISSUER.replace("\"corp\"", "\"far\""),
        server.address()
    );
    let (hash, end) = (Fingerprint::of(b"csk_short"), now() + 12);
    let key = format!(
        "[[gateway.api_key]]\nname = \"short\"\nsha256 = \"{hash}\"\nfor = \"cn:shop\"\nnot_after_unix_s = {end}\n"
    );
    let process = installation.serve(&format!(
        "[gateway]\nworkers = 1\n{issuers}\n{key}\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n[[gateway.listener.route]]\nupstream = \"http://{}\"\nallow = [{{ token = {{ issuer = \"corp\" }} }}, {{ token = {{ issuer = \"far\" }} }}, {{ api_key = \"short\" }}]\n",
        upstream.address()
    ));
    let of_key = tunnel(&shop, &process, "x-api-key: csk_short").await;
    let bearer =
        |signer: &Signer, seconds| format!("Bearer {}", signer.token(&claims(&shop, seconds)));
    let header = |value: &str| format!("authorization: {value}");
    let mut stays = tunnel(&shop, &process, &header(&bearer(&near, 600))).await;
    let of_far = header(&bearer(&far, 600));
    let of_far = in_time("the keys", async {
        let request = |value: &str| asked("/x", &[("authorization", value)]);
        let value = of_far.split_once(": ").expect("a header").1;
        loop {
            let mut connection = open(&shop, &process).await;
            let answer = connection.send(request(value)).await.expect("an answer");
            if answer.status() == 200 {
                return tunnel(&shop, &process, &of_far).await;
            }
        }
    })
    .await;
    let short = bearer(&near, 8);
    let of_token = tunnel(&shop, &process, &header(&short)).await;
    let mut downloads = Vec::new();
    for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
        let client = shop.client(protocol);
        let connection = Connection::open(&client, protocol, process.gateway()).await;
        let mut connection = connection.expect("let in");
        let request = asked("/x", &[("authorization", &short)]);
        let answer = connection.send(request).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        downloads.push((connection, answer.into_body()));
    }
    *published.lock().expect("nobody panics") = Signer::set(&[&near]);
    ends(of_token).await;
    for (connection, body) in downloads {
        let whole = in_time("the end", body.collect()).await;
        assert!(whole.is_err(), "cut, and not whole");
        drop(connection);
    }
    ends(of_key).await;
    ends(of_far).await;
    // Whose token is good is left alone.
    stays.write_all(b"z").await.expect("open");
    assert_eq!(
        in_time("an echo", stays.read_u8()).await.expect("open"),
        b'z'
    );
}

#[tokio::test]
async fn key_that_is_published_no_more_is_withdrawn_whatever_else_is_wrong_there() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let [one, two] = ["one", "two"].map(|kid| Signer::new(&installation, "ES256", kid));
    let published = Arc::new(Mutex::new(Signer::set(&[&one, &two])));
    let server = publisher(&published);
    let issuer = format!(
        "{ISSUER}jwks_url = \"http://{}/keys\"\njwks_refresh = \"5s\"\n",
        server.address()
    );
    let process = installation.serve(&configuration(&issuer, &upstream, ROUTE));
    let mut connection = open(&shop, &process).await;
    let (first, second) = (
        one.token(&claims(&shop, 3600)),
        two.token(&claims(&shop, 3600)),
    );
    until(&mut connection, &first, 200).await;
    assert_eq!(bearer(&mut connection, &second).await.0, 200);
    let publish = |text: String| *published.lock().expect("nobody panics") = text;
    publish("<html>maintenance</html>".to_owned());
    process.wait_for_log(&["keys of a token issuer cannot be got"]);
    assert_eq!(bearer(&mut connection, &first).await.0, 200);
    let secret = r#"{"kty":"oct","k":"AAAA"}"#;
    publish(format!(r#"{{"keys":[{},{secret}]}}"#, two.jwk()));
    until(&mut connection, &first, 401).await;
    assert_eq!(bearer(&mut connection, &second).await.0, 200);
    publish(r#"{"keys":[]}"#.to_owned());
    until(&mut connection, &second, 503).await;
    // Whoever had none left takes them up again.
    publish(Signer::set(&[&one, &two]));
    until(&mut connection, &second, 200).await;
    assert_eq!(bearer(&mut connection, &first).await.0, 200);
}

#[tokio::test]
async fn bad_tokens_of_one_connection_cost_a_few_signatures_and_no_more() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let signer = Signer::new(&installation, "ES256", "e");
    installation.write("corp.json", &Signer::set(&[&signer]));
    let issuer = format!("{ISSUER}jwks_file = \"corp.json\"\n");
    let process = installation.serve(&configuration(&issuer, &upstream, ROUTE));
    let mut connection = open(&shop, &process).await;
    let [known, fresh, last] = [600, 601, 602].map(|end| signer.token(&claims(&shop, end)));
    let (content, _) = known.rsplit_once('.').expect("three parts");
    let bad = |number: u8| format!("{content}.{}", b64([number; 64]));
    assert_eq!(bearer(&mut connection, &known).await.0, 200);
    // The same one costs one.
    for _ in 0..100 {
        assert_eq!(bearer(&mut connection, &bad(0)).await.0, 401);
    }
    assert_eq!(bearer(&mut connection, &fresh).await.0, 200);
    for number in 1..=64 {
        assert_eq!(bearer(&mut connection, &bad(number)).await.0, 401);
    }
    assert_eq!(bearer(&mut connection, &last).await.0, 401);
    // What is known costs nothing, and another connection is another's.
    assert_eq!(bearer(&mut connection, &known).await.0, 200);
    let mut another = open(&shop, &process).await;
    assert_eq!(bearer(&mut another, &last).await.0, 200);
}

/// Of keys; each connection gets what is published then.
fn publisher(published: &Arc<Mutex<String>>) -> Service {
    let given = Arc::clone(published);
    Service::start(move |mut conversation| {
        let keys = given.lock().expect("nobody panics").clone();
        if conversation.head().is_some() {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                keys.len()
            );
            conversation.send((head + &keys).as_bytes());
        }
    })
}

async fn until(connection: &mut Connection, token: &str, status: u16) {
    let reached = async {
        while bearer(connection, token).await.0 != status {
            tokio::task::yield_now().await;
        }
    };
    in_time("the status", reached).await;
}

/// Of two issuers under one name for two audiences: what the one refuses costs nobody anything whom the other takes.
#[tokio::test]
async fn token_for_the_second_audience_of_an_issuer_is_nobodys_failure() {
    let (installation, upstream) = (Installation::new(), Upstream::start());
    let shop = installation.issue("client", "shop", &[]);
    let signer = Signer::new(&installation, "ES256", "e");
    installation.write("corp.json", &Signer::set(&[&signer]));
    let one = format!("{ISSUER}jwks_file = \"corp.json\"\n");
    let other = one
        .replace("\"corp\"", "\"audit\"")
        .replace("[\"payments\"]", "[\"ledger\"]");
    let routes = ROUTE.replace("\"corp\"", "\"audit\"");
    let toml = configuration(&format!("{one}{other}"), &upstream, &routes);
    let process = installation.serve(&toml);
    let mut connection = open(&shop, &process).await;
    for end in 0..70 {
        let claims = claims(&shop, 600 + end).replace("payments", "ledger");
        let token = signer.token(&claims);
        for _ in 0..2 {
            assert_eq!(bearer(&mut connection, &token).await.0, 200, "{end}");
        }
    }
    // One that is for nobody here still is for nobody.
    let claims = claims(&shop, 600).replace("payments", "archive");
    assert_eq!(bearer(&mut connection, &signer.token(&claims)).await.0, 401);
}
