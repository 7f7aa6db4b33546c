//! One way to the authority, whether it is elsewhere, another process serves its state folder, or nobody does.
//!
//! The lock decides: whoever gets it holds the authority and answers itself, through the same routes; whoever does not
//! asks the holder over the admin socket. A short-lived command holds the lock too and serves no socket: it is waited
//! for. Root never gets the lock of another user's folder, and only asks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use countersign_authority::admin;
use countersign_authority::api::{self, IssuingState, StatusResponse};
use countersign_authority::authority::Authority;
use countersign_authority::client::{AdminClient, ClientError};
use countersign_authority::secret::{PASSPHRASE_HINT, Passphrase};
use countersign_authority::state::{StateError, StateFolder, StateLock};
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::{SharedClock, SystemClock};
use countersign_store::error::RESUME_HINT;
use countersign_store::idempotency::IdempotencyKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::cli::arguments::Asked;
use crate::fault::Fault;
use crate::kept_profiles;
use crate::serve::process::{PROCESS, ProcessView};

/// A connection to the authority of a state folder.
pub(crate) struct Backend {
    /// Calls the admin API.
    pub(crate) client: AdminClient,
    /// Whether another process serves the state folder.
    pub(crate) is_served: bool,
    // Holds the state's lock.
    _authority: Option<Arc<Authority>>,
}

impl Backend {
    /// Connects to the authority that is asked. One of a state folder must be initialised; one elsewhere is heard of when
    /// the first question is put.
    pub(crate) async fn connect(asked: &Asked) -> Result<Self, Fault> {
        match asked {
            Asked::Elsewhere(operator) => Ok(Self {
                client: operator.client()?,
                is_served: true,
                _authority: None,
            }),
            Asked::Here { state, passphrase } => Self::here(state, passphrase).await,
        }
    }

