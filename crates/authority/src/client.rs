//! One way to the admin API, whether another process serves it, another machine, or this process holds the authority.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use countersign_policy::issuance::Actor;
use countersign_store::idempotency::IdempotencyKey;
use countersign_tls::connector::{Connector, Refusal};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use crate::admin::with_fallbacks;
use crate::api::IDEMPOTENCY_KEY;
use crate::problem::Problem;

/// Calls the admin API.
#[derive(Clone, Debug)]
pub struct AdminClient {
    to: To,
}

#[derive(Clone, Debug)]
enum To {
    Elsewhere(Arc<Connector>),
    InProcess(Router, Actor),
    Socket(PathBuf),
}

impl AdminClient {
    /// Over the socket of a running process.
    pub fn socket(path: &Path) -> Self {
        Self {
            to: To::Socket(path.to_owned()),
        }
    }

    /// At the port of another machine, as an operator.
    pub fn elsewhere(connector: Connector) -> Self {
        Self {
            to: To::Elsewhere(Arc::new(connector)),
        }
    }

    /// The same routes in this process.
    pub fn in_process(router: Router, actor: Actor) -> Self {
        Self {
            to: To::InProcess(with_fallbacks(router), actor),
        }
    }

    /// `GET`.
    pub async fn get<Res: DeserializeOwned>(&self, path: &str) -> Result<Res, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// `POST`.
    pub async fn post<Req: Serialize, Res: DeserializeOwned>(
        &self,
        path: &str,
        body: &Req,
    ) -> Result<Res, ClientError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `POST` of bytes that are not JSON.
    pub async fn post_bytes<Res: DeserializeOwned>(
        &self,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Res, ClientError> {
        let request = self.request(Method::POST, path, media_type, body)?;
        let mut answer = Vec::new();
        let mut keep = |bytes: &[u8]| keep(&mut answer, bytes);
        let status = self.exchange(request, &mut keep, DEADLINE).await?;
        understood(status, &answer)
    }

    /// A call whose answer may be larger than memory: each piece of it goes to `piece` as it comes, unless the API says
    /// no. That a backup ended well does not say that it is whole.
    pub async fn download(
        &self,
        method: Method,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> io::Result<()> + Send,
    ) -> Result<(), ClientError> {
        let request = self.request(method, path, JSON, Vec::new())?;
        let mut piece =
            |bytes: &[u8]| piece(bytes).map_err(|source| ClientError::Target { source });
        match self
            .exchange(request, &mut piece, DOWNLOAD_DEADLINE)
            .await?
        {
            Reply::Success => Ok(()),
            refused @ Reply::Refused(..) => understood(refused, &[]),
        }
    }

    /// `POST` of a request that issues, under a key of its own: made again where the connection breaks or the first is still
    /// being answered, it cannot issue twice.
    pub async fn post_once<Req: Serialize, Res: DeserializeOwned>(
        &self,
        path: &str,
        body: &Req,
        key: &IdempotencyKey,
    ) -> Result<Res, ClientError> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut has_been_sent = false;
        loop {
            let outcome = self
                .call_under(Method::POST, path, Some(body), Some(key))
                .await;
            let again = match &outcome {
                // Whether it was heard is not known.
                Err(ClientError::Transport { .. }) => true,
                // The process that broke off may come back.
                Err(ClientError::NotRunning { .. } | ClientError::Unreachable { .. }) => {
                    has_been_sent
                }
                Err(ClientError::Refused { problem }) => problem.is_in_flight(),
                _ => false,
            };
            if !again || begun.elapsed() > PATIENCE {
                return outcome;
            }
            has_been_sent = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Any call.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Req>,
    ) -> Result<Res, ClientError> {
        self.call_under(method, path, body, None).await
    }

    async fn call_under<Req: Serialize, Res: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Req>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Res, ClientError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| malformed(&error))?
            .unwrap_or_default();
        let mut request = self.request(method, path, JSON, body)?;
        if let Some(key) = key {
            let quoted = HeaderValue::try_from(format!("\"{key}\""));
            let quoted = quoted.map_err(|error| malformed(&error))?;
            request.headers_mut().insert(IDEMPOTENCY_KEY, quoted);
        }
        let mut answer = Vec::new();
        let mut keep = |bytes: &[u8]| keep(&mut answer, bytes);
        let status = self.exchange(request, &mut keep, DEADLINE).await?;
        understood(status, &answer)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Request<Body>, ClientError> {
        let host = match &self.to {
            To::Elsewhere(connector) => connector.target(),
            To::InProcess(..) | To::Socket(_) => "admin".to_owned(),
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::from(body))
            .map_err(|error| malformed(&error))
    }

