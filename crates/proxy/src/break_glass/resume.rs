//! The start: what a process before this one left armed goes on if it still may, and nothing else does.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use countersign_policy::break_glass::{Denied, Kept, MAX_APPROVALS, MAX_PAPER_BYTES};
use serde::Deserialize;
use tokio::time::Instant;

use super::fault::details;
use super::ledger::Record;
use super::{BreakGlass, FILE_PREFIX, FILE_SUFFIX, Home, LOG_FILE, Ledger, file_name};

impl BreakGlass {
    /// What a process before this one left.
    pub(super) fn resume(&self, home: &Home) {
        let path = home.folder.join(file_name(&self.name));
        let why = match self.try_resume(&path) {
            Ok(()) => return,
            Err(why) => why,
        };
        tracing::error!(
            listener = self.name,
            file = %path.display(),
            why,
            "break-glass listener was armed before the restart and is no more"
        );
        self.metrics.count("not-resumed");
        let aside = path.with_extension("json.refused");
        if let Err(error) = fs::rename(&path, &aside) {
            tracing::error!(file = %path.display(), %error, "it cannot be moved aside");
        }
        let mut record = Record::new("not-resumed", &self.name);
        record.why = Some(why);
        // It is shut either way.
        let _ = self.ledger.append_waiting(record);
    }

    fn try_resume(&self, path: &Path) -> Result<(), String> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_KEPT_BYTES).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(|error| error.to_string())?,
        };
        let kept = Kept::parse(&bytes).map_err(|invalid| invalid.to_string())?;
        let terms = self.terms.load_full();
        if kept.configuration() != terms.configuration {
            return Err("the configuration of the listener changed".to_owned());
        }
        let log = path.with_file_name(LOG_FILE);
        let armed = armed_by_log(&log, &self.name)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        if armed != Some(kept.statement().nonce()) {
            return Err("by its log, that arming has ended, or never was".to_owned());
        }
        let revocations = self.enforcement.revocations();
        let begun = Instant::now();
        let (armed, left) = match terms.rules.resume(kept, &revocations, self.now()) {
            Ok(resumed) => resumed,
            Err(Denied::Expired { at }) => {
                tracing::warn!(listener = self.name, expired = %at, "the arming of a break-glass listener ended before the restart was done");
                self.metrics.count("expired");
                // Where either fails, the next start finds it expired, too.
                let _ = fs::remove_file(path);
                let _ = (self.ledger).append_waiting(Record::new("expired", &self.name));
                return Ok(());
            }
            Err(denied) => return Err(format!("{denied}{}", details(&denied))),
        };
        let record = Record::of("resumed", &self.name, &armed);
        self.ledger
            .append_waiting(record)
            .map_err(|error| format!("it cannot be recorded: {error}"))?;
        self.put_in_force(&terms, armed, begun + left, revocations, "resumed");
        Ok(())
    }
}

/// The number of the arming that has begun by the log and not ended: a file that somebody kept a copy of arms nothing again.
fn armed_by_log(path: &Path, listener: &str) -> io::Result<Option<String>> {
    let mut armed = None;
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        // Half a line, from a power cut, is of what was not done.
        let Ok(line) = serde_json::from_slice::<Line>(&line?) else {
            continue;
        };
        match line.event.as_str() {
            _ if line.listener != listener => {}
            "armed" => armed = line.nonce,
            "disarmed" | "expired" | "not-resumed" => armed = None,
            _ => {}
        }
    }
    Ok(armed)
}

/// What of a line says how a listener stands.
#[derive(Deserialize)]
struct Line {
    event: String,
    listener: String,
    #[serde(default)]
    nonce: Option<String>,
}

/// A listener that is gone, and comes back one day, comes back shut.
pub(super) fn forget_others(home: &Home, names: &[&str], ledger: &Ledger) {
    let Ok(entries) = fs::read_dir(&home.folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = (path.file_name().and_then(|it| it.to_str()))
            .and_then(|it| it.strip_prefix(FILE_PREFIX)?.strip_suffix(FILE_SUFFIX));
        let Some(name) = name.filter(|name| !names.contains(name)) else {
            continue;
        };
        tracing::error!(
            listener = name,
            "a break-glass listener was armed that is there no more"
        );
        if let Err(error) = fs::remove_file(&path) {
            tracing::error!(file = %path.display(), %error, "it cannot be removed");
        }
        let mut record = Record::new("not-resumed", name);
        record.why = Some("there is no such listener any more".to_owned());
        let _ = ledger.append_waiting(record);
    }
}

/// A file with every approval; one byte more is refused when it is parsed.
const MAX_KEPT_BYTES: u64 = ((1 + MAX_APPROVALS) * MAX_PAPER_BYTES) as u64 + 1;
