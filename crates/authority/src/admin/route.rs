//! One route of the admin API: how it is called, who may call it, what goes in and out. The router and the `OpenAPI` document
//! are both made of these, so that neither has one that the other lacks.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use countersign_policy::administration::Role;
use countersign_policy::issuance::Actor;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::authority::Authority;
use crate::problem::Problem;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) role: Role,
    pub(crate) summary: &'static str,
    pub(crate) input: Input,
    pub(crate) query: Option<SchemaOf>,
    pub(crate) output: Option<Output>,
    /// Takes an `Idempotency-Key`.
    pub(crate) is_idempotent: bool,
    service: MethodRouter<Arc<Authority>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a route takes.
#[derive(Clone, Copy)]
pub(crate) enum Input {
    Body(SchemaOf),
    /// Of this media type.
    Bytes(&'static str),
    Nothing,
    /// The last segment of the path.
    What,
}

/// What a route answers.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    Body(SchemaOf),
    /// Of this media type.
    Bytes(&'static str),
}

impl Route {
    pub(crate) fn get<H, T>(
        path: &'static str,
        role: Role,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Authority>>,
        T: 'static,
    {
        Self::new(Method::Get, path, role, summary, get(handler))
    }

    pub(crate) fn post<H, T>(
        path: &'static str,
        role: Role,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Authority>>,
        T: 'static,
    {
        Self::new(Method::Post, path, role, summary, post(handler))
    }

    fn new(
        method: Method,
        path: &'static str,
        role: Role,
        summary: &'static str,
        service: MethodRouter<Arc<Authority>>,
    ) -> Self {
        Self {
            method,
            path,
            role,
            summary,
            input: Input::Nothing,
            query: None,
            output: None,
            is_idempotent: false,
            service,
        }
    }

    pub(crate) fn takes<T: JsonSchema>(self) -> Self {
        Self {
            input: Input::Body(SchemaGenerator::subschema_for::<T>),
            ..self
        }
    }

    /// At most `limit` of them.
    pub(crate) fn takes_bytes(self, media_type: &'static str, limit: usize) -> Self {
        Self {
            input: Input::Bytes(media_type),
            service: self.service.layer(DefaultBodyLimit::max(limit)),
            ..self
        }
    }

    pub(crate) fn answers_bytes(self, media_type: &'static str) -> Self {
        Self {
            output: Some(Output::Bytes(media_type)),
            ..self
        }
    }

    pub(crate) fn takes_query<T: JsonSchema>(self) -> Self {
        Self {
            query: Some(|generator| T::json_schema(generator)),
            ..self
        }
    }

    pub(crate) fn takes_what(self) -> Self {
        Self {
            input: Input::What,
            ..self
        }
    }

    pub(crate) fn answers<T: JsonSchema>(self) -> Self {
        Self {
            output: Some(Output::Body(SchemaGenerator::subschema_for::<T>)),
            ..self
        }
    }

    /// Takes a key by which the request can be made again.
    pub(crate) fn once(self) -> Self {
        Self {
            is_idempotent: true,
            ..self
        }
    }

    /// Onto the router, behind its role.
    pub(crate) fn mount(
        self,
        router: Router<Arc<Authority>>,
        authority: Arc<Authority>,
    ) -> Router<Arc<Authority>> {
        let Self {
            method,
            path,
            role: needed,
            input,
            ..
        } = self;
        let guard = middleware::from_fn(move |request: Request, next: Next| {
            let authority = Arc::clone(&authority);
            async move {
                let actor = request.extensions().get::<Actor>().cloned();
                let refused = refuse(actor.as_ref(), needed)
                    .or_else(|| refuse_media_type(method, input, request.headers()));
                let Some(problem) = refused else {
                    return next.run(request).await;
                };
                // Who tries is on record, as for every request that is not granted.
                if let Some(actor) = actor {
                    let object = format!("{} {path}", method.as_str());
                    authority.refused(actor, &object, &problem.detail).await;
                }
                problem.into_response()
            }
        });
        router.route(path, self.service.layer(guard))
    }
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// A page of another origin can send forms without the browser asking us whether it may, and what a form cannot be is sent
/// by programs alone. So nothing is read as what it does not say that it is, and where nothing is read, no form is taken for nothing.
fn refuse_media_type(method: Method, input: Input, headers: &HeaderMap) -> Option<Problem> {
    let expected = match (method, input) {
        (Method::Get, _) => return None,
        (Method::Post, Input::Bytes(media_type)) => media_type,
        (Method::Post, _) => JSON,
    };
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let is_good = match (given.next(), given.next()) {
        (None, _) => matches!(input, Input::Nothing | Input::What),
        (Some(given), None) => given.to_str().is_ok_and(|given| {
            let essence = given.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case(expected)
        }),
        (Some(_), Some(_)) => false,
    };
    (!is_good).then(|| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("this takes `Content-Type: {expected}` and nothing else"),
        )
    })
}

fn refuse(actor: Option<&Actor>, needed: Role) -> Option<Problem> {
    let refused = |detail: String| Problem::new(StatusCode::FORBIDDEN, detail);
    let Some(actor) = actor else {
        return Some(refused("the caller is not known".to_owned()));
    };
    match actor.role() {
        Some(role) if role.may(needed) => None,
        Some(role) => {
            let hint = "in the configuration of the authority, [authority.operator.NAME] says which role an operator has";
            let problem = refused(format!("{actor} is {role}, this needs {needed}"));
            Some(problem.with_hint(Some(hint.to_owned())))
        }
        None => Some(refused(format!(
            "{actor} has no role here, this needs {needed}"
        ))),
    }
}

const JSON: &str = "application/json";