    async fn exchange(
        &self,
        request: Request<Body>,
        piece: &mut Piece<'_>,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let exchange = async {
            match &self.to {
                To::Elsewhere(connector) => over_tls(connector, request, piece).await,
                To::Socket(socket) => over_socket(socket, request, piece).await,
                To::InProcess(router, actor) => {
                    in_process(router.clone(), actor.clone(), request, piece).await
                }
            }
        };
        tokio::time::timeout(deadline, exchange)
            .await
            .map_err(|_| ClientError::Transport {
                why: format!("no answer within {} s", deadline.as_secs()),
            })?
    }
}

/// Why a call has no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not whom the socket's folder belongs to, and not root.
    #[error("admin socket {} is served by user {server}, its folder belongs to user {owner}", .path.display())]
    Impostor {
        /// Which.
        path: PathBuf,
        /// Who serves it.
        server: u32,
        /// Whose the folder is.
        owner: u32,
    },
    /// The answer is not one of the admin API.
    #[error("the answer of the admin API cannot be read: {why}")]
    Malformed {
        /// In words.
        why: String,
    },
    /// Nobody serves the socket.
    #[error("nobody answers on admin socket {}: {source}", .path.display())]
    NotRunning {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The API said no.
    #[error("{}", .problem.detail)]
    Refused {
        /// Its words.
        problem: Problem,
    },
    /// What was downloaded cannot be kept.
    #[error("the answer cannot be written: {source}")]
    Target {
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the admin API broke: {why}")]
    Transport {
        /// In words.
        why: String,
    },
    /// No connection to the port of another machine, or it does not take our certificate.
    #[error("{sentence} ({cause})")]
    Unreachable {
        /// What happened, with the address.
        sentence: String,
        /// One of the causes.
        cause: &'static str,
        /// What is done about it.
        fix: String,
    },
}

impl ClientError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("the admin socket is for root and the user that runs countersign".to_owned())
            }
            Self::NotRunning { .. } => Some(
                "start it with `countersign up`, or see whether --state names its folder"
                    .to_owned(),
            ),
            Self::Refused { problem } => problem.hint.clone(),
            Self::Impostor { .. } => {
                Some("find out what that process is: it is told nothing".to_owned())
            }
            Self::Malformed { .. } => {
                Some("is the process that serves the socket of the same version?".to_owned())
            }
            Self::Unreachable { fix, .. } => Some(fix.clone()),
            Self::Target { .. } | Self::Transport { .. } => None,
        }
    }
}

/// Takes an answer piece by piece.
type Piece<'a> = dyn FnMut(&[u8]) -> Result<(), ClientError> + Send + 'a;

/// How a call ended; the body of a success has gone piece by piece.
enum Reply {
    Refused(StatusCode, Vec<u8>),
    Success,
}

fn understood<Res: DeserializeOwned>(reply: Reply, answer: &[u8]) -> Result<Res, ClientError> {
    match reply {
        Reply::Success => serde_json::from_slice(answer).map_err(|error| malformed(&error)),
        Reply::Refused(status, bytes) => match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(ClientError::Refused { problem }),
            Err(_) => Err(ClientError::Malformed {
                why: format!("status {status} without a problem"),
            }),
        },
    }
}

