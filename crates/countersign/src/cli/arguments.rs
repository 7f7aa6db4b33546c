//! Arguments that several commands share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use countersign_agent::port_url::AdminUrl;
use countersign_authority::init::{
    DEFAULT_ROOT_YEARS, DEFAULT_SUBJECT, DEFAULT_TRUST_DOMAIN, InitOptions, MAX_ROOT_YEARS,
};
use countersign_authority::request::{PendingRequest, RequestOptions};
use countersign_authority::secret::Passphrase;
use countersign_authority::state::StateError;
use countersign_diagnose::doctor::question::Starttls;
use countersign_diagnose::doctor::shell_word::quoted;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::DnsName;
use countersign_pki::spiffe::TrustDomain;
use countersign_runtime::config::amount::parse_duration;

use super::passphrase::PassphraseArgument;
use crate::env::Environment;
use crate::fault::Fault;
use crate::leaf_key::{KeyKind, key_kind};
use crate::operator_folder::OperatorFolder;
use crate::output::Output;

/// What every command gets beside its own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// `--json`.
    pub(crate) json: bool,
    /// What the environment says.
    pub(crate) environment: Environment,
}

impl Globals {
    /// Where the answer goes.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json)
    }
}

/// `--state`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StateArgument {
    /// State folder [default: `COUNTERSIGN_STATE`, else /var/lib/countersign for root, else the XDG state folder]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl StateArgument {
    /// The folder that is meant.
    pub(crate) fn folder(&self, globals: &Globals) -> Result<PathBuf, Fault> {
        globals.environment.state(self.state.clone())
    }
}

/// Which authority a command asks: that of a state folder, or as an operator one on another machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuthorityArguments {
    /// Ask an authority elsewhere as this operator: the folder that `issue operator` wrote [default: `COUNTERSIGN_AS`, unless
    /// --state is given]
    #[arg(long = "as", value_name = "DIR", conflicts_with_all = ["state", "passphrase_file", "ask_passphrase"])]
    operator: Option<PathBuf>,
    /// Where that authority is, https://HOST:PORT [default: `COUNTERSIGN_AUTHORITY`, else what the folder says]
    #[arg(long, value_name = "URL", conflicts_with_all = ["state", "passphrase_file", "ask_passphrase"])]
    authority: Option<AdminUrl>,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

/// The authority that is asked.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Elsewhere.
    Elsewhere(OperatorFolder),
    /// Of a state folder, which another process serves or this one opens.
    Here {
        /// The folder.
        state: PathBuf,
        /// Of the CA keys.
        passphrase: Passphrase,
    },
}

impl AuthorityArguments {
    /// As they were given, for a command that somebody shall paste: with a space before each.
    pub(crate) fn again(&self) -> String {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let given = [
            ("as", self.operator.as_ref().map(path)),
            (
                "authority",
                self.authority.as_ref().map(ToString::to_string),
            ),
            ("state", self.state.state.as_ref().map(path)),
            ("passphrase-file", self.passphrase.file().map(path)),
        ];
        let options = given
            .into_iter()
            .filter_map(|(name, value)| Some(format!(" --{name} {}", quoted(&value?))));
        let ask = self
            .passphrase
            .is_asked_for()
            .then_some(" --ask-passphrase");
        options.chain(ask.map(ToOwned::to_owned)).collect()
    }

    /// The authority that is meant.
    pub(crate) fn asked(&self, globals: &Globals) -> Result<Asked, Fault> {
        let environment = &globals.environment;
        let is_here = self.state.state.is_some() || self.passphrase.is_given();
        let operator = match &self.operator {
            None if !is_here => environment.operator.clone(),
            named => named.clone(),
        };
        let Some(folder) = operator else {
            if let Some(url) = &self.authority {
                return Err(Fault::configuration(format_args!("{url} is asked by operators only"))
                    .hint("name the folder of one with `--as DIR` or COUNTERSIGN_AS: `countersign issue operator NAME --out DIR` makes it"));
            }
            return Ok(Asked::Here {
                state: self.state.folder(globals)?,
                passphrase: self.passphrase.clone().within(globals).passphrase(),
            });
        };
        let url = match (&self.authority, &environment.authority) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(text)) => Some(text.parse().map_err(|error| {
                Fault::configuration(format_args!("COUNTERSIGN_AUTHORITY: {error}")).hint(
                    "it is the address of [authority.admin], such as https://ca.example.com:8444",
                )
            })?),
            (None, None) => None,
        };
        Ok(Asked::Elsewhere(OperatorFolder::open(folder, url)?))
    }
}

/// What a new authority shall be.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArguments {
    /// Subject of the CA; "… Root CA", "… Issuing CA" and "… Operator CA" are appended [default: O=Countersign]
    #[arg(long, value_name = "DN", value_parser = DistinguishedName::parse)]
    subject: Option<DistinguishedName>,
    /// Life of the root in years, 1 to 50 [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ROOT_YEARS)))]
    years: Option<u32>,
    /// Trust domain of SPIFFE IDs [default: countersign.internal]
    #[arg(long, value_name = "NAME", value_parser = TrustDomain::parse)]
    trust_domain: Option<TrustDomain>,
    /// The kind of the CA's keys, and of those that the authority makes for its own ports [default: p256]
    #[arg(long, value_name = "KIND", value_parser = key_kind())]
    ca_key: Option<KeyKind>,
    #[command(flatten)]
    passphrase: PassphraseArgument,
}

