//! `countersign init`: a new authority, the gateway's certificate and a first client identity.

use std::sync::Arc;

use clap::Args;
use countersign_authority::authority::Authority;
use countersign_authority::init::InitError;
use countersign_authority::state::StateFolder;
use countersign_pki::name::DnsName;
use countersign_proxy::config::GatewayConfig;
use countersign_runtime::clock::{SharedClock, SystemClock};

use crate::backend::block_on;
use crate::birth::{Born, first_identity, make_authority};
use crate::cli::arguments::{Globals, InitArguments, StateArgument, dns_name};
use crate::composition::{host_name, own_names};
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
    #[command(flatten)]
    state: StateArgument,
}

impl InitCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let state = StateFolder::prepare(&self.state.folder(globals)?)?;
        if state.is_initialised() {
            let path = state.path().to_owned();
            return Err(Fault::from(InitError::AlreadyInitialised { path }).or_hint(
                "`countersign status` shows what is there; `--state DIR` names another folder",
            ));
        }
        let options = self.init.options()?;
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
}