    async fn here(state: &Path, passphrase: &Passphrase) -> Result<Self, Fault> {
        let state = existing(state)?;
        let give_up = Instant::now() + LOCK_PATIENCE;
        loop {
            let refused = match state.lock() {
                Ok(lock) => {
                    let clock: SharedClock = Arc::new(SystemClock);
                    let kept = kept_profiles::load(&state);
                    let authority = Authority::open(state, lock, passphrase, clock)?;
                    kept_profiles::go_by(&authority, kept);
                    let client =
                        AdminClient::in_process(admin::router(Arc::clone(&authority)), own_user());
                    return Ok(Self {
                        client,
                        is_served: false,
                        _authority: Some(authority),
                    });
                }
                Err(error @ (StateError::InUse { .. } | StateError::NotOwner { .. })) => error,
                Err(error) => return Err(error.into()),
            };
            let may_end = matches!(refused, StateError::InUse { .. });
            let client = AdminClient::socket(&state.socket());
            // Not the status, which counts every certificate.
            match client.get::<ProcessView>(PROCESS).await {
                Ok(_) => {
                    return Ok(Self {
                        client,
                        is_served: true,
                        _authority: None,
                    });
                }
                Err(ClientError::NotRunning { .. }) if may_end && Instant::now() < give_up => {
                    sleep(LOCK_POLL).await;
                }
                Err(ClientError::NotRunning { .. }) => return Err(refused.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// `POST`s a request that issues, once, however often the connection breaks.
    pub(crate) async fn issue<Request: Serialize, Response: DeserializeOwned>(
        &self,
        path: &str,
        request: &Request,
    ) -> Result<Response, Fault> {
        let key = IdempotencyKey::from_random(random()?);
        let answer = self.client.post_once(path, request, &key).await;
        answer.map_err(|error| {
            let is_unknown = matches!(
                error,
                ClientError::Transport { .. }
                    | ClientError::NotRunning { .. }
                    | ClientError::Unreachable { .. }
            );
            let fault = Fault::from(error);
            if is_unknown {
                fault.hint(
                    "whether it was issued is not known: `countersign list` shows it if it was",
                )
            } else {
                fault
            }
        })
    }

    /// Waits until certificates can be issued: the CA key is unsealed in the background. How the authority is then.
    pub(crate) async fn issuing(&self) -> Result<StatusResponse, Fault> {
        let give_up = Instant::now() + UNSEAL_PATIENCE;
        loop {
            let status: StatusResponse = self.client.get(api::STATUS).await?;
            match status.issuing {
                IssuingState::Paused if status.pause.is_some() => {
                    let why = status.issuing_fault.unwrap_or_default();
                    return Err(Fault::denied(why).hint(RESUME_HINT));
                }
                // Which requests that stops is for the authority to say: another issuer may issue still.
                IssuingState::Paused | IssuingState::Ready => return Ok(status),
                IssuingState::Unsealing if Instant::now() < give_up => sleep(UNSEAL_POLL).await,
                IssuingState::Unsealing => {
                    return Err(Fault::world("the CA key is still being unsealed"));
                }
                IssuingState::Failed => {
                    let why = status
                        .issuing_fault
                        .unwrap_or_else(|| "the CA key cannot be used".to_owned());
                    return Err(Fault::configuration(why).hint(PASSPHRASE_HINT));
                }
            }
        }
    }
}

/// For an idempotency key.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut random = [0; N];
    fill(&mut random).map_err(|_| Fault::world("the operating system gives no randomness"))?;
    Ok(random)
}

/// The lock for a process that serves. Short-lived commands are waited for, another serving process is not.
pub(crate) async fn take_lock(state: &StateFolder) -> Result<StateLock, Fault> {
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        let error = match state.lock() {
            Ok(lock) => return Ok(lock),
            Err(error) => error,
        };
        let held = matches!(error, StateError::InUse { .. });
        let client = AdminClient::socket(&state.socket());
        let silent = || async {
            matches!(
                client.get::<ProcessView>(PROCESS).await,
                Err(ClientError::NotRunning { .. })
            )
        };
        if held && Instant::now() < give_up && silent().await {
            sleep(LOCK_POLL).await;
        } else {
            return Err(error.into());
        }
    }
}

/// The state folder, if an authority is there. Nothing is made where there is none.
pub(crate) fn existing(path: &Path) -> Result<StateFolder, Fault> {
    let state = folder(path)?;
    if state.is_initialised() {
        Ok(state)
    } else {
        Err(no_authority(path))
    }
}

/// The state folder, if there is one. Nothing in it is changed.
pub(crate) fn folder(path: &Path) -> Result<StateFolder, Fault> {
    if path.try_exists().unwrap_or(true) {
        Ok(StateFolder::existing(path)?)
    } else {
        Err(no_authority(path))
    }
}

/// Nothing to ask.
pub(crate) fn no_authority(path: &Path) -> Fault {
    if let Some(pending) = waiting(path) {
        return pending;
    }
    Fault::configuration(format_args!(
        "no authority is initialised in {}",
        path.display()
    ))
    .hint("`countersign init` or `countersign up` makes one; `--state DIR` names another folder")
}

/// A sub-CA was asked for there, and its certificate has not come.
pub(crate) fn waiting(path: &Path) -> Option<Fault> {
    let state = StateFolder::existing(path).ok()?;
    state.has_pending_request().then(|| {
        let path = state.path().to_owned();
        StateError::RequestPending { path }.into()
    })
}

/// The person at this command line, for whom the system vouches.
pub(crate) fn own_user() -> Actor {
    Actor::LocalAdmin {
        uid: rustix::process::geteuid().as_raw(),
    }
}

/// Runs one command's conversation.
pub(crate) fn block_on<T>(
    conversation: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Fault::world(format_args!("cannot start: {error}")))?;
    let outcome = runtime.block_on(conversation);
    // The unsealing may still run; nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

/// A short-lived command holds the lock for about as long as unsealing takes.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(25);

/// Argon2id with 64 MiB takes some hundred milliseconds, on a loaded small machine some seconds.
const UNSEAL_PATIENCE: Duration = Duration::from_mins(1);
const UNSEAL_POLL: Duration = Duration::from_millis(20);
