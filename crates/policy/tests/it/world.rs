//! Two authorities, peers whose chains were really verified, and rules written in one line.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::ExtraExtension;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, ToBeSigned, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Allow, ApiKeyPattern, Circumstances, ClaimValue, Condition, ConnectTarget,
    ExtensionPattern, GrpcPattern, HeaderPattern, Headers, InvalidPolicy, IpRange, KeyPurpose,
    LoginPattern, NamePattern, PathPattern, Route, SubjectAttribute, Tenant, TimeWindow,
    TokenPattern,
};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use rustls_pki_types::CertificateDer;

/// 2026-11-22T00:00:00Z.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_795_305_600);
pub(crate) const DAY_S: u64 = 86_400;

pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str, not_before: u64, not_after: u64) -> Self {
        let key = KeyPair::generate().unwrap();
        let template = Template {
            subject: DistinguishedName::parse(name).unwrap(),
            subject_alt_names: Vec::new(),
            spki_der: key.subject_public_key_info(),
            not_before: UnixTime::from_seconds(not_before),
            not_after: UnixTime::from_seconds(not_after),
            serial: SerialNumber::from_random([7; 20]),
            usage: Usage::Authority { path_len: None },
            status_sources: StatusSources::default(),
            extra_extensions: Vec::new(),
        };
        let to_be_signed = template
            .to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256)
            .unwrap();
        let der = to_be_signed.complete(&key.sign(to_be_signed.bytes()).unwrap());
        Self {
            certificate: Certificate::parse(&der).unwrap(),
            key,
        }
    }

    pub(crate) fn sign(&self, to_be_signed: &ToBeSigned) -> CertificateDer<'static> {
        to_be_signed.complete(&self.key.sign(to_be_signed.bytes()).unwrap())
    }
}

struct World {
    internal: Authority,
    acme: Authority,
    verifier: Verifier,
    leaf_key: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let year = 365 * DAY_S;
    let authority = |name| Authority::new(name, NOW.seconds() - year, NOW.seconds() + 10 * year);
    let (internal, acme) = (authority("CN=Internal root"), authority("CN=ACME root"));
    let bundle = |name, domain, authority: &Authority| {
        let domain = TrustDomain::parse(domain).unwrap();
        Arc::new(
            TrustBundle::new(
                BundleName::parse(name).unwrap(),
                Some(domain),
                vec![authority.certificate.clone()],
                NOW,
            )
            .unwrap(),
        )
    };
    let bundles = vec![
        bundle("internal", "example.com", &internal),
        bundle("acme-corp", "acme.example", &acme),
    ];
    let verifier = Verifier::new(bundles, Limits::default()).unwrap();
    World {
        internal,
        acme,
        verifier,
        leaf_key: KeyPair::generate().unwrap().subject_public_key_info(),
    }
});

pub(crate) fn internal() -> &'static Authority {
    &WORLD.internal
}

/// A verified peer: `internal cn:order-svc dns:a.example.com`. A `dn:` or `cn:` is its subject; `ext:1.2.3=text` is an extension, and
/// `serverAuth` one more purpose.
pub(crate) fn peer(text: &str) -> VerifiedPeer {
    let (bundle, words) = text.split_once(' ').unwrap();
    let (mut extra_extensions, mut server_auth, mut names) = (Vec::new(), false, Vec::new());
    for word in words.split(' ') {
        if let Some(extension) = word.strip_prefix("ext:") {
            let (oid, text) = extension.split_once('=').unwrap();
            extra_extensions.push(ExtraExtension::parse_text(oid, false, text).unwrap());
        } else if word == "serverAuth" {
            server_auth = true;
        } else {
            names.push(word.parse::<TypedName>().unwrap());
        }
    }
    let mut subject = DistinguishedName::default();
    for name in &names {
        match name {
            TypedName::Cn(name) => subject = subject.append_common_name(name),
            TypedName::Dn(name) => subject = name.clone(),
            _ => {}
        }
    }
    let world = &*WORLD;
    let authority = if bundle == "internal" {
        &world.internal
    } else {
        &world.acme
    };
    let template = Template {
        subject,
        subject_alt_names: names
            .into_iter()
            .filter(|name| !matches!(name, TypedName::Cn(_) | TypedName::Dn(_)))
            .collect(),
        spki_der: world.leaf_key.clone(),
        not_before: UnixTime::from_seconds(NOW.seconds() - 60),
        not_after: UnixTime::from_seconds(NOW.seconds() + DAY_S),
        serial: SerialNumber::from_random([9; 20]),
        usage: Usage::Leaf {
            server_auth,
            client_auth: true,
        },
        status_sources: StatusSources::default(),
        extra_extensions,
    };
    let leaf = authority.sign(
        &template
            .to_be_signed(&authority.certificate, SignatureAlgorithm::EcdsaP256Sha256)
            .unwrap(),
    );
    world
        .verifier
        .verify(
            &[leaf],
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            NOW,
        )
        .unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

pub(crate) fn host(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

pub(crate) fn path(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap()
}

/// A verified peer may ask from there, then.
pub(crate) const CIRCUMSTANCES: Circumstances = Circumstances {
    source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    now: NOW,
};

/// Headers as they were sent, names in lower case.
#[derive(Debug, Default)]
pub(crate) struct Sent<'a>(pub(crate) Vec<(&'a str, &'a str)>);

impl Headers for Sent<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for (sent, value) in &self.0 {
            if sent.replace('_', "-") == name {
                visit(value.as_bytes());
            }
        }
    }
}

