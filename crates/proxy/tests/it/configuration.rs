//! What is refused at load, and that everything documented loads.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationMode;
use countersign_pki::time::UnixTime;
use countersign_proxy::config::{GatewayConfig, RevocationPlan, TrustConfig, default_toml};
use countersign_proxy::plan::GatewayPlan;
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::reference::explain;
use countersign_testkit::pki::{Leaf, TestCa};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gateway: GatewayConfig,
    #[serde(default)]
    trust: BTreeMap<String, TrustConfig>,
}

const LISTENER: &str = "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\n";
const ROUTE: &str = "[[gateway.listener.route]]\nupstream = \"http://127.0.0.1:3000\"\n";
const TRUSTED: &str = "allow = [\"any-trusted\"]\n";

fn check_unreadable(text: &str, part: &str) {
    let error = toml::from_str::<File>(text).expect_err(text).to_string();
    assert!(error.contains(part), "{error}");
}

fn build(text: &str) -> Result<GatewayPlan, ConfigError> {
    let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let bundles: BTreeMap<BundleName, Arc<TrustBundle>> = BTreeMap::new();
    file.gateway.build(&bundles, Vec::new(), None, |_: &Path| {
        Err(io::ErrorKind::NotFound.into())
    })
}

/// What is said of a configuration on an anonymous listener (`off`), which needs no trust bundle.
fn check_refused(text: &str, place: &str, part: &str) {
    let error = build(text)
        .err()
        .unwrap_or_else(|| panic!("accepted:\n{text}"));
    assert!(
        error.place == place && error.why.contains(part),
        "{error} (hint: {:?})\n{text}",
        error.hint
    );
}

#[test]
fn keys_without_effect_are_unknown() {
    for (text, key) in [
        ("[gateway]\nheaders = []\n".to_owned(), "headers"),
        (
            format!("{LISTENER}{ROUTE}{TRUSTED}[gateway.listener.route.shadows]\nallow = []\n"),
            "shadows",
        ),
        (
            format!("{LISTENER}{ROUTE}allow = [{{ headers = {{ x = [\"x\"] }} }}]\n"),
            "headers",
        ),
        (
            "[gateway]\n[trust.partner]\nbundle = \"a.pem\"\nocsp = { url = \"http://a.example\", nonce = true }\n"
                .to_owned(),
            "nonce",
        ),
    ] {
        check_unreadable(&text, &format!("unknown field `{key}`"));
    }
}

#[test]
fn values_that_cannot_be_read_are_named() {
    check_unreadable(&format!("{LISTENER}{ROUTE}"), "missing field `allow`");
    check_unreadable(
        &format!("{LISTENER}{ROUTE}allow = [\"everyone\"]\n"),
        "any-trusted",
    );
    check_unreadable(
        &format!("{LISTENER}client_certificate = \"optional\"\n{ROUTE}{TRUSTED}"),
        "optional",
    );
    check_unreadable(
        &format!("{LISTENER}{ROUTE}client_certificate = \"off\"\n{TRUSTED}"),
        "off",
    );
    check_unreadable(
        &format!("{LISTENER}idle_timeout = 75\n{ROUTE}{TRUSTED}"),
        "string",
    );
    check_unreadable(
        &format!("{LISTENER}idle_timeout = \"soon\"\n{ROUTE}{TRUSTED}"),
        "soon",
    );
    check_unreadable(
        &format!("{LISTENER}max_connections = 0\n{ROUTE}{TRUSTED}"),
        "nonzero",
    );
    check_unreadable("[[gateway.listener]]\naddress = \"localhost\"\n", "address");
    check_unreadable("[gateway]\nrefusal_ring_size = \"64MB\"\n", "64MB");
}

