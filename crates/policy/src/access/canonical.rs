//! The bytes that two policies share only if they decide alike: every field tagged or counted, every text with its length.

use super::extension::ExtensionValue;
use super::{
    Allow, ApiKeyPattern, ClaimValue, Condition, LoginPattern, NamePattern, PathPattern, Route,
};

pub(super) fn bytes(routes: &[Route]) -> Vec<u8> {
    let mut out = Canonical(Vec::new());
    out.text("countersign access policy 5");
    out.list(routes, |out, route| {
        // The label is for people.
        let Route {
            label: _,
            host,
            path,
            connect,
            require_certificate,
            allow,
            deny,
        } = route;
        out.option(host.as_ref(), |out, host| out.text(host.as_str()));
        out.option(path.as_ref(), Canonical::path);
        out.list(connect, |out, target| out.text(target.as_str()));
        out.0.push(u8::from(*require_certificate));
        out.list(allow, Canonical::allow);
        out.list(deny, Canonical::condition);
    });
    out.0
}

/// Of one entry alone.
pub(super) fn of_allow(entry: &Allow) -> Vec<u8> {
    let mut out = Canonical(Vec::new());
    out.allow(entry);
    out.0
}

/// Of one entry alone.
pub(super) fn of_condition(condition: &Condition) -> Vec<u8> {
    let mut out = Canonical(Vec::new());
    out.condition(condition);
    out.0
}

struct Canonical(Vec<u8>);

impl Canonical {
    fn allow(&mut self, entry: &Allow) {
        match entry {
            Allow::Anyone => self.0.push(0),
            Allow::AnyTrusted => self.0.push(1),
            Allow::When(condition) => {
                self.0.push(2);
                self.condition(condition);
            }
        }
    }

    fn condition(&mut self, condition: &Condition) {
        let Condition {
            bundle,
            names,
            purposes,
            extensions,
            issuer_key,
            max_age,
            tenant,
            hosts,
            methods,
            path,
            headers,
            grpc,
            token,
            api_key,
            sources,
            windows,
            users,
            databases,
            not,
        } = condition;
        self.option(bundle.as_ref(), |out, bundle| out.text(bundle.as_str()));
        self.list(names, Self::name);
        self.list(purposes, |out, purpose| out.text(purpose.as_str()));
        self.list(extensions, |out, extension| {
            out.text(&extension.oid().to_string());
            match extension.value() {
                ExtensionValue::Der(bytes) => {
                    out.0.push(0);
                    out.length(bytes.len());
                    out.0.extend_from_slice(bytes);
                }
                ExtensionValue::Text(text) => {
                    out.0.push(1);
                    out.text(text);
                }
            }
        });
        self.option(issuer_key.as_ref(), |out, key| out.text(&key.to_string()));
        self.option(max_age.as_ref(), |out, most| {
            out.0.extend_from_slice(&most.as_secs().to_be_bytes());
        });
        // Every place by its kind and written form; an empty one has none.
        self.text(&tenant.to_string());
        self.list(hosts, |out, host| out.text(host.as_str()));
        self.list(methods, |out, method| out.text(method));
        self.option(path.as_ref(), Self::path);
        self.list(headers, |out, header| {
            out.text(header.name());
            out.list(header.values(), |out, value| out.text(value));
        });
        self.list(grpc, |out, pattern| out.path(pattern.path()));
        self.option(token.as_ref(), |out, token| {
            out.text(token.issuer());
            out.length(token.claims().len());
            for (name, values) in token.claims() {
                out.text(name);
                out.list(values, Self::claim);
            }
        });
        self.option(api_key.as_ref(), |out, key| match key {
            ApiKeyPattern::Any => out.0.push(0),
            ApiKeyPattern::Named(name) => {
                out.0.push(1);
                out.text(name);
            }
        });
        self.list(sources, |out, range| out.text(&range.to_string()));
        self.list(windows, |out, window| {
            out.0.extend_from_slice(&window.bytes());
        });
        self.list(users, Self::account);
        self.list(databases, Self::account);
        self.option(not.as_deref(), Self::condition);
    }

    fn name(&mut self, pattern: &NamePattern) {
        match pattern {
            NamePattern::Exact(name) => {
                self.0.push(0);
                // Typed, and the one spelling that reads back as this name.
                self.text(&name.to_string());
            }
            NamePattern::DnsUnder(name) => {
                self.0.push(1);
                self.text(name.as_str());
            }
            NamePattern::Spiffe { trust_domain, path } => {
                self.0.push(2);
                self.text(trust_domain.as_str());
                self.path(path);
            }
            NamePattern::AnyKind(word) => {
                self.0.push(3);
                self.text(word);
            }
            NamePattern::IpUnder(range) => {
                self.0.push(4);
                self.text(&range.to_string());
            }
            NamePattern::DnUnordered(name) => {
                self.0.push(5);
                self.text(&name.to_string());
            }
            NamePattern::Subject { attribute, value } => {
                self.0.push(6);
                self.text(&attribute.to_string());
                self.text(value);
            }
            NamePattern::Issuer(name) => {
                self.0.push(7);
                self.text(&name.to_string());
            }
        }
    }

    fn claim(&mut self, value: &ClaimValue) {
        match value {
            ClaimValue::Bool(value) => self.0.extend_from_slice(&[0, u8::from(*value)]),
            ClaimValue::Integer(value) => {
                self.0.push(1);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
            ClaimValue::Text(text) => {
                self.0.push(2);
                self.text(text);
            }
        }
    }

    fn account(&mut self, pattern: &LoginPattern) {
        // No name contains `*` but as the pattern's end.
        self.text(&pattern.to_string());
    }

    fn path(&mut self, path: &PathPattern) {
        // No literal segment contains `*` or `/`, so the written form is unambiguous.
        self.text(&path.to_string());
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.length(items.len());
        for item in items {
            each(self, item);
        }
    }

    fn option<T: ?Sized>(&mut self, value: Option<&T>, each: impl FnOnce(&mut Self, &T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            each(self, value);
        }
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_be_bytes());
    }
}
