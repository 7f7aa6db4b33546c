//! Whether a client of Envoy can write `x-forwarded-client-cert` itself.
//!
//! `ALWAYS_FORWARD_ONLY` leaves in what anybody wrote. `FORWARD_ONLY` and `APPEND_FORWARD` do so for those alone who showed a certificate, and
//! take the header away from all others: that is a fault where any certificate will do, and else as good as those who hold one are trusted.

use crate::cause::Cause;
use crate::doctor::file::{FileSeen, Judgement};
use crate::finding::{Finding, Side};

pub(super) fn judge(file: &FileSeen, text: &str, judgement: &mut Judgement) {
    let listeners = listeners(text);
    let found = listeners.iter().filter_map(Listener::found);
    // A fault before a risk.
    let Some((is_fault, how, who)) = found.max_by_key(|(is_fault, ..)| *is_fault) else {
        return;
    };
    let path = &file.path;
    let message = format!(
        "Envoy's configuration {path} has forward_client_cert_details: {how}: {who} writes x-forwarded-client-cert"
    );
    let finding = Finding::fault(Cause::IdentityHeaderSpoofable, Side::Server, message)
        .with("file", path)
        .with("header", "x-forwarded-client-cert")
        .with(
            "setting",
            format_args!("forward_client_cert_details: {how}"),
        )
        .with_fix("forward_client_cert_details: SANITIZE_SET");
    judgement.find(if is_fault { finding } else { finding.risk() });
}

/// A listener, or a file in which none can be told from another.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that a line says, or does not"
)]
struct Listener {
    forwarding: Option<String>,
    addresses: Vec<String>,
    requires: bool,
    /// It says whom to trust.
    validates: bool,
    accepts_untrusted: bool,
    /// Somebody is kept out, or the header taken away, by other means.
    is_guarded: bool,
}

impl Listener {
    fn take(&mut self, line: &str) {
        let line = line.trim_start_matches(['-', ' ']);
        self.is_guarded |= line.contains("envoy.filters.http.rbac")
            || line.contains("envoy.filters.network.rbac")
            || line
                .trim_matches(['"', '\'', ','])
                .eq_ignore_ascii_case("x-forwarded-client-cert");
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim().trim_matches(['"', '\'', ',']);
        match name.trim().trim_matches(['"', '\'']) {
            "forward_client_cert_details" | "forwardClientCertDetails" => {
                self.forwarding = Some(value.to_owned());
            }
            "address" if !value.is_empty() && value != "{" => {
                self.addresses.push(value.to_owned());
            }
            "require_client_certificate" => self.requires |= value == "true",
            "trusted_ca"
            | "validation_context_sds_secret_config"
            | "combined_validation_context" => {
                self.validates = true;
            }
            "trust_chain_verification" => self.accepts_untrusted |= value == "ACCEPT_UNTRUSTED",
            _ => {}
        }
    }

    /// Whether it is a fault, the setting, and who writes the header.
    fn found(&self) -> Option<(bool, &str, &'static str)> {
        let how = self.forwarding.as_deref()?;
        let is_local = |address: &String| address.starts_with("127.") || address == "::1";
        let is_reached = self.addresses.is_empty() || !self.addresses.iter().all(is_local);
        if !is_reached || self.is_guarded {
            return None;
        }
        // Whoever shows no certificate has proved nothing, and neither has who shows any.
        let takes_any = self.accepts_untrusted || (self.requires && !self.validates);
        match how {
            "ALWAYS_FORWARD_ONLY" if !self.requires => Some((true, how, "whoever connects")),
            "ALWAYS_FORWARD_ONLY" | "FORWARD_ONLY" | "APPEND_FORWARD" if takes_any => {
                Some((true, how, "whoever shows any certificate"))
            }
            "ALWAYS_FORWARD_ONLY" | "FORWARD_ONLY" | "APPEND_FORWARD" if self.validates => {
                Some((false, how, "whoever holds a good certificate"))
            }
            _ => None,
        }
    }
}

/// The items of `listeners:` or `resources:`, by their indentation.
fn listeners(text: &str) -> Vec<Listener> {
    let mut listeners = vec![Listener::default()];
    let mut list: Option<usize> = None;
    let mut items: Option<usize> = None;
    for line in text.lines().take(MAX_LINES) {
        let plain = line.split(" #").next().unwrap_or_default();
        let content = plain.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = plain.len() - content.len();
        if matches!(content.trim_end(), "listeners:" | "resources:") && list.is_none() {
            list = Some(indent);
            continue;
        }
        if list.is_some() {
            let is_item = content.starts_with("- ");
            if is_item && items.is_none_or(|items| indent == items) {
                items = Some(indent);
                if listeners.len() < MAX_LISTENERS {
                    listeners.push(Listener::default());
                }
            } else if items.is_some_and(|items| indent < items || (indent == items && !is_item)) {
                (list, items) = (None, None);
                listeners.push(Listener::default());
            }
        }
        if let Some(listener) = listeners.last_mut() {
            listener.take(content.trim_end());
        }
    }
    listeners
}

/// As are read of any configuration.
const MAX_LINES: usize = 20_000;

const MAX_LISTENERS: usize = 1000;
