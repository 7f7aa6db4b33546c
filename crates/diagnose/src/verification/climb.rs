//! Every way from the leaf upwards that the names allow.

use countersign_pki::certificate::Certificate;

use super::{Asked, End, Path};

/// Those that lead to an anchor first, the shortest of them first.
pub(super) fn paths(asked: &Asked<'_>) -> Vec<Path> {
    let read = |der: &Vec<u8>| Certificate::parse_as_evidence(der).ok();
    let mut presented = asked.chain.iter().filter_map(read).map(|(it, _)| it);
    let Some(leaf) = presented.next() else {
        return Vec::new();
    };
    let mut climb = Climb {
        asked,
        others: presented.collect(),
        found: Vec::new(),
        signatures: MAX_SIGNATURES,
    };
    climb.from(&mut vec![leaf]);
    let mut found = climb.found;
    found.sort_by_key(|path| {
        let rank = match path.end {
            End::Anchor => 0,
            End::Nothing => 1,
            End::OtherKey { .. } => 2,
        };
        (rank, path.certificates.len())
    });
    found
}

struct Climb<'a> {
    asked: &'a Asked<'a>,
    /// What was presented beside the leaf.
    others: Vec<Certificate>,
    found: Vec<Path>,
    /// How many more may be verified.
    signatures: usize,
}

impl Climb<'_> {
    fn from(&mut self, path: &mut Vec<Certificate>) {
        let Some(top) = path.last().cloned() else {
            return;
        };
        let is_issuer = |it: &&Certificate| it.subject_der() == top.issuer_der();
        let anchors = self.asked.anchors.iter().filter(is_issuer);
        let anchors = anchors.map(|anchor| (anchor.clone(), true));
        let is_new = |it: &&Certificate| {
            let known = path.iter().chain(self.asked.anchors);
            !known.clone().any(|other| other.der() == it.der())
        };
        let others = self.others.iter().filter(is_issuer).filter(is_new);
        let others = others.map(|other| (other.clone(), false));
        let issuers: Vec<(Certificate, bool)> = anchors.chain(others).collect();
        if issuers.is_empty() {
            self.add(path, End::Nothing);
        }
        for (issuer, is_anchor) in issuers {
            if self.signatures == 0 || self.found.len() >= MAX_PATHS {
                return;
            }
            self.signatures -= 1;
            let is_signed = top.verify_signature(&issuer).is_ok();
            path.push(issuer);
            match (is_signed, is_anchor) {
                (false, _) => self.add(path, End::OtherKey { is_anchor }),
                (true, true) => self.add(path, End::Anchor),
                (true, false) if path.len() < MAX_LENGTH => self.from(path),
                (true, false) => self.add(path, End::Nothing),
            }
            path.pop();
        }
    }

    fn add(&mut self, path: &[Certificate], end: End) {
        self.found.push(Path {
            certificates: path.to_vec(),
            end,
        });
    }
}

/// More are read by nobody; each is judged by itself.
const MAX_PATHS: usize = 16;

/// webpki follows six intermediates: leaf, these, an anchor, and some for good measure.
const MAX_LENGTH: usize = 10;

/// What webpki spends on a chain.
const MAX_SIGNATURES: usize = 100;
