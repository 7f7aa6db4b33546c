//! What the name of a CA says of its place: an issuing CA of somebody's, a root, the second generation of it.
//!
//! Guesses, asked for only where no signature leads from one to the other.

use std::collections::BTreeSet;

use countersign_pki::dn::DistinguishedName;

/// The words of a CA's name, taken apart.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// In order, without what tells generations apart.
    in_order: Vec<String>,
    /// What does.
    generation: Vec<String>,
    /// Those that say whose CA it is.
    own: BTreeSet<String>,
    /// Of those who sell certificates to everybody: which of them.
    house: Option<usize>,
    /// How far below the root, where it says so.
    level: Option<u32>,
    is_intermediate: bool,
    is_root: bool,
    /// It is called another one than the one that is meant.
    is_other: bool,
}

impl Words {
    pub(super) fn of(name: &DistinguishedName) -> Self {
        let text: Vec<String> = name
            .attributes()
            .iter()
            .filter(|attribute| !PLACES.contains(&&*attribute.kind()))
            .map(|attribute| attribute.value().to_lowercase())
            .collect();
        let text = text.join(" ");
        let mut it = Self {
            house: HOUSES
                .iter()
                .position(|names| names.iter().any(|name| text.contains(name))),
            ..Self::default()
        };
        let mut before = "";
        for word in text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            it.take(before, word);
            before = word;
        }
        it
    }

    fn take(&mut self, before: &str, word: &str) {
        // `RootCA`, `issuingca`.
        let bare = word.strip_suffix("ca").filter(|bare| bare.len() > 2);
        let word = bare.filter(|bare| is_structure(bare)).unwrap_or(word);
        if let Some(level) = level(before, word) {
            self.level = Some(level);
        } else if is_generation(word) {
            self.generation.push(word.to_owned());
            return;
        } else if !is_structure(word) {
            self.own.insert(word.to_owned());
        }
        self.in_order.push(word.to_owned());
        self.is_intermediate |= is_intermediate(word);
        self.is_root |= ROOT.contains(&word);
        self.is_other |= OTHER.contains(&word);
    }

    /// Whether it is the same CA in another generation: `Root CA G1`, `Root CA G2`.
    pub(super) fn is_another_generation_of(&self, other: &Self) -> bool {
        self.in_order == other.in_order && self.generation != other.generation
    }

    /// Whether a CA of this name is likely to be one that a CA of the other name issued.
    pub(super) fn stands_under(&self, root: &Self) -> bool {
        // Roots that are known to everybody issue to nobody else.
        let is_sold = self.house.is_some() && self.house == root.house && !self.is_root;
        let is_other = self.is_other && !root.is_other;
        is_sold || (!is_other && self.stands_under_by_words(root))
    }

    fn stands_under_by_words(&self, root: &Self) -> bool {
        let is_kin = !self.own.is_disjoint(&root.own);
        let both_bare = self.own.is_empty() && root.own.is_empty();
        let is_below = match (self.level, root.level) {
            (Some(own), Some(root)) => own > root,
            _ => self.is_intermediate && !root.is_intermediate,
        };
        (is_below && (is_kin || both_bare)) || (is_kin && root.is_root && !self.is_root)
    }
}

/// `2`, `g2`, `v3`, `2026`, `r1`, `ii`, `new`.
fn is_generation(word: &str) -> bool {
    let digits = word.trim_start_matches(['g', 'v', 'r', 'x', 'e']);
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && word.len() - digits.len() <= 1;
    is_number
        || matches!(word, "new" | "old" | "next" | "previous" | "current")
        || matches!(word, "i" | "ii" | "iii" | "iv" | "v" | "vi")
}

/// `Level1CA`, `Tier 2 CA`.
fn level(before: &str, word: &str) -> Option<u32> {
    let digits = LEVEL
        .iter()
        .find_map(|level| word.strip_prefix(level))
        .or_else(|| LEVEL.contains(&before).then_some(word))?;
    digits.trim_end_matches("ca").parse().ok()
}

fn is_intermediate(word: &str) -> bool {
    INTERMEDIATE.contains(&word) || INTERMEDIATE_STEMS.iter().any(|stem| word.starts_with(stem))
}

fn is_structure(word: &str) -> bool {
    is_intermediate(word)
        || ROOT.contains(&word)
        || LEVEL.contains(&word)
        || STRUCTURE.contains(&word)
}

