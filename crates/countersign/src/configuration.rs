//! The configuration file: TOML into types, with the line and column of what is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use countersign_authority::config::AuthorityConfig;
use countersign_proxy::config::{GatewayConfig, TrustConfig};
use countersign_runtime::config::ConfigError;
use countersign_runtime::watched_files::{Sight, Sights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::output::tell;

/// The configuration of a Countersign process: `countersign run -c FILE`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "countersign.toml")]
pub(crate) struct Configuration {
    /// The authority.
    pub(crate) authority: AuthorityConfig,
    /// The gateway.
    pub(crate) gateway: GatewayConfig,
    /// Trust bundles by name; "internal" is the state's own authority unless it is given here.
    pub(crate) trust: BTreeMap<String, TrustConfig>,
}

/// A configuration and where it was written, so that what is wrong with it can be located.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The file with its text; `None`: made from a command line.
    file: Option<(PathBuf, String)>,
    /// As parsed.
    pub(crate) configuration: Configuration,
    /// How the file was seen when it was read.
    seen: Option<Sight>,
    /// Each file that was read for it.
    readings: Arc<Mutex<Readings>>,
}

/// By path: a hash of what stood there; `None`: nothing that could be read.
pub(crate) type Files = BTreeMap<PathBuf, Option<u64>>;

/// What files said when they were read first, which is what they say to whoever reads them for the same configuration: two who
/// had each read another content would serve by what nothing compares.
#[derive(Debug, Default)]
struct Readings {
    files: Files,
    seen: Sights,
    contents: BTreeMap<PathBuf, Content>,
    /// Nobody is to read for it any more, and the contents are gone.
    is_in_force: bool,
}

/// Of a file, which may be a key; or why there is none.
struct Content(Result<Zeroizing<Vec<u8>>, Arc<io::Error>>);

impl Content {
    fn copy(&self) -> io::Result<Vec<u8>> {
        match &self.0 {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(error) => Err(io::Error::new(error.kind(), Arc::clone(error))),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content")
    }
}

impl Readings {
    fn known(&self, path: &Path) -> Option<io::Result<Vec<u8>>> {
        self.contents.get(path).map(Content::copy)
    }

    fn note(
        &mut self,
        path: PathBuf,
        seen: Sight,
        read: io::Result<Vec<u8>>,
    ) -> io::Result<Vec<u8>> {
        // Somebody else may have read it meanwhile.
        if let Some(known) = self.known(&path) {
            return known;
        }
        let content = Content(read.map(Zeroizing::new).map_err(Arc::new));
        let copy = content.copy();
        if !self.is_in_force {
            let hash = copy.as_ref().ok().map(|bytes| HASHER.hash_one(bytes));
            self.files.insert(path.clone(), hash);
            self.seen.insert(path.clone(), seen);
            self.contents.insert(path, content);
        }
        copy
    }
}

impl Loaded {
    /// Made from a command line.
    pub(crate) fn in_memory(configuration: Configuration) -> Self {
        Self {
            file: None,
            configuration,
            seen: None,
            readings: Arc::default(),
        }
    }