fn keep(answer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ClientError> {
    if answer.len() + bytes.len() > MAX_ANSWER {
        return Err(ClientError::Transport {
            why: "the answer is too long".to_owned(),
        });
    }
    answer.extend_from_slice(bytes);
    Ok(())
}

async fn over_socket(
    path: &Path,
    request: Request<Body>,
    piece: &mut Piece<'_>,
) -> Result<Reply, ClientError> {
    let not_running = |source| ClientError::NotRunning {
        path: path.to_owned(),
        source,
    };
    let stream = UnixStream::connect(path).await.map_err(not_running)?;
    let server = stream.peer_cred().map_err(not_running)?.uid();
    let folder = path.parent().unwrap_or(path);
    let owner = fs::metadata(folder).map_err(not_running)?.uid();
    if !may_serve(server, owner) {
        let path = path.to_owned();
        return Err(ClientError::Impostor {
            path,
            server,
            owner,
        });
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| transport(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| transport(&error))?;
        let status = response.status();
        deliver(status, response.into_body(), piece).await
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The other end may close behind its answer, which is read then.
        _ = &mut connection => exchange.await,
    }
}

async fn over_tls(
    connector: &Connector,
    request: Request<Body>,
    piece: &mut Piece<'_>,
) -> Result<Reply, ClientError> {
    let connected = connector
        .connect()
        .await
        .map_err(|refusal| unreachable(&refusal))?;
    // In TLS 1.3 the server's judgement of our certificate comes when our half of the handshake is done.
    let broken = |error: &hyper::Error| match connector.refusal_behind(error) {
        Some(refusal) => unreachable(&refusal),
        None => transport(error),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connected.stream))
            .await
            .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = response.status();
        deliver(status, response.into_body(), piece).await
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Err(error) if connector.refusal_behind(&error).is_some() => Err(broken(&error)),
            // The other end may close behind its answer, which is read then.
            _ => exchange.await,
        },
    }
}

/// Root asks other users' processes too, and must not take the word of just anybody.
fn may_serve(server: u32, owner: u32) -> bool {
    server == owner || server == ROOT
}

async fn in_process(
    router: Router,
    actor: Actor,
    mut request: Request<Body>,
    piece: &mut Piece<'_>,
) -> Result<Reply, ClientError> {
    request.extensions_mut().insert(actor);
    let Ok(response) = router.oneshot(request).await;
    deliver(response.status(), response.into_body(), piece).await
}

async fn deliver<B>(
    status: StatusCode,
    mut body: B,
    piece: &mut Piece<'_>,
) -> Result<Reply, ClientError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut refused = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ClientError::Transport {
            why: error.to_string(),
        })?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        if status.is_success() {
            piece(bytes)?;
        } else {
            keep(&mut refused, bytes)?;
        }
    }
    Ok(if status.is_success() {
        Reply::Success
    } else {
        Reply::Refused(status, refused)
    })
}

fn malformed(error: &dyn std::error::Error) -> ClientError {
    ClientError::Malformed {
        why: error.to_string(),
    }
}

fn unreachable(refusal: &Refusal) -> ClientError {
    ClientError::Unreachable {
        sentence: refusal.sentence().to_owned(),
        cause: refusal.cause.slug(),
        fix: refusal.fix().to_owned(),
    }
}

fn transport(error: &dyn std::error::Error) -> ClientError {
    ClientError::Transport {
        why: error.to_string(),
    }
}

const ROOT: u32 = 0;

/// A page of 1000 certificates with their PEM has 3 MiB.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Longer than the longest wait for nodes that the API grants.
const DEADLINE: Duration = Duration::from_secs(330);

/// An inventory of ten million certificates is copied in minutes, and a slow disk takes it slowly.
const DOWNLOAD_DEADLINE: Duration = Duration::from_hours(6);

const JSON: &str = "application/json";
/// How long a request that issues is made again: a process that is started anew opens its state within seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_of_the_folder_and_root_may_serve_its_socket_and_nobody_else() {
        assert!(may_serve(1000, 1000) && may_serve(ROOT, 1000) && may_serve(ROOT, ROOT));
        assert!(!may_serve(1001, 1000) && !may_serve(1000, ROOT));
    }
}
