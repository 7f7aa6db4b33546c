//! PostgreSQL behind the gateway: the database, `psql` and `openssl` as Debian ships them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::peer;

/// A database of its own, which ends with the value. It listens on a socket of the file system and, over mutual TLS, on
/// loopback.
pub(crate) struct Postgresql {
    child: Child,
    psql: PathBuf,
    port: u16,
    folder: TempDir,
}

impl Postgresql {
    /// With no user but `postgres`.
    pub(crate) fn start(test: &str, server: &Issued) -> Option<Self> {
        let psql = peer(test, "psql")?;
        let (initdb, postgres) = (peer(test, "initdb")?, peer(test, "postgres")?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        fs::copy(server.certificate(), at("cert.pem")).expect("copied");
        fs::copy(server.key(), at("key.pem")).expect("copied");
        fs::copy(server.ca(), at("ca.pem")).expect("copied");
        let hba = "local all secret scram-sha-256\nlocal all all trust\n\
                   hostssl all secret 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n\
                   hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n";
        fs::write(at("hba"), hba).expect("writable");
        if geteuid().is_root() {
            let mut command = Command::new("chown");
            command.args(["-R", "postgres:postgres", text(folder.path())]);
            let answer = Answer::of(&mut command);
            assert_eq!(answer.code, Some(0), "{answer:#?}");
        }
        let mut command = unprivileged(&initdb, folder.path());
        command.args(["-D", text(&at("db")), "-A", "trust", "-U", "postgres"]);
        command.args(["--no-sync", "--no-locale", "-E", "UTF8"]);
        let answer = Answer::of(&mut command);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        let port = ephemeral::address().port();
        let log = fs::File::create(at("log")).expect("writable");
        let mut command = unprivileged(&postgres, folder.path());
        command.args(["-D", text(&at("db")), "-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "ssl=on",
            &format!("ssl_cert_file={}", text(&at("cert.pem"))),
            &format!("ssl_key_file={}", text(&at("key.pem"))),
            &format!("ssl_ca_file={}", text(&at("ca.pem"))),
            &format!("hba_file={}", text(&at("hba"))),
            &format!("unix_socket_directories={}", text(folder.path())),
        ] {
            command.args(["-c", setting]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        let mut database = Self {
            child,
            psql,
            port,
            folder,
        };
        database.wait_until_ready();
        Some(database)
    }

    /// Where its socket stands.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Of its socket, which is named after it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn sql(&self, statement: &str) -> Answer {
        let port = self.port.to_string();
        Answer::of(Command::new(&self.psql).args([
            "-h",
            text(self.folder.path()),
            "-p",
            &port,
            "-U",
            "postgres",
            "-Atc",
            statement,
        ]))
    }

    fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        // It tells nobody when it is ready; the first query that is answered does.
        while self.sql("SELECT 1").code != Some(0) {
            let ended = self.child.try_wait().expect("our child");
            if ended.is_some() || begun.elapsed() > HANG {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("postgres is not up ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        // At once, and its children with it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        let _ = self.child.wait();
    }
}

/// PostgreSQL's programs do not run as root.
fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = if geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

/// A gateway before a database: one listener to its socket, one to its port over TLS.
struct Site {
    installation: Installation,
    database: Postgresql,
    shop: Issued,
    socket: SocketAddr,
    tls: SocketAddr,
    _gateway: countersign_testkit::process::Process,
}

impl Site {
    fn start(test: &str) -> Option<Self> {
        peer(test, "openssl")?;
        let installation = Installation::new();
        let server = installation.issue("server", "db.example.com", &[]);
        let database = Postgresql::start(test, &server)?;
        for statement in [
            "CREATE ROLE app LOGIN",
            "CREATE ROLE report_daily LOGIN",
            "CREATE ROLE secret LOGIN PASSWORD 'secret'",
            "CREATE DATABASE shop",
        ] {
            let answer = database.sql(statement);
            assert_eq!(answer.code, Some(0), "{answer:#?}");
        }
        let shop = installation.issue("client", "shop", &[]);
        let own = installation.issue("client", "gateway", &[]);
        let (socket, tls) = (ephemeral::address(), ephemeral::address());
        let rules = "protocol = \"postgresql\"\n\
            allow = [{ cn = \"shop\", user = [\"app\", \"report_*\", \"secret\"], database = [\"shop\"] }]\n";
        let gateway = installation.serve(&format!(
            "[gateway]\nmetrics_address = \"{}\"\n\
             [[gateway.listener]]\naddress = \"{socket}\"\nupstream = \"unix:{}/.s.PGSQL.{port}\"\n{rules}\
             [[gateway.listener]]\naddress = \"{tls}\"\nupstream = \"tls://127.0.0.1:{port}\"\n\
             upstream_tls = {{ name = [\"db.example.com\"], certificate = \"{}\", key = \"{}\" }}\n{rules}",
            ephemeral::address(),
            text(database.socket_folder()),
            text(&own.certificate()),
            text(&own.key()),
            port = database.port(),
        ));
        Some(Self {
            installation,
            database,
            shop,
            socket,
            tls,
            _gateway: gateway,
        })
    }

    /// `psql` as this client; `more` are further settings.
    fn command(&self, who: &Issued, at: SocketAddr, user: &str, more: &str) -> Command {
        let settings = format!(
            "host=localhost hostaddr={} port={} dbname=shop user={user} sslmode=verify-full sslrootcert={} sslcert={} sslkey={} {more}",
            at.ip(),
            at.port(),
            text(&who.ca()),
            text(&who.certificate()),
            text(&who.key())
        );
        let mut command = Command::new(&self.database.psql);
        command.env("PGPASSWORD", "secret").arg("-At").arg(settings);
        command
    }

    fn psql(&self, who: &Issued, at: SocketAddr, user: &str, more: &str) -> Answer {
        let mut command = self.command(who, at, user, more);
        Answer::of(command.args(["-c", "SELECT current_user, current_database()"]))
    }

    #[track_caller]
    fn check(&self, at: SocketAddr, user: &str, more: &str) {
        let answer = self.psql(&self.shop, at, user, more);
        assert_eq!(answer.stdout, format!("{user}|shop\n"), "{answer:#?}");
    }

    #[track_caller]
    fn check_refused(&self, at: SocketAddr, user: &str, more: &str, why: &str) {
        let answer = self.psql(&self.shop, at, user, more);
        assert_ne!(answer.code, Some(0), "{answer:#?}");
        assert!(answer.stderr.contains(why), "{why:?} in {answer:#?}");
    }
}

#[test]
fn psql_is_the_user_that_its_certificate_may_be_and_no_other() {
    let Some(site) = Site::start("psql_is_the_user_that_its_certificate_may_be_and_no_other")
    else {
        return;
    };
    for at in [site.socket, site.tls] {
        site.check(at, "app", "");
        site.check(at, "report_daily", "");
        let refused = "the login was refused before it reached the database";
        site.check_refused(at, "postgres", "", refused);
        site.check_refused(at, "app", "dbname=template1", refused);
        site.check_refused(at, "app", "replication=database", refused);
        let plain = "takes no login without TLS";
        site.check_refused(at, "app", "sslmode=disable", plain);
    }
    let answer = site.psql(&site.shop, site.socket, "postgres", "");
    let (_, id) = answer.stderr.split_once("(refusal ").expect("an id");
    let (id, _) = id.split_once(')').expect("an id");
    let explained = explained(&site, id);
    for part in [
        "request-not-allowed",
        "cn:shop (internal) may not log in on listener listener-1",
        "allows cn:shop user app|report_*|secret database shop; this is user postgres, database shop",
    ] {
        assert!(explained.contains(part), "{part:?} in {explained}");
    }
    let intern = site.installation.issue("client", "intern", &[]);
    let answer = site.psql(&intern, site.socket, "app", "");
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    assert!(answer.stderr.contains("access denied"), "{answer:#?}");
}

#[test]
fn password_passes_the_gateway_and_channel_binding_does_not() {
    let Some(site) = Site::start("password_passes_the_gateway_and_channel_binding_does_not") else {
        return;
    };
    site.check(site.socket, "secret", "");
    site.check_refused(
        site.socket,
        "secret",
        "channel_binding=require",
        "channel binding",
    );
    // Over TLS the database offers it, and what libpq binds to is not what the database sees.
    site.check(site.tls, "secret", "channel_binding=disable");
    site.check_refused(site.tls, "secret", "", "channel binding check failed");
    site.check_refused(
        site.tls,
        "secret",
        "channel_binding=disable password=wrong",
        "password authentication failed",
    );
}

#[test]
fn session_of_a_revoked_certificate_ends() {
    let Some(site) = Site::start("session_of_a_revoked_certificate_ends") else {
        return;
    };
    let mut command = site.command(&site.shop, site.socket, "app", "");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut ask = |statement: &str| {
        stdin.write_all(statement.as_bytes()).expect("psql reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("readable");
        line
    };
    assert_eq!(ask("SELECT 'before';\n"), "before\n");
    site.installation.ok(&["revoke", "shop", "--wait"]);
    assert_eq!(ask("SELECT 'after';\n"), "");
    drop(stdin);
    let output = child.wait_with_output().expect("our child");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    site.check_refused(site.socket, "app", "", "certificate revoked");
}

#[test]
fn direct_tls_is_taken_from_openssl() {
    let Some(site) = Site::start("direct_tls_is_taken_from_openssl") else {
        return;
    };
    for at in [site.socket, site.tls] {
        let answer = s_client(&site, at, &["-alpn", "postgresql"]);
        assert!(answer.contains("server_version"), "{answer}");
        let answer = s_client(&site, at, &["-starttls", "postgres"]);
        assert!(answer.contains("server_version"), "{answer}");
        for options in [&[][..], &["-alpn", "h2"]] {
            let answer = s_client(&site, at, options);
            assert!(!answer.contains("server_version"), "{answer}");
            assert!(answer.contains("no application protocol"), "{answer}");
        }
    }
}

/// The client may have its answer before the refusal is on disk.
fn explained(site: &Site, id: &str) -> String {
    let begun = Instant::now();
    loop {
        let answer = site.installation.run(&["explain", id]);
        if answer.code == Some(0) {
            return answer.stdout;
        }
        assert!(begun.elapsed() < HANG, "{answer:#?}");
    }
}

/// Logs in and out by hand.
fn s_client(site: &Site, at: SocketAddr, options: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error"]);
    command.args(["-connect", &at.to_string(), "-servername", "localhost"]);
    command.args(["-CAfile", text(&site.shop.ca())]);
    command.args(["-cert", text(&site.shop.certificate())]);
    command.args(["-cert_chain", text(&site.shop.certificate())]);
    command.args(["-key", text(&site.shop.key())]).args(options);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    let mut stdin = child.stdin.take().expect("piped");
    let body = b"\0\x03\0\0user\0app\0database\0shop\0\0";
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    // A refused client may be gone before it has read this.
    let _ = stdin.write_all(&[&length[..], body, b"X\0\0\0\x04"].concat());
    drop(stdin);
    let output = child.wait_with_output().expect("our child");
    let output = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&output).into_owned()
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
