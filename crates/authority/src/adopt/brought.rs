//! What an adopted CA has issued, revoked and published, each thing with the CA that it is of.

use std::collections::{BTreeMap, BTreeSet};

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlEntry, CrlScope, ParsedCrl};
use countersign_pki::feed::Revoked;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::adoption::likeness;
use countersign_store::adoption::{BroughtCertificate, BroughtRevocation, GivenList};

use super::{AdoptError, Issuers};
use crate::init::{ROOT_CRL_LIFETIME, signed_list};
use crate::publish::LIST_LIFETIME;

/// What is brought along, sorted by the CA that it is of.
pub(super) struct Collected {
    pub(super) certificates: Vec<BroughtCertificate>,
    pub(super) revoked: Vec<BroughtRevocation>,
    pub(super) revocations: usize,
    pub(super) lists: Vec<GivenList>,
    pub(super) left_out: Vec<String>,
}

impl Collected {
    pub(super) fn of(
        issuers: &Issuers,
        lists: &[(String, ParsedCrl)],
        issued: Vec<(String, Certificate)>,
        revoked: Vec<(String, CrlEntry)>,
        now: UnixTime,
    ) -> Result<Self, AdoptError> {
        let mut collected = Self {
            certificates: Vec::new(),
            revoked: Vec::new(),
            revocations: 0,
            lists: Vec::new(),
            left_out: Vec::new(),
        };
        for (file, list) in lists {
            collected.take_list(issuers, file, list)?;
        }
        let issuer_key = issuers.lowest().spki();
        for (file, entry) in revoked {
            collected.revoked.push(revocation(issuer_key, &entry, file));
        }
        collected.refuse_revoked(issuers)?;
        collected.take_issued(issuers, issued)?;
        collected.sign_lists(issuers, now)?;
        let counted = collected.revoked.iter().map(|it| {
            let Revoked {
                issuer_key, serial, ..
            } = it.revoked;
            (issuer_key.as_bytes().to_vec(), serial)
        });
        collected.revocations = counted.collect::<BTreeSet<_>>().len();
        Ok(collected)
    }

    fn take_list(
        &mut self,
        issuers: &Issuers,
        file: &str,
        list: &ParsedCrl,
    ) -> Result<(), AdoptError> {
        let mut why = None;
        let issuer = issuers.all().into_iter().find(|issuer| {
            let verdict = list.verify(issuer);
            if list.issuer() == issuer.subject() {
                why = why
                    .take()
                    .or(verdict.as_ref().err().map(|fault| fault.why.clone()));
            }
            verdict.is_ok()
        });
        let Some(issuer) = issuer else {
            return Err(AdoptError::List {
                file: file.to_owned(),
                why: why.unwrap_or_else(|| {
                    format!("it is of {}, which is none of these CAs", list.issuer())
                }),
            });
        };
        let entries = list.entries();
        self.revoked.extend(
            entries
                .iter()
                .map(|entry| revocation(issuer.spki(), entry, format!("CRL {file}"))),
        );
        let Some(given) = given_list(issuer, list).map_err(|why| AdoptError::List {
            file: file.to_owned(),
            why,
        })?
        else {
            return Ok(());
        };
        match self
            .lists
            .iter_mut()
            .find(|it| it.issuer_key == given.issuer_key)
        {
            Some(other) => {
                let number = other.number.max(given.number);
                if other.this_update < given.this_update {
                    *other = given;
                }
                // Of which list the greatest number was does not matter to those who come after.
                other.number = number;
            }
            None => self.lists.push(given),
        }
        Ok(())
    }

    /// A CA that was revoked issues nothing that anybody accepts.
    fn refuse_revoked(&self, issuers: &Issuers) -> Result<(), AdoptError> {
        let all = issuers.all();
        for pair in all.windows(2) {
            let (certificate, issuer) = (pair[0], pair[1]);
            let found = self.revoked.iter().find(|it| {
                it.revoked.issuer_key == issuer.spki() && it.revoked.serial == certificate.serial()
            });
            if let Some(found) = found {
                return Err(AdoptError::Revoked {
                    subject: certificate.subject().to_string(),
                    told_by: found.source.clone(),
                    revoked_at: found.revoked.revoked_at,
                });
            }
        }
        Ok(())
    }

