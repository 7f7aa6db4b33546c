//! A configuration whose files change under a gateway that serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::process::Process;
use countersign_testkit::upstream::Upstream;
use rustix::process::Signal;

use crate::http::Connection;
use crate::installation::{Installation, Issued, text};
use crate::metrics::{metrics_address, plain_get};
use crate::websocket::{WebSocket, echo_service};

/// A folder as Kubernetes mounts one: `config/NAME` is a link into `..data`, which is a link to the folder of the day.
struct Mounted<'a> {
    installation: &'a Installation,
    days: usize,
}

impl<'a> Mounted<'a> {
    fn new(installation: &'a Installation) -> Self {
        fs::create_dir(installation.path("config")).expect("writable");
        Self {
            installation,
            days: 0,
        }
    }

    /// All files at once, by one rename.
    fn swap(&mut self, files: &[(&str, &[u8])]) {
        self.days += 1;
        let folder = self.installation.path("config");
        let day = format!("..day-{}", self.days);
        fs::create_dir(folder.join(&day)).expect("writable");
        for (name, bytes) in files {
            fs::write(folder.join(&day).join(name), bytes).expect("writable");
            let link = folder.join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name), link).expect("writable");
            }
        }
        symlink(&day, folder.join("..data_tmp")).expect("writable");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("writable");
    }
}

fn configuration(listener: &str, further: &str) -> String {
    format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"{}\"\n{further}\n\
         [[gateway.listener]]\naddress = \"127.0.0.1:0\"\n{listener}",
        ephemeral::address()
    )
}

fn serve(installation: &Installation, file: &Path) -> Process {
    let state = installation.state();
    let arguments = ["run", "-c", text(file), "--state", text(&state)];
    Process::start(crate::installation::binary(), &arguments)
}

fn route(upstream: &str, cn: &str) -> String {
    format!(
        "[[gateway.listener.route]]\nupstream = \"{upstream}\"\nallow = [{{ cn = \"{cn}\" }}]\n"
    )
}

async fn status(who: &Issued, process: &Process) -> u16 {
    let client = who.client(Protocol::Http1Tls13);
    let connection = Connection::open(&client, Protocol::Http1Tls13, process.gateway()).await;
    let answer = connection.expect("let in").get("/").await;
    answer.expect("an answer").0
}

