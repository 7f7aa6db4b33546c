//! One condition of a rule, from what is written to what is judged by.

use countersign_pki::bundle::TrustBundle;
use countersign_pki::fingerprint::InvalidFingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::name::{DnsName, NameKind, TypedName};
use countersign_pki::spiffe::TrustDomain;
use countersign_policy::access::{
    Condition, ExtensionPattern, GrpcPattern, HeaderPattern, InvalidPolicy, IpRange, KeyPurpose,
    LoginPattern, NamePattern, PathPattern, SubjectAttribute, Tenant, TimeWindow,
};
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use http::header::HeaderName;

use crate::config::ClientCertificateMode;
use crate::config::route::{Admission, Side};
use crate::config::rule::{ConditionConfig, TimeZone};
use crate::config::trust::refuse_other_trust_domain;
use crate::headers::stripped::is_stripped;

pub(super) fn condition(
    place: &str,
    entry: &ConditionConfig,
    side: Side,
    admission: &Admission<'_>,
) -> Result<Condition, ConfigError> {
    let bundle = match &entry.bundle {
        Some(name) => Some(
            BundleName::parse(name)
                .map_err(|error| ConfigError::new(format!("{place}.bundle"), error.to_string()))?,
        ),
        None => None,
    };
    let mut built = Condition::default();
    identity(place, entry, &mut built)?;
    request(place, entry, &mut built)?;
    let vouching = match (&bundle, side) {
        (Some(name), _) => Some(name.clone()),
        (None, Side::Allow) => Some(BundleName::internal()),
        (None, Side::Deny) => None,
    };
    if admission.mode == ClientCertificateMode::Off
        && (bundle.is_some() || built.looks_at_identities())
    {
        return Err(ConfigError::new(
            place,
            "it can never hold: this listener never asks for a certificate",
        ));
    }
    if admission.mode != ClientCertificateMode::Off
        && let Some(name) = &vouching
    {
        let Some(trusted) = admission
            .trust
            .iter()
            .find(|trusted| trusted.name() == name)
        else {
            let why = format!(
                "it can never hold: it means the trust bundle {name}, which this listener does not trust"
            );
            return Err(ConfigError::new(place, why).hint(format!(
                "add \"{name}\" to the listener's trust, or name another bundle"
            )));
        };
        check_trust_domains(place, &built.names, trusted)?;
    }
    let not = match &entry.not {
        // What is taken back is taken back for every bundle, as in `deny`.
        Some(entry) => Some(Box::new(condition(
            &format!("{place}.not"),
            entry,
            Side::Deny,
            admission,
        )?)),
        None => None,
    };
    Ok(Condition {
        bundle,
        not,
        ..built
    })
}

fn logins(place: &str, written: &[String]) -> Result<Vec<LoginPattern>, ConfigError> {
    let patterns = written.iter().enumerate().map(|(index, text)| {
        LoginPattern::parse(text)
            .map_err(|invalid| of_policy(&format!("{place}[{index}]"), &invalid))
    });
    patterns.collect()
}

