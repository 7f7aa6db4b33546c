//! The configuration read again: on SIGHUP, by the admin socket, and when its file or one that it names has changed. One that is
//! wrong changes nothing, and whoever looks is told of it.
//!
//! Trust that the feed tells is taken over by the configuration in force, whatever stands in the file by now: nobody goes
//! on being trusted because somebody has begun to edit it.

mod again;
mod difference;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::admin::port::replace_roles;
use countersign_authority::authority::Authority;
use countersign_authority::config::{AdminPortConfig, FeedPortConfig, PublicConfig};
use countersign_authority::state::StateFolder;
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::time::UnixTime;
use countersign_proxy::admin::ReloadRequest;
use countersign_proxy::gateway::{GatewayHandle, ReloadReport};
use countersign_proxy::metrics::Metrics;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::file_reads::unless_stuck;
use countersign_runtime::shutdown::{ReloadSignal, reload_signal};
use countersign_runtime::supervisor::Supervisor;
use countersign_runtime::watched_files::{Sight, Sights, WatchedFiles};
use countersign_tls::enforcement::Enforcement;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::again::{Again, Occasion, Refused};
use self::difference::differences;
use super::Source;
use super::process::Process;
use super::trust_lists::TrustLists;
use crate::certifiable_names::certifiable;
use crate::composition::{Own, host_name, own_names, plan, profiles, retention, roles, trusted};
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::gateway_certificate::Wanted;
use crate::kept_profiles;

/// Reloads the configuration whenever it is asked for.
pub(crate) struct Reloads {
    /// Where it comes from.
    pub(crate) source: Source,
    /// Names for the gateway's certificate beside those of the configuration.
    pub(crate) names: Vec<DnsName>,
    /// What the authority gives; another bundle is served by at once.
    pub(crate) own: watch::Receiver<Option<Own>>,
    /// Who issues by the profiles of the configuration, and where they are kept.
    pub(crate) authority: Option<(Arc<Authority>, StateFolder)>,
    /// What serves.
    pub(crate) gateway: GatewayHandle,
    /// What the gateway's certificate shall be from then on.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// What is served beside the gateway, which stays as it was at the start.
    pub(crate) ports: Ports,
    /// Where the connections of operators are cut.
    pub(crate) enforcement: Enforcement,
    /// What this process says about itself.
    pub(crate) process: Process,
    /// The bundles and their revocation lists.
    pub(crate) lists: TrustLists,
    /// Who waits for the end of a reload.
    pub(crate) supervisor: Supervisor,
    /// Where reloads are counted.
    pub(crate) metrics: Metrics,
    /// The time of day.
    pub(crate) clock: SharedClock,
    /// Hears by which version of the feed's bundles is served; `None`: they come from no feed.
    pub(crate) in_force: Option<watch::Sender<u64>>,
    /// The configuration in force.
    pub(crate) loaded: Loaded,
    /// One that was refused for what may pass by itself.
    pub(crate) refused: Option<Again>,
}

/// The authority's own ports, which a reload does not move.
#[derive(PartialEq)]
pub(crate) struct Ports {
    admin: Option<AdminPortConfig>,
    feed: Option<FeedPortConfig>,
    public: Option<PublicConfig>,
}

impl Ports {
    /// Of a configuration.
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let authority = &loaded.configuration.authority;
        Self {
            admin: authority.admin.clone(),
            feed: authority.feed.clone(),
            public: authority.public.clone(),
        }
    }

    /// The first table that is not as it was.
    fn difference(&self, before: &Self) -> Option<&'static str> {
        [
            (self.admin == before.admin, "authority.admin"),
            (self.feed == before.feed, "authority.feed"),
            (self.public == before.public, "authority.public"),
        ]
        .into_iter()
        .find_map(|(is_same, table)| (!is_same).then_some(table))
    }
}

impl Reloads {
    /// Until the process ends. SIGHUP is listened for when this returns: whoever is told "ready" may send one at once.
    pub(crate) fn run(self, asking: mpsc::Receiver<ReloadRequest>) -> impl Future<Output = Fault> {
        // A closed terminal says SIGHUP too. An `up` at one has no file to read again, and should not outlive it.
        let ends_with_terminal =
            matches!(self.source, Source::CommandLine(_)) && io::stdin().is_terminal();
        let installed = (!ends_with_terminal).then(reload_signal).transpose();
        async move {
            match installed {
                Ok(hangup) => self.run_with(hangup, asking).await,
                Err(error) => Fault::world(format_args!("cannot handle SIGHUP: {error}")),
            }
        }
    }

