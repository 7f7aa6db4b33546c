//! Methods of gRPC.

use std::fmt;

use super::{Headers, InvalidPolicy, PathPattern};

/// `shop.v1.Orders/Create`, or `shop.v1.Orders/*` for each method of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcPattern {
    path: PathPattern,
}

impl GrpcPattern {
    /// Names as protocol buffers have them, without a slash in front.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let shown: String = text.chars().take(80).collect();
        let refuse = |why| Err(InvalidPolicy::new(format!("grpc {shown:?}"), why));
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !text.starts_with(|first: char| first.is_ascii_digit())
        };
        let Some((service, method)) = text.split_once('/') else {
            return refuse(
                "it is no method of a service, such as shop.v1.Orders/Create or shop.v1.Orders/*",
            );
        };
        if !service.split('.').all(word) || !(method == "*" || word(method)) {
            return refuse(
                "names of services and methods have letters, digits and _, as shop.v1.Orders/Create; * stands for a whole method",
            );
        }
        Ok(Self {
            path: PathPattern::parse(&format!("/{text}"))?,
        })
    }

    /// To admit it has to be a call of gRPC by every sign; to refuse the path is enough, for other protocols reach the same
    /// method by it (gRPC-Web, Connect).
    pub(super) fn is_met_by(
        &self,
        method: &str,
        path: &str,
        headers: &dyn Headers,
        every: bool,
    ) -> bool {
        self.path.matches(path) && (!every || (method == "POST" && is_grpc(headers)))
    }

    pub(super) fn path(&self) -> &PathPattern {
        &self.path
    }
}

impl fmt::Display for GrpcPattern {
    /// What [`GrpcPattern::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path.to_string().trim_start_matches('/'))
    }
}

/// `application/grpc` with an optional `+proto` or parameters, and no `application/grpc-web`.
fn is_grpc(headers: &dyn Headers) -> bool {
    let (mut some, mut other) = (false, false);
    headers.each("content-type", &mut |value| {
        let has_prefix = value.len() >= CONTENT_TYPE.len()
            && value[..CONTENT_TYPE.len()].eq_ignore_ascii_case(CONTENT_TYPE);
        match value.get(CONTENT_TYPE.len()) {
            None | Some(b'+' | b';' | b' ') if has_prefix => some = true,
            _ => other = true,
        }
    });
    some && !other
}

const CONTENT_TYPE: &[u8] = b"application/grpc";