/// `corp`, `corp:scope=payments&admin=true`.
fn token_pattern(text: &str) -> TokenPattern {
    let (issuer, claims) = text.split_once(':').unwrap_or((text, ""));
    let value = |text: &str| match text {
        "true" => ClaimValue::Bool(true),
        "false" => ClaimValue::Bool(false),
        number if number.parse::<i64>().is_ok() => ClaimValue::Integer(number.parse().unwrap()),
        text => ClaimValue::Text(text.replace('+', " ")),
    };
    let claims = claims.split('&').filter_map(|it| it.split_once('='));
    let claims =
        claims.map(|(name, values)| (name.to_owned(), values.split('|').map(value).collect()));
    TokenPattern::parse(issuer, claims.collect()).unwrap()
}

/// `cn:a dns:*.b @acme-corp GET|PUT /path/** ! cn:c`: names, bundle, methods, path, `user=app|report_*`, and behind `!` the exception.
/// Then `host=a|b`, `grpc=a.B/C`, `x-env=prod|test`, `from=10.0.0.0/8`, `time=mon|tue,08:00,18:00`, `age=60`, `eku=serverAuth`,
/// `ext=1.2.3:text`, `issuer-key=HEX`, and `{tenant}` where it may stand;
/// `token=corp:scope=payments`, `key=billing`, `key=*`.
pub(crate) fn condition(text: &str) -> Condition {
    let mut condition = Condition::default();
    let (fields, not) = match text.split_once('!') {
        Some((fields, not)) => (fields, Some(Box::new(self::condition(not)))),
        None => (text, None),
    };
    condition.not = not;
    for field in fields.split_whitespace() {
        let is_factor = field.starts_with("token=") || field.starts_with("key=");
        if !is_factor && further_field(&mut condition, field).is_some() {
            continue;
        }
        if let Some(bundle) = field.strip_prefix('@') {
            condition.bundle = Some(BundleName::parse(bundle).unwrap());
        } else if let Some(token) = field.strip_prefix("token=") {
            condition.token = Some(token_pattern(token));
        } else if let Some(key) = field.strip_prefix("key=") {
            condition.api_key = Some(match key {
                "*" => ApiKeyPattern::Any,
                name => ApiKeyPattern::Named(name.to_owned()),
            });
        } else if let Some(users) = field.strip_prefix("user=") {
            condition.users = accounts(users);
        } else if let Some(databases) = field.strip_prefix("database=") {
            condition.databases = accounts(databases);
        } else if field.starts_with('/') {
            condition.path = Some(path(field));
        } else if field
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'|')
        {
            condition.methods = field.split('|').map(str::to_owned).collect();
        } else {
            condition.names.push(NamePattern::parse(field).unwrap());
        }
    }
    condition
}