impl InitArguments {
    /// With the defaults for what was not said; reads the passphrase file.
    pub(crate) fn options(&self) -> Result<InitOptions, Fault> {
        Ok(InitOptions {
            subject: match &self.subject {
                Some(subject) => subject.clone(),
                None => DistinguishedName::parse(DEFAULT_SUBJECT).map_err(Fault::bug)?,
            },
            root_years: self.years.unwrap_or(DEFAULT_ROOT_YEARS),
            trust_domain: match &self.trust_domain {
                Some(trust_domain) => trust_domain.clone(),
                None => TrustDomain::parse(DEFAULT_TRUST_DOMAIN).map_err(Fault::bug)?,
            },
            passphrase: self.passphrase.new_one()?,
            key: self.ca_key.unwrap_or_default(),
            key_derivation: countersign_authority::sealed::KeyDerivation::default(),
            publication: None,
        })
    }

    /// The same of a sub-CA, whose root is somebody else's.
    pub(crate) fn request_options(&self) -> Result<RequestOptions, Fault> {
        let options = self.options()?;
        Ok(RequestOptions {
            subject: options.subject,
            trust_domain: options.trust_domain,
            passphrase: options.passphrase,
            key: options.key,
            key_derivation: options.key_derivation,
        })
    }

    /// Refuses what a request that is there already does not ask for.
    pub(crate) fn against_request(
        &self,
        pending: &PendingRequest,
        state: &Path,
    ) -> Result<(), Fault> {
        let other_subject = self.subject.as_ref().is_some_and(|subject| {
            *subject != pending.subject && *subject != pending.subject.without_common_names()
        });
        let other_domain =
            (self.trust_domain.as_ref()).is_some_and(|asked| *asked != pending.trust_domain);
        if other_subject || other_domain {
            return Err(StateError::RequestPending {
                path: state.to_owned(),
            }
            .into());
        }
        Ok(())
    }

    /// With what the environment and the terminal offer.
    pub(crate) fn within(self, globals: &Globals) -> Self {
        Self {
            passphrase: self.passphrase.within(globals),
            ..self
        }
    }

    /// Where the passphrase comes from.
    pub(crate) fn passphrase(&self) -> Passphrase {
        self.passphrase.passphrase()
    }

    /// Refuses what an authority that is there already is not, and names what can no longer be chosen.
    pub(crate) fn against_existing(
        &self,
        trust_domain: &TrustDomain,
        state: &Path,
    ) -> Result<Option<String>, Fault> {
        if let Some(other) = self
            .trust_domain
            .as_ref()
            .filter(|asked| *asked != trust_domain)
        {
            let sentence = format_args!(
                "{} has trust domain {trust_domain}, not {other}",
                state.display()
            )
            .to_string();
            return Err(Fault::configuration(sentence)
                .hint("a trust domain is chosen at init: leave the flag out, or choose another folder with `--state DIR`"));
        }
        let late = self.subject.is_some() || self.years.is_some() || self.ca_key.is_some();
        Ok(late.then(|| {
            format!(
                "note: {} is initialised already: --subject, --years and --ca-key have no effect",
                state.display()
            )
        }))
    }
}

/// A DNS name of the gateway, as an argument.
pub(crate) fn dns_name(text: &str) -> Result<DnsName, String> {
    DnsName::parse(text).map_err(|error| error.to_string())
}

/// `30d`, `8h`, as an argument.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        Err("a duration of zero".to_owned())
    } else {
        Ok(duration)
    }
}

/// What is spoken before TLS, as an argument.
pub(crate) fn starttls(text: &str) -> Result<Starttls, String> {
    Starttls::parse(text).ok_or_else(|| {
        let known: Vec<_> = Starttls::ALL.iter().map(|(name, _)| *name).collect();
        format!("the protocols are {}", known.join(", "))
    })
}

/// `env=prod`, as an argument.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "a label is KEY=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        init: InitArguments,
    }

    fn parse(arguments: &[&str]) -> Result<InitArguments, clap::Error> {
        Line::try_parse_from([&["init"], arguments].concat()).map(|line| line.init)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let options = parse(&[]).expect("valid").options().expect("valid");
        assert_eq!(options.subject.to_string(), "O=Countersign");
        assert_eq!(options.root_years, 10);
        assert_eq!(options.trust_domain.as_str(), "countersign.internal");
        assert!(options.passphrase.is_none());
    }

    #[test]
    fn nonsense_is_refused_before_anything_is_made() {
        for arguments in [
            ["--years", "0"],
            ["--years", "51"],
            ["--subject", "nonsense"],
            ["--trust-domain", "Example.com"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
        let missing =
            parse(&["--passphrase-file", "/nonexistent/passphrase"]).expect("an argument");
        assert_eq!(missing.options().expect_err("no file").exit_code(), 2);
    }

    #[test]
    fn authority_that_is_there_keeps_its_trust_domain() {
        let here = TrustDomain::parse("example.com").expect("valid");
        let check = |arguments: &[&str]| {
            parse(arguments)
                .expect("valid")
                .against_existing(&here, Path::new("/s"))
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["--trust-domain", "example.com"]), Ok(None));
        assert!(check(&["--years", "3"]).expect("a note").is_some());
        assert_eq!(
            check(&["--trust-domain", "other"])
                .expect_err("another")
                .exit_code(),
            2
        );
    }

    #[test]
    fn durations_are_read_and_zero_is_not_one() {
        assert_eq!(duration("30d"), Ok(Duration::from_hours(30 * 24)));
        assert!(duration("0s").is_err());
        assert!(duration("soon").is_err());
    }
}
