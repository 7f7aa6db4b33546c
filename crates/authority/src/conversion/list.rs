//! A list's query: filters as the store has them, or the one that means nothing; and cursors, opaque to whoever holds them.

use std::fmt::Display;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::{CommonName, NameKind, TypedName};
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Profile;
use countersign_store::annotation::{LabelKey, LabelValue, MAX_LABELS, Owner};
use countersign_store::inventory::{
    Cursor, EntryId, Filter, Glob, IMPORTED, IssuerFilter, MAX_PAGE, NameFilter, Order, Status,
};

use crate::api::ListQuery;
use crate::problem::Problem;
use crate::what::What;

/// The filter, the cursor and the limit of a list.
pub(crate) fn list_filter(
    query: &ListQuery,
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Result<(Filter, Option<Cursor>, u32), Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit is {limit}, but 1 to {MAX_PAGE} are possible"
        )));
    }
    let names = [
        given(query.name.as_ref(), "name", |text| {
            name_filter(text, &NameKind::ALL, trust_domain)
        })?,
        given(query.san.as_ref(), "san", |text| {
            name_filter(text, &SANS, trust_domain)
        })?,
        given(query.identity.as_ref(), "identity", |text| {
            exactly(text, &NameKind::ALL, trust_domain)
        })?,
    ];
    let filter = Filter {
        status: query.status.map(Status::from),
        expiring_before: query
            .expiring_within_s
            .map(|seconds| now.plus(Duration::from_secs(seconds))),
        not_ended: false,
        names: names.into_iter().flatten().collect(),
        issuer: given(query.issuer.as_ref(), "issuer", issuer_filter)?,
        profile: given(query.profile.as_ref(), "profile", profile)?,
        serial: given(query.serial.as_ref(), "serial", |text| {
            text.parse().map_err(because)
        })?,
        fingerprint: given(query.fingerprint.as_ref(), "fingerprint", |text| {
            text.parse().map_err(because)
        })?,
        spki: given(query.spki.as_ref(), "spki", |text| {
            let digits = text.strip_prefix("spki:").unwrap_or(text);
            digits.parse().map_err(because)
        })?,
        issued_by: given(query.issued_by.as_ref(), "issued_by", who)?,
        owner: given(query.owner.as_ref(), "owner", |text| {
            Owner::parse(text)
                .map(|owner| owner.to_string())
                .map_err(because)
        })?,
        labels: given(query.labels.as_ref(), "labels", labels)?.unwrap_or_default(),
    };
    let after = given(query.after.as_ref(), "after", |text| {
        parse_cursor(text).ok_or(Why {
            why: "not the `next` of a page".to_owned(),
            hint: "begin again without it: the first page has the first cursor",
        })
    })?;
    Ok((filter, after, limit))
}

/// What [`list_filter`] reads again.
pub(crate) fn cursor_text(cursor: &Cursor) -> String {
    let Cursor {
        order,
        text,
        number,
        id,
    } = cursor;
    let order = letter(*order);
    URL_SAFE_NO_PAD.encode(format!("{order}{number}.{}.{text}", id.number()))
}

fn parse_cursor(opaque: &str) -> Option<Cursor> {
    if opaque.len() > MAX_CURSOR {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(opaque).ok()?;
    let plain = String::from_utf8(bytes).ok()?;
    let order = ORDERS
        .into_iter()
        .find(|order| plain.starts_with(letter(*order)))?;
    let (number, rest) = plain[1..].split_once('.')?;
    let (id, text) = rest.split_once('.')?;
    let cursor = Cursor {
        order,
        text: text.to_owned(),
        number: number.parse().ok()?,
        id: EntryId::from_number(id.parse().ok()?),
    };
    // One spelling of each place.
    (cursor_text(&cursor) == opaque).then_some(cursor)
}

fn letter(order: Order) -> char {
    match order {
        Order::ByIdentity => 'i',
        Order::ByName => 'n',
        Order::EndedLast => 'x',
        Order::EndsFirst => 'e',
        Order::Newest => 'a',
    }
}

/// Why a filter means nothing, and what would.
struct Why {
    why: String,
    hint: &'static str,
}

fn because(error: impl Display) -> Why {
    Why {
        why: error.to_string(),
        hint: "`countersign show WHAT` and `countersign list --json` show how it is written",
    }
}

/// What `parse` makes of a parameter that is there; the fault names the parameter.
fn given<T>(
    text: Option<&String>,
    parameter: &str,
    parse: impl FnOnce(&str) -> Result<T, Why>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let shown = || text.chars().take(80).collect::<String>();
    let too_long = text.len() > MAX_CURSOR;
    let parsed = if too_long {
        Err(because(format_args!("longer than {MAX_CURSOR} bytes")))
    } else {
        parse(text)
    };
    parsed.map(Some).map_err(|Why { why, hint }| {
        Problem::bad_request(format!("{parameter} {:?}: {why}", shown()))
            .with_hint(Some(hint.to_owned()))
    })
}

/// With a `*` a pattern, otherwise exactly.
fn name_filter(
    text: &str,
    kinds: &[NameKind],
    trust_domain: &TrustDomain,
) -> Result<NameFilter, Why> {
    if !text.contains('*') {
        return exactly(text, kinds, trust_domain);
    }
    let typed = text.split_once(':').and_then(|(prefix, pattern)| {
        let kind = NameKind::ALL
            .into_iter()
            .find(|kind| kind.prefix() == prefix)?;
        // What a SPIFFE ID begins with is a part of it.
        (kind != NameKind::Spiffe).then_some((kind, pattern))
    });
    let (kinds, pattern) = match typed {
        Some((kind, pattern)) if kinds.contains(&kind) && PATTERNS.contains(&kind) => {
            (vec![kind], pattern)
        }
        Some((kind, _)) => {
            return Err(because(format_args!(
                "no pattern looks for {}",
                kind.prefix()
            )));
        }
        None => {
            let both = PATTERNS.into_iter().filter(|kind| kinds.contains(kind));
            (both.collect(), text)
        }
    };
    let glob = match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) if !end.is_empty() && !end.contains('*') => Glob::Suffix(end.to_owned()),
        (_, Some(start)) if !start.is_empty() && !start.contains('*') => {
            Glob::Prefix(start.to_owned())
        }
        _ => {
            return Err(Why {
                why: "a pattern has one `*`, at its beginning or its end, and more than that"
                    .to_owned(),
                hint: "`api.*` and `*.example.com` are patterns; --identity takes a name with a `*` exactly",
            });
        }
    };
    Ok(NameFilter::Like(glob, kinds))
}

