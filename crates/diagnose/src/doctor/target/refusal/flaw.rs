//! What is wrong with the client's certificate whoever judges it.

use countersign_pki::chain::{ChainFaultKind, Purpose};
use countersign_pki::time::spoken;

use super::super::known::verdict;
use super::Look;
use crate::cause::Cause;
use crate::chain;
use crate::finding::Finding;

impl Look<'_, '_> {
    /// What any server would find wrong with the certificate itself.
    pub(super) fn flaw(&self) -> Option<(Cause, Finding)> {
        let known = self.case.known;
        let top = self.lineage.top();
        if self.lineage.path.len() > 1 {
            let anchor = vec![top.der().to_vec()];
            let by = (self.case.now, false);
            let judged = verdict(
                &anchor,
                &[],
                &known.client_chain,
                Purpose::ClientAuth,
                &[],
                by,
            );
            return match judged? {
                Ok(_) => None,
                Err(fault) => {
                    let cause = match fault.kind {
                        // The anchor stands above an issuer that is at hand, and not in the client's file.
                        ChainFaultKind::UnknownIssuer { .. } => Cause::ChainMissingIntermediate,
                        _ => chain::cause(&fault.kind, Purpose::ClientAuth),
                    };
                    Some((cause, self.faulty(cause, &fault)))
                }
            };
        }
        self.flaw_of_leaf()
    }

    /// The same where nobody above the leaf is at hand.
    fn flaw_of_leaf(&self) -> Option<(Cause, Finding)> {
        let leaf = self.lineage.leaf();
        let now = self.case.now;
        let found = |cause, because: String| Some((cause, self.found(cause, &because)));
        if leaf.not_after() < now {
            let ago = spoken(now.since(leaf.not_after()));
            return found(
                Cause::LeafExpired,
                format!(
                    "it expired {ago} ago (not_after {}, now {now})",
                    leaf.not_after()
                ),
            );
        }
        if leaf.not_before() > now {
            let wait = spoken(leaf.not_before().since(now));
            return found(
                Cause::NotYetValid,
                format!(
                    "it is valid only in {wait} (not_before {}, now {now})",
                    leaf.not_before()
                ),
            );
        }
        if leaf.version() < 3 {
            return found(
                Cause::X509V1,
                "it is X.509 version 1, without extensions".to_owned(),
            );
        }
        if let Some(usage) = leaf.extended_key_usage() {
            let listed = usage.listed();
            let fits = listed
                .iter()
                .any(|name| name == "clientAuth" || name == "anyExtendedKeyUsage");
            if !fits {
                return found(
                    Cause::EkuMissingClientauth,
                    format!(
                        "its extendedKeyUsage lists {} and not clientAuth",
                        listed.join(", ")
                    ),
                );
            }
        }
        if let Some(usage) = leaf.key_usage() {
            let listed = usage.listed();
            if !listed.contains(&"digitalSignature") && !leaf.is_ca() {
                return found(
                    Cause::KeyusageMissingDigitalsignature,
                    format!(
                        "its keyUsage lists {} and not digitalSignature",
                        listed.join(", ")
                    ),
                );
            }
        }
        if let Some(weak) = leaf.weak_key() {
            return found(Cause::WeakKey, format!("its key is weak ({weak})"));
        }
        if let Some(weak) = leaf.weak_signature() {
            return found(
                Cause::WeakSignature,
                format!("its signature is weak ({weak})"),
            );
        }
        if leaf.is_ca() {
            return found(
                Cause::CaUsedAsEndEntity,
                "it is a CA certificate, presented as a client's own".to_owned(),
            );
        }
        None
    }
}
