//! Files that a configuration names, looked at once a second for a change of what stands there.
//!
//! Looking sees what notifications miss: a path is followed through every link on its way, so a swap of Kubernetes' `..data`, a
//! rename over the file and a write into it are all one thing, also where the file lies on a network or comes out of another
//! mount namespace. It costs a system call a file and second, and the files of a configuration are few.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

/// Files, and how they were seen last.
#[derive(Debug, Default)]
pub struct WatchedFiles {
    seen: Vec<(PathBuf, Sight)>,
    // Here and not in the future of `changed`, which is dropped whenever something else comes first.
    next_look: Option<Instant>,
    /// Since when something is found at every look; it has yet to be told.
    unrest_since: Option<Instant>,
}

/// What tells one state of a file from another: each way of replacing or changing it changes one of these at least. `None`: nothing that
/// can be looked at stands there.
type Sight = Option<[i128; 4]>;

impl WatchedFiles {
    /// As they are now: each with whether it was there when it was read, from `read` on. One that has changed since then counts as
    /// changed at the first look.
    pub fn since(read: SystemTime, paths: impl IntoIterator<Item = (PathBuf, bool)>) -> Self {
        let read = nanoseconds(read) - CLOCK_GRAIN.as_nanos().cast_signed();
        let seen = paths.into_iter().map(|(path, was_there)| {
            let now = sight(&path);
            let was_so = match now {
                Some([.., changed]) => was_there && changed < read,
                None => !was_there,
            };
            let sight = if was_so { now } else { UNSEEN };
            (path, sight)
        });
        Self {
            seen: seen.collect(),
            ..Self::default()
        }
    }

    /// Resolves when one of them has changed and they have kept still for a moment since, or have not for [`LONGEST_UNREST`]. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            let due = *self.next_look.get_or_insert_with(|| Instant::now() + LOOK);
            sleep_until(due).await;
            // No await from here to the next round: what a look finds is remembered or told.
            self.next_look = None;
            let has_changed = self.look();
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
    fn look(&mut self) -> bool {
        let mut has_changed = false;
        for (path, seen) in &mut self.seen {
            let now = sight(path);
            has_changed |= *seen != now;
            *seen = now;
        }
        has_changed
    }
}

fn sight(path: &PathBuf) -> Sight {
    let metadata = fs::metadata(path).ok()?;
    Some([
        i128::from(metadata.dev()) << 64 | i128::from(metadata.ino()),
        i128::from(metadata.size()),
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
    ])
}

fn nanoseconds(time: SystemTime) -> i128 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().cast_signed()
}

/// Unlike whatever can be seen, so that the first look finds a change.
const UNSEEN: Sight = Some([-1; 4]);

/// As often as an operator may be waited for.
const LOOK: Duration = Duration::from_secs(1);

/// A file that is written without end is looked at in between: what is not whole is refused, and the next look finds it again.
pub const LONGEST_UNREST: Duration = Duration::from_secs(10);

/// The kernel dates changes by a clock that ticks up to a hundredth of a second late.
const CLOCK_GRAIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use tokio::time::{sleep, timeout};

    use super::*;

    fn watching(path: &Path) -> WatchedFiles {
        let long_after = SystemTime::now() + Duration::from_hours(1);
        WatchedFiles::since(long_after, [(path.to_owned(), true)])
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

    #[test]
    fn what_changed_while_it_was_read_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let since = |was_there| {
            let long_ago = SystemTime::UNIX_EPOCH;
            WatchedFiles::since(long_ago, [(path.clone(), was_there)])
        };
        check(&mut since(true), "one that has gone");
        assert!(!since(false).look(), "one that was not there");
        fs::write(&path, "one").expect("writable");
        check(&mut since(false), "one that has come");
        check(&mut since(true), "one that is newer than its reader");
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