/// Reads the fields that speak of the certificate.
fn identity(
    place: &str,
    entry: &ConditionConfig,
    built: &mut Condition,
) -> Result<(), ConfigError> {
    let at = |key: &str, invalid: &InvalidPolicy| of_policy(&format!("{place}.{key}"), invalid);
    let typed = [
        (NameKind::Ip, "ip", &entry.ip),
        (NameKind::Email, "email", &entry.email),
        (NameKind::Uri, "uri", &entry.uri),
        (NameKind::Cn, "cn", &entry.cn),
        (NameKind::Dn, "dn", &entry.dn),
        (NameKind::Spki, "spki", &entry.spki),
    ];
    if let Some(text) = &entry.spiffe {
        let pattern = if Tenant::is_in(text) {
            built.tenant.add_spiffe(text)
        } else {
            NamePattern::parse_as(NameKind::Spiffe, text)
        };
        built.names.push(pattern.map_err(|it| at("spiffe", &it))?);
    }
    if let Some(text) = &entry.trust_domain {
        let pattern = TrustDomain::parse(text)
            .map_err(|error| ConfigError::new(format!("{place}.trust_domain"), error.to_string()))
            .and_then(|domain| {
                NamePattern::parse_as(NameKind::Spiffe, &format!("spiffe://{domain}/**"))
                    .map_err(|it| at("trust_domain", &it))
            });
        built.names.push(pattern?);
    }
    if let Some(text) = &entry.dns {
        let pattern = if Tenant::is_in(text) {
            built.tenant.add_dns(text)
        } else {
            NamePattern::parse_as(NameKind::Dns, text)
        };
        built.names.push(pattern.map_err(|it| at("dns", &it))?);
    }
    for (kind, key, text) in typed {
        if let Some(text) = text {
            refuse_tenant(place, key, text)?;
            let pattern = NamePattern::parse_as(kind, text);
            built.names.push(pattern.map_err(|it| at(key, &it))?);
        }
    }
    for (attribute, key, text) in [
        (SubjectAttribute::Organization, "o", &entry.o),
        (SubjectAttribute::OrganizationalUnit, "ou", &entry.ou),
    ] {
        match text {
            Some(text) if Tenant::is_in(text) => {
                let added = built.tenant.add_subject(attribute, text);
                added.map_err(|it| at(key, &it))?;
            }
            Some(text) => {
                let pattern = NamePattern::subject(attribute, text);
                built.names.push(pattern.map_err(|it| at(key, &it))?);
            }
            None => {}
        }
    }
    if let Some(text) = &entry.dn_unordered {
        let pattern = NamePattern::dn_unordered(text);
        built
            .names
            .push(pattern.map_err(|it| at("dn_unordered", &it))?);
    }
    built.names.extend(issuer(place, entry)?);
    if let Some(text) = &entry.name {
        refuse_tenant(place, "name", text)?;
        let pattern = NamePattern::parse(text);
        built.names.push(pattern.map_err(|it| at("name", &it))?);
    }
    if let Some(text) = &entry.issuer_spki {
        let key = text.parse().map_err(|error: InvalidFingerprint| {
            ConfigError::new(format!("{place}.issuer_spki"), error.to_string())
        })?;
        built.issuer_key = Some(key);
    }
    built.purposes = each(
        &entry.eku,
        |text| KeyPurpose::parse(text),
        |index, it| at(&format!("eku[{index}]"), it),
    )?;
    built.extensions = each(
        &entry.extension,
        |it| ExtensionPattern::parse(&it.oid, it.text.as_deref(), it.hex.as_deref()),
        |index, it| at(&format!("extension[{index}]"), it),
    )?;
    built.max_age = entry.certificate_max_age.map(TimeSpan::duration);
    Ok(())
}

/// One certificate of an issuer, or any.
fn issuer(place: &str, entry: &ConditionConfig) -> Result<Option<NamePattern>, ConfigError> {
    let at = |key: &str, invalid: &InvalidPolicy| of_policy(&format!("{place}.{key}"), invalid);
    match (&entry.serial, &entry.issuer) {
        (Some(serial), Some(issuer)) => {
            let pattern =
                NamePattern::parse_as(NameKind::SerialIssuer, &format!("{serial}@{issuer}"));
            pattern.map(Some).map_err(|it| at("serial", &it))
        }
        (Some(_), None) => Err(ConfigError::new(
            format!("{place}.serial"),
            "a serial number is one under its issuer alone",
        )
        .hint("add issuer = \"CN=…\", as countersign inspect shows it")),
        (None, Some(issuer)) => {
            let pattern = NamePattern::issuer(issuer);
            pattern.map(Some).map_err(|it| at("issuer", &it))
        }
        (None, None) => Ok(None),
    }
}