fn further_field(condition: &mut Condition, field: &str) -> Option<()> {
    let tenant = &mut condition.tenant;
    match field.split_once('=') {
        _ if Tenant::is_in(field) && field.starts_with('/') => {
            condition.path = Some(tenant.use_path(field).unwrap());
        }
        _ if Tenant::is_in(field) && field.starts_with("spiffe:") => {
            condition.names.push(tenant.add_spiffe(field).unwrap());
        }
        _ if Tenant::is_in(field) && field.starts_with("dns:") => {
            condition.names.push(tenant.add_dns(&field[4..]).unwrap());
        }
        _ if Tenant::is_in(field) && field.starts_with("ou:") => {
            let unit = SubjectAttribute::OrganizationalUnit;
            tenant.add_subject(unit, &field[3..]).unwrap();
        }
        Some(("host", host)) if Tenant::is_in(host) => {
            condition.hosts = vec![tenant.use_host(host).unwrap()];
        }
        Some((name, value)) if Tenant::is_in(value) => tenant.use_header(name, value).unwrap(),
        Some(("host", hosts)) => condition.hosts = hosts.split('|').map(host).collect(),
        Some(("grpc", methods)) => {
            let methods = methods.split('|').map(|it| GrpcPattern::parse(it).unwrap());
            condition.grpc = methods.collect();
        }
        Some(("from", ranges)) => {
            let ranges = ranges.split('|').map(|it| IpRange::parse(it).unwrap());
            condition.sources = ranges.collect();
        }
        Some(("time", window)) => {
            let parts: Vec<&str> = window.split(',').collect();
            let days: Vec<String> = parts[0].split('|').map(str::to_owned).collect();
            let days = if parts[0].is_empty() {
                Vec::new()
            } else {
                days
            };
            let window = TimeWindow::parse(&days, parts[1], parts[2]).unwrap();
            condition.windows.push(window);
        }
        Some(("age", seconds)) => {
            condition.max_age = Some(Duration::from_secs(seconds.parse().unwrap()));
        }
        Some(("eku", purposes)) => {
            let purposes = purposes.split('|').map(|it| KeyPurpose::parse(it).unwrap());
            condition.purposes = purposes.collect();
        }
        Some(("ext", extension)) => {
            let (oid, text) = extension.split_once(':').unwrap();
            let pattern = ExtensionPattern::parse(oid, Some(text), None).unwrap();
            condition.extensions.push(pattern);
        }
        Some(("issuer-key", key)) => condition.issuer_key = Some(key.parse().unwrap()),
        Some((name, values)) if name.starts_with("x-") => {
            let values: Vec<String> = values.split('|').map(str::to_owned).collect();
            let pattern = HeaderPattern::parse(name, &values).unwrap();
            condition.headers.push(pattern);
        }
        _ => return None,
    }
    Some(())
}

fn accounts(text: &str) -> Vec<LoginPattern> {
    text.split('|')
        .map(|text| LoginPattern::parse(text).unwrap())
        .collect()
}

pub(crate) fn allow(text: &str) -> Allow {
    match text {
        "anyone" => Allow::Anyone,
        "any-trusted" => Allow::AnyTrusted,
        text => Allow::When(condition(text)),
    }
}

/// A route for every host and path.
pub(crate) fn route(allowed: &[&str], denied: &[&str]) -> Route {
    Route {
        label: "route 1".to_owned(),
        host: None,
        path: None,
        connect: Vec::new(),
        require_certificate: false,
        allow: allowed.iter().map(|text| allow(text)).collect(),
        deny: denied.iter().map(|text| condition(text)).collect(),
    }
}

/// A route that admits everyone: `api.example.com /charge/**`, with `-` for any host, or `CONNECT db.internal:5432`, labelled so.
pub(crate) fn place(text: &str) -> Route {
    if let Some(targets) = text.strip_prefix("CONNECT ") {
        let targets = targets.split_whitespace();
        return Route {
            label: text.to_owned(),
            connect: targets
                .map(|it| ConnectTarget::parse(it).unwrap())
                .collect(),
            ..route(&["anyone"], &[])
        };
    }
    let mut parts = text.split_whitespace();
    let (wanted_host, wanted_path) = (parts.next().unwrap(), parts.next());
    Route {
        label: text.to_owned(),
        host: (wanted_host != "-").then(|| host(wanted_host)),
        path: wanted_path.map(path),
        ..route(&["anyone"], &[])
    }
}

pub(crate) fn policy(routes: Vec<Route>) -> Result<AccessPolicy, InvalidPolicy> {
    AccessPolicy::new(routes)
}
