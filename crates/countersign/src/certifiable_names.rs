//! Which of its names a gateway can have certified: an adopted CA may be bound by name constraints, its own or those of a CA
//! above it (RFC 5280 §4.2.1.10).
//!
//! A gateway is called `localhost` and by the addresses that it listens on so that it can be tried, not because anybody has
//! asked for it: those are left out where the CA may not certify them. What somebody has asked for is an error.

use countersign_authority::authority::Authority;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::permits_name;
use countersign_pki::name::{DnsName, TypedName};

use crate::fault::Fault;

/// Those of `names` that `authority` can certify. `asked_for`: by the configuration or on the command line.
pub(crate) fn certifiable(
    names: Vec<TypedName>,
    asked_for: &[DnsName],
    authority: &Authority,
) -> Result<Vec<TypedName>, Fault> {
    let cas = authority.intermediates().iter().chain([authority.root()]);
    within(names, asked_for, &cas.collect::<Vec<_>>())
}

fn within(
    names: Vec<TypedName>,
    asked_for: &[DnsName],
    cas: &[&Certificate],
) -> Result<Vec<TypedName>, Fault> {
    let excluding = |name: &TypedName| cas.iter().find(|ca| !permits_name(ca, name));
    let is_asked_for = |name: &TypedName| match name {
        TypedName::Dns(name) => asked_for.contains(name),
        _ => false,
    };
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for name in names {
        match excluding(&name) {
            None => kept.push(name),
            Some(ca) if is_asked_for(&name) => {
                return Err(Fault::configuration(format_args!(
                    "no certificate can be issued for {name}: it is outside the name constraints of {}",
                    ca.subject()
                ))
                .hint(WITHIN));
            }
            Some(ca) => left_out.push((name, ca.subject().to_string())),
        }
    }
    let Some((first, ca)) = left_out.first() else {
        return Ok(kept);
    };
    if !kept.iter().any(|name| matches!(name, TypedName::Dns(_))) {
        return Err(Fault::configuration(format_args!(
            "the gateway has no DNS name that its CA can certify: {first} is outside the name constraints of {ca}"
        ))
        .hint(WITHIN));
    }
    let texts: Vec<String> = left_out.iter().map(|(name, _)| name.to_string()).collect();
    tracing::warn!(
        names = texts.join(", "),
        ca,
        "names are left out of the gateway's certificate: the CA's name constraints exclude them"
    );
    // A certificate is called by its first name, which is a DNS name.
    kept.sort_by_key(|name| !matches!(name, TypedName::Dns(_)));
    Ok(kept)
}

const WITHIN: &str = "give a route a host within the constraints (`up`: --name), or give each listener a certificate and key of its own";

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, GeneralSubtree, IsCa, KeyPair, NameConstraints,
    };

    use super::*;

    fn ca(permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>) -> Certificate {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted,
            excluded_subtrees: excluded,
        });
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Certificate::parse(certificate.der()).expect("readable")
    }

    fn dns(text: &str) -> GeneralSubtree {
        GeneralSubtree::DnsName(text.to_owned())
    }

    fn check(cas: &[&Certificate], asked_for: &[&str], expected: Result<&str, &str>) {
        let names = "dns:localhost ip:127.0.0.1 ip:::1 ip:192.0.2.7 dns:box dns:api.corp.example";
        let names = names
            .split(' ')
            .map(|text| text.parse().expect("a name"))
            .collect();
        let asked_for: Vec<_> = asked_for
            .iter()
            .map(|text| DnsName::parse(text).expect("a name"))
            .collect();
        let kept = within(names, &asked_for, cas).map(|kept| {
            let texts: Vec<_> = kept.iter().map(ToString::to_string).collect();
            texts.join(" ")
        });
        match (kept, expected) {
            (Ok(kept), Ok(expected)) => assert_eq!(kept, expected),
            (Err(fault), Err(part)) => {
                assert!(fault.sentence().contains(part), "{}", fault.sentence());
            }
            (kept, expected) => panic!("{:?} for {expected:?}", kept.ok()),
        }
    }

    #[test]
    fn names_that_nobody_asked_for_are_left_out_and_others_are_an_error() {
        let all = "dns:localhost ip:127.0.0.1 ip:::1 ip:192.0.2.7 dns:box dns:api.corp.example";
        check(&[], &["api.corp.example"], Ok(all));
        let corp = ca(vec![dns("corp.example")], Vec::new());
        check(
            &[&corp],
            &["api.corp.example"],
            Ok("dns:api.corp.example ip:127.0.0.1 ip:::1 ip:192.0.2.7"),
        );
        let network = |bytes: [u8; 4], prefix| {
            GeneralSubtree::IpAddress(rcgen::CidrSubnet::from_v4_prefix(bytes, prefix))
        };
        let nowhere = ca(vec![dns("corp.example")], vec![network([0; 4], 0)]);
        check(
            &[&nowhere],
            &["api.corp.example"],
            Ok("dns:api.corp.example ip:::1"),
        );
        let boxes = ca(
            Vec::new(),
            vec![dns("localhost"), network([192, 0, 2, 0], 24)],
        );
        check(
            &[&boxes],
            &[],
            Ok("dns:box dns:api.corp.example ip:127.0.0.1 ip:::1"),
        );
        // Whichever of the CAs it is.
        check(
            &[&boxes, &nowhere],
            &["box"],
            Err("dns:box: it is outside the name constraints of"),
        );
        let other = ca(vec![dns("other.example")], Vec::new());
        check(
            &[&corp, &other],
            &["api.corp.example"],
            Err("dns:api.corp.example: it is outside"),
        );
        check(&[&other], &[], Err("no DNS name that its CA can certify"));
    }
}
