//! A `ClientHello` of our own, for servers that nobody's library speaks to any more, and a reader of what they send in
//! clear: everything up to `ServerHelloDone` in TLS 1.2 and before, the `ServerHello` alone in TLS 1.3.

mod offer;
mod reader;

pub use self::offer::Offer;
pub use self::reader::{Heard, Reader};
