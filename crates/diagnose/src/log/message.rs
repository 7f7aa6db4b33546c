//! A known message: by which words it is known, and what it means on either side.

use serde::Serialize;

use crate::cause::Cause;

/// What wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "names of products")]
pub enum Product {
    Apache,
    BoringSsl,
    Browser,
    Cloud,
    Countersign,
    Curl,
    Dotnet,
    Envoy,
    Erlang,
    Ghostunnel,
    GnuTls,
    Go,
    Grpc,
    HaProxy,
    Java,
    Kafka,
    Keycloak,
    Kubernetes,
    Ldap,
    Mail,
    MbedTls,
    MongoDb,
    Mosquitto,
    MySql,
    Network,
    Nginx,
    Node,
    OpenSsl,
    OpenVpn,
    Php,
    PostgreSql,
    Python,
    Redis,
    Rustls,
    Spiffe,
    Stunnel,
    WolfSsl,
}

/// Whose certificate, configuration or behaviour a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accused {
    /// The side that connects.
    Client,
    /// The side that is connected to.
    Server,
    /// The log does not say.
    Either,
}

/// How far a message alone proves its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// One of several explanations, and not the usual one.
    Possible,
    /// The usual explanation.
    Likely,
    /// The message says so itself.
    Certain,
}

impl Confidence {
    /// One step less sure.
    pub(super) const fn weakened(self) -> Self {
        match self {
            Self::Certain => Self::Likely,
            Self::Likely | Self::Possible => Self::Possible,
        }
    }
}

/// Whose log a line stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Client,
    Server,
}

/// What may be behind a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) cause: Cause,
    pub(super) accused: Accused,
    pub(super) confidence: Confidence,
}

/// The server is accused, and the message says so itself.
pub(super) const fn server(cause: Cause) -> Guess {
    Guess {
        cause,
        accused: Accused::Server,
        confidence: Confidence::Certain,
    }
}

/// The client is accused, and the message says so itself.
pub(super) const fn client(cause: Cause) -> Guess {
    Guess {
        cause,
        accused: Accused::Client,
        confidence: Confidence::Certain,
    }
}

/// Nobody is accused, and the message says so itself.
pub(super) const fn either(cause: Cause) -> Guess {
    Guess {
        cause,
        accused: Accused::Either,
        confidence: Confidence::Certain,
    }
}

impl Guess {
    /// The usual explanation.
    pub(super) const fn likely(self) -> Self {
        Self {
            confidence: Confidence::Likely,
            ..self
        }
    }

    /// Not the usual explanation.
    pub(super) const fn possible(self) -> Self {
        Self {
            confidence: Confidence::Possible,
            ..self
        }
    }
}

/// What a message means.
#[derive(Debug)]
pub(super) struct Meaning {
    /// In a sentence's beginning; `{peer}` and `{self}` stand for the two sides.
    pub(super) says: &'static str,
    /// What is behind it in a client's log, likeliest first.
    pub(super) client: &'static [Guess],
    /// What is behind it in a server's log.
    pub(super) server: &'static [Guess],
    /// What it means of a certificate above the leaf.
    pub(super) above: Option<&'static Meaning>,
    /// Whether it only says that something failed, so that whatever says why is heard instead.
    pub(super) is_wrapper: bool,
}

impl Meaning {
    /// Means this in a client's log and that in a server's.
    pub(super) const fn new(
        says: &'static str,
        client: &'static [Guess],
        server: &'static [Guess],
    ) -> Self {
        Self {
            says,
            client,
            server,
            above: None,
            is_wrapper: false,
        }
    }

    /// Means the same in every log.
    pub(super) const fn same(says: &'static str, guesses: &'static [Guess]) -> Self {
        Self::new(says, guesses, guesses)
    }

    /// Stands in a client's log only.
    pub(super) const fn at_client(says: &'static str, guesses: &'static [Guess]) -> Self {
        Self::new(says, guesses, &[])
    }

    /// Stands in a server's log only.
    pub(super) const fn at_server(says: &'static str, guesses: &'static [Guess]) -> Self {
        Self::new(says, &[], guesses)
    }

    /// Only says that something failed.
    pub(super) const fn wrapper(self) -> Self {
        Self {
            is_wrapper: true,
            ..self
        }
    }

    /// Of a certificate above the leaf it means something else.
    pub(super) const fn above(self, meaning: &'static Meaning) -> Self {
        Self {
            above: Some(meaning),
            ..self
        }
    }
}

/// What a row is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tells {
    /// A fault.
    Fault(&'static Meaning),
    /// A fault by the number of X.509 verification in the capture `code`.
    Code,
    /// At which depth of the chain the next lines are.
    Depth,
    /// Whose log this is.
    Side(Side),
    /// A fault by its slug in the capture `cause`.
    Slug,
    /// That all is well, whatever else the line says.
    Well,
}

/// A message that is known.
#[derive(Debug)]
pub(super) struct Row {
    /// The words, with `{name}` where something is captured and `{}` where anything may stand.
    ///
    /// Case does not count, and neither does whether words are joined by a space, a hyphen or an underscore.
    pub(super) words: &'static str,
    pub(super) tells: Tells,
    pub(super) source: &'static str,
}

/// A fault.
pub(super) const fn row(
    words: &'static str,
    meaning: &'static Meaning,
    source: &'static str,
) -> Row {
    Row {
        words,
        tells: Tells::Fault(meaning),
        source,
    }
}

/// A line that says whose log it is.
pub(super) const fn mark(words: &'static str, side: Side) -> Row {
    Row {
        words,
        tells: Tells::Side(side),
        source: "",
    }
}

/// A line that means no fault.
pub(super) const fn well(words: &'static str, source: &'static str) -> Row {
    Row {
        words,
        tells: Tells::Well,
        source,
    }
}

/// The messages of a product.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) product: Product,
    pub(super) rows: &'static [Row],
}
