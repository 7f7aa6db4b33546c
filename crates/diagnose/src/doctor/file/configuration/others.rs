//! How servers that have one word for it say whether they ask for client certificates.

use super::Asking;

/// Whose configuration it is, and how it asks. `None`: it is no configuration that is known here.
pub(super) fn read(lines: &[&str]) -> Option<(&'static str, Asking)> {
    PRODUCTS
        .iter()
        .find_map(|(name, read)| Some((*name, read(&Lines(lines))?)))
}

/// Each gives `None` where the file is not its own, or does not decide.
type Product = (&'static str, fn(&Lines<'_>) -> Option<Asking>);

const PRODUCTS: [Product; 17] = [
    ("pg_hba.conf", pg_hba),
    ("PostgreSQL", postgresql),
    ("Mosquitto", mosquitto),
    ("Redis", redis),
    ("Traefik", traefik),
    ("Caddy", caddy),
    ("Kafka", kafka),
    ("Spring", spring),
    ("MongoDB", mongodb),
    ("Istio", istio),
    ("ingress-nginx", ingress),
    ("RabbitMQ", rabbitmq),
    ("EMQX", emqx),
    ("etcd", etcd),
    ("Tomcat", tomcat),
    ("ghostunnel", ghostunnel),
    ("stunnel", stunnel),
];

/// Lines without comments.
struct Lines<'a>(&'a [&'a str]);

impl<'a> Lines<'a> {
    /// The value of a setting, however it is joined to its name: `name = value`, `name: value`, `name value`, `name="value"`.
    fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find_map(|line| {
            let line = line.trim_start_matches(['-', ' ', '"', '\'']);
            let head = line.get(..name.len())?;
            let rest = line.get(name.len()..)?.trim_start_matches(['"', '\'']);
            let is_whole = rest.is_empty() || rest.starts_with([' ', '\t', ':', '=']);
            (head.eq_ignore_ascii_case(name) && is_whole).then(|| {
                rest.trim_start_matches([' ', '\t', ':', '='])
                    .trim_matches([' ', '"', '\'', ';', ','])
            })
        })
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an attribute of XML.
    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|line| {
            let start = line.find(name)? + name.len();
            line.get(start..)?.strip_prefix("=\"")?.split('"').next()
        })
    }
}

fn optional(name: &str, value: &str) -> Asking {
    Asking::Optional(format!("{name} {value}").trim().to_owned())
}

/// The words of one setting; `None`: another word, such as a variable.
fn by_word(name: &str, value: &str, no: &[&str], some: &[&str], all: &[&str]) -> Option<Asking> {
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is(no) {
        Some(Asking::No)
    } else if is(some) {
        Some(optional(name, value))
    } else {
        is(all).then_some(Asking::Required)
    }
}

/// Nobody knows which line a connection meets: one that demands a certificate is enough.
fn pg_hba(lines: &Lines<'_>) -> Option<Asking> {
    let mut hosts = lines.0.iter().filter(|line| {
        let first = line.split_whitespace().next();
        matches!(first, Some("hostssl" | "host")) && line.split_whitespace().count() >= 5
    });
    let first = hosts.clone().next()?;
    let demands = |line: &&&str| {
        let mut words = line.split_whitespace().skip(4);
        words.any(|word| {
            matches!(
                word,
                "cert" | "clientcert=verify-full" | "clientcert=verify-ca" | "clientcert=1"
            )
        })
    };
    Some(if hosts.any(|line| demands(&line)) {
        Asking::Required
    } else {
        Asking::Optional(format!("no line has clientcert=: {first}"))
    })
}

fn postgresql(lines: &Lines<'_>) -> Option<Asking> {
    let is_one = lines.has("ssl") && lines.has("ssl_cert_file");
    // Where CAs are named, pg_hba.conf decides.
    let names_cas = lines
        .value("ssl_ca_file")
        .is_some_and(|path| !path.is_empty());
    (is_one && !names_cas).then_some(Asking::No)
}

fn mosquitto(lines: &Lines<'_>) -> Option<Asking> {
    let is_one = lines.has("certfile") && lines.has("keyfile");
    is_one.then(|| match lines.value("require_certificate") {
        Some("true") => Asking::Required,
        _ => Asking::No,
    })
}

fn redis(lines: &Lines<'_>) -> Option<Asking> {
    lines.value("tls-port")?;
    let name = "tls-auth-clients";
    let value = lines.value(name).unwrap_or("yes");
    by_word(name, value, &["no"], &["optional"], &["yes"])
}

fn traefik(lines: &Lines<'_>) -> Option<Asking> {
    let name = "clientAuthType";
    let some = [
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
    ];
    by_word(
        name,
        lines.value(name)?,
        &["NoClientCert"],
        &some,
        &["RequireAndVerifyClientCert"],
    )
}

