//! The command line: one file per command.

mod api_key;
pub(crate) mod arguments;
mod audit;
mod batch;
mod break_glass;
mod ca;
mod certificate_view;
mod config;
mod csv;
mod doctor;
mod explain;
mod export;
mod filters;
mod findings;
mod import;
mod init;
mod inspect;
mod issue;
mod label;
mod list;
mod passphrase;
mod policy;
mod release;
mod renew;
mod revoke;
mod run;
mod scan;
mod show;
mod status;
mod up;
pub(crate) mod usage;
mod verify;
mod withdrawal;

use clap::{Parser, Subcommand};

use crate::cli::arguments::Globals;
use crate::env::Environment;
use crate::fault::{Answer, Fault};

/// Mutual TLS: a private CA, a gateway that enforces it, and the reason for every refusal
///
/// Exit codes: 0 yes or done, 1 the answer is no, 2 usage or configuration, 3 the world failed, 70 a bug of ours.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Answer in JSON on standard output; errors are one JSON object on standard error
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Does what is asked for.
    pub(crate) fn run(self, environment: Environment) -> Result<Answer, Fault> {
        self.command.run(&Globals {
            json: self.json,
            environment,
        })
    }
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpCommand),
    Run(run::RunCommand),
    Init(init::InitCommand),
    Status(status::StatusCommand),
    Issue(issue::IssueCommand),
    List(list::ListCommand),
    Show(show::ShowCommand),
    Label(label::LabelCommand),
    Import(import::ImportCommand),
    Export(export::ExportCommand),
    Renew(renew::RenewCommand),
    Revoke(Box<revoke::RevokeCommand>),
    Release(Box<release::ReleaseCommand>),
    Inspect(inspect::InspectCommand),
    Verify(Box<verify::VerifyCommand>),
    Doctor(Box<doctor::DoctorCommand>),
    Explain(explain::ExplainCommand),
    Scan(Box<scan::ScanCommand>),
    Audit(audit::AuditCommand),
    BreakGlass(break_glass::BreakGlassCommand),
    ApiKey(api_key::ApiKeyCommand),
    Ca(ca::CaCommand),
    Config(config::ConfigCommand),
    Policy(policy::PolicyCommand),
}

