//! The `OpenAPI` 3.1 document of the admin API, made of the routes and their wire types.

use std::sync::LazyLock;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::route::{Input, Method, Output, Route};
use super::routes::routes;
use crate::api::{IDEMPOTENCY_KEY, WHAT};
use crate::problem::Problem;

/// The document. Committed as `docs/reference/openapi.json`.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    // A field with a default may be left out of a request; an answer has every field that it does not leave out itself.
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut requests = settings().for_deserialize().into_generator();
    let mut answers = settings().for_serialize().into_generator();
    let problem = answers.subschema_for::<Problem>().to_value();
    let mut paths = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut requests, &mut answers);
        let path = paths
            .entry(route.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[match route.method {
            Method::Get => "get",
            Method::Post => "post",
        }] = operation;
    }
    let mut schemas = requests.take_definitions(true);
    schemas.extend(answers.take_definitions(true));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "HTTP/1.1 over the admin socket, `admin.sock` in the state folder, for root and the user that runs \
                countersign: both are admin; and over mutual TLS at the address of [authority.admin], for operators, each of \
                whom has the role that [authority.operator.NAME] says. Each operation names the role that it needs in \
                `x-role`; of the roles viewer, issuer, operator and admin each may what those before it may. What a process \
                says of its gateway is served on its socket alone, and is not in this document. What a web page of another origin \
                asks to be changed (`Origin`, `Sec-Fetch-Site`) is refused with 403, a Host that the port's certificate is not for \
                with 421, and a body of another media type than the operation's with 415.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "Why not, and what to do (RFC 9457). 400, 413, 415: the request; 403: the caller; \
                        404: nothing is meant; 409: what there is stands against it; 422: policy; 503, 507: the authority.",
                    "content": { "application/problem+json": { "schema": problem } }
                }
            }
        }
    });
    unlink(&mut document);
    document
}

/// Takes the links of the types' documentation out of the descriptions, which have nothing that they lead to.
fn unlink(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => *text = without_links(text),
                    other => unlink(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unlink),
        _ => {}
    }
}

/// The text of each link, without its brackets and its target.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((shown, after)) = link.split_once("`]") else {
            break;
        };
        plain.push_str(before);
        plain.push('`');
        plain.push_str(shown.trim_start_matches("super::"));
        plain.push('`');
        rest = match after.strip_prefix('(').and_then(|it| it.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain + rest
}

fn operation(
    route: &Route,
    requests: &mut SchemaGenerator,
    answers: &mut SchemaGenerator,
) -> Value {
    let mut parameters = Vec::new();
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-role": route.role,
        "responses": {
            "200": {
                "description": "Done.",
                "content": match route.output {
                    Some(Output::Body(schema)) => json!({ "application/json": { "schema": schema(answers).to_value() } }),
                    Some(Output::Bytes(media_type)) => json!({ media_type: {} }),
                    None => json!({ "application/json": { "schema": { "type": "object" } } }),
                }
            },
            "default": { "$ref": "#/components/responses/Problem" }
        }
    });
    if let Some(schema) = route.query {
        parameters.extend(query_parameters(&schema(requests).to_value()));
    }
    match route.input {
        Input::Body(schema) => {
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema(requests).to_value() } }
            });
        }
        Input::Bytes(media_type) => {
            operation["requestBody"] = json!({ "required": true, "content": { media_type: {} } });
        }
        Input::Nothing => {}
        Input::What => parameters.push(json!({
            "name": WHAT,
            "in": "path",
            "required": true,
            "description": "A serial number, a fingerprint or a name, percent-encoded.",
            "schema": { "type": "string" }
        })),
    }
    if route.is_idempotent {
        parameters.push(json!({
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": false,
            "description": "The same key with the same request gives the same certificate for 24 hours, also after a crash; \
                with another request 422; while the first is being answered 409. 1 to 128 visible ASCII characters.",
            "schema": { "type": "string", "maxLength": 130 }
        }));
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    operation
}

/// Each field of the query's type.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|it| it == name))
    };
    let fields = schema["properties"].as_object().into_iter().flatten();
    let parameter = |(name, field): (&String, &Value)| {
        let mut field = field.clone();
        let mut description = Value::default();
        if let Some(field) = field.as_object_mut() {
            description = field.remove("description").unwrap_or_default();
            // What a query does not have, it leaves out.
            field.remove("default");
            if let Some(types) = field.get_mut("type")
                && let Some(one) = types.as_array().and_then(|types| types.first()).cloned()
            {
                *types = one;
            }
        }
        json!({
            "name": name,
            "in": "query",
            "required": required(name),
            "description": description,
            "schema": field
        })
    };
    fields.map(parameter).collect()
}

/// `POST /v1/revoke/preview` is `revoke-preview`.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/v1/");
    let id = path.replace(['/', '.'], "-").replace(['{', '}'], "");
    match (route.method, id.as_str()) {
        (Method::Get, "certificates") => "list".to_owned(),
        (Method::Get, "certificates-what") => "show".to_owned(),
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_shown_by_their_text() {
        let check = |text, plain| assert_eq!(without_links(text), plain);
        check("no link [here] `at` all", "no link [here] `at` all");
        check("of [`A::b`] and [`super::C`].", "of `A::b` and `C`.");
        check("See [`A`](super::A) (as it is)", "See `A` (as it is)");
        check("[`open", "[`open");
    }
}