#[tokio::test]
async fn swap_of_a_mounted_folder_is_taken_over_and_drops_nobody() {
    let installation = Installation::new();
    let (you, other) = (
        installation.issue("client", "you", &[]),
        installation.issue("client", "other", &[]),
    );
    let upstream = Upstream::start();
    let echo = echo_service();
    let to = format!("http://{}", upstream.address());
    let server = || {
        let issued = installation.issue("server", "localhost", &["--force"]);
        let read = |path| fs::read(path).expect("readable");
        (read(issued.certificate()), read(issued.key()))
    };
    let (first, second) = (server(), server());
    let listener = |cn: &str| {
        let chat = format!(
            "[[gateway.listener.route]]\npath = \"/chat\"\nupstream = \"http://{}\"\nallow = [{{ cn = \"you\" }}]\n",
            echo.address()
        );
        format!(
            "certificate = \"cert.pem\"\nkey = \"key.pem\"\n{}{chat}",
            route(&to, cn)
        )
    };
    let mut mounted = Mounted::new(&installation);
    let before = configuration(&listener("you"), "");
    let files = |configuration: &str, server: &(Vec<u8>, Vec<u8>)| {
        [
            ("countersign.toml", configuration.as_bytes().to_vec()),
            ("cert.pem", server.0.clone()),
            ("key.pem", server.1.clone()),
        ]
    };
    let swap = |mounted: &mut Mounted<'_>, configuration: &str, server| {
        let files = files(configuration, server);
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (*name, &bytes[..]))
            .collect();
        mounted.swap(&files);
    };
    swap(&mut mounted, &before, &first);
    let process = serve(&installation, &installation.path("config/countersign.toml"));
    let gateway = process.gateway();
    let client = you.client(Protocol::Http1Tls13);
    let mut keep_alive = Connection::open(&client, Protocol::Http1Tls13, gateway)
        .await
        .expect("let in");
    let h2 = you.client(Protocol::Http2Tls13);
    let mut streams = Connection::open(&h2, Protocol::Http2Tls13, gateway)
        .await
        .expect("let in");
    let mut chat = WebSocket::open(&client, gateway).await;
    let shown = keep_alive.handshake().server.clone();
    assert_eq!(status(&other, &process).await, 403);
    // Another certificate, and nothing else.
    swap(&mut mounted, &before, &second);
    let line = process.wait_for_log(&["configuration reloaded"]);
    for name in ["cert.pem", "key.pem"] {
        assert!(line.contains(name), "{line}");
    }
    assert!(!line.contains("gateway.listener"), "{line}");
    let afresh = client.without_sessions();
    let renewed = Connection::open(&afresh, Protocol::Http1Tls13, gateway)
        .await
        .expect("let in");
    assert_ne!(renewed.handshake().server, shown);
    // Another rule, that admits somebody else too.
    let after = before.replace(
        "{ cn = \"you\" }]\n[[",
        "{ cn = \"you\" }, { cn = \"other\" }]\n[[",
    );
    assert_ne!(before, after);
    swap(&mut mounted, &after, &second);
    let line = process.wait_for_log(&[
        "configuration reloaded",
        "gateway.listener[0].route[0].allow[1]",
    ]);
    assert!(
        !line.contains("cert.pem") && !line.contains("other"),
        "{line}"
    );
    assert_eq!(status(&other, &process).await, 200);
    for connection in [&mut keep_alive, &mut streams] {
        assert_eq!(connection.get("/still").await.expect("open").0, 200);
    }
    assert_eq!(chat.echo("still").await.expect("open"), "still");
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_is_told_everywhere_and_ends_with_its_correction() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let good = configuration(&route("demo", "you"), "");
    let file = installation.write("countersign.toml", &good);
    let process = serve(&installation, &file);
    let metrics = || plain_get(metrics_address(&process), "/metrics", "");
    let refused = || {
        let shown = metrics();
        let line = shown
            .lines()
            .find(|line| line.starts_with("countersign_gateway_configuration_refused"));
        line.map(|line| line.ends_with(" 1"))
    };
    assert_eq!(refused(), None, "nothing was read again");
    for (wrong, said) in [
        (
            good.replace("workers = 1", "workers = 0"),
            "expected a nonzero",
        ),
        (good.replace("\"demo\"", "\"nowhere\""), "nowhere"),
        (good.replace("[gateway]", "[gateway"), "countersign.toml:1:"),
        (
            format!("{good}[trust.partner]\nbundle = \"missing.pem\"\n"),
            "missing.pem",
        ),
        (
            good.replace("workers = 1", "workers = 2"),
            "takes a restart",
        ),
    ] {
        fs::write(&file, &wrong).expect("writable");
        process.wait_for_log(&["configuration not reloaded", said]);
        assert_eq!(status(&you, &process).await, 200);
        assert_eq!(refused(), Some(true), "{said}");
        let told = installation.ok(&["status"]);
        assert!(
            told.contains("an earlier configuration is in force"),
            "{told}"
        );
        assert!(told.contains(said), "{told}");
    }
    // The missing file comes: nobody has to touch the configuration for it.
    let root = fs::read(you.ca()).expect("readable");
    fs::write(
        &file,
        format!("{good}[trust.partner]\nbundle = \"late.pem\"\n"),
    )
    .expect("writable");
    process.wait_for_log(&["configuration not reloaded", "late.pem"]);
    fs::write(installation.path("late.pem"), root).expect("writable");
    process.wait_for_log(&["configuration reloaded", "trust"]);
    assert_eq!(refused(), Some(false));
    let told = installation.ok(&["status"]);
    assert!(!told.contains("an earlier configuration"), "{told}");
    let shown = metrics();
    let counted = "countersign_gateway_reloads_total{outcome=\"refused\"} 6\n";
    assert!(shown.contains(counted), "{shown}\n{}", process.log());
}

