//! Whether a client of `HAProxy` can write the header that tells of certificates itself.
//!
//! `set-header` takes away what the client wrote, `add-header` does not, and what stands under a condition happens only where that
//! holds. Judged is what stands in one file, in its order: variables, maps and files of rules are not followed.

use crate::cause::Cause;
use crate::doctor::file::{FileSeen, Judgement};
use crate::finding::{Finding, Side};

pub(super) fn judge(file: &FileSeen, text: &str, judgement: &mut Judgement) {
    let sections = sections(text);
    let found = sections
        .iter()
        .filter(|section| section.kind != Kind::Defaults)
        .find_map(|section| own(section, &sections).or_else(|| beside(section, &sections)));
    let Some((header, rule, why)) = found else {
        return;
    };
    let path = &file.path;
    let message = format!("HAProxy's configuration {path} {why}: a client writes {header} itself");
    let finding = Finding::fault(Cause::IdentityHeaderSpoofable, Side::Server, message)
        .with("file", path)
        .with("header", &header)
        .with("rule", rule)
        .with_fix(format!("http-request del-header {header}"))
        .with_fix("The line stands before every rule that sets the header, without a condition.");
    judgement.find(finding);
}

/// The header, the rule, and what is wrong with it.
type Found = (String, String, String);

/// A section that leaves in what the client wrote, where it means to say who that is.
fn own(section: &Section, all: &[Section]) -> Option<Found> {
    let is_reached = match section.kind {
        Kind::Backend => all.iter().any(Section::is_reached),
        Kind::Defaults | Kind::Front => section.is_reached(),
    };
    // Before this section come those that hand on to it, and what holds for all.
    let is_before = |other: &&Section| match section.kind {
        Kind::Backend => other.kind != Kind::Backend,
        Kind::Defaults | Kind::Front => other.kind == Kind::Defaults,
    };
    let mut rules = section.rules.iter().enumerate();
    let (_, rule) = rules.find(|(at, rule)| {
        let earlier = section.rules[..*at].iter();
        let before = all.iter().filter(is_before).flat_map(|it| &it.rules);
        let is_cleared = earlier.chain(before).any(|it| it.clears(&rule.header));
        let is_always = rule.condition.is_none()
            || (rule.asks_for_certificate() && section.always_has_certificate());
        rule.is_identity && !is_cleared && (rule.action == Action::Add || !is_always)
    })?;
    if !is_reached {
        return None;
    }
    let why = match (&rule.condition, rule.action) {
        (_, Action::Add) => "adds the client's identity to what is there already".to_owned(),
        (condition, _) => format!(
            "sets the client's identity only {}",
            condition.as_deref().unwrap_or_default()
        ),
    };
    Some((rule.header.clone(), rule.written.clone(), why))
}

/// A way to the same servers, open to all, that leaves in what another one sets.
fn beside(vouching: &Section, all: &[Section]) -> Option<Found> {
    let rule = vouching.rules.iter().find(|rule| rule.is_identity)?;
    let open = all.iter().find(|other| {
        let shares = other
            .backends
            .iter()
            .any(|it| vouching.backends.contains(it));
        let defaults = all.iter().filter(|it| it.kind == Kind::Defaults);
        let mut rules = other.rules.iter().chain(defaults.flat_map(|it| &it.rules));
        other.kind == Kind::Front
            && shares
            && other.is_reached()
            && !other.is_guarded
            && !other.binds.iter().any(|bind| bind.contains(" verify "))
            && !rules.any(|it| it.clears(&rule.header))
    })?;
    let bind = open.binds.first().map_or("", String::as_str);
    let why = format!(
        "has a frontend ({bind}) that asks for no client certificate and hands on to the same servers as one that does, without clearing {}",
        rule.header
    );
    Some((rule.header.clone(), rule.written.clone(), why))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Backend,
    Defaults,
    /// `frontend` or `listen`.
    Front,
}

