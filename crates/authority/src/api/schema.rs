//! How the values of the domain look on the wire, for the `OpenAPI` document: `pki` has no schemas.

use std::borrow::Cow;

use countersign_pki::feed::RevocationReason;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// [`countersign_pki::serial::SerialNumber`].
pub(crate) struct SerialSchema;

impl JsonSchema for SerialSchema {
    fn schema_name() -> Cow<'static, str> {
        "SerialNumber".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A serial number: pairs of lower-case hexadecimal digits.",
            "pattern": "^([0-9a-f]{2}){1,20}$"
        })
    }
}

/// [`countersign_pki::fingerprint::Fingerprint`].
pub(crate) struct FingerprintSchema;

impl JsonSchema for FingerprintSchema {
    fn schema_name() -> Cow<'static, str> {
        "Fingerprint".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "SHA-256 in lower-case hexadecimal digits.",
            "pattern": "^[0-9a-f]{64}$"
        })
    }
}

/// [`countersign_pki::time::UnixTime`] by [`super::rfc3339`].
pub(crate) struct TimeSchema;

impl JsonSchema for TimeSchema {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "RFC 3339, in UTC, to the second.",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
        })
    }
}

/// [`RevocationReason`].
pub(crate) struct ReasonSchema;

impl JsonSchema for ReasonSchema {
    fn schema_name() -> Cow<'static, str> {
        "RevocationReason".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = RevocationReason::ALL.iter().map(|it| it.as_str()).collect();
        json_schema!({
            "type": "string",
            "description": "RFC 5280 §5.3.1; `certificate-hold` can be released, nothing else.",
            "enum": words
        })
    }
}