impl Command {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self {
            Self::Up(command) => command.run(globals),
            Self::Run(command) => command.run(globals),
            Self::Init(command) => command.run(globals),
            Self::Status(command) => command.run(globals),
            Self::Issue(command) => command.run(globals),
            Self::List(command) => command.run(globals),
            Self::Show(command) => command.run(globals),
            Self::Label(command) => command.run(globals),
            Self::Import(command) => command.run(globals),
            Self::Export(command) => command.run(globals),
            Self::Renew(command) => command.run(globals),
            Self::Revoke(command) => command.run(globals),
            Self::Release(command) => command.run(globals),
            Self::Inspect(command) => command.run(globals),
            Self::Verify(command) => command.run(globals),
            Self::Doctor(command) => command.run(globals),
            Self::Explain(command) => command.run(globals),
            Self::Scan(command) => command.run(globals),
            Self::Audit(command) => command.run(globals),
            Self::BreakGlass(command) => command.run(globals),
            Self::ApiKey(command) => command.run(globals),
            Self::Ca(command) => command.run(globals),
            Self::Config(command) => command.run(globals),
            Self::Policy(command) => command.run(globals),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn check(line: &str, accepted: bool) {
        let parsed = Cli::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), accepted, "{line}: {:?}", parsed.err());
    }

    #[test]
    fn definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a command after the other")]
    fn documented_commands_parse() {
        check(
            "countersign init --subject O=Example --years 5 --trust-domain example.com --passphrase-file p",
            true,
        );
        check(
            "countersign up --upstream http://127.0.0.1:3000 --listen 0.0.0.0:8443 --name a.example --name b.example --json",
            true,
        );
        check("countersign run -c countersign.toml --state s", true);
        check(
            "countersign issue server api.example.com --dns www.example.com --ip 10.0.0.1 --ttl 30d --out o --force",
            true,
        );
        check("countersign issue workload /ns/prod/api --csr r.pem", true);
        check(
            "countersign list --status live --expiring 30d --check --json",
            true,
        );
        check(
            "countersign list --name api.* --san *.example.com --identity dns:a.example --issuer CA --profile client --limit 5",
            true,
        );
        check(
            "countersign list --serial 0aff --fingerprint 00 --spki 00 --issued-by uid:0 --owner team --label a=b --label c=d --after x --csv",
            true,
        );
        check("countersign list --all --csv", true);
        check(
            "countersign label you --owner team --label env=prod --remove tier --note hello",
            true,
        );
        check("countersign import a.pem b.der --owner partner", true);
        check("countersign show you", true);
        check("countersign renew you --out o", true);
        check(
            "countersign revoke you --reason key-compromise --wait --wait-timeout 3s",
            true,
        );
        check(
            "countersign revoke --profile workload --label env=prod --reason superseded --dry-run --all --json",
            true,
        );
        check(
            "countersign revoke 0a:ff --unrecorded --issuer CA --reason certificate-hold",
            true,
        );
        check("countersign revoke --issuer CA --expired --yes", true);
        check("countersign release you --wait", true);
        check("countersign release --owner team --yes", true);
        check("countersign inspect cert.pem", true);
        check("countersign inspect a.p12 --in-password-file pw", true);
        check(
            "countersign export p12 api --key key.pem --password-out pw --out api.p12 --force",
            true,
        );
        check(
            "countersign export p12 api --trust --password-file pw",
            true,
        );
        check("countersign export jks api", true);
        check("countersign export pem api --no-key --out -", true);
        check(
            "countersign export k8s api --name api.example --namespace prod --in-password-file pw",
            true,
        );
        check("countersign issue --batch f.csv --out o --dry-run", true);
        check("countersign issue client --batch d --out o --ttl 30d", true);
        check(
            "countersign verify --as server --trust root.pem --untrusted ca.pem --cert cert.pem --name api.example.com --name 10.0.0.1 \
             --at 2026-01-02T03:04:05Z --depth 1 --crl a.crl --crl b.crl --strict --json",
            true,
        );
        check(
            "countersign doctor https://a.example:8443/x --cert c --key k --ca a --server-cert s --server-key t --client-ca b --crl l --crl m \
             --file f --file g --strict --name n.example --also-try-name o.example --allow cn:a --allow dns:b --host-header h --alpn h2 \
             --min-tls 1.2 --max-tls 1.3 --starttls smtp --no-client-cert --expect-enforced --password-file p --timeout 5s --verbose \
             --fetch --log - --json",
            true,
        );
        check("countersign doctor --list-causes", true);
        check("countersign explain 7f3a9c-0k2m8x", true);
        check("countersign explain --from 127.0.0.1 --since 5m", true);
        check(
            "countersign audit export --since 2026-01-02T03:04:05Z -o log.jsonl --state s",
            true,
        );
        check("countersign audit verify log.jsonl --json", true);
        check(
            &format!(
                "countersign audit verify --state s --head {}",
                "0f".repeat(32)
            ),
            true,
        );
        check(
            "countersign ca backup b.tar --force --passphrase-file p --state s",
            true,
        );
        check("countersign ca restore b.tar --state s", true);
        check(
            "countersign ca resume --crl a.crl --crl b.crl --from-gateway f --from-gateway g --because x",
            true,
        );
        check("countersign ca resume --without-evidence --because x", true);
        check("countersign ca crl", true);
        check("countersign ca crl --out ca.crl --state s --json", true);
        check(
            "countersign ca crl --root --root-key k --password-file p --revoke 0a --reason ca-compromise --out r.crl",
            true,
        );
        check("countersign ca crl import root.crl --state s --json", true);
        check(
            "countersign ca adopt --intermediate i --key k --root r --root s --root-key k --in-password-file p --crl a --crl b \
             --issued c --issued d --index i --subject O=A --trust-domain a.example --passphrase-file p --state s --json",
            true,
        );
        check("countersign ca adopt --p12 i --root r", true);
        check("countersign ca adopt --certificate c --chain r", true);
        check("countersign init --csr-out c --subject O=A", true);
        check("countersign init --config c.toml --name a.example", true);
        check("countersign config check c.toml", true);
        check(
            "countersign policy explain c.toml --listener l --identity cn:a --identity dns:a.b --bundle acme --ca ca.pem --trust-domain a.b \
             --host h --method POST --path /x --header x-env:prod --source 10.0.0.1 --at 2026-01-02T03:04:05Z --json",
            true,
        );
        check(
            "countersign policy explain c.toml --cert c.pem --user app --database shop",
            true,
        );
        check("countersign --json config defaults", true);
        check("countersign break-glass status --state s", true);
        check(
            "countersign break-glass request emergency --for 30m --because x --out r.json --state s",
            true,
        );
        check(
            "countersign break-glass approve r.json --as alice --out a.json",
            true,
        );
        check(
            "countersign break-glass arm emergency --for 30m --because x",
            true,
        );
        check(
            "countersign break-glass arm emergency --approval a --approval b",
            true,
        );
        check("countersign break-glass disarm emergency --because x", true);
        check("countersign status", true);
    }

    #[test]
    fn command_lines_that_mean_nothing_are_refused() {
        check("countersign", false);
        check("countersign run", false);
        check("countersign policy explain", false);
        check(
            "countersign policy explain c.toml --cert c.pem --identity cn:a",
            false,
        );
        check("countersign policy explain c.toml --bundle acme", false);
        check("countersign policy explain c.toml --header nonsense", false);
        check("countersign policy explain c.toml --identity you", false);
        check("countersign up --listen localhost", false);
        check("countersign up --name a..b", false);
        check("countersign issue client", false);
        check("countersign issue client you --ttl 0s", false);
        check("countersign issue client", false);
        check("countersign issue --batch f.csv", false);
        check("countersign issue client you --batch f.csv --out o", false);
        check(
            "countersign issue --batch f.csv --out o --dns a.example",
            false,
        );
        check("countersign export you", false);
        check("countersign export p12 you --trust --key k", false);
        check("countersign export p12 you --password secret", false);
        check(
            "countersign export p12 you --password-file a --password-out b",
            false,
        );
        check("countersign export jks you --trust", false);
        check("countersign export k8s you --name A", false);
        check("countersign export k8s you --namespace a.b", false);
        check("countersign list --status some", false);
        check("countersign list --check", false);
        check("countersign list --limit 0", false);
        check("countersign list --limit 1001", false);
        check("countersign list --all --limit 5", false);
        check("countersign list --label env", false);
        check("countersign label", false);
        check("countersign label you --label env", false);
        check("countersign import", false);
        check("countersign revoke you --reason because", false);
        check("countersign revoke you --wait-timeout 3s", false);
        check("countersign ca", false);
        check("countersign ca backup", false);
        check("countersign ca restore", false);
        check("countersign ca resume --without-evidence", false);
        check("countersign revoke", false);
        check("countersign revoke --yes", false);
        check("countersign revoke you --dry-run --wait", false);
        check("countersign revoke you --all", false);
        check("countersign revoke --status held", false);
        check("countersign release", false);
        check("countersign release you --reason superseded", false);
        check("countersign audit", false);
        check("countersign audit export --since yesterday", false);
        check("countersign audit verify log.jsonl --state s", false);
        check("countersign audit verify --head 0f", false);
        check("countersign ca", false);
        check("countersign ca crl ca.crl", false);
        check("countersign ca crl --root-key k", false);
        check("countersign ca crl --revoke 0a", false);
        check("countersign ca crl --root import r.crl", false);
        check("countersign ca adopt --key k --root r", false);
        check("countersign ca adopt --p12 i --key k", false);
        check("countersign ca adopt --root-key k", false);
        check("countersign init --csr-out c --years 5", false);
        check("countersign verify --trust root.pem --cert cert.pem", false);
        check(
            "countersign verify --as peer --trust root.pem --cert cert.pem",
            false,
        );
        check("countersign verify --as client --cert cert.pem", false);
        check(
            "countersign verify --as client --trust root.pem --cert cert.pem --at yesterday",
            false,
        );
        check(
            "countersign verify --as client --trust root.pem --cert cert.pem --depth 7",
            false,
        );
        check("countersign break-glass", false);
        check("countersign break-glass arm", false);
        check("countersign break-glass arm emergency", false);
        check("countersign break-glass arm emergency --for 30m", false);
        check(
            "countersign break-glass arm emergency --for 30m --because x --approval a",
            false,
        );
        check("countersign break-glass request emergency --for 30m", false);
        check("countersign break-glass approve r.json", false);
        check("countersign doctor ftp:// --cert c", false);
        check("countersign doctor --max-tls 1.4", false);
        check("countersign doctor --starttls gopher", false);
        check("countersign explain", false);
        check("countersign explain 7f3a9c-0k2m8x --from 127.0.0.1", false);
        check("countersign explain --since 5m", false);
        check("countersign explain nonsense", false);
    }
}