#[derive(Debug)]
struct Section {
    kind: Kind,
    binds: Vec<String>,
    rules: Vec<Rule>,
    backends: Vec<String>,
    /// Somebody is kept out by other means.
    is_guarded: bool,
    /// Whoever has no certificate is turned away by a rule.
    turns_away: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Add,
    Delete,
    Set,
}

#[derive(Debug)]
struct Rule {
    action: Action,
    header: String,
    /// Its value comes from the client's certificate.
    is_identity: bool,
    /// `if …` or `unless …`.
    condition: Option<String>,
    /// It means every header whose name is like this one.
    is_pattern: bool,
    written: String,
}

impl Section {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            binds: Vec::new(),
            rules: Vec::new(),
            backends: Vec::new(),
            is_guarded: false,
            turns_away: false,
        }
    }

    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["bind", ..] => self.binds.push(line.to_owned()),
            ["default_backend" | "use_backend", name, ..] => self.backends.push(name.to_owned()),
            ["http-request", "redirect" | "auth", ..] => self.is_guarded = true,
            ["http-request" | "tcp-request", ..]
                if words.contains(&"deny") || words.contains(&"reject") =>
            {
                self.is_guarded = true;
                self.turns_away |= line.contains("ssl_c_") || line.contains("ssl_fc_has_crt");
            }
            ["http-request", action, header, ..] => {
                self.rules.extend(Rule::read(action, header, line));
            }
            _ => {}
        }
    }

    /// Whether anybody from elsewhere may connect.
    fn is_reached(&self) -> bool {
        let is_local = |bind: &String| {
            let address = bind.split_whitespace().nth(1).unwrap_or_default();
            ["127.", "localhost", "[::1]", "::1", "unix@", "/", "abns@"]
                .iter()
                .any(|local| address.starts_with(local))
        };
        self.kind == Kind::Front && !self.binds.iter().all(is_local)
    }

    fn always_has_certificate(&self) -> bool {
        let is_required = |bind: &String| bind.contains("verify required");
        self.turns_away || (!self.binds.is_empty() && self.binds.iter().all(is_required))
    }
}

impl Rule {
    fn read(action: &str, header: &str, line: &str) -> Option<Self> {
        let action = match action {
            "add-header" => Action::Add,
            "del-header" => Action::Delete,
            "set-header" => Action::Set,
            _ => return None,
        };
        let condition = [" if ", " unless "]
            .iter()
            .find_map(|word| line.find(word).map(|at| line[at + 1..].to_owned()));
        let value = match &condition {
            Some(condition) => line.strip_suffix(condition.as_str()).unwrap_or(line),
            None => line,
        };
        let tells = ["ssl_c_", "ssl_fc_has_crt", "ssl_f_"];
        Some(Self {
            action,
            header: header.trim_matches('"').to_owned(),
            is_identity: action != Action::Delete && tells.iter().any(|it| value.contains(it)),
            condition,
            is_pattern: line.contains(" -m "),
            written: line.to_owned(),
        })
    }

    /// Whether nothing of what a client wrote into `header` is left behind it.
    fn clears(&self, header: &str) -> bool {
        let is_meant = self.header.eq_ignore_ascii_case(header) || self.is_pattern;
        is_meant && self.condition.is_none() && self.action != Action::Add
    }

    fn asks_for_certificate(&self) -> bool {
        let condition = self.condition.as_deref().unwrap_or_default();
        condition.contains("ssl_c_") || condition.contains("ssl_fc_has_crt")
    }
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let kind = match line.split_whitespace().next() {
            Some("frontend" | "listen") => Kind::Front,
            Some("backend") => Kind::Backend,
            Some("defaults" | "global") => Kind::Defaults,
            _ => {
                if let Some(section) = sections.last_mut() {
                    section.take(line);
                }
                continue;
            }
        };
        if sections.len() == MAX_SECTIONS {
            break;
        }
        sections.push(Section::new(kind));
    }
    sections
}

/// Each is compared with each.
const MAX_SECTIONS: usize = 1000;