    /// Reads and parses a file; unknown keys are refused.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Fault> {
        let (seen, read) = Sight::read(path);
        let text = read.and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
        });
        let text = text.map_err(|error| {
            let fault =
                Fault::configuration(format_args!("cannot read {}: {error}", path.display()));
            fault.hint("`countersign config defaults` prints a configuration to start from")
        })?;
        let loaded = Self::parse(path, text)?;
        Ok(Self {
            seen: Some(seen),
            ..loaded
        })
    }

    fn parse(path: &Path, text: String) -> Result<Self, Fault> {
        let configuration = toml::from_str(&text).map_err(|error| {
            let place = error.span().map(|span| position(&text, span.start));
            let sentence = one_line(error.message());
            Fault::configuration(format_args!("{}: {sentence}", located(path, place)))
                .hint(SEE_DEFAULTS)
        })?;
        Ok(Self {
            file: Some((path.to_owned(), text)),
            configuration,
            seen: None,
            readings: Arc::default(),
        })
    }

    /// What is written, for `config explain`.
    pub(crate) fn written(&self) -> Result<toml::Table, Fault> {
        let text = self.file.as_ref().map_or("", |(_, text)| text);
        toml::from_str(text).map_err(Fault::bug)
    }

    /// Whether the file has an `[authority]`, so that a process without a gateway's listener has something to do.
    pub(crate) fn configures_authority(&self) -> bool {
        let document = self.file.as_ref().map(|(_, text)| DeTable::parse(text));
        document.is_some_and(|document| {
            document.is_ok_and(|document| document.get_ref().contains_key("authority"))
        })
    }

    /// Reads a file that the configuration names: relative paths begin at the configuration's own folder. Whoever reads it again before
    /// the configuration is in force gets the same.
    pub(crate) fn read(&self, named: &Path) -> io::Result<Vec<u8>> {
        self.read_located(self.located(named))
    }

    fn read_located(&self, path: PathBuf) -> io::Result<Vec<u8>> {
        if let Some(known) = self.readings().known(&path) {
            return known;
        }
        // Nobody has to wait for a read that may never end.
        let (seen, read) = Sight::read(&path);
        self.readings().note(path, seen, read)
    }

    /// What stands there now, for whoever looks at a file for as long as it is named.
    pub(crate) fn read_now(&self, named: &Path) -> io::Result<Vec<u8>> {
        Sight::read(&self.located(named)).1
    }

    /// Whether this is the beginning of what stood in the same file before: somebody who writes into a file without taking it away first, and
    /// has not come to its end yet, leaves it so. What takes the place of a file at once is whole.
    pub(crate) fn is_cut_short(&self, before: &Self) -> bool {
        let (Some((_, now)), Some((_, then))) = (&self.file, &before.file) else {
            return false;
        };
        let is_same_file = match (self.seen, before.seen) {
            (Some(now), Some(then)) => now.is_same_file(&then),
            _ => true,
        };
        is_same_file && then.trim_end() != now.trim_end() && then.starts_with(now.trim_end())
    }

    /// Reads whatever has been read for another.
    pub(crate) fn read_files_of(&self, other: &Self) {
        for path in other.files().into_keys() {
            // Whatever comes of it is remembered.
            let _ = self.read_located(path);
        }
    }

    /// Where a file that it names lies.
    pub(crate) fn located(&self, named: &Path) -> PathBuf {
        let folder = self.file.as_ref().and_then(|(path, _)| path.parent());
        folder.unwrap_or(Path::new("")).join(named)
    }

    /// The same, whose files have yet to be read.
    pub(crate) fn unread(&self) -> Self {
        Self {
            readings: Arc::default(),
            ..self.clone()
        }
    }

    /// From here on it is compared and no longer read for: the contents of its files, keys among them, are let go.
    pub(crate) fn settle(&self) {
        let mut readings = self.readings();
        readings.is_in_force = true;
        readings.contents = BTreeMap::new();
    }

    /// Each file that has been read for it, beside its own.
    pub(crate) fn files(&self) -> Files {
        self.readings().files.clone()
    }

    /// The same files, as they were seen when they were read.
    pub(crate) fn seen(&self) -> Sights {
        self.readings().seen.clone()
    }

    /// Its own file among them.
    pub(crate) fn seen_with_itself(&self) -> Sights {
        let own = self.file.as_ref().zip(self.seen);
        let own = own.map(|((path, _), seen)| (path.clone(), seen));
        self.seen().into_iter().chain(own).collect()
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        // Nothing between lock and unlock panics.
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of what is served all the same, with its line.
    pub(crate) fn warn(&self, error: &ConfigError) {
        let sentence = match &self.file {
            Some((path, text)) => {
                let place = DeTable::parse(text)
                    .ok()
                    .and_then(|document| find(&document, &error.place));
                let place = place.map(|offset| position(text, offset));
                format!("{}: {error}", located(path, place))
            }
            None => error.to_string(),
        };
        tell(&format!("warning: {sentence}"));
    }

    /// A fault in what the configuration says, with its line.
    pub(crate) fn fault(&self, error: &ConfigError) -> Fault {
        let hinted = |fault: Fault, hint: &str| fault.maybe_hint(error.hint.clone()).or_hint(hint);
        let Some((path, text)) = &self.file else {
            return hinted(
                Fault::configuration(&error.why),
                "`--help` shows the arguments",
            );
        };
        let place = DeTable::parse(text)
            .ok()
            .and_then(|document| find(&document, &error.place));
        let place = place.map(|offset| position(text, offset));
        hinted(
            Fault::configuration(format_args!("{}: {error}", located(path, place))),
            SEE_DEFAULTS,
        )
    }
}

/// Line and column, both from 1; the column counts characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

fn located(path: &Path, place: Option<(usize, usize)>) -> String {
    match place {
        Some((line, column)) => format!("{}:{line}:{column}", path.display()),
        None => path.display().to_string(),
    }
}

