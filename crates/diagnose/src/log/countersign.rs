//! Countersign's own log names the cause of each refusal.

use super::message::{Product, Row, Table, Tells};

pub(super) static TABLE: Table = Table {
    product: Product::Countersign,
    rows: &[
        own("\"cause\":\"{cause}\""),
        own("\"cause\": \"{cause}\""),
        own(" cause=\"{cause}\""),
        own(" cause={cause} "),
    ],
};

const fn own(words: &'static str) -> Row {
    Row {
        words,
        tells: Tells::Slug,
        source: "docs/reference/causes.md",
    }
}
