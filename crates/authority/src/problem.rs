//! Errors of the admin API as RFC 9457 problems: the one place that maps faults to HTTP.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_pki::feed::port::IN_FLIGHT;
use countersign_policy::issuance::Denied;
use countersign_store::error::StoreError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authority::{
    AnnotateError, AuditError, BackupError, EvidenceError, ImportError, IssueError, NotReady,
    RenewError, ResumeError, RevokeError, ShowError,
};
use crate::publish::PublishError;
use crate::retention::PruneError;

/// `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind it is (RFC 9457 §4.2.1); or `urn:countersign:in-flight`, where the same
    /// request can be made again in a moment.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The fault, as a sentence.
    pub detail: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            hint: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Whether the same request, under the same key, is being answered.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.kind == IN_FLIGHT
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

impl From<NotReady> for Problem {
    fn from(error: NotReady) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.why).with_hint(error.hint)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::CursorOfAnotherList => StatusCode::BAD_REQUEST,
            StoreError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::IssuerRevoked { .. }
            | StoreError::IssuingPaused { .. }
            | StoreError::PredecessorHeld { .. }
            | StoreError::PredecessorRevoked { .. }
            | StoreError::RulesUnknown { .. }
            | StoreError::RadiusTooWide { .. } => StatusCode::CONFLICT,
            StoreError::AccessWithdrawn { .. } | StoreError::ReleaseNotPermitted { .. } => {
                StatusCode::FORBIDDEN
            }
            StoreError::UnknownIssuerKey { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            StoreError::AuditLog { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Io { .. }
            | StoreError::Locked { .. }
            | StoreError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string()).with_hint(error.hint())
    }
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        let hint = error.hint();
        if let IssueError::KeyInFlight { .. } = error {
            return Self {
                kind: IN_FLIGHT.to_owned(),
                ..Self::new(StatusCode::CONFLICT, error.to_string()).with_hint(hint)
            };
        }
        let status = match error {
            IssueError::NotReady(error) => return error.into(),
            IssueError::Store(error) => return error.into(),
            IssueError::Denied(Denied::NotPermitted { .. }) => StatusCode::FORBIDDEN,
            IssueError::Denied(Denied::Request { .. }) => StatusCode::BAD_REQUEST,
            IssueError::Denied(Denied::BytesDiffer { .. }) | IssueError::Interrupted => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            IssueError::KeyInFlight { .. } | IssueError::KeyRevoked { .. } => StatusCode::CONFLICT,
            IssueError::Denied(_) | IssueError::KeyReused { .. } | IssueError::Template(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            IssueError::NoRandomness | IssueError::Sign(_) | IssueError::Malformed(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<RenewError> for Problem {
    fn from(error: RenewError) -> Self {
        let hint = error.hint();
        let status = match error {
            RenewError::Issue(error) => return error.into(),
            RenewError::NotFound { .. } => StatusCode::NOT_FOUND,
            RenewError::NotTheHolder { .. } => StatusCode::FORBIDDEN,
            RenewError::Ambiguous { .. }
            | RenewError::Expired { .. }
            | RenewError::Held { .. }
            | RenewError::Imported { .. }
            | RenewError::NeverSigned { .. }
            | RenewError::Revoked { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        let hint = error.hint();
        let status = match error {
            RevokeError::Store(error) => return error.into(),
            RevokeError::ForGood { .. }
            | RevokeError::Imported { .. }
            | RevokeError::NotHeld { .. }
            | RevokeError::OwnCertificate { .. } => StatusCode::CONFLICT,
            RevokeError::NotFound { .. }
            | RevokeError::NothingMeant
            | RevokeError::NotOurIssuer { .. }
            | RevokeError::NotRecorded { .. } => StatusCode::NOT_FOUND,
            RevokeError::NotPermitted { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<PruneError> for Problem {
    fn from(error: PruneError) -> Self {
        let hint = error.hint();
        let status = match error {
            PruneError::Store(error) => return error.into(),
            PruneError::Archive(_) => StatusCode::INSUFFICIENT_STORAGE,
            PruneError::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
            PruneError::NoRule => StatusCode::CONFLICT,
            PruneError::NotPermitted { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<AnnotateError> for Problem {
    fn from(error: AnnotateError) -> Self {
        let hint = error.hint();
        let status = match error {
            AnnotateError::Store(error) => return error.into(),
            AnnotateError::Ambiguous { .. } => StatusCode::CONFLICT,
            AnnotateError::NotFound { .. } => StatusCode::NOT_FOUND,
            AnnotateError::NotPermitted { .. } => StatusCode::FORBIDDEN,
            AnnotateError::TooManyLabels { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => error.into(),
            ImportError::NotPermitted { .. } => Self::new(StatusCode::FORBIDDEN, error.to_string()),
        }
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        let status = match error {
            BackupError::Store(error) => return error.into(),
            BackupError::AlreadyRunning | BackupError::RulesUnknown { .. } => StatusCode::CONFLICT,
            BackupError::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
            BackupError::NotPermitted { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string())
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        let status = match error {
            AuditError::Store(error) => return error.into(),
            AuditError::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
            AuditError::NotPermitted { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string())
    }
}

impl From<EvidenceError> for Problem {
    fn from(error: EvidenceError) -> Self {
        let hint = error.hint();
        let status = match error {
            EvidenceError::Store(error) => return error.into(),
            EvidenceError::Crl { .. }
            | EvidenceError::Incomplete { .. }
            | EvidenceError::OtherIssuer { .. }
            | EvidenceError::Over { .. }
            | EvidenceError::SignedHere { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EvidenceError::Unfit { .. } => StatusCode::CONFLICT,
            EvidenceError::Interrupted | EvidenceError::Published { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            EvidenceError::NotPermitted { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<ResumeError> for Problem {
    fn from(error: ResumeError) -> Self {
        let hint = error.hint();
        let status = match error {
            ResumeError::Store(error) => return error.into(),
            ResumeError::NoEvidence { .. } => StatusCode::CONFLICT,
            ResumeError::Because | ResumeError::NoReason => StatusCode::UNPROCESSABLE_ENTITY,
            ResumeError::NotPermitted { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let hint = error.hint();
        let status = match error {
            PublishError::NotReady(error) => return error.into(),
            PublishError::Store(error) => return error.into(),
            PublishError::NotPermitted { .. } => StatusCode::FORBIDDEN,
            PublishError::RootKeyElsewhere { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            PublishError::RootList { .. } | PublishError::Sign(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string()).with_hint(hint)
    }
}

impl From<ShowError> for Problem {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Store(error) => error.into(),
            ShowError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
        }
    }
}

const MEDIA_TYPE: &str = "application/problem+json";
