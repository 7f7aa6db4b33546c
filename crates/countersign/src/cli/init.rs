//! `countersign init`: a new authority, the gateway's certificate and a first client identity.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign_authority::authority::Authority;
use countersign_authority::init::InitError;
use countersign_authority::request::{PendingRequest, request};
use countersign_authority::state::StateFolder;
use countersign_pki::name::DnsName;
use countersign_proxy::config::GatewayConfig;
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::clock::{SharedClock, SystemClock};
use serde::Serialize;

use crate::backend::block_on;
use crate::birth::{Born, first_identity, make_authority};
use crate::cli::arguments::{Globals, InitArguments, StateArgument, dns_name};
use crate::composition::{host_name, own_names, publication_url};
use crate::configuration::Loaded;
use crate::fault::{Answer, Fault};
use crate::gateway_certificate::{self, Issuer, Port};
use crate::gateway_names;

/// Make a certificate authority, the gateway's certificate and a first client identity
#[derive(Debug, Args)]
pub(crate) struct InitCommand {
    #[command(flatten)]
    init: InitArguments,
    /// A further DNS name of the gateway, beside localhost and the host name (repeatable)
    #[arg(long = "name", value_name = "DNS", value_parser = dns_name)]
    names: Vec<DnsName>,
    /// Make a key and a request for a sub-CA instead, to be signed by the CA above it; `ca adopt --certificate` takes what comes back
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "years", "config"])]
    csr_out: Option<PathBuf>,
    /// The configuration that will be served: the issuing CA's certificate then carries the URLs of [authority.public]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgument,
}

impl InitCommand {
    /// Runs it.
    pub(crate) fn run(mut self, globals: &Globals) -> Result<Answer, Fault> {
        self.init = self.init.within(globals);
        let state = StateFolder::prepare(&self.state.folder(globals)?)?;
        if state.is_initialised() {
            let path = state.path().to_owned();
            return Err(Fault::from(InitError::AlreadyInitialised { path }).or_hint(
                "`countersign status` shows what is there; `--state DIR` names another folder",
            ));
        }
        if let Some(file) = &self.csr_out {
            return self.request(&state, file, globals);
        }
        let mut options = self.init.options()?;
        if let Some(file) = &self.config {
            options.publication = publication_url(&Loaded::from_file(file)?)?;
        }
        let lock = state.lock()?;
        let clock: SharedClock = Arc::new(SystemClock);
        let made = make_authority(&state, &lock, options, &clock)?;
        let gateway = GatewayConfig::default();
        let names = own_names(&gateway, &self.names, host_name());
        block_on(async {
            let authority = Authority::open(state.clone(), lock, &self.init.passphrase(), clock)?;
            let lifetime = gateway.certificate_lifetime.duration();
            let issuer = Issuer::Authority(Arc::clone(&authority));
            gateway_certificate::issue(Port::Gateway, &issuer, &state, &names, lifetime).await?;
            gateway_names::remember(&state, &[], &self.names)?;
            first_identity(&authority, &state).await
        })?;
        globals
            .output()
            .answer(&Born::new(&state, &made, &names), Born::text)?;
        Ok(Answer::Yes)
    }
    /// One that was made before is given again: the key that it is for is still here.
    fn request(
        &self,
        state: &StateFolder,
        file: &Path,
        globals: &Globals,
    ) -> Result<Answer, Fault> {
        let lock = state.lock()?;
        let options = self.init.request_options()?;
        let pending = if let Some(before) = PendingRequest::of(state)? {
            self.init.against_request(&before, state.path())?;
            before
        } else {
            let clock: SharedClock = Arc::new(SystemClock);
            request(state, &lock, &options, &clock)?
        };
        write_atomic(file, pending.csr_pem.as_bytes(), PUBLIC).map_err(|error| {
            Fault::world(format_args!("cannot write {}: {error}", file.display())).hint(
                "the request waits in the state folder: `--csr-out` again writes it elsewhere",
            )
        })?;
        let requested = Requested {
            state: state.path().to_owned(),
            request: file.to_owned(),
            subject: pending.subject.to_string(),
            trust_domain: pending.trust_domain.to_string(),
        };
        globals.output().answer(&requested, Requested::text)?;
        Ok(Answer::Yes)
    }
}

/// What waits for its certificate.
#[derive(Debug, Serialize)]
struct Requested {
    state: PathBuf,
    request: PathBuf,
    subject: String,
    trust_domain: String,
}

impl Requested {
    fn text(&self) -> String {
        format!(
            "made a key for a sub-CA in {}\n  request      {}\n  subject      {}\n  trust domain {}\n\
             have it signed as a CA with pathLenConstraint 0, then:\n  \
             countersign ca adopt --certificate FILE --root FILE\n",
            self.state.display(),
            self.request.display(),
            self.subject,
            self.trust_domain,
        )
    }
}

/// Whoever signs it reads it.
const PUBLIC: u32 = 0o644;