fn one_line(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The offset of the deepest key on the way of `place` (`gateway.listener[0].route[1].allow`) that the document holds.
fn find(document: &Spanned<DeTable<'_>>, place: &str) -> Option<usize> {
    let mut table = document.get_ref();
    let mut found = None;
    for step in place.split('.') {
        let (key, indexes) = step.split_once('[').unwrap_or((step, ""));
        let Some((known, value)) = table.get_key_value(key) else {
            break;
        };
        found = Some(known.span().start);
        let mut value = value;
        for index in indexes
            .split('[')
            .filter_map(|index| index.trim_end_matches(']').parse::<usize>().ok())
        {
            let Some(element) = value
                .get_ref()
                .as_array()
                .and_then(|array| array.get(index))
            else {
                return found;
            };
            value = element;
            found = Some(element.span().start);
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// One for the process, so that two readings can be compared.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

const SEE_DEFAULTS: &str = "`countersign config defaults` shows every key with its default";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = r#"[gateway]
workers = 2

[[gateway.listener]]
address = "127.0.0.1:8443"

[[gateway.listener.route]]
upstream = "http://127.0.0.1:3000"
allow = ["any-trusted"]

[[gateway.listener.route]]
upstream = "demo"
allow = [{ cn = "a" }, { dns = "b" }]

[trust.acme]
bundle = "acme.pem"
"#;

    fn parse(text: &str) -> Result<Loaded, Fault> {
        Loaded::parse(Path::new("c.toml"), text.to_owned())
    }

    fn check_fault(text: &str, expected: &str) {
        let fault = parse(text).expect_err("refused");
        let said = fault.render(false);
        assert!(said.contains(expected), "{said}");
        assert_eq!(fault.exit_code(), 2);
    }

    #[test]
    fn faults_name_line_and_column() {
        check_fault("[gateway]\nworkers = 0\n", "c.toml:2:11: ");
        check_fault(
            "[gateway]\nworker = 2\n",
            "c.toml:2:1: unknown field `worker`",
        );
        check_fault("[gateway\n", "c.toml:1:");
        check_fault("[gatway]\n", "c.toml:1:2: unknown field `gatway`");
        check_fault("[gateway]\ncertificate_lifetime = \"8\"\n", "c.toml:2:24: ");
    }

    #[test]
    fn keys_that_are_found_wrong_later_are_located_too() {
        let file = parse(FILE).expect("parses");
        let check = |place: &str, expected: &str| {
            let error = ConfigError {
                place: place.to_owned(),
                why: "no".to_owned(),
                hint: None,
            };
            let said = file.fault(&error).render(false);
            assert!(
                said.starts_with(&format!("error: {expected}: {place}: no\nhint: ")),
                "{said}"
            );
        };
        check("gateway.workers", "c.toml:2:1");
        check("gateway.listener[0].route[0].upstream", "c.toml:8:1");
        check("gateway.listener[0].route[1].allow[1]", "c.toml:13:24");
        check("gateway.listener[0].route[1].allow[1].dns", "c.toml:13:26");
        check("trust.acme.bundle", "c.toml:16:1");
        check("trust.acme.trust_domain", "c.toml:15:8");
        check("elsewhere", "c.toml");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("ä\näö = 1", "ä\näö = ".len()), (2, 6));
        assert_eq!(position("", 0), (1, 1));
    }

    #[test]
    fn all_who_read_for_one_configuration_read_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("c.toml"), FILE).expect("writable");
        let loaded = Loaded::from_file(&at("c.toml")).expect("parses");
        let named = Path::new("acme.pem");
        let read = || loaded.read(named).map_err(|error| error.kind());
        fs::write(at("acme.pem"), "first").expect("writable");
        assert_eq!(read(), Ok(b"first".to_vec()));
        let (files, seen) = (loaded.files(), loaded.seen());
        fs::write(at("next.pem"), "second").expect("writable");
        fs::rename(at("next.pem"), at("acme.pem")).expect("writable");
        let check = |what: &str| {
            assert_eq!(
                (loaded.files(), loaded.seen()),
                (files.clone(), seen.clone()),
                "{what}"
            );
        };
        assert_eq!(read(), Ok(b"first".to_vec()), "of one load");
        check("after a second reader");
        assert_eq!(loaded.read_now(named).expect("readable"), b"second");
        check("after a look at what stands there now");
        loaded.settle();
        assert_eq!(read(), Ok(b"second".to_vec()), "the contents are let go");
        check("after it is in force");
        // The one that is compared with it reads what stands there.
        let now = Loaded::from_file(&at("c.toml")).expect("parses");
        now.read_files_of(&loaded);
        assert_ne!(now.files(), files);
        assert!(now.files().keys().eq(files.keys()));
    }

    #[test]
    fn file_that_came_after_it_was_missed_is_missing_to_all_who_read_for_one_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("late.pem");
        let loaded = parse(FILE).expect("parses");
        let missed = loaded.read(&path).expect_err("missing");
        fs::write(&path, "late").expect("writable");
        let again = loaded.read(&path).expect_err("missing");
        assert_eq!(again.kind(), io::ErrorKind::NotFound);
        assert_eq!(again.to_string(), missed.to_string());
        assert_eq!(loaded.files(), [(path, None)].into());
    }

    #[test]
    fn contents_of_files_are_not_in_debug_output() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        fs::write(&path, "hunter2").expect("writable");
        let loaded = parse(FILE).expect("parses");
        assert_eq!(loaded.read(&path).expect("readable"), b"hunter2");
        let bytes = format!("{:?}", b"hunter2");
        let shown = format!("{loaded:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains(&bytes),
            "{shown}"
        );
    }
}