/// A typed name or a DN as it is, a word as every name that it can be.
fn exactly(text: &str, kinds: &[NameKind], trust_domain: &TrustDomain) -> Result<NameFilter, Why> {
    let is_typed = text
        .split_once(':')
        .is_some_and(|(prefix, _)| NameKind::ALL.iter().any(|kind| kind.prefix() == prefix));
    if is_typed && let Err(error) = text.parse::<TypedName>() {
        return Err(because(error));
    }
    let Ok(what) = text.parse::<What>();
    let names: Vec<TypedName> = what
        .names(trust_domain)
        .into_iter()
        .filter(|name| kinds.contains(&name.kind()))
        .collect();
    if names.is_empty() {
        return Err(because("no name of a kind that is looked for here"));
    }
    Ok(NameFilter::Exactly(names))
}

fn issuer_filter(text: &str) -> Result<IssuerFilter, Why> {
    let dn = text.strip_prefix("dn:").unwrap_or(text);
    if dn.contains('=') {
        let subject = DistinguishedName::parse(dn).map_err(because)?;
        return Ok(IssuerFilter::Subject(subject.to_string()));
    }
    let name = text.strip_prefix("cn:").unwrap_or(text);
    let name = CommonName::parse(name).map_err(because)?;
    let subject = DistinguishedName::from_common_name(&name);
    Ok(IssuerFilter::Beginning(subject.to_string()))
}

fn profile(text: &str) -> Result<String, Why> {
    if text == IMPORTED {
        return Ok(text.to_owned());
    }
    let profile: Profile = text.parse().map_err(|error| Why {
        why: format!("{error}"),
        hint: "`imported` stands for the certificates of others",
    })?;
    Ok(profile.to_string())
}

fn who(text: &str) -> Result<String, Why> {
    let uid = text.strip_prefix("uid:").unwrap_or(text);
    if let Ok(uid) = uid.parse::<u32>() {
        return Ok(format!("uid:{uid}"));
    }
    if text == "authority" {
        return Ok(text.to_owned());
    }
    if let Some(operator) = text.strip_prefix("operator:") {
        TypedName::parse_as(NameKind::Cn, operator).map_err(because)?;
        return Ok(text.to_owned());
    }
    let name: TypedName = text.parse().map_err(|_| Why {
        why: "neither a user, nor an operator, nor the authority, nor a typed name".to_owned(),
        hint: "write `uid:1000`, `operator:alice`, `authority`, or the typed name of a holder such as `spiffe://example.com/api`",
    })?;
    Ok(name.to_string())
}

fn labels(text: &str) -> Result<Vec<(String, String)>, Why> {
    let label = |line: &str| {
        let (key, value) = line.split_once('=').ok_or(Why {
            why: "a label is KEY=VALUE".to_owned(),
            hint: "write for instance `env=prod`",
        })?;
        let key = LabelKey::parse(key).map_err(because)?;
        let value = LabelValue::parse(value).map_err(because)?;
        Ok((key.to_string(), value.to_string()))
    };
    // No line would be no filter, and everything.
    if text.is_empty() {
        return Err(because("no label"));
    }
    if text.lines().count() > MAX_LABELS {
        return Err(because(format_args!("more than {MAX_LABELS} labels")));
    }
    text.lines().map(label).collect()
}

