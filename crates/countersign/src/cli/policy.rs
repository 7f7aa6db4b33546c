//! `countersign policy`: what the rules of a configuration say of somebody, before somebody asks.

mod kept;
mod readiness;
mod replay;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use countersign_diagnose::cause::Cause;
use countersign_diagnose::chain;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::TypedName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_policy::access::Circumstances;
use countersign_proxy::explain::{Explained, ListenerPolicy, Question, Supposed, Takes};
use countersign_proxy::plan::GatewayPlan;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::bundles_in_force::BundlesInForce;
use crate::certificate_file::certificates_in;
use crate::cli::arguments::Globals;
use crate::composition::Own;
use crate::configuration::Loaded;
use crate::fault::{Answer, Fault};
use crate::{composition, hypothetical, placeholder};

/// Ask the rules of a configuration, without serving it
#[derive(Debug, Args)]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say whether somebody may do something: the verdict, the rule, the nearest one that would have admitted
    ///
    /// What is judged is the file, by the code that judges clients. Revocation is not asked. Exit code 0: allowed, 1: refused.
    Explain(Box<ExplainArguments>),
    /// Say what changes if a configuration took over: the decisions that a gateway made and kept, judged anew by the file
    ///
    /// Each kind of decision is judged once, as it was made last, by the code that judges clients. What cannot be judged is named. The
    /// gateway need not run. Exit code 1 with --check: somebody who was admitted would be refused, or it cannot be said of all.
    Replay(replay::ReplayArguments),
    /// Say whether certificates can be required: who came without one, and whom a shadow would refuse
    ///
    /// Exit code 1 with --check: a listener is not ready, or was not watched for the whole time.
    Readiness(readiness::ReadinessArguments),
}

#[derive(Debug, Args)]
struct ExplainArguments {
    /// The configuration
    file: PathBuf,
    /// Which listener [default: the only one]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Who: a certificate with its chain, judged by the listener's trust
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    cert: Option<PathBuf>,
    /// Who: a name such as spiffe://…, dns:…, cn:… or dn:…; repeatable, one certificate has them all [default: anonymous]
    #[arg(long = "identity", value_name = "NAME")]
    names: Vec<TypedName>,
    /// The trust bundle that vouches for the names
    #[arg(long, value_name = "NAME", requires = "names", default_value = BundleName::INTERNAL)]
    bundle: BundleName,
    /// The root of the state's own authority (its ca.pem), where the configuration leaves it to the state
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The trust domain of that authority
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// What: the host that is asked for; of a CONNECT with its port
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// The method
    #[arg(long, default_value = "GET")]
    method: String,
    /// The path
    #[arg(long, default_value = "/")]
    path: String,
    /// A header, as `name: value`; repeatable
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A token beside the certificate: a file with its claims (JSON), as if the issuer had signed them
    ///
    /// Issuer, audience, times and claims are judged; with --cert also the certificate that it is bound to.
    #[arg(long, value_name = "FILE")]
    token_claims: Option<PathBuf>,
    /// An API key beside the certificate, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    api_key: Option<String>,
    /// The database user, on a listener of PostgreSQL
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The database [default: as the user]
    #[arg(long, value_name = "NAME", requires = "user")]
    database: Option<String>,
    /// From where
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    source: IpAddr,
    /// When, such as 2026-01-02T03:04:05Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<UnixTime>,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Explanation {
    allowed: bool,
    listener: String,
    who: String,
    bundle: Option<String>,
    route: Option<String>,
    rule: Option<RuleView>,
    #[serde(flatten)]
    refusal: Option<RefusalView>,
}

#[derive(Debug, Serialize)]
struct RuleView {
    list: &'static str,
    /// From 1, as refusals count.
    number: usize,
    says: String,
}

#[derive(Debug, Serialize)]
struct RefusalView {
    cause: Cause,
    sentence: String,
    fix: String,
}

impl PolicyCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.verb {
            Verb::Explain(arguments) => {
                let now = UnixTime::from_seconds(SystemClock.unix_seconds());
                let explanation = arguments.explain(now)?;
                globals.output().answer(&explanation, Explanation::text)?;
                Ok(Answer::from_bool(explanation.allowed))
            }
            Verb::Replay(arguments) => arguments.run(globals),
            Verb::Readiness(arguments) => arguments.run(globals),
        }
    }
}