/// Reads the fields that speak of the request, and of when and from where it comes.
fn request(place: &str, entry: &ConditionConfig, built: &mut Condition) -> Result<(), ConfigError> {
    let at = |key: &str, invalid: &InvalidPolicy| of_policy(&format!("{place}.{key}"), invalid);
    for (index, text) in entry.host.iter().enumerate() {
        let place = format!("{place}.host[{index}]");
        if Tenant::is_in(text) {
            if entry.host.len() > 1 {
                return Err(
                    ConfigError::new(place, "{tenant} stands beside other hosts")
                        .hint("make it an entry of its own"),
                );
            }
            let host = built.tenant.use_host(text);
            built.hosts.push(host.map_err(|it| of_policy(&place, &it))?);
        } else {
            let host = DnsName::parse(text);
            built
                .hosts
                .push(host.map_err(|error| ConfigError::new(place, format!("{text:?}: {error}")))?);
        }
    }
    built.methods.clone_from(&entry.method);
    built.path = match &entry.path {
        Some(text) if Tenant::is_in(text) => {
            let path = built.tenant.use_path(text);
            Some(path.map_err(|it| at("path", &it))?)
        }
        text => path(&format!("{place}.path"), text.as_deref())?,
    };
    for (name, values) in &entry.header {
        let place = format!("{place}.header.{name}");
        if HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| is_stripped(&name)) {
            return Err(ConfigError::new(
                place,
                "the gateway removes this header from what clients send: it would be believed by somebody",
            )
            .hint("ask for the identity itself (spiffe, dns, cn), or for the client's address (source)"));
        }
        match &values[..] {
            [value] if Tenant::is_in(value) => {
                let used = built.tenant.use_header(name, value);
                used.map_err(|it| of_policy(&place, &it))?;
            }
            values => {
                if let Some(value) = values.iter().find(|value| Tenant::is_in(value)) {
                    refuse_tenant(&place, "values", value)?;
                }
                let pattern = HeaderPattern::parse(name, values);
                built
                    .headers
                    .push(pattern.map_err(|it| of_policy(&place, &it))?);
            }
        }
    }
    built.grpc = each(
        &entry.grpc,
        |text| GrpcPattern::parse(text),
        |index, it| at(&format!("grpc[{index}]"), it),
    )?;
    if let Some(token) = &entry.token {
        built.token = Some(token.build().map_err(|it| at("token", &it))?);
    }
    if let Some(api_key) = &entry.api_key {
        built.api_key = Some(api_key.build(&format!("{place}.api_key"))?);
    }
    for (index, text) in entry.source.iter().enumerate() {
        let range =
            IpRange::parse(text).filter(|_| !text.to_ascii_lowercase().starts_with("::ffff:"));
        let range = range.ok_or_else(|| {
            ConfigError::new(
                format!("{place}.source[{index}]"),
                format!("{text:?} is no address and no range of addresses"),
            )
            .hint("write 10.0.0.0/8 or 2001:db8::/32, with nothing behind the prefix; IPv4 addresses are written as such")
        })?;
        built.sources.push(range);
    }
    for (index, window) in entry.time.iter().enumerate() {
        let place = format!("{place}.time[{index}]");
        if window.days.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::new(
                format!("{place}.days"),
                "it can never hold: it lists no day",
            )
            .hint("leave days out for every day"));
        }
        let days = window.days.as_deref().unwrap_or_default();
        let TimeZone::Utc = window.zone;
        let parsed = TimeWindow::parse(days, &window.from, &window.to);
        built
            .windows
            .push(parsed.map_err(|it| of_policy(&place, &it))?);
    }
    built.users = logins(&format!("{place}.user"), &entry.user)?;
    built.databases = logins(&format!("{place}.database"), &entry.database)?;
    Ok(())
}

fn each<T, U>(
    written: &[T],
    parse: impl Fn(&T) -> Result<U, InvalidPolicy>,
    wrong: impl Fn(usize, &InvalidPolicy) -> ConfigError,
) -> Result<Vec<U>, ConfigError> {
    let parsed = written.iter().enumerate();
    parsed
        .map(|(index, item)| parse(item).map_err(|invalid| wrong(index, &invalid)))
        .collect()
}

fn refuse_tenant(place: &str, key: &str, text: &str) -> Result<(), ConfigError> {
    if Tenant::is_in(text) {
        return Err(ConfigError::new(
            format!("{place}.{key}"),
            "{tenant} cannot stand here",
        )
        .hint("it is taken from spiffe, dns, o or ou, and asked for in host, path or the one value of a header"));
    }
    Ok(())
}

fn check_trust_domains(
    place: &str,
    names: &[NamePattern],
    bundle: &TrustBundle,
) -> Result<(), ConfigError> {
    for name in names {
        let wanted = match name {
            NamePattern::Exact(TypedName::Spiffe(id)) => id.trust_domain(),
            NamePattern::Spiffe { trust_domain, .. } => trust_domain,
            _ => continue,
        };
        refuse_other_trust_domain(bundle, wanted).map_err(|why| {
            ConfigError::new(format!("{place}.spiffe"), why)
                .hint(format!("see trust_domain in [trust.{}]", bundle.name()))
        })?;
    }
    Ok(())
}

pub(super) fn path(place: &str, text: Option<&str>) -> Result<Option<PathPattern>, ConfigError> {
    match text {
        Some(text) => PathPattern::parse(text)
            .map(Some)
            .map_err(|invalid| of_policy(place, &invalid)),
        None => Ok(None),
    }
}

/// The policy names what it read; here the key that it was read from comes first.
fn of_policy(place: &str, invalid: &InvalidPolicy) -> ConfigError {
    ConfigError::new(place, invalid.to_string())
}
