//! The state folder taken for this process, and what it gives to a gateway.

use std::sync::Arc;

use countersign_authority::admin;
use countersign_authority::authority::Authority;
use countersign_authority::publish::Publication;
use countersign_authority::state::{StateFolder, StateLock};
use countersign_pki::name::TypedName;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::SharedClock;
use tokio::net::UnixListener;

use super::Service;
use crate::backend::{take_lock, waiting};
use crate::birth::{Born, first_identity, make_authority};
use crate::certifiable_names::certifiable;
use crate::composition::{
    Own, host_name, needs_authority, own_names, profiles, publication_url, retention,
};
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::gateway_certificate::{Issuer, Port, Wanted};
use crate::gateway_names;
use crate::kept_profiles;
use crate::output::tell;

/// The state, taken for this process.
pub(super) struct Opened {
    pub(super) state: StateFolder,
    /// Bound; whoever connects waits until it is served.
    pub(super) socket: UnixListener,
    pub(super) authority: Option<Arc<Authority>>,
    /// What a first run made.
    pub(super) born: Option<Born>,
    pub(super) own: Option<Own>,
    pub(super) wanted: Wanted,
    /// What the public is served.
    pub(super) publication: Option<Arc<Publication>>,
    /// Of a state without authority; an authority holds it itself.
    pub(super) lock: Option<StateLock>,
}

/// Takes the state folder, and makes or opens its authority.
pub(super) async fn open(
    service: &Service,
    loaded: &Loaded,
    clock: &SharedClock,
) -> Result<Opened, Fault> {
    let state = StateFolder::prepare(&service.state)?;
    let lock = take_lock(&state).await?;
    let gateway = &loaded.configuration.gateway;
    let mut wanted = Wanted {
        names: own_names(gateway, &service.names, host_name()),
        lifetime: gateway.certificate_lifetime.duration(),
    };
    let was_initialised = state.is_initialised();
    if was_initialised && gateway.feed.is_some() {
        return Err(two_authorities(&state));
    }
    let made = match &service.first_run {
        Some(arguments) if !was_initialised => {
            Some(make_authority(&state, &lock, arguments.options()?, clock)?)
        }
        None if !was_initialised && needs_authority(&loaded.configuration) => {
            return Err(no_authority(&state));
        }
        _ => None,
    };
    let path = state.socket();
    let socket = admin::bind_socket(&path, &lock).map_err(|error| {
        Fault::world(format_args!(
            "cannot listen on admin socket {}: {error}",
            path.display()
        ))
    })?;
    if !was_initialised && made.is_none() {
        return Ok(Opened {
            state,
            socket,
            authority: None,
            born: None,
            own: None,
            wanted,
            publication: None,
            lock: Some(lock),
        });
    }
    let authority = Authority::open(state.clone(), lock, &service.passphrase, Arc::clone(clock))?;
    if !gateway.is_empty() {
        // What it would let in may have been revoked since the backup.
        authority.refuse_paused().await?;
    }
    say_rules(&authority, service, loaded, &state).await?;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    if let (Some(arguments), true) = (&service.first_run, was_initialised)
        && let Some(note) = arguments.against_existing(authority.trust_domain(), state.path())?
    {
        tell(&note);
    }
    // A configuration file says exactly which names there are.
    let kept = match &service.first_run {
        Some(_) => gateway_names::kept(&state, &wanted.names),
        None => Vec::new(),
    };
    wanted
        .names
        .extend(kept.iter().cloned().map(TypedName::Dns));
    if gateway.needs_own_certificate() {
        let asked_for = [gateway.hosts(), service.names.clone()].concat();
        wanted.names = certifiable(wanted.names, &asked_for, &authority)?;
    }
    // Before anything is issued: certificates carry what it says.
    let publication = publish(&authority, publication_url(loaded)?).await?;
    let credentials = if gateway.needs_own_certificate() {
        Some(
            Port::Gateway
                .credentials(
                    &Issuer::Authority(Arc::clone(&authority)),
                    &state,
                    &wanted,
                    now,
                )
                .await?,
        )
    } else {
        None
    };
    if service.first_run.is_some() {
        // Only now: a name that cannot be certified would stand in the way of every later start.
        gateway_names::remember(&state, &kept, &service.names)?;
        first_identity(&authority, &state).await?;
    }
    let born = made.map(|made| Born::new(&state, &made, &wanted.names));
    let own = Some(Own::of(&authority, credentials, now)?);
    Ok(Opened {
        state,
        socket,
        authority: Some(authority),
        born,
        own,
        wanted,
        publication,
        lock: None,
    })
}

/// By what is issued: before anything is, and for the commands that find nobody serving later.
async fn say_rules(
    authority: &Authority,
    service: &Service,
    loaded: &Loaded,
    state: &StateFolder,
) -> Result<(), Fault> {
    authority.replace_profiles(profiles(loaded)?);
    authority.replace_retention(retention(loaded)?);
    kept_profiles::keep(authority, state, &loaded.configuration.authority);
    if service.first_run.is_none() && authority.held_back().is_none() {
        let because = "the configuration that is served says it".to_owned();
        // Until it can be recorded nothing is issued, and all else is served.
        if let Err(error) = authority.tell_rules(Actor::Authority, because).await {
            tracing::error!(%error, "nothing is issued: it cannot be recorded what is issued by");
        }
    }
    Ok(())
}

async fn publish(
    authority: &Arc<Authority>,
    url: Option<PublicationUrl>,
) -> Result<Option<Arc<Publication>>, Fault> {
    if let Some(url) = url {
        Ok(Some(Publication::open(authority, url).await?))
    } else {
        authority.publish_at(None).await?;
        Ok(None)
    }
}

fn two_authorities(state: &StateFolder) -> Fault {
    Fault::configuration(format_args!(
        "[gateway.feed] is for a gateway whose authority is another process, and {} holds an authority",
        state.path().display()
    ))
    .hint("leave [gateway.feed] out, or give this gateway a state folder of its own with --state")
}

fn no_authority(state: &StateFolder) -> Fault {
    if let Some(pending) = waiting(state.path()) {
        return pending;
    }
    Fault::configuration(format_args!(
        "the configuration needs the state's own authority, and none is initialised in {}",
        state.path().display()
    ))
    .hint("`countersign init` makes one; or give each listener its certificate and key, and [trust.internal] its bundle")
}
