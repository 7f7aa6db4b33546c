//! JSON answers, looked into.

use serde_json::Value;

/// The elements of an array.
#[track_caller]
pub(crate) fn array(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("an array: {value}"))
}