#[tokio::test]
async fn rule_that_is_taken_away_by_an_editor_ends_what_it_admitted() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let other = installation.issue("client", "other", &[]);
    let file = installation.write(
        "countersign.toml",
        &configuration(&route("demo", "you"), ""),
    );
    let process = serve(&installation, &file);
    let client = you.client(Protocol::Http1Tls13);
    let mut connection = Connection::open(&client, Protocol::Http1Tls13, process.gateway())
        .await
        .expect("let in");
    assert_eq!(connection.get("/").await.expect("open").0, 200);
    // As editors save: beside it, then over it.
    let edited = fs::read_to_string(&file).expect("readable");
    let edited = edited.replace("cn = \"you\"", "cn = \"other\"");
    let beside = installation.write(".countersign.toml.swp", &edited);
    fs::rename(beside, &file).expect("writable");
    process.wait_for_log(&["configuration reloaded"]);
    let after = connection.get("/").await;
    assert!(!matches!(after, Ok((200, _))), "{after:?}");
    assert_eq!(status(&other, &process).await, 200);
}

#[tokio::test]
async fn files_are_left_alone_where_they_are_not_to_be_watched() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let unwatched = configuration(&route("demo", "you"), "watch_files = false");
    let file = installation.write("countersign.toml", &unwatched);
    let process = serve(&installation, &file);
    let elsewhere = Installation::new();
    let watched = elsewhere.write(
        "countersign.toml",
        &configuration(&route("demo", "you"), ""),
    );
    let watching = serve(&elsewhere, &watched);
    let edit = |file: &Path, before: &str, after: &str| {
        let text = fs::read_to_string(file).expect("readable");
        fs::write(file, text.replace(before, after)).expect("writable");
    };
    edit(&file, "\"you\"", "\"other\"");
    // What is edited later is seen twice: the other would have been by then.
    edit(&watched, "\"you\"", "\"second\"");
    watching.wait_for_log(&["configuration reloaded", "allow[0].cn"]);
    edit(&watched, "cn = \"second\"", "dns = \"third.example.com\"");
    watching.wait_for_log(&["configuration reloaded", "allow[0].dns"]);
    assert_eq!(status(&you, &process).await, 200);
    assert!(!process.log().contains("reloaded"), "{}", process.log());
    process.signal(Signal::HUP);
    process.wait_for_log(&["configuration reloaded"]);
    assert_ne!(status(&you, &process).await, 200);
}

#[tokio::test]
async fn refusal_comes_once_whatever_cannot_be_read_and_whatever_else_has_changed() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let root = fs::read(you.ca()).expect("readable");
    let mut mounted = Mounted::new(&installation);
    let good = configuration(
        &route("demo", "you"),
        "[trust.partner]\nbundle = \"partner.pem\"",
    );
    let mut swap = |text: &str| {
        mounted.swap(&[
            ("countersign.toml", text.as_bytes()),
            ("partner.pem", &root),
        ]);
    };
    swap(&good);
    let process = serve(&installation, &installation.path("config/countersign.toml"));
    let refused = || {
        let shown = plain_get(metrics_address(&process), "/metrics", "");
        let line = shown.lines().find_map(|line| {
            line.strip_prefix("countersign_gateway_reloads_total{outcome=\"refused\"} ")
        });
        line.map(str::to_owned)
    };
    // Time passes by the looks of another process.
    let elsewhere = Installation::new();
    elsewhere.issue("client", "you", &[]);
    let other = configuration(&route("demo", "you"), "");
    let file = elsewhere.write("countersign.toml", &other);
    let watching = serve(&elsewhere, &file);
    let pass = |rule: &str, told: &str| {
        let text = other.replace("{ cn = \"you\" }", rule);
        fs::write(&file, text).expect("writable");
        watching.wait_for_log(&["configuration reloaded", told]);
    };
    // The bundle is another file too, which is not even read.
    swap(&good.replace("[gateway]", "[gateway"));
    process.wait_for_log(&["configuration not reloaded", "countersign.toml:1:"]);
    pass("{ cn = \"second\" }", "allow[0].cn");
    pass("{ dns = \"third.example.com\" }", "allow[0].dns");
    assert_eq!(refused().as_deref(), Some("1"), "{}", process.log());
    // It stands there, and not even root can read it.
    fs::create_dir(installation.path("config/folder")).expect("writable");
    swap(&good.replace("partner.pem", "folder"));
    process.wait_for_log(&["configuration not reloaded", "folder"]);
    pass(
        "{ dns = \"third.example.com\" }, { cn = \"fourth\" }",
        "allow[1]",
    );
    pass(
        "{ dns = \"third.example.com\" }, { cn = \"fourth\" }, { cn = \"fifth\" }",
        "allow[2]",
    );
    assert_eq!(refused().as_deref(), Some("2"), "{}", process.log());
    assert_eq!(status(&you, &process).await, 200);
}

