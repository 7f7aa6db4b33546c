//! Which other programs would refuse what was seen, and why: certificates that one takes and another does not.
//!
//! Never a fault: whoever connects here may be none of them. A chain that all of them take has nothing here.

mod table;

use countersign_pki::certificate::{Certificate, Flaw};
use countersign_pki::chain::Purpose;
use serde::Serialize;

use self::table::ROWS;
use super::file::paths_of_files;
use super::target::{is_stapled, served_evidence, serving};
use super::{Observations, bridge};
use crate::cause::Cause;
use crate::finding::Side;

/// Programs that differ on a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Whose chain it is.
    pub chain_of: Side,
    /// What it would be called where it is a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What they differ about.
    pub about: String,
    /// Who refuses it.
    pub refused_by: Vec<Refuser>,
    /// Who is known to take it. Of others nothing is known.
    pub accepted_by: Vec<&'static str>,
}

/// Somebody who refuses a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refuser {
    /// The program, and its versions.
    pub client: &'static str,
    /// Where that is written.
    pub source: &'static str,
}

/// A chain that somebody has to verify, the leaf first, as far as it is at hand.
struct Chain {
    side: Side,
    path: Vec<Certificate>,
    /// Whether an OCSP answer came with it; `None`: nobody has looked.
    is_stapled: Option<bool>,
}

/// A line of the table: what may be odd about a chain, and who minds.
struct Row {
    cause: Option<Cause>,
    /// What is odd about this one, if it is.
    judge: fn(&Chain) -> Option<String>,
    refused_by: &'static [Refuser],
    accepted_by: &'static [&'static str],
}

/// Everything about the chains of both sides that some programs take and others do not.
pub fn differing(observations: &Observations) -> Vec<Differing> {
    let chains = chains(observations);
    chains
        .iter()
        .flat_map(|chain| ROWS.iter().filter_map(|row| row.judged(chain)))
        .collect()
}

/// What a server shows counts, and its files where nobody has looked.
fn chains(observations: &Observations) -> Vec<Chain> {
    let served = observations
        .target
        .as_ref()
        .filter(|seen| serving(seen).is_some());
    let mut chains: Vec<Chain> = paths_of_files(observations)
        .into_iter()
        .filter(|(side, _)| *side == Side::Client || served.is_none())
        .map(|(side, path)| Chain {
            side,
            path,
            is_stapled: None,
        })
        .collect();
    if let Some(seen) = served {
        let path = served_evidence(seen, &bridge::known(&observations.files));
        chains.push(Chain {
            side: Side::Server,
            is_stapled: path.first().map(|leaf| is_stapled(seen, leaf)),
            path,
        });
    }
    chains
}

impl Row {
    fn judged(&self, chain: &Chain) -> Option<Differing> {
        let about = (self.judge)(chain)?;
        // No browser and no phone is a server.
        let is_server =
            |client: &str| chain.side == Side::Client && CLIENTS_ALONE.contains(&client);
        let refused_by: Vec<_> = self
            .refused_by
            .iter()
            .filter(|refuser| !is_server(refuser.client))
            .copied()
            .collect();
        (!refused_by.is_empty()).then(|| Differing {
            chain_of: chain.side,
            cause: self.cause,
            about,
            refused_by,
            accepted_by: self.accepted_by.to_vec(),
        })
    }
}

impl Chain {
    fn leaf(&self) -> Option<&Certificate> {
        self.path.first()
    }

    /// The CAs, nearest first.
    fn above(&self) -> &[Certificate] {
        self.path.get(1..).unwrap_or_default()
    }

    /// Those that are sent: a verifier has its own root.
    fn sent(&self) -> impl Iterator<Item = &Certificate> {
        let is_root = |it: &Certificate| it.subject_der() == it.issuer_der();
        let places = self.path.iter().enumerate();
        places
            .filter(move |(place, it)| *place == 0 || !is_root(it))
            .map(|(_, it)| it)
    }

    fn purpose(&self) -> Purpose {
        match self.side {
            Side::Client => Purpose::ClientAuth,
            _ => Purpose::ServerAuth,
        }
    }
}

/// Why its serial number is none, where it is not.
fn serial_flaw(certificate: &Certificate) -> Option<String> {
    match Certificate::parse_as_evidence(certificate.der()) {
        Ok((_, Some(Flaw::Serial(why)))) => Some(why),
        _ => None,
    }
}

impl Differing {
    /// One sentence.
    pub fn sentence(&self) -> String {
        let refusing: Vec<&str> = self.refused_by.iter().map(|it| it.client).collect();
        let mut sentence = format!(
            "the {}'s chain: {}; refused by {}",
            self.chain_of,
            self.about,
            refusing.join(", ")
        );
        if !self.accepted_by.is_empty() {
            sentence.push_str("; accepted by ");
            sentence.push_str(&self.accepted_by.join(", "));
        }
        sentence
    }
}

/// What never asks for a client's certificate.
const CLIENTS_ALONE: &[&str] = &[table::BROWSERS, table::APPLE, table::FIREFOX];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_sources_and_nobody_both_takes_and_refuses() {
        for row in ROWS {
            assert!(!row.refused_by.is_empty() && !row.accepted_by.is_empty());
            for refuser in row.refused_by {
                assert!(refuser.source.starts_with("https://"), "{refuser:?}");
                assert!(!row.accepted_by.contains(&refuser.client), "{refuser:?}");
            }
        }
    }
}
