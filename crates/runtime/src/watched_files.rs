//! Files that a configuration names, looked at once a second for a change of what stands there.
//!
//! Looking sees what notifications miss: a path is followed through every link on its way, so a swap of Kubernetes' `..data`, a
//! rename over the file and a write into it are all one thing, also where the file lies on a network or comes out of another
//! mount namespace. It costs a system call a file and second, and the files of a configuration are few.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

use crate::file_reads::{Reading, Stuck, open_regular, unless_stuck};

/// Files, and how they were seen last.
#[derive(Default)]
pub struct WatchedFiles {
    seen: Sights,
    /// A look that is under way, on a thread of its own.
    looking: Option<Looking>,
    // Here and not in the future of `changed`, which is dropped whenever something else comes first.
    next_look: Option<Instant>,
    /// Since when something is found at every look; it has yet to be told.
    unrest_since: Option<Instant>,
}

type Looking = Pin<Box<dyn Future<Output = Result<Sights, Stuck>> + Send>>;

/// By path.
pub type Sights = BTreeMap<PathBuf, Sight>;

/// What tells one state of a file from another: each way of replacing or changing it changes one of these at least. `None`: nothing that
/// can be looked at stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight(Option<[i128; 4]>);

impl Sight {
    /// Nothing that can be looked at.
    pub const NOTHING: Self = Self(None);

    /// Of what stands there now, through every link.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let Ok(_reading) = Reading::begin(path) else {
            return Self::NOTHING;
        };
        Self(fs::metadata(path).ok().as_ref().map(features))
    }

    /// Whether the file of `earlier` stands here still, so that what was written was written into it. What cannot be told is taken to be so.
    #[must_use]
    pub fn is_same_file(&self, earlier: &Self) -> bool {
        match (self.0, earlier.0) {
            (Some([now, ..]), Some([then, ..])) => now == then,
            _ => true,
        }
    }

    /// What stands there now, and the sight of just that, whatever takes its place meanwhile. One that cannot be read is seen as it was
    /// before that was tried.
    pub fn read(path: &Path) -> (Self, io::Result<Vec<u8>>) {
        Self::read_by(path, SystemTime::now)
    }

    fn read_by(path: &Path, clock: impl Fn() -> SystemTime) -> (Self, io::Result<Vec<u8>>) {
        let before = Self::of(path);
        let _reading = match Reading::begin(path) {
            Ok(reading) => reading,
            Err(stuck) => return (before, Err(stuck.into())),
        };
        let opened = open_regular(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => return (before, Err(error)),
        };
        let seen = Self::settled(features(&metadata), clock());
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        (seen, read.map(|_| bytes))
    }

    /// A file that was changed just now may change once more without another date: it is looked at again. Which file it was is known.
    fn settled(features: [i128; 4], now: SystemTime) -> Self {
        let [.., changed] = features;
        let age = nanoseconds(now).abs_diff(changed);
        if age < CLOCK_GRAIN.as_nanos() {
            let [file, ..] = features;
            Self(Some([file, -1, -1, -1]))
        } else {
            Self(Some(features))
        }
    }
}

impl WatchedFiles {
    /// Each as it was when it was read: what has changed since then is found at the first look.
    #[must_use]
    pub fn since(read: Sights) -> Self {
        Self {
            seen: read,
            ..Self::default()
        }
    }

    /// These were read since: from then on they count, and the others from their last look on.
    pub fn read_since(&mut self, read: Sights) {
        // It may have seen what was there before.
        self.looking = None;
        self.seen.extend(read);
    }

    /// Others are not looked at any more.
    pub fn retain(&mut self, is_watched: impl Fn(&Path) -> bool) {
        self.seen.retain(|path, _| is_watched(path));
    }

    /// Resolves when one of them has changed and they have kept still for a moment since, or have not for [`LONGEST_UNREST`]. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            if self.looking.is_none() {
                let due = *self.next_look.get_or_insert_with(|| Instant::now() + LOOK);
                sleep_until(due).await;
            }
            let paths: Vec<PathBuf> = self.seen.keys().cloned().collect();
            let looking = self
                .looking
                .get_or_insert_with(|| Box::pin(unless_stuck(move || sights_of(paths))));
            let found = looking.await;
            // No await from here to the next round: what a look finds is remembered or told.
            (self.looking, self.next_look) = (None, None);
            let has_changed = self.compare(match found {
                Ok(found) => found,
                Err(Stuck { path, .. }) => [(path, Sight::NOTHING)].into(),
            });
            match (has_changed, self.unrest_since) {
                (true, None) => self.unrest_since = Some(Instant::now()),
                (true, Some(since)) if since.elapsed() < LONGEST_UNREST => {}
                (_, Some(_)) => {
                    self.unrest_since = None;
                    return;
                }
                (false, None) => {}
            }
        }
    }

    /// Whether one is not as it was at the look before.
    fn compare(&mut self, found: Sights) -> bool {
        let mut has_changed = false;
        for (path, now) in found {
            if let Some(seen) = self.seen.get_mut(&path) {
                has_changed |= *seen != now;
                *seen = now;
            }
        }
        has_changed
    }
}