/// Waits until so many lines have all of these words.
async fn told(process: &Process, times: usize, words: &[&str]) {
    let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
    let count = || process.log().lines().filter(has_all).count();
    let telling = async {
        while count() < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(HANG, telling).await;
    assert!(
        told.is_ok(),
        "{words:?} not {times} times: {}",
        process.log()
    );
}

const HANG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn beginning_of_a_file_that_is_being_written_is_not_taken_for_all_of_it() {
    const RELOADED: &[&str] = &["configuration reloaded"];
    const CUT_SHORT: &[&str] = &[
        "configuration not reloaded",
        "the beginning of what it was",
        "SIGHUP",
    ];
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let other = installation.issue("client", "other", &[]);
    let denying = |who: &str| {
        let route = route("demo", "you\" }, { cn = \"other");
        configuration(&format!("{route}deny = [{{ cn = \"{who}\" }}]\n"), "")
    };
    let good = denying("other");
    let file = installation.write("countersign.toml", &good);
    let process = serve(&installation, &file);
    assert_eq!(status(&other, &process).await, 403);
    let half = &good[..good.find("deny = ").expect("it denies")];
    // As an editor that writes into the file, and is slow: what stands there by now is a configuration too, and denies nobody.
    fs::write(&file, half).expect("writable");
    told(&process, 1, CUT_SHORT).await;
    assert_eq!(status(&other, &process).await, 403);
    let whole = good.replace("deny = [{ cn = \"other\"", "deny = [{ cn = \"you\"");
    fs::write(&file, &whole).expect("writable");
    told(&process, 1, RELOADED).await;
    assert_eq!(status(&other, &process).await, 200);
    assert_eq!(status(&you, &process).await, 403);
    // Whoever means it says so.
    fs::write(&file, half).expect("writable");
    told(&process, 2, CUT_SHORT).await;
    process.signal(Signal::HUP);
    told(&process, 2, RELOADED).await;
    assert_eq!(status(&you, &process).await, 200);
    // What takes the place of a file is whole.
    let replace = |text: &str| {
        let beside = installation.write("next.toml", text);
        fs::rename(beside, &file).expect("writable");
    };
    replace(&whole);
    told(&process, 3, RELOADED).await;
    assert_eq!(status(&you, &process).await, 403);
    replace(half);
    told(&process, 4, RELOADED).await;
    assert_eq!(status(&you, &process).await, 200);
    let log = process.log();
    assert_eq!(
        log.matches("configuration not reloaded").count(),
        2,
        "{log}"
    );
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_without_a_touch() {
    let installation = Installation::new();
    installation.issue("client", "you", &[]);
    let plain = configuration(&route("demo", "you"), "");
    let file = installation.write("countersign.toml", &plain);
    let process = serve(&installation, &file);
    let ca = countersign_testkit::pki::TestCa::new("elsewhere");
    let leaf = countersign_testkit::pki::Leaf::server(&["localhost"]).valid(9, 3600);
    ca.issue(leaf).write(&installation.path(""), "later");
    let later = format!(
        "certificate = \"later.pem\"\nkey = \"later.key\"\n{}",
        route("demo", "you")
    );
    let with_certificate = plain.replace(&route("demo", "you"), &later);
    fs::write(&file, &with_certificate).expect("writable");
    let refused = process.wait_for_log(&["configuration not reloaded", "is not valid for another"]);
    assert!(refused.contains("tried_again"), "{refused}");
    process.wait_for_log(&["configuration reloaded", "certificate"]);
    let shown = plain_get(metrics_address(&process), "/metrics", "");
    // However often it was tried, it was refused once.
    let counted = "countersign_gateway_reloads_total{outcome=\"refused\"} 1\n";
    assert!(shown.contains(counted), "{shown}\n{}", process.log());
    let told = installation.ok(&["status"]);
    assert!(!told.contains("an earlier configuration"), "{told}");
}

#[tokio::test]
async fn file_that_has_no_end_is_named_and_holds_up_nothing() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let root = fs::read(you.ca()).expect("readable");
    let bundle = installation.path("partner.pem");
    fs::write(&bundle, &root).expect("writable");
    let with_bundle = format!(
        "{}[trust.partner]\nbundle = \"partner.pem\"\n",
        configuration(&route("demo", "you"), "")
    );
    let file = installation.write("countersign.toml", &with_bundle);
    let process = serve(&installation, &file);
    let fifo = installation.path("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    fs::rename(&fifo, &bundle).expect("writable");
    process.wait_for_log(&["configuration not reloaded", "partner.pem", "it is a pipe"]);
    assert_eq!(status(&you, &process).await, 200);
    let told = installation.ok(&["status"]);
    assert!(
        told.contains("partner.pem") && told.contains("it is a pipe"),
        "{told}"
    );
    // What does not need the file is taken over in spite of it.
    let without = configuration(&route("demo", "other"), "");
    fs::write(installation.path("next.toml"), without).expect("writable");
    fs::rename(installation.path("next.toml"), &file).expect("writable");
    process.wait_for_log(&["configuration reloaded", "allow[0].cn"]);
    assert_ne!(status(&you, &process).await, 200);
    // Nor does a start or a check wait for it.
    drop(process);
    let state = installation.state();
    for named in ["partner.pem", "pipe.toml"] {
        let pipe = installation.path("pipe.toml");
        let _ = fs::remove_file(&pipe);
        if named == "pipe.toml" {
            mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        } else {
            fs::write(&pipe, &with_bundle).expect("writable");
        }
        let check = ["config", "check", text(&pipe)];
        crate::installation::countersign(&installation.path(""), &check)
            .assert_fault(2, &[named, "it is a pipe"]);
        let arguments = ["run", "-c", text(&pipe), "--state", text(&state)];
        let started = Process::try_start(crate::installation::binary(), &arguments);
        let said = started.err().expect("it does not start");
        assert!(
            said.contains(named) && said.contains("it is a pipe"),
            "{said}"
        );
    }
}

/// As above, for a certificate of a listener.
#[tokio::test]
async fn certificate_that_has_ended_with_time_keeps_nothing_else_from_being_taken_over() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let ca = countersign_testkit::pki::TestCa::new("elsewhere");
    let brief = countersign_testkit::pki::Leaf::server(&["localhost"]).valid(-3600, 20);
    let brief = ca.issue(brief);
    brief.write(&installation.path(""), "brief");
    let route = format!(
        "certificate = \"brief.pem\"\nkey = \"brief.key\"\n{}",
        route("demo", "you")
    );
    let written = configuration(&route, "");
    let file = installation.write("countersign.toml", &written);
    let process = serve(&installation, &file);
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    // Until it is over, which the command says by the same clock.
    let check = ["config", "check", text(&file)];
    while crate::installation::countersign(&installation.path(""), &check).code == Some(0) {
        assert!(std::time::Instant::now() < deadline, "it never ends");
    }
    fs::write(&file, written.replace("cn = \"you\"", "cn = \"nobody\"")).expect("writable");
    process.wait_for_log(&["a certificate that is served has ended", "brief.pem"]);
    process.wait_for_log(&["configuration reloaded", "allow[0].cn"]);
    // One that is brought is refused.
    let over = countersign_testkit::pki::Leaf::server(&["localhost"]).valid(-3600, -60);
    ca.issue(over).write(&installation.path(""), "over");
    fs::write(&file, written.replace("brief.", "over.")).expect("writable");
    process.wait_for_log(&["configuration not reloaded", "over.pem", "expired"]);
    drop(you);
}

/// Nobody tells the process that it was taken out of the file.
#[tokio::test]
async fn refused_configuration_that_was_taken_out_of_an_unwatched_file_is_not_tried_again() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let in_force = configuration(&route("demo", "you"), "watch_files = false");
    let file = installation.write("countersign.toml", &in_force);
    let process = serve(&installation, &file);
    let root = fs::read(you.ca()).expect("readable");
    let later = format!(
        "{}[trust.partner]\nbundle = \"later.pem\"\n",
        in_force.replace("cn = \"you\"", "cn = \"nobody\"")
    );
    fs::write(&file, &later).expect("writable");
    process.signal(Signal::HUP);
    process.wait_for_log(&["configuration not reloaded", "later.pem"]);
    fs::write(&file, &in_force).expect("writable");
    process.wait_for_log(&["stands in its file no more"]);
    // What it was refused for has passed.
    installation.write("later.pem", std::str::from_utf8(&root).expect("PEM"));
    let told = installation.ok(&["status"]);
    assert!(!told.contains("an earlier configuration"), "{told}");
    process.signal(Signal::HUP);
    process.wait_for_log(&["configuration reloaded"]);
    assert_eq!(status(&you, &process).await, 200);
    assert_eq!(process.log().matches("configuration reloaded").count(), 1);
}