impl ExplainArguments {
    fn explain(&self, now: UnixTime) -> Result<Explanation, Fault> {
        let loaded = Loaded::from_file(&self.file)?;
        let own = supposed(self.ca.as_deref(), self.trust_domain.as_ref(), now)?;
        let plan = composition::plan(&loaded, Some(&own), &BundlesInForce::default(), now)?;
        let listener = self.listener(&plan)?;
        let at = self.at.unwrap_or(now);
        let peer = match self.peer(listener, at)? {
            Ok(peer) => peer,
            Err(refusal) => {
                return Ok(Explanation {
                    allowed: false,
                    listener: listener.name().to_owned(),
                    who: self.cert.as_deref().map_or_else(String::new, shown),
                    bundle: None,
                    route: None,
                    rule: None,
                    refusal: Some(RefusalView::from(&refusal)),
                });
            }
        };
        let circumstances = Circumstances {
            source: self.source,
            now: at,
        };
        let question = self.question(listener)?;
        let supposed = self.supposed(listener, peer.as_ref(), at)?;
        let explained = listener.explain(peer.as_ref(), &question, circumstances, &supposed);
        let explained =
            explained.ok_or_else(|| Fault::bug("the question is none for this listener"))?;
        Ok(Explanation::new(listener, peer.as_ref(), explained))
    }

    fn listener<'a>(&self, plan: &'a GatewayPlan) -> Result<ListenerPolicy<'a>, Fault> {
        let all: Vec<ListenerPolicy<'a>> = plan.policies().collect();
        let names: Vec<&str> = all.iter().map(|listener| listener.name()).collect();
        match (&self.listener, &all[..]) {
            (None, [only]) => Ok(*only),
            (None, []) => Err(Fault::configuration("the configuration has no listener")),
            (None, _) => Err(
                Fault::configuration("the configuration has several listeners")
                    .hint(format!("name one with --listener: {}", names.join(", "))),
            ),
            (Some(name), _) => {
                let found = all.iter().find(|listener| listener.name() == name);
                found.copied().ok_or_else(|| {
                    Fault::configuration(format_args!("there is no listener called {name:?}"))
                        .hint(format!("there is: {}", names.join(", ")))
                })
            }
        }
    }

    /// Whom the handshake would find, or why it would refuse.
    fn peer(
        &self,
        listener: ListenerPolicy<'_>,
        at: UnixTime,
    ) -> Result<Result<Option<VerifiedPeer>, Refusal>, Fault> {
        if !listener.asks_for_certificates() && (self.cert.is_some() || !self.names.is_empty()) {
            return Err(Fault::configuration(format_args!(
                "{} never asks for a certificate: everybody is anonymous there",
                listener.name()
            )));
        }
        if let Some(path) = &self.cert {
            let verifier = Verifier::new(listener.bundles().to_vec(), Limits::default())
                .map_err(Fault::bug)?;
            let chain = certificates_in(path)?;
            let chain: Vec<_> = chain.iter().map(|it| it.der().clone()).collect();
            let outcome =
                verifier.verify(&chain, Purpose::ClientAuth, &RevocationIndex::default(), at);
            return Ok(outcome
                .map(Some)
                .map_err(|fault| chain::refusal(&fault, Purpose::ClientAuth)));
        }
        if self.names.is_empty() {
            return Ok(Ok(None));
        }
        let bundle = (listener.bundles().iter()).find(|bundle| *bundle.name() == self.bundle);
        let bundle: &Arc<TrustBundle> = bundle.ok_or_else(|| {
            let names: Vec<&str> = listener
                .bundles()
                .iter()
                .map(|it| it.name().as_str())
                .collect();
            Fault::configuration(format_args!(
                "{} does not trust the bundle {}",
                listener.name(),
                self.bundle
            ))
            .hint(format!("it trusts: {}", names.join(", ")))
        })?;
        hypothetical::peer(bundle, &self.names, at).map(|peer| Ok(Some(peer)))
    }

    /// What is shown beside the certificate.
    fn supposed(
        &self,
        listener: ListenerPolicy<'_>,
        peer: Option<&VerifiedPeer>,
        at: UnixTime,
    ) -> Result<Supposed, Fault> {
        let mut supposed = Supposed::default();
        if self.token_claims.is_none() && self.api_key.is_none() {
            return Ok(supposed);
        }
        let peer = peer.ok_or_else(|| {
            Fault::configuration("neither a token nor an API key counts without a certificate")
                .hint("say who shows it, with --identity NAME or --cert FILE")
        })?;
        if listener.takes() != Takes::Requests {
            let why = format_args!("no request of HTTP comes to {}", listener.name());
            return Err(Fault::configuration(why));
        }
        if let Some(path) = &self.token_claims {
            let claims = fs::read_to_string(path).map_err(|error| {
                Fault::configuration(format_args!("{}: {error}", path.display()))
            })?;
            let holder = (peer, self.cert.is_some());
            supposed = supposed.with_token(listener, &claims, holder, at);
        }
        if let Some(name) = &self.api_key {
            supposed = supposed.with_api_key(listener, name, peer, at);
        }
        Ok(supposed)
    }

    fn question(&self, listener: ListenerPolicy<'_>) -> Result<Question, Fault> {
        match listener.takes() {
            Takes::Connections => Ok(Question::Connection),
            Takes::Logins => {
                let user = self.user.as_deref().ok_or_else(|| {
                    Fault::configuration(format_args!(
                        "{} takes logins to PostgreSQL",
                        listener.name()
                    ))
                    .hint("say as whom, with --user NAME")
                })?;
                Question::login(user, self.database.as_deref()).map_err(|invalid| {
                    Fault::configuration(format_args!(
                        "no client can ask for this login: {invalid}"
                    ))
                })
            }
            Takes::Requests => {
                Question::request(&self.host, &self.method, &self.path, &self.headers)
                    .map_err(|invalid| Fault::configuration(format_args!("--header: {invalid}")))
            }
        }
    }
}