    async fn run_with(
        mut self,
        mut hangup: Option<ReloadSignal>,
        mut asking: mpsc::Receiver<ReloadRequest>,
    ) -> Fault {
        self.loaded.settle();
        let mut watched = self.watch(&self.loaded);
        let mut backoff = FIRST_BACKOFF;
        let mut trust_due = None;
        loop {
            let trust_again = async {
                match trust_due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let again_due = self.refused.as_ref().map(Again::due);
            let again = async {
                match again_due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.hangup().await,
                    None => std::future::pending().await,
                }
            };
            let is_held_back = self.is_held_back();
            let keep_again = async {
                if is_held_back {
                    tokio::time::sleep(KEEP_AGAIN).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let trust_changed = async {
                // Without a feed from elsewhere it never changes.
                if self.own.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = hung_up => {
                    if self.reload(&mut watched, Occasion::Asked).await.is_ok() {
                        trust_due = None;
                    }
                }
                () = again => {
                    if !self.is_withdrawn(&mut watched).await
                        && self.reload(&mut watched, Occasion::Again).await.is_ok()
                    {
                        trust_due = None;
                    }
                }
                () = watched.changed() => {
                    if self.has_changed(&mut watched).await && self.reload(&mut watched, Occasion::Changed).await.is_ok() {
                        trust_due = None;
                    }
                }
                () = keep_again => self.keep_rules(),
                () = trust_changed => {
                    (trust_due, backoff) = (Some(Instant::now()), FIRST_BACKOFF);
                }
                () = trust_again => {
                    trust_due = (!self.trust(&mut watched, backoff).await).then(|| Instant::now() + backoff);
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
                Some(answer) = asking.recv() => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.reload(&mut watched, Occasion::Asked).await);
                }
            }
        }
    }

    fn is_held_back(&self) -> bool {
        let held_back = |(authority, _): &(Arc<Authority>, StateFolder)| authority.held_back();
        self.authority.as_ref().and_then(held_back).is_some()
    }

    fn keep_rules(&self) {
        if let Some((authority, state)) = &self.authority {
            kept_profiles::keep(authority, state, &self.loaded.configuration.authority);
            if !self.is_held_back() {
                tracing::info!("what is issued by is kept: certificates are issued again");
            }
        }
    }

    /// Whether the gateway serves by what is to be trusted now; if not, it is tried again after `backoff`.
    async fn trust(&mut self, watched: &mut WatchedFiles, backoff: Duration) -> bool {
        // What its files say by now is in force only if all of it can be.
        let loaded = self.loaded.unread();
        match self.serve_by(&loaded).await {
            Ok(report) => {
                loaded.settle();
                if self.watches() {
                    watched.read_since(loaded.seen());
                }
                self.loaded = loaded;
                tracing::info!(
                    sessions_declined = report.sessions_declined,
                    connections_cut = report.connections_cut,
                    "the feed's bundles are served by"
                );
                true
            }
            Err(error) => {
                tracing::error!(
                    error,
                    retry_in_ms = backoff.as_millis(),
                    "the feed's bundles are not served by, nor acknowledged"
                );
                false
            }
        }
    }

    /// The gateway takes over a configuration, with what the authority gives now.
    async fn serve_by(&self, loaded: &Loaded) -> Result<ReloadReport, String> {
        let now = UnixTime::from_seconds(self.clock.unix_seconds());
        let own = self.own.borrow().clone();
        let said = |fault: Fault| fault.sentence().to_owned();
        let (read, by) = (loaded.clone(), own.clone());
        let mut in_force = self.lists.bundles();
        in_force.files = self.loaded.files();
        let planned = unless_stuck(move || {
            let plan = plan(&read, by.as_ref(), &in_force, now)?;
            Ok((plan, trusted(&read, by.as_ref(), &in_force, now)?))
        });
        let planned = planned.await.map_err(|stuck| stuck.to_string())?;
        let (plan, bundles) = planned.map_err(said)?;
        let prepared = self.lists.prepare(loaded, bundles).await.map_err(said)?;
        // Nobody is judged by a bundle without its lists: they come first, and those of bundles that are left go last.
        self.lists.tighten(&prepared);
        let report = match self.gateway.reload(plan).await {
            Ok(report) => report,
            Err(error) => {
                self.lists.restore(prepared).await;
                return Err(error.to_string());
            }
        };
        self.lists.commit(prepared).await;
        if let (Some(in_force), Some(own)) = (&self.in_force, own) {
            in_force.send_replace(own.version);
        }
        Ok(report)
    }

    /// Whether anything that was read for the configuration in force reads otherwise now. If not, it is in force, whatever was refused in
    /// between.
    async fn has_changed(&mut self, watched: &mut WatchedFiles) -> bool {
        let (source, in_force) = (self.source.clone(), self.loaded.clone());
        let read = unless_stuck(move || {
            let now = source.load().ok()?;
            now.read_files_of(&in_force);
            Some(now)
        });
        let Ok(Some(now)) = read.await else {
            return true;
        };
        let (Ok(before), Ok(after)) = (self.loaded.written(), now.written()) else {
            return true;
        };
        let has_changed = before != after || self.loaded.files() != now.files();
        if !has_changed {
            tracing::debug!("what the configuration is read from was touched, and says the same");
            self.note(None);
            self.refused = None;
            *watched = self.watch(&now);
        }
        has_changed
    }

    /// Whether the configuration that was refused stands in its file no more, where nobody has to say that the file was changed. It is not
    /// tried again then: what took its place may be what was to be left.
    async fn is_withdrawn(&mut self, watched: &mut WatchedFiles) -> bool {
        let Some(again) = self.refused.as_ref().filter(|_| !self.watches()) else {
            return false;
        };
        let Ok(refused) = again.unread().written() else {
            return false;
        };
        let source = self.source.clone();
        let read = unless_stuck(move || source.load().ok().and_then(|now| now.written().ok()));
        if matches!(read.await, Ok(Some(now)) if now == refused) {
            return false;
        }
        self.refused = None;
        tracing::info!(
            "the configuration that was refused stands in its file no more: it is not tried again"
        );
        // If that is what is in force again, there is nothing to be told of any more.
        self.has_changed(watched).await;
        true
    }

    fn watches(&self) -> bool {
        matches!(self.source, Source::File(_)) && self.loaded.configuration.gateway.watch_files
    }

    /// The files of the configuration in force, as they were when `read` was read from them.
    fn watch(&self, read: &Loaded) -> WatchedFiles {
        if !self.watches() {
            return WatchedFiles::default();
        }
        WatchedFiles::since(read.seen_with_itself())
    }

    /// The same, and those of a configuration that was refused. What it was not refused for has not been read: that counts from the last
    /// look on.
    fn watch_on(&self, watched: &mut WatchedFiles, tried: Sights) {
        if !self.watches() {
            return;
        }
        let in_force = self.loaded.seen_with_itself();
        watched.retain(|path| in_force.contains_key(path) || tried.contains_key(path));
        watched.read_since(tried);
    }

    /// `refused`: why what stands in the files is not in force.
    fn note(&self, refused: Option<String>) {
        self.metrics.tell_refused_configuration(refused.is_some());
        self.process.read_again(refused);
    }

    async fn reload(
        &mut self,
        watched: &mut WatchedFiles,
        occasion: Occasion,
    ) -> Result<ReloadReport, String> {
        let is_again = matches!(occasion, Occasion::Again);
        if !is_again {
            self.supervisor.reloading();
        }
        let before = (self.loaded.written(), self.loaded.files());
        let mut tried = Sights::default();
        let outcome = self.take_over(&mut tried, occasion).await;
        if outcome.is_ok() {
            *watched = self.watch(&self.loaded);
        } else {
            self.watch_on(watched, tried);
        }
        self.note(outcome.as_ref().err().cloned());
        if let (Err(error), true) = (&outcome, is_again) {
            // Nothing new: it was told when it was refused first.
            tracing::debug!(error, "configuration refused once more");
            return outcome;
        }
        self.metrics.note_reload(outcome.is_ok());
        self.supervisor.ready(&match &outcome {
            Ok(_) => "serving".to_owned(),
            Err(error) => format!("serving by an earlier configuration: {error}"),
        });
        let changed = match (&before, self.loaded.written()) {
            ((Ok(table), files), Ok(after)) => {
                differences((table, files), (&after, &self.loaded.files()))
            }
            _ => String::new(),
        };
        match &outcome {
            Ok(report) => tracing::info!(
                changed,
                listeners = report.listeners.len(),
                sessions_declined = report.sessions_declined,
                connections_cut = report.connections_cut,
                "configuration reloaded"
            ),
            Err(error) => {
                let tried_again = self.refused.is_some();
                tracing::error!(
                    error,
                    tried_again,
                    "configuration not reloaded: the one in force stays"
                );
            }
        }
        outcome
    }

    /// `tried`: the files that were read for it, whatever came of it.
    async fn take_over(
        &mut self,
        tried: &mut Sights,
        occasion: Occasion,
    ) -> Result<ReloadReport, String> {
        let earlier = self.refused.take();
        let backoff = match (&earlier, occasion) {
            (Some(again), Occasion::Again) => again.next_backoff(LONGEST_BACKOFF),
            _ => FIRST_BACKOFF,
        };
        let loaded = match (earlier, occasion) {
            // What was asked for, whatever somebody is writing into the file by now.
            (Some(again), Occasion::Again) => again.unread(),
            _ => self.read(tried).await?,
        };
        if matches!(occasion, Occasion::Changed) && loaded.is_cut_short(&self.loaded) {
            tried.extend(loaded.seen_with_itself());
            return Err(
                "the file is the beginning of what it was, and may not be written to its end yet: once it is, it is taken over; \
                 if it is whole, SIGHUP takes it over as it is"
                    .to_owned(),
            );
        }
        let outcome = self.take_over_loaded(&loaded).await;
        tried.extend(loaded.seen_with_itself());
        match outcome {
            Ok(report) => {
                loaded.settle();
                self.loaded = loaded;
                Ok(report)
            }
            Err(Refused::ForGood(error)) => Err(error),
            Err(Refused::ForNow(error)) => {
                self.refused = Some(Again::new(loaded, backoff));
                Err(error)
            }
        }
    }

    async fn read(&self, tried: &mut Sights) -> Result<Loaded, String> {
        let source = self.source.clone();
        let read = unless_stuck(move || {
            // As it was before, if it cannot even be parsed.
            let before = match &source {
                Source::File(path) => Some((path.clone(), Sight::of(path))),
                Source::CommandLine(_) => None,
            };
            (before, source.load())
        });
        let (before, loaded) = read.await.map_err(|stuck| stuck.to_string())?;
        tried.extend(before);
        loaded.map_err(|fault| fault.sentence().to_owned())
    }

    async fn take_over_loaded(&mut self, loaded: &Loaded) -> Result<ReloadReport, Refused> {
        let said = |fault: Fault| Refused::ForGood(fault.sentence().to_owned());
        if let Some(changed) = Ports::of(loaded).difference(&self.ports) {
            return Err(Refused::ForGood(format!(
                "{changed} has changed: that takes effect when the process starts again"
            )));
        }
        let profiles = profiles(loaded).map_err(said)?;
        let retention = retention(loaded).map_err(said)?;
        let roles = roles(loaded).map_err(said)?;
        let names = self.names_wanted(loaded).map_err(said)?;
        let served = self.serve_by(loaded).await;
        let mut report = served.map_err(Refused::ForNow)?;
        if let Some((authority, state)) = &self.authority {
            let cut = replace_roles(authority, &self.enforcement, roles).await;
            report.connections_cut += cut.connections_cut;
            authority.replace_profiles(profiles);
            authority.replace_retention(retention);
            // In force it is: a disk that is full must not leave anybody a role that was taken away.
            kept_profiles::keep(authority, state, &loaded.configuration.authority);
        }
        let gateway = &loaded.configuration.gateway;
        self.process.reloaded(loaded);
        if let Source::File(_) = self.source {
            self.wanted.send_replace(Wanted {
                names,
                lifetime: gateway.certificate_lifetime.duration(),
            });
        }
        Ok(report)
    }

    /// Of the gateway's own certificate.
    fn names_wanted(&self, loaded: &Loaded) -> Result<Vec<TypedName>, Fault> {
        let gateway = &loaded.configuration.gateway;
        let names = own_names(gateway, &self.names, host_name());
        match &self.authority {
            Some((authority, _)) if gateway.needs_own_certificate() => {
                let asked_for = [gateway.hosts(), self.names.clone()].concat();
                certifiable(names, &asked_for, authority)
            }
            _ => Ok(names),
        }
    }
}

/// A file that is being replaced is whole again in a moment.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// A full disk is often emptied within minutes; an attempt costs little.
const KEEP_AGAIN: Duration = Duration::from_secs(2);