const ORDERS: [Order; 5] = [
    Order::ByIdentity,
    Order::ByName,
    Order::EndedLast,
    Order::EndsFirst,
    Order::Newest,
];

/// A screenful or three.
const DEFAULT_PAGE: u32 = 100;

/// The longest name, a URI of 2048 bytes, in base64 with its numbers; a list of 32 long labels has 10 KiB and is not asked for.
const MAX_CURSOR: usize = 4096;

const SANS: [NameKind; 5] = [
    NameKind::Spiffe,
    NameKind::Dns,
    NameKind::Ip,
    NameKind::Email,
    NameKind::Uri,
];

/// Where a pattern looks; a DN, a key or a serial with issuer is looked for exactly.
const PATTERNS: [NameKind; 6] = [
    NameKind::Spiffe,
    NameKind::Dns,
    NameKind::Ip,
    NameKind::Email,
    NameKind::Uri,
    NameKind::Cn,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went_and_nothing_else_is_one() {
        for order in ORDERS {
            for text in ["", "a.b", "Ölpumpe 1"] {
                let cursor = Cursor {
                    order,
                    text: text.to_owned(),
                    number: -3,
                    id: EntryId::from_number(77),
                };
                assert_eq!(parse_cursor(&cursor_text(&cursor)), Some(cursor));
            }
        }
        let encoded = |plain: &str| URL_SAFE_NO_PAD.encode(plain);
        for opaque in [
            String::new(),
            "77".to_owned(),
            "%%%".to_owned(),
            encoded("a"),
            encoded("a0.1"),
            encoded("a0.x."),
            encoded("a0.+1."),
            encoded("a00.1."),
            encoded("q0.1."),
            encoded("Ö0.1."),
            encoded("a99999999999999999999.1."),
            format!("{}=", encoded("a0.1.")),
            encoded(&format!("n0.1.{}", "x".repeat(MAX_CURSOR))),
            URL_SAFE_NO_PAD.encode(b"n0.1.\xff"),
        ] {
            assert_eq!(parse_cursor(&opaque), None, "{opaque}");
        }
    }

    #[track_caller]
    fn check(parameter: &str, text: &str, is_good: bool) {
        let domain = TrustDomain::parse("example.com").expect("a trust domain");
        let now = UnixTime::from_seconds(1_800_000_000);
        let query: ListQuery =
            serde_json::from_value(serde_json::json!({ parameter: text })).expect("a parameter");
        match list_filter(&query, &domain, now) {
            Err(problem) => {
                assert!(!is_good, "{parameter} {text:?}: {}", problem.detail);
                assert_eq!(problem.status, 400);
                assert!(problem.detail.starts_with(parameter), "{}", problem.detail);
                assert!(problem.hint.is_some(), "{}", problem.detail);
            }
            Ok(_) => assert!(is_good, "{parameter} {text:?}"),
        }
    }

    #[test]
    fn filter_that_means_nothing_is_named() {
        let long = "x".repeat(5000);
        let many = "a=b\n".repeat(33);
        for (parameter, bad) in [
            (
                "name",
                &[
                    "*",
                    "a*b",
                    "*a*",
                    "a**",
                    "dns:",
                    "dns:a..b",
                    "dn:a*",
                    "",
                    "\u{1b}[31m",
                    &long,
                ][..],
            ),
            ("san", &["cn:a*", "cn:a", "CN=a,O=b", "\n"]),
            ("identity", &["\n", "ip:300.1.1.1"]),
            ("issuer", &["=a", "", "\t"]),
            ("profile", &["Admin", ""]),
            ("serial", &["xyz", ""]),
            ("fingerprint", &["aa", ""]),
            ("spki", &["spki:aa"]),
            ("issued_by", &["root", "", "uid:-1", "operator:"]),
            ("owner", &["", "\u{7}"]),
            ("labels", &["", "a", "=b", "a=\u{7}", "a=b\n\nc=d", &many]),
            ("after", &["x", ""]),
        ] {
            for text in bad {
                check(parameter, text, false);
            }
        }
    }

    #[test]
    fn filter_is_read_in_every_notation() {
        for (parameter, good) in [
            (
                "name",
                &[
                    "api.*",
                    "*.example.com",
                    "dns:*.example.com",
                    "spiffe://example.com/ns/*",
                    "you",
                ][..],
            ),
            (
                "san",
                &["dns:api.example.com", "api.example.com", "*.example.com"],
            ),
            ("identity", &["dns:*.example.com", "you", "CN=a,O=b", "::1"]),
            ("issuer", &["CN=a,O=b", "Example CA", "cn:a", "dn:CN=a"]),
            ("profile", &["client", "imported"]),
            (
                "issued_by",
                &[
                    "uid:0",
                    "1000",
                    "authority",
                    "operator:alice",
                    "spiffe://example.com/a",
                ],
            ),
            ("labels", &["a=b\nc=d", "a="]),
        ] {
            for text in good {
                check(parameter, text, true);
            }
        }
    }
}