/// Where somebody is says nothing of whose CA it is.
const PLACES: [&str; 6] = ["C", "ST", "L", "STREET", "emailAddress", "serialNumber"];

const INTERMEDIATE: [&str; 6] = ["sub", "subca", "ica", "int", "inter", "policy"];
const INTERMEDIATE_STEMS: [&str; 5] = ["intermed", "issu", "subord", "ausstell", "zwischen"];
const ROOT: [&str; 6] = ["root", "wurzel", "racine", "raiz", "raíz", "primary"];
const LEVEL: [&str; 3] = ["level", "tier", "stufe"];

/// What many have in their names, and no more.
const STRUCTURE: &[&str] = &[
    "ca",
    "authority",
    "certificate",
    "certification",
    "the",
    "of",
    "and",
    "for",
    "signing",
    "tls",
    "ssl",
    "mtls",
    "server",
    "client",
    "rsa",
    "ecc",
    "ecdsa",
    "pki",
    "inc",
    "ltd",
    "llc",
    "gmbh",
    "ag",
    "limited",
    "com",
    "net",
    "org",
    "local",
];

const OTHER: &[&str] = &[
    "other",
    "another",
    "rogue",
    "evil",
    "unknown",
    "untrusted",
    "foreign",
    "wrong",
    "attacker",
    "unrelated",
    "partner",
    "fake",
    "different",
    "stranger",
];

/// Under which names one of them, and whom it bought, stands in certificates.
const HOUSES: [&[&str]; 5] = [
    &["let's encrypt", "internet security research group"],
    &["sectigo", "usertrust", "comodo", "zerossl"],
    &["digicert", "geotrust", "rapidssl", "thawte"],
    &["google trust services", "globalsign"],
    &["amazon", "starfield", "godaddy"],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str) -> Words {
        Words::of(&DistinguishedName::parse(name).expect("a name"))
    }

    #[test]
    fn issuing_authorities_are_told_from_strangers() {
        let under = [
            ("CN=inter", "CN=root"),
            ("CN=IntermediateCA", "CN=RootCA"),
            (
                "CN=Acme TLS CA 2024,O=Acme Corp",
                "CN=Acme Root,O=Acme Corp",
            ),
            (
                "CN=R11,O=Let's Encrypt,C=US",
                "CN=ISRG Root X1,O=Internet Security Research Group,C=US",
            ),
            ("CN=corp-ISSUE01-CA,DC=corp", "CN=corp-DC01-CA,DC=corp"),
            ("CN=Level2CA", "CN=Level1CA"),
            ("CN=Acme Zwischenzertifikat", "CN=Acme Wurzel CA"),
        ];
        for (name, root) in under {
            assert!(words(name).stands_under(&words(root)), "{name}, {root}");
            assert!(!words(root).stands_under(&words(name)), "{root}, {name}");
        }
        let strangers = [
            (
                "CN=Initech Issuing CA,O=Initech,C=US",
                "CN=Globex Root CA,O=Globex,C=US",
            ),
            ("CN=Acme Employee CA,O=Acme", "CN=Acme Device CA,O=Acme"),
            ("CN=Acme Rogue CA", "CN=Acme Root CA"),
            ("CN=Acme Second Root CA", "CN=Acme Root CA"),
            ("CN=Prod CA", "CN=Dev CA"),
            (
                "CN=Initech TLS CA,O=Initech GmbH",
                "CN=Globex TLS Root,O=Globex GmbH",
            ),
        ];
        for (name, root) in strangers {
            assert!(!words(name).stands_under(&words(root)), "{name}, {root}");
        }
    }

    #[test]
    fn generations_are_told_by_numbers_years_and_words() {
        for (new, old) in [
            ("CN=Acme Root CA G2", "CN=Acme Root CA"),
            ("CN=Acme Root CA II", "CN=Acme Root CA I"),
            ("CN=Acme Root CA 2026", "CN=Acme Root CA 2021"),
        ] {
            assert!(words(new).is_another_generation_of(&words(old)), "{new}");
        }
        for (one, other) in [
            ("CN=Acme Root CA", "CN=Acme Root CA"),
            ("CN=Level 2 CA", "CN=Level 1 CA"),
            ("CN=Acme Issuing CA 2", "CN=Acme Root CA 1"),
        ] {
            assert!(!words(one).is_another_generation_of(&words(other)), "{one}");
        }
    }
}