impl Explanation {
    fn new(
        listener: ListenerPolicy<'_>,
        peer: Option<&VerifiedPeer>,
        explained: Explained,
    ) -> Self {
        Self {
            allowed: explained.refusal.is_none(),
            listener: listener.name().to_owned(),
            who: peer.map_or_else(
                || "anonymous".to_owned(),
                |peer| peer.principal().name.to_string(),
            ),
            bundle: peer.map(|peer| peer.bundle().to_string()),
            route: explained.route,
            rule: explained.rule.map(|rule| RuleView {
                list: rule.list,
                number: rule.entry + 1,
                says: rule.says,
            }),
            refusal: explained.refusal.as_ref().map(RefusalView::from),
        }
    }

    fn text(&self) -> String {
        use countersign_pki::inspect::escaped;
        let rule = self.rule.as_ref().map_or_else(
            || "by no rule".to_owned(),
            |rule| format!("by {} {}: {}", rule.list, rule.number, rule.says),
        );
        let route = self.route.as_deref().unwrap_or("no route");
        match &self.refusal {
            None => escaped(&format!("allowed on {}, {route}, {rule}", self.listener)),
            Some(refusal) => format!(
                "refused on {}: {} ({})\nfix: {}\nmore: {}",
                self.listener,
                escaped(&refusal.sentence),
                refusal.cause,
                escaped(&refusal.fix),
                refusal.cause.page()
            ),
        }
    }
}

impl From<&Refusal> for RefusalView {
    fn from(refusal: &Refusal) -> Self {
        Self {
            cause: refusal.cause,
            sentence: refusal.sentence().to_owned(),
            fix: refusal.fix().to_owned(),
        }
    }
}

/// What an authority gives to a plan: a stand-in, but for what is known of it.
fn supposed(
    ca: Option<&Path>,
    trust_domain: Option<&TrustDomain>,
    now: UnixTime,
) -> Result<Own, Fault> {
    let mut own = placeholder::own(now)?;
    if ca.is_some() || trust_domain.is_some() {
        let anchors = match ca {
            Some(path) => certificates_in(path)?,
            None => own.bundle.anchors().to_vec(),
        };
        let domain = trust_domain.or_else(|| own.bundle.trust_domain()).cloned();
        own.bundle = TrustBundle::new(BundleName::internal(), domain, anchors, now)
            .map_err(|error| Fault::configuration(format_args!("--ca: {error}")))?;
    }
    Ok(own)
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