#[test]
fn what_cannot_be_evaluated_where_it_stands_is_refused() {
    let off = format!("{LISTENER}client_certificate = \"off\"\n");
    let route = "gateway.listener[0].route[0]";
    check_refused(
        &format!("{LISTENER}{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].trust[0]",
        "no trust bundle called \"internal\"",
    );
    check_refused(
        &format!("{off}{ROUTE}{TRUSTED}"),
        &format!("{route}.allow[0]"),
        "never asks",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = [{{ cn = \"a\" }}]\n"),
        &format!("{route}.allow[0]"),
        "never asks",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = [\"anyone\"]\ndeny = [{{ cn = \"a\" }}]\n"),
        &format!("{route}.deny[0]"),
        "never asks",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = [\"anyone\"]\nclient_certificate = \"require\"\n"),
        &format!("{route}.client_certificate"),
        "never asks",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = []\n"),
        &format!("{route}.allow"),
        "nobody",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = [\"anyone\"]\npath = \"charge\"\n"),
        &format!("{route}.path"),
        "start with /",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = [\"anyone\"]\nhost = \"127.0.0.1\"\n"),
        &format!("{route}.host"),
        "DNS name",
    );
    check_refused(
        &format!("{off}{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].certificate",
        "no authority",
    );
    check_refused(
        &format!("{off}certificate = \"a.pem\"\n{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].key",
        "without it",
    );
    check_refused(
        &format!("{off}certificate = \"a.pem\"\nkey = \"a.key\"\n{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].certificate",
        "a.pem",
    );
    check_refused(
        &format!("{off}name = \"Öffentlich\"\n{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].name",
        "cannot name",
    );
    check_refused(
        &format!("{off}idle_timeout = \"0s\"\n{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].idle_timeout",
        "fast",
    );
}

#[test]
fn upstream_is_plain_http_without_a_path() {
    for (upstream, part) in [
        ("127.0.0.1:3000", "http://"),
        ("https://127.0.0.1:3000/app", "path"),
        ("tcp://127.0.0.1:3000", "http://"),
        ("http://127.0.0.1:3000/app", "path"),
        ("http://127.0.0.1:3000?a", "path"),
        ("http://user@127.0.0.1:3000", "user name"),
        ("http://127.0.0.1:0", "port"),
        ("http://127.0.0.1:70000", "port"),
        ("http://127.0.0.1:", "port"),
        ("http://", "is no URL"),
        ("unix:run/app.sock", "begins at the root"),
    ] {
        let text = format!(
            "{LISTENER}client_certificate = \"off\"\n[[gateway.listener.route]]\nupstream = \"{upstream}\"\nallow = [\"anyone\"]\n"
        );
        check_refused(&text, "gateway.listener[0].route[0].upstream", part);
    }
}

#[test]
fn documented_defaults_are_the_defaults() {
    let text = default_toml();
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let listener = file.gateway.listener.first().expect("a listener").clone();
    assert_eq!(
        GatewayConfig {
            listener: Vec::new(),
            ..file.gateway
        },
        GatewayConfig::default()
    );
    let minimal: File = toml::from_str(&format!("{LISTENER}{ROUTE}{TRUSTED}")).expect("minimal");
    assert_eq!(minimal.gateway.listener, [listener]);
    assert!(file.trust.contains_key("internal"));
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(" = "))
    {
        let before = text
            .lines()
            .take_while(|other| other != &line)
            .last()
            .unwrap_or_default();
        assert!(
            before.starts_with("# ") && before.len() > 4,
            "{line} is not documented\n{text}"
        );
    }
}

#[test]
fn explanation_says_where_each_value_came_from() {
    let text = format!("[gateway]\nrefusal_ring_size = \"1GiB\"\n{LISTENER}{ROUTE}{TRUSTED}");
    let written: toml::Table = toml::from_str(&text).expect("toml");
    let file: File = toml::from_str(&text).expect("a configuration");
    let mut effective = toml::Table::new();
    effective.insert(
        "gateway".to_owned(),
        toml::Value::try_from(&file.gateway).expect("toml"),
    );
    let explained = explain(&effective, &written);
    let find = |key: &str| {
        let row = explained
            .iter()
            .find(|row| row.key == key)
            .unwrap_or_else(|| panic!("{key} in {explained:?}"));
        (row.value.clone(), row.from_file)
    };
    assert_eq!(
        find("gateway.refusal_ring_size"),
        ("\"1GiB\"".to_owned(), true)
    );
    assert_eq!(
        find("gateway.certificate_lifetime"),
        ("\"30d\"".to_owned(), false)
    );
    assert_eq!(
        find("gateway.listener[0].address"),
        ("\"127.0.0.1:8443\"".to_owned(), true)
    );
    assert_eq!(
        find("gateway.listener[0].session_lifetime"),
        ("\"1h\"".to_owned(), false)
    );
    assert_eq!(
        find("gateway.listener[0].route[0].allow"),
        ("[\"any-trusted\"]".to_owned(), true)
    );
}

#[test]
fn listener_takes_bytes_or_http_and_says_which_rules_it_cannot_follow() {
    let listener =
        "[[gateway.listener]]\naddress = \"127.0.0.1:5433\"\nclient_certificate = \"off\"\n";
    let place = "gateway.listener[0]";
    let to =
        |upstream: &str| format!("{listener}upstream = \"{upstream}\"\nallow = [\"anyone\"]\n");
    check_refused(
        &format!(
            "{}{ROUTE}allow = [\"anyone\"]\n",
            to("tcp://127.0.0.1:5432")
        ),
        &format!("{place}.upstream"),
        "not both",
    );
    check_refused(
        &format!(
            "{listener}upstream = \"tcp://127.0.0.1:5432\"\nallow = [\"anyone\"]\nheader_timeout = \"5s\"\n"
        ),
        &format!("{place}.header_timeout"),
        "a listener of bytes waits for no headers",
    );
    for key in ["allow = [\"anyone\"]", "deny = [{ method = [\"GET\"] }]"] {
        check_refused(
            &format!("{listener}{key}\n{ROUTE}allow = [\"anyone\"]\n"),
            &format!("{place}.{}", &key[..key.find(' ').unwrap_or_default()]),
            "listener of bytes",
        );
    }
    check_refused(
        &format!("{listener}upstream = \"tcp://127.0.0.1:5432\"\n"),
        &format!("{place}.allow"),
        "nobody would be admitted",
    );
    check_refused(
        &format!("{listener}protocol = \"postgresql\"\n{ROUTE}allow = [\"anyone\"]\n"),
        &format!("{place}.protocol"),
        "listener of bytes",
    );
    check_unreadable(
        &format!("{listener}protocol = \"mysql\"\n"),
        "unknown variant `mysql`",
    );
    check_refused(
        listener,
        &format!("{place}.route"),
        "every request would be refused",
    );
    for (condition, rule) in [
        (
            "allow = [\"anyone\"]\ndeny = [{ method = [\"GET\"] }]",
            "deny[0]",
        ),
        (
            "allow = [\"anyone\"]\ndeny = [{ not = { path = \"/a\" } }]",
            "deny[0]",
        ),
    ] {
        check_refused(
            &format!("{listener}upstream = \"tcp://127.0.0.1:5432\"\n{condition}\n"),
            &format!("{place}.{rule}"),
            "takes bytes, which have none of it",
        );
    }
    for (upstream, why) in [
        ("http://127.0.0.1:3000", "does not begin with tcp://"),
        ("127.0.0.1:5432", "does not begin with tcp://"),
        ("demo", "does not begin with tcp://"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://127.0.0.1:0", "has no port"),
        ("tcp://127.0.0.1:65536", "has no port"),
        ("tcp://127.0.0.1:5432/db", "has a path"),
        ("tcp://me@127.0.0.1:5432", "holds a user name"),
        ("unix:run/db.sock", "begins at the root"),
        ("unix:", "begins at the root"),
        (&format!("unix:/{}", "x".repeat(107)), "107 bytes"),
    ] {
        check_refused(&to(upstream), &format!("{place}.upstream"), why);
    }
    for upstream in [
        "tcp://127.0.0.1:5432",
        "tcp://[::1]:5432",
        "tcp://db.example.com:5432",
        "unix:/run/db.sock",
    ] {
        // What is left to say is that nobody has given it a certificate.
        check_refused(
            &to(upstream),
            &format!("{place}.certificate"),
            "no authority here",
        );
    }
}

#[test]
fn upstream_over_tls_has_to_be_somebody() {
    let listener =
        "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\nclient_certificate = \"off\"\n";
    let route = |upstream: &str, tls: &str| {
        format!(
            "{listener}[[gateway.listener.route]]\nupstream = \"{upstream}\"\nallow = [\"anyone\"]\nupstream_tls = {{ {tls} }}\n"
        )
    };
    let place = "gateway.listener[0].route[0].upstream_tls";
    for upstream in ["http://127.0.0.1:3000", "unix:/run/app.sock", "demo"] {
        check_refused(&route(upstream, ""), place, "is not spoken to over TLS");
    }
    for host in ["10.0.0", "my~host", "a..b"] {
        check_refused(
            &route(
                &format!("https://{host}:443"),
                "name = [\"spiffe://example.com/a\"]",
            ),
            "gateway.listener[0].route[0].upstream",
            "neither a DNS name nor an IP address",
        );
    }
    // These know no trust bundle at all.
    check_refused(
        &route("https://127.0.0.1:3000", ""),
        &format!("{place}.trust"),
        "no trust bundle called \"internal\"",
    );
    check_unreadable(
        &route("https://127.0.0.1:3000", "verify = false"),
        "unknown field `verify`",
    );
    check_refused(
        &format!("{listener}upstream_tls = {{}}\n{ROUTE}allow = [\"anyone\"]\n"),
        "gateway.listener[0].upstream_tls",
        "listener of bytes",
    );
}

#[test]
fn way_out_is_for_this_host_alone() {
    let egress = |address: &str, upstream: &str| {
        format!("[[gateway.egress]]\naddress = \"{address}\"\nupstream = \"{upstream}\"\n")
    };
    let place = "gateway.egress[0]";
    for address in ["0.0.0.0:9080", "192.0.2.1:9080", "[::]:9080"] {
        check_refused(
            &egress(address, "https://orders.example.com"),
            &format!("{place}.address"),
            "no loopback address",
        );
    }
    for upstream in [
        "http://orders.example.com",
        "tcp://127.0.0.1:1",
        "unix:/run/app.sock",
        "demo",
    ] {
        check_refused(
            &egress("127.0.0.1:9080", upstream),
            &format!("{place}.upstream"),
            "is not spoken to over TLS",
        );
    }
    check_refused(
        &egress("[::1]:9080", "https://orders.example.com"),
        &format!("{place}.upstream_tls.trust"),
        "no trust bundle",
    );
    check_refused(
        &(egress("127.0.0.1:9080", "https://orders.example.com") + "name = \"Out\"\n"),
        &format!("{place}.name"),
        "cannot name",
    );
}

#[test]
fn socket_of_an_egress_that_cannot_be_is_refused() {
    let egress = |address: &str, keys: &str| {
        format!(
            "[[gateway.egress]]\naddress = \"{address}\"\nupstream = \"https://orders.example.com\"\n{keys}\n"
        )
    };
    let long = format!("unix:/{}", "x".repeat(107));
    for (address, why) in [
        ("unix:out.sock", "begins at the root"),
        ("unix:/run/", "names no folder"),
        (long.as_str(), "107 bytes"),
        ("localhost:9080", "neither an address and a port"),
    ] {
        check_unreadable(&egress(address, ""), why);
    }
    let mode = "gateway.egress[0].socket_mode";
    for text in ["", "600", "0o600", "0777", "0200", "0606", "rw-------"] {
        let keys = format!("socket_mode = \"{text}\"");
        check_refused(&egress("unix:/run/out.sock", &keys), mode, "no mode");
    }
    let keys = "socket_mode = \"0600\"";
    check_refused(&egress("127.0.0.1:9080", keys), mode, "no file");
    check_unreadable(&egress("unix:/run/out.sock", "socket_mode = 600"), "string");
}

#[test]
fn protocols_that_no_upstream_could_speak_are_refused_at_load() {
    let listener =
        "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\nclient_certificate = \"off\"\n";
    let route = |upstream: &str, keys: &str| {
        format!(
            "{listener}[[gateway.listener.route]]\nupstream = \"{upstream}\"\nallow = [\"anyone\"]\n{keys}\n"
        )
    };
    let place = "gateway.listener[0].route[0]";
    let plain = "http://127.0.0.1:3000";
    for (upstream, keys, key, why) in [
        (
            plain,
            "upstream_protocol = \"auto\"",
            "upstream_protocol",
            "over TLS",
        ),
        (
            "unix:/run/app.sock",
            "upstream_protocol = \"auto\"",
            "upstream_protocol",
            "over TLS",
        ),
        (
            "demo",
            "upstream_protocol = \"h2\"",
            "upstream_protocol",
            "no upstream",
        ),
        ("demo", "upgrades = []", "upgrades", "no upstream"),
        (
            plain,
            "upstream_protocol = \"h2\"\nupgrades = [\"websocket\"]",
            "upgrades",
            "nothing can be switched to",
        ),
        (
            plain,
            "upgrades = [\"h2c\"]",
            "upgrades[0]",
            "past the rules",
        ),
        (
            plain,
            "upgrades = [\"websocket\", \"HTTP/2.0\"]",
            "upgrades[1]",
            "past the rules",
        ),
        (
            plain,
            "upgrades = [\"TLS/1.3\"]",
            "upgrades[0]",
            "past the rules",
        ),
        (
            plain,
            "upgrades = [\"\"]",
            "upgrades[0]",
            "names no protocol",
        ),
        (
            plain,
            "upgrades = [\"a, b\"]",
            "upgrades[0]",
            "names no protocol",
        ),
        (
            plain,
            "upgrades = [\"a\\r\\nb: c\"]",
            "upgrades[0]",
            "names no protocol",
        ),
    ] {
        check_refused(&route(upstream, keys), &format!("{place}.{key}"), why);
    }
    check_unreadable(
        &route(plain, "upstream_protocol = \"h3\""),
        "unknown variant",
    );
    check_unreadable(
        &format!("{listener}upstream_protocol = \"h2\"\n"),
        "unknown field",
    );
    let egress = "[[gateway.egress]]\naddress = \"127.0.0.1:8080\"\nupgrades = []\n";
    check_unreadable(egress, "unknown field");
    for keys in [
        "upstream_protocol = \"h2\"",
        "upstream_protocol = \"h2\"\nupgrades = []",
        "upstream_protocol = \"http/1.1\"\nupgrades = [\"websocket\", \"example/2\"]",
    ] {
        // What is left to say is that nobody has given it a certificate.
        let place = "gateway.listener[0].certificate";
        check_refused(&route(plain, keys), place, "no authority here");
    }
}

/// What is said of `[trust.acme]` with these lines, whose bundle is a good one.
fn revocation(lines: &str) -> Result<Option<RevocationPlan>, ConfigError> {
    let text = format!("[gateway]\n[trust.acme]\nbundle = \"acme.pem\"\n{lines}\n");
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let (acme, web, stranger) = (
        TestCa::new("acme"),
        TestCa::new("web"),
        TestCa::new("other"),
    );
    let read = |path: &Path| match path.to_str() {
        Some("acme.pem") => Ok(acme.root_pem().into_bytes()),
        Some("web.pem") => Ok(web.root_pem().into_bytes()),
        Some("issuing.pem") => Ok(acme.intermediate.pem().into_bytes()),
        Some("strange.pem") => Ok(stranger.intermediate.pem().into_bytes()),
        Some("leaf.pem") => Ok(acme.issue(Leaf::client("a")).chain_pem().into_bytes()),
        Some("empty.pem") => Ok(Vec::new()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let now = UnixTime::from_seconds(SystemClock.unix_seconds());
    let config = &file.trust["acme"];
    let bundle = config.load("acme", None, now, read)?;
    config.revocation(&bundle, now, read)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row per mistake")]
fn what_is_said_of_a_bundles_lists_makes_sense_or_is_refused() {
    for (lines, issuers, mode) in [
        ("crl = [\"a.crl\"]", 1, RevocationMode::Hard),
        (
            "crl = [\"a.crl\", \"http://a.example/x\"]\nintermediates = \"issuing.pem\"",
            2,
            RevocationMode::Hard,
        ),
        (
            "crl = [\"a.crl\"]\nrevocation = \"dangerous_soft\"",
            1,
            RevocationMode::DangerousSoft,
        ),
        (
            "crl = [\"https://a.example/x\"]\ncrl_server_anchors = \"web.pem\"\nrevocation = \"grace\"\ngrace = \"1h\"",
            1,
            RevocationMode::Grace(Duration::from_hours(1)),
        ),
    ] {
        let plan = revocation(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
        let plan = plan.expect("it has lists");
        assert_eq!((plan.issuers.len(), plan.mode), (issuers, mode), "{lines}");
        assert_eq!(plan.https.is_some(), lines.contains("web.pem"), "{lines}");
    }
    assert!(revocation("").expect("nothing is said").is_none());
    for (lines, key, part) in [
        ("revocation = \"grace\"", "revocation", "has none"),
        ("grace = \"1h\"", "grace", "has none"),
        (
            "intermediates = \"issuing.pem\"",
            "intermediates",
            "has none",
        ),
        ("crl_refresh = \"2h\"", "crl_refresh", "has none"),
        ("crl = [\"\"]", "crl[0]", "empty"),
        ("crl = [\"a.crl\", \"a.crl\"]", "crl[1]", "twice"),
        ("crl = [\"ftp://a.example/x\"]", "crl[0]", "http"),
        ("crl = [\"http://u:p@a.example/x\"]", "crl[0]", "passwords"),
        ("crl = [\"https://a.example/x\"]", "crl[0]", "vouches"),
        (
            "crl = [\"a.crl\"]\ncrl_server_anchors = \"web.pem\"",
            "crl_server_anchors",
            "nobody would be judged",
        ),
        (
            "crl = [\"https://a.example/x\"]\ncrl_server_anchors = \"gone.pem\"",
            "crl_server_anchors",
            "gone.pem",
        ),
        (
            "crl = [\"https://a.example/x\"]\ncrl_server_anchors = \"empty.pem\"",
            "crl_server_anchors",
            "no PEM block",
        ),
        (
            "crl = [\"a.crl\"]\nrevocation = \"grace\"",
            "grace",
            "how long",
        ),
        (
            "crl = [\"a.crl\"]\nrevocation = \"grace\"\ngrace = \"0s\"",
            "grace",
            "none",
        ),
        (
            "crl = [\"a.crl\"]\nrevocation = \"grace\"\ngrace = \"31d\"",
            "grace",
            "30 d",
        ),
        ("crl = [\"a.crl\"]\ngrace = \"1h\"", "grace", "another mode"),
        (
            "crl = [\"a.crl\"]\ncrl_refresh = \"1s\"",
            "crl_refresh",
            "load",
        ),
        (
            "crl = [\"a.crl\"]\nintermediates = \"strange.pem\"",
            "intermediates",
            "no anchor",
        ),
        (
            "crl = [\"a.crl\"]\nintermediates = \"leaf.pem\"",
            "intermediates",
            "not a CA",
        ),
        (
            "crl = [\"a.crl\"]\nintermediates = \"empty.pem\"",
            "intermediates",
            "no PEM block",
        ),
        (
            "crl = [\"a.crl\"]\nintermediates = \"gone.pem\"",
            "intermediates",
            "gone.pem",
        ),
        ("contact = \" \"", "contact", "empty"),
        ("contact = \"a\\nb\"", "contact", "line"),
        ("notice = \"800d\"", "notice", "year"),
    ] {
        let refused = revocation(lines).expect_err(lines);
        assert_eq!(
            refused.place,
            format!("trust.acme.{key}"),
            "{lines}: {refused}"
        );
        assert!(refused.why.contains(part), "{lines}: {refused}");
    }
    check_unreadable(
        "[gateway]\n[trust.acme]\nrevocation = \"soft\"\n",
        "dangerous_soft",
    );
}

#[test]
fn route_leaves_bundles_out_and_adds_none() {
    let (acme, globex) = (TestCa::new("acme"), TestCa::new("globex"));
    let server = acme.issue(Leaf::server(&["a.test"]));
    let now = UnixTime::from_seconds(SystemClock.unix_seconds());
    let bundles = [("acme", &acme), ("globex", &globex)].map(|(name, ca)| {
        let name = BundleName::parse(name).expect("a name");
        let root = Certificate::parse(ca.root.der()).expect("a certificate");
        let bundle = TrustBundle::new(name.clone(), None, vec![root], now).expect("a bundle");
        (name, Arc::new(bundle))
    });
    let bundles = BTreeMap::from(bundles);
    let build = |listener: &str, route: &str| {
        let text = format!(
            "{LISTENER}certificate = \"a.pem\"\nkey = \"a.key\"\n{listener}\n{ROUTE}host = \"a.test\"\n{route}\n"
        );
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let read = |path: &Path| match path.to_str() {
            Some("a.pem") => Ok(server.chain_pem().into_bytes()),
            _ => Ok(server.key_pem.clone().into_bytes()),
        };
        file.gateway.build(&bundles, Vec::new(), None, read)
    };
    let both = "trust = [\"acme\", \"globex\"]";
    assert!(build(both, "trust = [\"acme\"]\nallow = [\"any-trusted\"]").is_ok());
    assert!(
        build(
            both,
            "trust = [\"acme\"]\nallow = [{ bundle = \"acme\", cn = \"x\" }]"
        )
        .is_ok()
    );
    for (listener, route, key, part) in [
        (
            "trust = [\"acme\"]",
            "trust = [\"globex\"]\nallow = [\"any-trusted\"]",
            "trust[0]",
            "add none",
        ),
        (
            both,
            "trust = [\"acme\", \"internal\"]\nallow = [\"any-trusted\"]",
            "trust[1]",
            "add none",
        ),
        (
            both,
            "trust = [\"acme\", \"acme\"]\nallow = [\"any-trusted\"]",
            "trust[1]",
            "twice",
        ),
        (
            both,
            "trust = []\nallow = [\"any-trusted\"]",
            "trust",
            "empty",
        ),
        (
            both,
            "trust = [\"acme\"]\nallow = [{ bundle = \"globex\", cn = \"x\" }]",
            "allow[0]",
            "never hold",
        ),
        (
            both,
            "trust = [\"acme\"]\nallow = [{ cn = \"x\" }]",
            "allow[0]",
            "internal",
        ),
        (
            "client_certificate = \"off\"",
            "trust = [\"acme\"]\nallow = [\"anyone\"]",
            "trust",
            "never asks",
        ),
    ] {
        let refused = build(listener, route)
            .err()
            .unwrap_or_else(|| panic!("accepted: {route}"));
        assert_eq!(
            refused.place,
            format!("gateway.listener[0].route[0].{key}"),
            "{refused}"
        );
        assert!(refused.why.contains(part), "{route}: {refused}");
        assert!(refused.hint.is_some(), "{route}: {refused}");
    }
}