    fn take_issued(
        &mut self,
        issuers: &Issuers,
        issued: Vec<(String, Certificate)>,
    ) -> Result<(), AdoptError> {
        let mut seen: BTreeMap<(Vec<u8>, SerialNumber), Fingerprint> = BTreeMap::new();
        let own_cas: Vec<Fingerprint> = issuers.all().iter().map(|it| it.fingerprint()).collect();
        for (file, certificate) in issued {
            let made_by = issuers.own().into_iter().find(|issuer| {
                certificate.issuer_der() == issuer.subject_der()
                    && certificate.verify_signature(issuer).is_ok()
            });
            let is_ca_of_ours = own_cas.contains(&certificate.fingerprint());
            let Some(maker) = made_by.filter(|_| !is_ca_of_ours) else {
                if !is_ca_of_ours {
                    self.left_out.push(file);
                }
                continue;
            };
            let key = (maker.spki().as_bytes().to_vec(), certificate.serial());
            match seen.get(&key) {
                Some(other) if *other == certificate.fingerprint() => continue,
                Some(_) => {
                    return Err(AdoptError::SerialTwice {
                        serial: certificate.serial(),
                        file,
                    });
                }
                None => seen.insert(key, certificate.fingerprint()),
            };
            self.certificates.push(BroughtCertificate {
                issuer_key: maker.spki(),
                profile: likeness(&certificate),
                certificate,
            });
        }
        Ok(())
    }

    /// With their keys at hand, the lists of the issuing CA and of the root are ours from the beginning.
    fn sign_lists(&mut self, issuers: &Issuers, now: UnixTime) -> Result<(), AdoptError> {
        let issuing = issuers.intermediate.as_ref();
        let issuing = issuing.map(|founder| (founder, LIST_LIFETIME));
        let signing = issuing
            .into_iter()
            .chain([(&issuers.root, ROOT_CRL_LIFETIME)]);
        for (founder, life) in signing.filter(|(founder, _)| founder.key.is_some()) {
            let key = founder.certificate.spki();
            let mut entries: BTreeMap<SerialNumber, CrlEntry> = BTreeMap::new();
            for BroughtRevocation { revoked, .. } in &self.revoked {
                if revoked.issuer_key == key {
                    entries.entry(revoked.serial).or_insert(CrlEntry {
                        serial: revoked.serial,
                        revoked_at: revoked.revoked_at,
                        reason: revoked.reason,
                        invalid_since: None,
                    });
                }
            }
            let before = self.lists.iter().position(|it| it.issuer_key == key);
            let before = before.map(|place| self.lists.remove(place));
            let last = before.as_ref().and_then(|list| list.number);
            let number = last.map_or(0, |last| last + 1).max(now.seconds());
            let serials = entries.keys().copied().collect();
            let entries: Vec<CrlEntry> = entries.into_values().collect();
            let signed = signed_list(founder, serials, &entries, number, life, now)?;
            self.lists.push(signed);
        }
        Ok(())
    }
}

fn revocation(issuer_key: Fingerprint, entry: &CrlEntry, source: String) -> BroughtRevocation {
    BroughtRevocation {
        revoked: Revoked {
            issuer_key,
            serial: entry.serial,
            reason: entry.reason,
            revoked_at: entry.revoked_at,
        },
        source,
    }
}

/// A complete list as it can be published; `None`: it tells of a part of the certificates alone, or has no nextUpdate. It was
/// verified to be of `issuer`.
pub(crate) fn given_list(
    issuer: &Certificate,
    list: &ParsedCrl,
) -> Result<Option<GivenList>, String> {
    if list.number().is_some_and(|number| number > MAX_NUMBER) {
        return Err("its cRLNumber is so large that hardly any comes after it".to_owned());
    }
    let is_complete = list.scope() == Some(&CrlScope::default());
    let Some(next_update) = list.next_update().filter(|_| is_complete) else {
        return Ok(None);
    };
    Ok(Some(GivenList {
        issuer_key: issuer.spki(),
        number: list.number(),
        this_update: list.this_update(),
        next_update,
        serials: list.entries().iter().map(|entry| entry.serial).collect(),
        der: list.der().to_vec(),
    }))
}

/// Half of what the inventory can hold.
const MAX_NUMBER: u64 = u64::MAX / 4;