#[tokio::test]
async fn bundle_that_has_ended_with_time_keeps_nothing_else_from_being_taken_over() {
    let installation = Installation::new();
    let you = installation.issue("client", "you", &[]);
    let root = countersign_testkit::pki::root_pem_until(12);
    installation.write("partner.pem", &root);
    let trusting = "[trust.partner]\nbundle = \"partner.pem\"\n";
    let with_bundle = format!("{}{trusting}", configuration(&route("demo", "you"), ""));
    let file = installation.write("countersign.toml", &with_bundle);
    let process = serve(&installation, &file);
    process.wait_for_log(&["trust is over", "partner"]);
    fs::write(
        &file,
        with_bundle.replace("cn = \"you\"", "cn = \"nobody\""),
    )
    .expect("writable");
    process.wait_for_log(&["configuration reloaded", "allow[0].cn"]);
    assert_ne!(status(&you, &process).await, 200);
    // One that is brought is refused, by whatever name, and so is a start.
    let other = countersign_testkit::pki::expired_root_pem();
    installation.write("other.pem", &other);
    for (path, name) in [("other.pem", "partner"), ("partner.pem", "another")] {
        let brought = with_bundle
            .replace("\"partner.pem\"", &format!("\"{path}\""))
            .replace("trust.partner", &format!("trust.{name}"));
        fs::write(&file, &brought).expect("writable");
        process.wait_for_log(&["configuration not reloaded", path, "expired"]);
    }
    let state = installation.state();
    let arguments = ["run", "-c", text(&file), "--state", text(&state)];
    drop(process);
    let started = Process::try_start(crate::installation::binary(), &arguments);
    let said = started.err().expect("it does not start");
    assert!(said.contains("expired"), "{said}");
}
