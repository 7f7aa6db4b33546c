//! One query of a list, put together condition by condition.

use rusqlite::types::Value;

/// One query that gives rows in the order of the list: of each its place, and whether it fits.
pub(super) struct Stream {
    columns: String,
    tables: String,
    /// Which rows of the index.
    conditions: Vec<String>,
    /// Which of them fit.
    fitting: Vec<String>,
    order: String,
    pub(super) values: Vec<Value>,
}

impl Stream {
    pub(super) fn new(text: &str, number: &str, tables: &str) -> Self {
        Self {
            columns: format!("{text}, {number}, e.id"),
            tables: tables.to_owned(),
            conditions: Vec::new(),
            fitting: vec!["TRUE".to_owned()],
            order: String::new(),
            values: Vec::new(),
        }
    }

    /// The parameter that stands for `value`.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    pub(super) fn and(mut self, condition: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    pub(super) fn fitting(mut self, condition: &str) -> Self {
        self.fitting.push(condition.to_owned());
        self
    }

    pub(super) fn ordered(mut self, order: &str) -> Self {
        order.clone_into(&mut self.order);
        self
    }

    pub(super) fn text(&self, limit: &str) -> String {
        format!(
            "SELECT {}, ({}) IS TRUE FROM {} WHERE {} ORDER BY {} LIMIT {limit}",
            self.columns,
            self.fitting.join(" AND "),
            self.tables,
            self.conditions.join(" AND "),
            self.order
        )
    }
}
