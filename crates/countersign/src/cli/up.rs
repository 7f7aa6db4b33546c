//! `countersign up`: a CA and a gateway in front of one service, in one go.

use std::net::SocketAddr;

use clap::Args;
use countersign_pki::name::DnsName;
use countersign_proxy::config::rule::AllowEntry;
use countersign_proxy::config::{GatewayConfig, ListenerConfig, RouteConfig};

use crate::cli::arguments::{Globals, InitArguments, StateArgument, dns_name};
use crate::composition;
use crate::configuration::{Configuration, Loaded};
use crate::fault::{Answer, Fault};
use crate::serve::{Service, Source, serve};

/// Put a service behind mutual TLS: a CA, a gateway and a first client identity, in one go
#[derive(Debug, Args)]
pub(crate) struct UpCommand {
    /// The service, such as <http://127.0.0.1:3000> [default: a built-in page that shows who the client is]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where clients connect; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are served, in plaintext
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9443")]
    metrics: SocketAddr,
    /// A further DNS name of the gateway, beside localhost and the host name (repeatable)
    #[arg(long = "name", value_name = "DNS", value_parser = dns_name)]
    names: Vec<DnsName>,
    #[command(flatten)]
    init: InitArguments,
    #[command(flatten)]
    state: StateArgument,
}

impl UpCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let configuration = self.configuration();
        // What cannot be served is found before anything is made.
        composition::check(&Loaded::in_memory(configuration.clone()))?;
        let init = self.init.within(globals);
        let service = Service {
            state: self.state.folder(globals)?,
            passphrase: init.passphrase(),
            source: Source::CommandLine(Box::new(configuration)),
            names: self.names,
            first_run: Some(init),
        };
        serve(service, globals)
    }

    /// What `run` would read from a file.
    fn configuration(&self) -> Configuration {
        let upstream = self.upstream.as_deref().unwrap_or("demo");
        let route = RouteConfig::new(upstream, vec![AllowEntry::AnyTrusted]);
        let listener = ListenerConfig::new(self.listen, vec![route]);
        let gateway = GatewayConfig {
            metrics_address: self.metrics,
            listener: vec![listener],
            ..GatewayConfig::default()
        };
        Configuration {
            gateway,
            ..Configuration::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpCommand,
    }

    fn configuration(arguments: &[&str]) -> Configuration {
        Line::parse_from([&["up"], arguments].concat())
            .up
            .configuration()
    }

    fn check_upstream(url: &str) -> Result<(), Fault> {
        composition::check(&Loaded::in_memory(configuration(&["--upstream", url])))
    }

    #[test]
    fn upstream_is_an_origin_without_a_path() {
        for good in [
            "demo",
            "http://127.0.0.1:3000",
            "http://localhost",
            "http://[::1]:80/",
            "http://api.internal:8080",
            "unix:/run/s",
        ] {
            assert_eq!(check_upstream(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:3000",
            "localhost",
            "/path",
            "ftp://a",
            "http://",
            "http://a:port",
            "http://a:99999",
            "http://a b",
            "http://u:p@a",
            "http://a?q",
            "unix:run/s",
        ] {
            assert_eq!(check_upstream(bad).expect_err(bad).exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn up_without_arguments_is_the_documented_gateway() {
        let configuration = configuration(&[]);
        let written = toml::to_string(&configuration).expect("TOML");
        let read: Configuration = toml::from_str(&written).expect("what run would read");
        assert_eq!(read, configuration);
        assert_eq!(read.gateway.metrics_address.to_string(), "127.0.0.1:9443");
        assert_eq!(
            read.gateway.listener[0].address.to_string(),
            "127.0.0.1:8443"
        );
        assert_eq!(read.gateway.listener[0].route[0].upstream, "demo".into());
    }
}