impl fmt::Debug for WatchedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchedFiles").field(&self.seen).finish()
    }
}

fn sights_of(paths: Vec<PathBuf>) -> Sights {
    let sights = paths.into_iter().map(|path| {
        let sight = Sight::of(&path);
        (path, sight)
    });
    sights.collect()
}

fn features(metadata: &Metadata) -> [i128; 4] {
    [
        i128::from(metadata.dev()) << 64 | i128::from(metadata.ino()),
        i128::from(metadata.size()),
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
    ]
}

fn nanoseconds(time: SystemTime) -> i128 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().cast_signed()
}

/// As often as an operator may be waited for.
const LOOK: Duration = Duration::from_secs(1);

/// A file that is written without end is looked at in between: what is not whole is refused, and the next look finds it again.
pub const LONGEST_UNREST: Duration = Duration::from_secs(10);

/// The kernel dates changes by a clock that ticks up to a hundredth of a second late.
const CLOCK_GRAIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use tokio::time::{sleep, timeout};

    use super::*;

    fn watching(path: &Path) -> WatchedFiles {
        WatchedFiles::since([(path.to_owned(), Sight::of(path))].into())
    }

    impl WatchedFiles {
        fn look(&mut self) -> bool {
            let found = sights_of(self.seen.keys().cloned().collect());
            self.compare(found)
        }
    }

    /// Whether a change is found once, and not again.
    fn check(files: &mut WatchedFiles, what: &str) {
        assert!(files.look(), "{what}");
        assert!(!files.look(), "{what}, again");
    }

    #[test]
    fn every_way_to_change_a_file_is_seen_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "one").expect("writable");
        let mut files = watching(&at("file"));
        assert!(!files.look(), "nothing has changed");
        fs::write(at("file"), "three").expect("writable");
        check(&mut files, "a write");
        fs::write(at("other"), "three").expect("writable");
        fs::rename(at("other"), at("file")).expect("writable");
        check(&mut files, "a rename over it");
        fs::remove_file(at("file")).expect("writable");
        check(&mut files, "its end");
        fs::write(at("file"), "three").expect("writable");
        check(&mut files, "its return");
    }

    #[test]
    fn swap_of_a_link_on_the_way_is_seen() {
        // As Kubernetes does it: the file is a link into `..data`, which is a link to the folder of the day.
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for day in ["monday", "tuesday"] {
            fs::create_dir(at(day)).expect("writable");
            fs::write(at(day).join("file"), "the same").expect("writable");
        }
        symlink("monday", at("..data")).expect("writable");
        symlink("..data/file", at("file")).expect("writable");
        let mut files = watching(&at("file"));
        assert!(!files.look(), "nothing has changed");
        symlink("tuesday", at("..data_tmp")).expect("writable");
        fs::rename(at("..data_tmp"), at("..data")).expect("writable");
        check(&mut files, "a swap");
        fs::remove_file(at("..data")).expect("writable");
        check(&mut files, "a link to nowhere");
    }

    /// Read, long after it was written.
    fn read(path: &Path) -> WatchedFiles {
        let long_after = || SystemTime::now() + Duration::from_hours(1);
        let (seen, _) = Sight::read_by(path, long_after);
        WatchedFiles::since([(path.to_owned(), seen)].into())
    }

    #[test]
    fn what_changed_after_it_was_read_has_changed_whatever_its_date() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut absent = read(&at("file"));
        assert!(!absent.look(), "one that was not there");
        for release in ["41", "42"] {
            fs::create_dir(at(release)).expect("writable");
            fs::write(at(release).join("file"), release).expect("writable");
        }
        symlink("41", at("current")).expect("writable");
        let mut files = read(&at("current/file"));
        // Both were written before: only the link is new.
        symlink("42", at("next")).expect("writable");
        fs::rename(at("next"), at("current")).expect("writable");
        check(&mut files, "a link to what was written before");
        fs::write(at("file"), "one").expect("writable");
        check(&mut absent, "one that has come");
        let mut files = read(&at("file"));
        fs::remove_file(at("file")).expect("writable");
        check(&mut files, "one that has gone");
    }

    #[test]
    fn what_cannot_be_read_is_seen_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        // Not even by root.
        fs::create_dir(at("folder")).expect("writable");
        let (_, unreadable) = Sight::read(&at("folder"));
        assert!(unreadable.is_err());
        let mut files = read(&at("folder"));
        assert!(!files.look(), "nothing has changed");
        fs::remove_dir(at("folder")).expect("writable");
        fs::write(at("folder"), "one").expect("writable");
        check(&mut files, "one that can be read");
    }

    #[test]
    fn file_that_may_change_without_another_date_is_looked_at_again() {
        let features = [1, 2, 3, 5_000_000_000];
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let settled = Sight(Some(features));
        let fresh = Sight::settled(features, at(5_001));
        assert_ne!(fresh, settled);
        assert!(fresh.is_same_file(&settled), "which file it is can be told");
        let [file, others @ ..] = features;
        let other = Sight(Some([file + 1, others[0], others[1], others[2]]));
        assert!(!other.is_same_file(&fresh) && !fresh.is_same_file(&other));
        assert_eq!(Sight::settled(features, at(5_011)), settled);
        // A clock elsewhere that is fast does not keep it unsettled for ever.
        assert_eq!(Sight::settled(features, at(1_000)), settled);
    }

    #[test]
    fn file_that_took_the_place_of_another_is_told_from_one_that_was_written_into() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "one").expect("writable");
        let before = Sight::of(&at("file"));
        fs::write(at("file"), "three").expect("writable");
        let written_into = Sight::of(&at("file"));
        assert!(written_into != before && written_into.is_same_file(&before));
        fs::write(at("next"), "three").expect("writable");
        fs::rename(at("next"), at("file")).expect("writable");
        assert!(!Sight::of(&at("file")).is_same_file(&before));
        // Changed just now: nobody can tell.
    }

    #[test]
    fn files_that_were_read_again_count_from_then_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let write = |text: &str| {
            for name in ["read", "kept", "left"] {
                fs::write(at(name), text).expect("writable");
            }
        };
        write("one");
        let sights = |names: &[&str]| {
            let seen = names.iter().map(|name| (at(name), Sight::of(&at(name))));
            seen.collect::<Sights>()
        };
        let mut files = WatchedFiles::since(sights(&["read", "kept", "left"]));
        write("three");
        files.read_since(sights(&["read"]));
        check(&mut files, "one that was not read again");
        fs::write(at("left"), "one").expect("writable");
        files.retain(|path| path != at("left"));
        assert!(!files.look(), "one that is left");
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_told_when_it_is_over_and_endless_ones_in_between() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "").expect("writable");
        let mut files = watching(&path);
        let begun = Instant::now();
        fs::write(&path, "half").expect("writable");
        files.changed().await;
        assert_eq!(
            begun.elapsed(),
            2 * LOOK,
            "one look to see it, one to see that it is over"
        );
        let begun = Instant::now();
        let writing = async {
            let mut text = String::from("half");
            loop {
                text.push('.');
                fs::write(&path, &text).expect("writable");
                sleep(LOOK / 2).await;
            }
        };
        tokio::select! {
            () = files.changed() => {}
            () = writing => {}
        }
        assert!(begun.elapsed() >= LONGEST_UNREST, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn change_that_was_seen_is_told_though_the_waiting_for_it_was_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "one").expect("writable");
        let mut files = watching(&path);
        fs::write(&path, "three").expect("writable");
        let half_way = LOOK + LOOK / 2;
        let given_up = timeout(half_way, files.changed()).await;
        assert!(given_up.is_err(), "seen once, and not yet over");
        timeout(LOOK, files.changed()).await.expect("told");
        let nothing = timeout(LONGEST_UNREST, files.changed()).await;
        assert!(nothing.is_err(), "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_that_is_given_up_ever_again_puts_no_look_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "one").expect("writable");
        let mut files = watching(&path);
        fs::write(&path, "three").expect("writable");
        let begun = Instant::now();
        while timeout(LOOK / 3, files.changed()).await.is_err() {
            assert!(begun.elapsed() < LONGEST_UNREST, "never told");
        }
    }
}
