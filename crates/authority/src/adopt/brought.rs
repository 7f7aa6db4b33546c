//! What an adopted CA has issued, revoked and published, each thing with the CA that it is of.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlEntry, ParsedCrl};
use countersign_pki::feed::Revoked;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::adoption::likeness;
use countersign_policy::given_lists::{Named, Statement, is_complete, is_over, supersedes, united};
use countersign_store::adoption::{BroughtCertificate, BroughtRevocation, GivenList};

use super::{AdoptError, Issuers, Word};
use crate::init::{ROOT_CRL_LIFETIME, signed_list};
use crate::publish::LIST_LIFETIME;

/// What is brought along, sorted by the CA that it is of.
pub(super) struct Collected {
    pub(super) certificates: Vec<BroughtCertificate>,
    pub(super) revoked: Vec<BroughtRevocation>,
    pub(super) revocations: usize,
    pub(super) lists: Vec<GivenList>,
    pub(super) left_out: Vec<String>,
    /// Subjects of CAs of which the word of whoever adopts is all there is.
    pub(super) on_word: Vec<String>,
}

impl Collected {
    pub(super) fn of(
        issuers: &Issuers,
        lists: &[Named],
        issued: Vec<(String, Certificate)>,
        index: Option<&[(String, CrlEntry)]>,
        word: Word,
        now: UnixTime,
    ) -> Result<Self, AdoptError> {
        let mut collected = Self {
            certificates: Vec::new(),
            revoked: Vec::new(),
            revocations: 0,
            lists: Vec::new(),
            left_out: Vec::new(),
            on_word: Vec::new(),
        };
        let lists = by_issuer(issuers, lists, now)?;
        for (issuer, lists) in &lists {
            refuse_over(issuer, lists, word, now)?;
            let is_lowest = issuer.der() == issuers.lowest().der();
            let index = index.filter(|_| is_lowest);
            let has_whole_list = lists.iter().any(|(_, list)| is_complete(list));
            let is_told_of = has_whole_list || index.is_some();
            if issuers.have_issued(issuer) && !is_told_of {
                let subject = issuer.subject().to_string();
                if !word.nothing_revoked {
                    let part = lists.first().map(|(file, _)| file.clone());
                    return Err(AdoptError::NoEvidence { subject, part });
                }
                collected.on_word.push(subject);
            }
            let said = united(lists, index.unwrap_or_default());
            let revoked = said.into_iter().map(|it| revocation(issuer.spki(), it));
            collected.revoked.extend(revoked);
            collected.take_last(issuer, lists, now)?;
        }
        collected.refuse_revoked(issuers)?;
        collected.take_issued(issuers, issued)?;
        collected.sign_lists(issuers, &lists, now)?;
        collected.revocations = collected.revoked.len();
        Ok(collected)
    }

    /// The last complete list, if it is in force: one that is over is no list to publish.
    fn take_last(
        &mut self,
        issuer: &Certificate,
        lists: &[&Named],
        now: UnixTime,
    ) -> Result<(), AdoptError> {
        let mut last: Option<GivenList> = None;
        for (file, list) in lists {
            let given = given_list(issuer, list).map_err(|why| AdoptError::List {
                file: file.clone(),
                why,
            })?;
            last = last.into_iter().chain(given).max_by_key(GivenList::age);
        }
        self.lists.extend(last.filter(|it| now < it.next_update));
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
    fn sign_lists(
        &mut self,
        issuers: &Issuers,
        given: &[(&Certificate, Vec<&Named>)],
        now: UnixTime,
    ) -> Result<(), AdoptError> {
        let issuing = issuers.intermediate.as_ref();
        let issuing = issuing.map(|founder| (founder, LIST_LIFETIME));
        let signing = issuing
            .into_iter()
            .chain([(&issuers.root, ROOT_CRL_LIFETIME)]);
        for (founder, life) in signing.filter(|(founder, _)| founder.key.is_some()) {
            let key = founder.certificate.spki();
            let revoked = self.revoked.iter().map(|it| it.revoked);
            let entries: Vec<CrlEntry> = revoked
                .filter(|revoked| revoked.issuer_key == key)
                .map(|revoked| CrlEntry {
                    serial: revoked.serial,
                    revoked_at: revoked.revoked_at,
                    reason: revoked.reason,
                    invalid_since: None,
                })
                .collect();
            self.lists.retain(|it| it.issuer_key != key);
            // The greatest of all, also of those that are over or of a part.
            let of_it = given.iter().filter(|(issuer, _)| issuer.spki() == key);
            let lists = of_it.flat_map(|(_, lists)| lists);
            let last = lists.filter_map(|(_, list)| list.number()).max();
            let number = last.map_or(0, |last| last + 1).max(now.seconds());
            let serials = entries.iter().map(|entry| entry.serial).collect();
            let signed = signed_list(founder, serials, &entries, number, life, now)?;
            self.lists.push(signed);
        }
        Ok(())
    }
}

/// Every CA whose revocations are ours to know, with the lists that are its.
fn by_issuer<'a>(
    issuers: &'a Issuers,
    lists: &'a [Named],
    now: UnixTime,
) -> Result<Vec<(&'a Certificate, Vec<&'a Named>)>, AdoptError> {
    let mut sorted: Vec<_> = issuers.all().into_iter().map(|it| (it, vec![])).collect();
    for named @ (file, list) in lists {
        let unusable = |why: String| AdoptError::List {
            file: file.clone(),
            why,
        };
        let mut why = None;
        let of = sorted.iter_mut().find(|(issuer, _)| {
            let verdict = list.verify(issuer);
            if list.issuer() == issuer.subject() {
                why = why
                    .take()
                    .or(verdict.as_ref().err().map(|fault| fault.why.clone()));
            }
            verdict.is_ok()
        });
        let Some((_, of)) = of else {
            return Err(unusable(why.unwrap_or_else(|| {
                format!("it is of {}, which is none of these CAs", list.issuer())
            })));
        };
        refuse_ahead(list, now).map_err(unusable)?;
        of.push(named);
    }
    Ok(sorted)
}

/// What was revoked since is good again by a list that is over, unless a later one is beside it.
fn refuse_over(
    issuer: &Certificate,
    lists: &[&Named],
    word: Word,
    now: UnixTime,
) -> Result<(), AdoptError> {
    let is_last = |list: &ParsedCrl| !lists.iter().any(|(_, other)| supersedes(other, list));
    let over = lists
        .iter()
        .find(|(_, list)| is_over(list, now) && is_last(list));
    match over {
        Some((file, list)) if !word.expired_lists => Err(AdoptError::ListIsOver {
            file: file.clone(),
            subject: issuer.subject().to_string(),
            next_update: list.next_update(),
        }),
        _ => Ok(()),
    }
}

/// Whatever is right would be older than it until then.
pub(crate) fn refuse_ahead(list: &ParsedCrl, now: UnixTime) -> Result<(), String> {
    if list.this_update() <= now.plus(MAX_AHEAD) {
        return Ok(());
    }
    Err(format!(
        "it is not in force before {}: the clock of whoever signed it is ahead",
        list.this_update()
    ))
}

fn revocation(issuer_key: Fingerprint, said: Statement) -> BroughtRevocation {
    let Statement { entry, source } = said;
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
    let Some(next_update) = list.next_update().filter(|_| is_complete(list)) else {
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

/// What clocks of machines that are far from each other differ by.
const MAX_AHEAD: Duration = Duration::from_hours(1);

/// Half of what the inventory can hold.
const MAX_NUMBER: u64 = u64::MAX / 4;