fn caddy(lines: &Lines<'_>) -> Option<Asking> {
    lines.value("client_auth")?;
    let some = ["request", "require", "verify_if_given"];
    match lines.value("mode") {
        Some(mode) => by_word("mode", mode, &[], &some, &["require_and_verify"]),
        None => Some(Asking::Required),
    }
}

fn kafka(lines: &Lines<'_>) -> Option<Asking> {
    if !lines.has("listeners") || !lines.has("ssl.keystore.location") {
        return None;
    }
    let name = "ssl.client.auth";
    let value = lines.value(name).unwrap_or("none");
    by_word(name, value, &["none"], &["requested"], &["required"])
}

fn spring(lines: &Lines<'_>) -> Option<Asking> {
    let name = "client-auth";
    let value = match lines.value("server.ssl.client-auth") {
        Some(value) => value,
        None if lines.has("server") && lines.has("ssl") => lines.value(name)?,
        None => return None,
    };
    by_word(name, value, &["none"], &["want"], &["need"])
}

fn mongodb(lines: &Lines<'_>) -> Option<Asking> {
    let is_one = lines.has("certificateKeyFile") || lines.has("PEMKeyFile");
    if !is_one {
        return None;
    }
    let name = "allowConnectionsWithoutCertificates";
    Some(match lines.value(name) {
        _ if !lines.has("CAFile") => Asking::No,
        Some("true") => optional(name, "true"),
        _ => Asking::Required,
    })
}

fn istio(lines: &Lines<'_>) -> Option<Asking> {
    if lines.value("kind") != Some("PeerAuthentication") {
        return None;
    }
    let value = lines.value("mode")?;
    match value {
        "PERMISSIVE" => Some(Asking::OrPlaintext("mode: PERMISSIVE".to_owned())),
        _ => by_word("mode", value, &["DISABLE"], &[], &["STRICT"]),
    }
}

fn ingress(lines: &Lines<'_>) -> Option<Asking> {
    lines.value("nginx.ingress.kubernetes.io/auth-tls-secret")?;
    let name = "nginx.ingress.kubernetes.io/auth-tls-verify-client";
    let value = lines.value(name).unwrap_or("on");
    by_word(
        name,
        value,
        &["off"],
        &["optional", "optional_no_ca"],
        &["on"],
    )
}

fn rabbitmq(lines: &Lines<'_>) -> Option<Asking> {
    erlang(lines, "ssl_options")
}

fn emqx(lines: &Lines<'_>) -> Option<Asking> {
    erlang(lines, "listeners.ssl.default.ssl_options")
}

fn erlang(lines: &Lines<'_>, prefix: &str) -> Option<Asking> {
    let verify = lines.value(&format!("{prefix}.verify"))?;
    let name = "fail_if_no_peer_cert";
    match (verify, lines.value(&format!("{prefix}.{name}"))) {
        ("verify_none", _) => Some(Asking::No),
        ("verify_peer", Some("true")) => Some(Asking::Required),
        ("verify_peer", _) => Some(optional(name, "false")),
        _ => None,
    }
}

fn etcd(lines: &Lines<'_>) -> Option<Asking> {
    let name = "client-cert-auth";
    by_word(name, lines.value(name)?, &["false"], &[], &["true"])
}

fn tomcat(lines: &Lines<'_>) -> Option<Asking> {
    let name = "certificateVerification";
    let (name, value) = match lines.attribute(name) {
        Some(value) => (name, value),
        None => ("clientAuth", lines.attribute(" clientAuth")?),
    };
    let some = ["optional", "optionalNoCA", "want"];
    by_word(
        name,
        value,
        &["none", "false"],
        &some,
        &["required", "true"],
    )
}

fn ghostunnel(lines: &Lines<'_>) -> Option<Asking> {
    let mut commands = lines.0.iter();
    commands.find(|line| line.contains("ghostunnel server"))?;
    let is_open = lines
        .0
        .iter()
        .any(|line| line.contains("--disable-authentication"));
    Some(if is_open {
        Asking::No
    } else {
        Asking::Required
    })
}

fn stunnel(lines: &Lines<'_>) -> Option<Asking> {
    let is_one = lines.has("accept") && lines.has("connect") && lines.has("cert");
    if !is_one || lines.value("client") == Some("yes") {
        return None;
    }
    let is_on = |name| lines.value(name) == Some("yes");
    Some(match lines.value("verify") {
        Some("2" | "3" | "4") => Asking::Required,
        _ if is_on("verifyChain") || is_on("verifyPeer") => Asking::Required,
        Some("1") => optional("verify", "1"),
        _ => Asking::No,
    })
}
