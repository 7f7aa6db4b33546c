//! Partners: bundles that are never pooled, and their own revocation lists, made by `openssl ca` and served by nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::TestIdentity;
use countersign_testkit::process::Process;
use countersign_testkit::upstream::Upstream;
use rustix::process::Signal;

use crate::http::Connection;
use crate::installation::{Installation, Issued, binary, text};
use crate::nginx::Nginx;
use crate::openssl_partner::Partner;
use crate::peers::peer;
use crate::revocation::{for_client, open, warmed_up};

const ALL: [Protocol; 3] = [
    Protocol::Http1Tls12,
    Protocol::Http1Tls13,
    Protocol::Http2Tls13,
];

/// A gateway that trusts `internal` and the partner `acme`, whose list is in `acme.crl`.
struct Scene {
    partner: Partner,
    installation: Installation,
    upstream: Upstream,
    ours: Issued,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        let partner = Partner::new(&peer(test, "openssl")?, "/CN=Acme CA");
        let installation = Installation::new();
        let ours = installation.issue("client", "ours", &[]);
        installation.write("acme.pem", &partner.root());
        Some(Self {
            partner,
            installation,
            upstream: Upstream::start(),
            ours,
        })
    }

    fn publish(&self, list: &str) {
        // As a careful operator does: never half a file.
        let next = self.installation.write("acme.crl.next", list);
        fs::rename(next, self.installation.path("acme.crl")).expect("renamed");
    }

    fn toml(&self, trust: &str) -> String {
        format!(
            "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
             trust = [\"internal\", \"acme\"]\n[[gateway.listener.route]]\nhost = \"localhost\"\nupstream = \"http://{}\"\n\
             allow = [\"any-trusted\"]\n[trust.acme]\nbundle = \"acme.pem\"\ncontact = \"pki@acme.example\"\n{trust}\n",
            self.upstream.address()
        )
    }

    fn serve(&self, trust: &str) -> Process {
        self.installation.serve(&self.toml(trust))
    }

    /// What it says when it does not start.
    fn refused(&self, trust: &str) -> String {
        let file = self
            .installation
            .write("countersign.toml", &self.toml(trust));
        let state = self.installation.state();
        let arguments = ["run", "-c", text(&file), "--state", text(&state)];
        match Process::try_start(binary(), &arguments) {
            Ok(_) => panic!("it starts with {trust}"),
            Err(said) => said,
        }
    }

    fn client(&self, identity: &TestIdentity, protocol: Protocol) -> Client {
        Client::new(&self.ours.root(), Some(identity), protocol, "localhost")
    }

    async fn status(&self, identity: &TestIdentity, gateway: SocketAddr) -> Outcome {
        let protocol = Protocol::Http1Tls13;
        let client = self.client(identity, protocol);
        client
            .request(gateway, for_client(protocol, "/asked"))
            .await
    }
}

const FILE: &str = "crl = [\"acme.crl\"]";

/// Waits for a condition; only a hang ends it early.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < HANG, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const HANG: Duration = Duration::from_mins(1);

#[track_caller]
fn assert_alert(outcome: &Outcome, alert: u8) {
    assert!(
        matches!(outcome, Outcome::Alert(code) if *code == alert),
        "{outcome:?} instead of alert {alert}"
    );
}

const ACCESS_DENIED: u8 = 49;
const CERTIFICATE_REVOKED: u8 = 44;
const UNKNOWN_CA: u8 = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partners_new_list_ends_sessions_and_connections_of_whom_it_names_and_of_nobody_else() {
    let test =
        "partners_new_list_ends_sessions_and_connections_of_whom_it_names_and_of_nobody_else";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let (bad, good) = (scene.partner.issue("bad"), scene.partner.issue("good"));
    // An empty list is a list.
    scene.publish(&scene.partner.list(&[]));
    let gateway = scene.serve(FILE);
    let address = gateway.gateway();
    let mut doomed = Vec::new();
    let mut spared = Vec::new();
    for protocol in ALL {
        let (client, other) = (scene.client(&bad, protocol), scene.client(&good, protocol));
        doomed.push((
            client.clone(),
            protocol,
            warmed_up(&client, protocol, address).await,
        ));
        spared.push((
            other.clone(),
            protocol,
            warmed_up(&other, protocol, address).await,
        ));
    }
    scene.partner.revoke("bad");
    scene.publish(&scene.partner.list(&[]));
    gateway.wait_for_log(&["revocation list in force", "acme"]);
    for (client, protocol, mut connection) in doomed {
        until("the connection ends", async || {
            connection.get("/after").await.is_err()
        })
        .await;
        for client in [client.clone(), client.without_sessions()] {
            let answer = client
                .request(address, for_client(protocol, "/after"))
                .await;
            assert_alert(&answer, CERTIFICATE_REVOKED);
        }
    }
    for (client, protocol, mut connection) in spared {
        assert_eq!(connection.get("/still").await.expect("open").0, 200);
        let again = Connection::open(&client, protocol, address)
            .await
            .expect("in");
        assert!(again.handshake().resumed, "{protocol:?}");
    }
    gateway.wait_for_log(&["certificate-revoked"]);
    let status = scene.installation.ok(&["status"]);
    for words in [
        "acme: 1 anchor",
        "contact pki@acme.example",
        "revocation hard",
        "1 revoked",
        "CN=Acme CA",
    ] {
        assert!(status.contains(words), "{words} in\n{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_that_another_ca_revoked_is_nobodys_here() {
    let test = "serial_that_another_ca_revoked_is_nobodys_here";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let openssl = peer(test, "openssl").expect("found above");
    let other = Partner::new(&openssl, "/CN=Globex CA");
    // Both begin at the same serial number.
    let (ours, theirs) = (scene.partner.issue("one"), other.issue("one"));
    scene.partner.revoke("one");
    scene.publish(&scene.partner.list(&[]));
    scene.installation.write("globex.pem", &other.root());
    scene.installation.write("globex.crl", &other.list(&[]));
    let toml = scene.toml(FILE).replace(
        "trust = [\"internal\", \"acme\"]",
        "trust = [\"acme\", \"globex\"]",
    ) + "[trust.globex]\nbundle = \"globex.pem\"\ncrl = [\"globex.crl\"]\n";
    let gateway = scene.installation.serve(&toml);
    assert_alert(
        &scene.status(&ours, gateway.gateway()).await,
        CERTIFICATE_REVOKED,
    );
    let admitted = scene.status(&theirs, gateway.gateway()).await;
    assert_eq!(admitted.status(), Some(200), "{admitted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_of_the_partners_other_ca_covers_nobody_but_its_own() {
    let test = "list_of_the_partners_other_ca_covers_nobody_but_its_own";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let other = Partner::new(
        &peer(test, "openssl").expect("found above"),
        "/CN=Acme Second CA",
    );
    scene.installation.write(
        "acme.pem",
        &format!("{}{}", scene.partner.root(), other.root()),
    );
    let (uncovered, covered) = (scene.partner.issue("uncovered"), other.issue("covered"));
    scene.publish(&other.list(&[]));
    let gateway = scene.serve(FILE);
    assert_alert(
        &scene.status(&uncovered, gateway.gateway()).await,
        ACCESS_DENIED,
    );
    gateway.wait_for_log(&["crl-missing", "CN=Acme CA"]);
    let admitted = scene.status(&covered, gateway.gateway()).await;
    assert_eq!(admitted.status(), Some(200), "{admitted:?}");
    assert!(!scene.upstream.received_text().contains("uncovered"));
}

#[test]
fn list_that_cannot_be_relied_on_lets_nothing_start() {
    let Some(scene) = Scene::new("list_that_cannot_be_relied_on_lets_nothing_start") else {
        return;
    };
    let openssl = peer("", "openssl").expect("found above");
    let partner = &scene.partner;
    let impostor = Partner::new(&openssl, "/CN=Acme CA");
    let stranger = Partner::new(&openssl, "/CN=Stranger CA");
    let good = partner.list(&[]);
    let over = [
        "-crl_lastupdate",
        "20200101000000Z",
        "-crl_nextupdate",
        "20200102000000Z",
    ];
    let later = [
        "-crl_lastupdate",
        "20990101000000Z",
        "-crl_nextupdate",
        "20990102000000Z",
    ];
    let with = |extensions: &str| {
        partner.configure(extensions);
        let list = partner.list(&[]);
        partner.configure("");
        list
    };
    let point = "issuingDistributionPoint = critical,@point\n[point]\n";
    let cases = [
        (
            "nothing",
            String::new(),
            "holds no certificate revocation list",
        ),
        ("blanks", "\n\n".to_owned(), "holds no"),
        ("garbage", "garbage".to_owned(), ""),
        (
            "a page",
            "<html><body>Not found</body></html>".to_owned(),
            "",
        ),
        ("half of it", good[..good.len() / 2].to_owned(), ""),
        ("a certificate", partner.root(), "CERTIFICATE"),
        (
            "a list that is over",
            partner.list(&over),
            "was due to be replaced",
        ),
        ("a list of tomorrow", partner.list(&later), "begins later"),
        (
            "a CA of the same name",
            impostor.list(&[]),
            "does not verify",
        ),
        (
            "another CA",
            stranger.list(&[]),
            "none of this bundle's CAs",
        ),
        ("no number", with("without-number"), "no cRLNumber"),
        (
            "a delta",
            with("2.5.29.27 = critical,DER:020103"),
            "delta CRL",
        ),
        (
            "something critical",
            with("1.2.3.4 = critical,DER:0500"),
            "1.2.3.4",
        ),
        (
            "an indirect one",
            with(&format!(
                "{point}fullname=URI:http://a.example/x\nindirectCRL=TRUE"
            )),
            "indirect",
        ),
        (
            "some reasons",
            with(&format!("{point}onlysomereasons=keyCompromise")),
            "some reasons",
        ),
    ];
    for (what, list, words) in cases {
        scene.publish(&list);
        let said = scene.refused(FILE);
        assert!(
            said.contains("acme.crl") && said.contains(words),
            "{what}: {said}"
        );
        assert!(said.contains("hint"), "{what}: {said}");
    }
    fs::remove_file(scene.installation.path("acme.crl")).expect("there");
    let said = scene.refused(FILE);
    assert!(
        said.contains("acme.crl") && said.contains("No such file"),
        "{said}"
    );
    // The same in DER, and the right one, is served by.
    fs::write(scene.installation.path("acme.crl"), partner.list_der()).expect("writable");
    drop(scene.serve(FILE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_good_list_and_is_worse_changes_nothing_but_the_alarm() {
    let test = "what_comes_after_a_good_list_and_is_worse_changes_nothing_but_the_alarm";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let impostor = Partner::new(&peer(test, "openssl").expect("found above"), "/CN=Acme CA");
    let (bad, good) = (scene.partner.issue("bad"), scene.partner.issue("good"));
    let before = scene.partner.list(&[]);
    scene.partner.revoke("bad");
    scene.publish(&scene.partner.list(&[]));
    let gateway = scene.serve(FILE);
    let address = gateway.gateway();
    let worse = [
        (String::new(), "holds no"),
        ("<html>".to_owned(), "acme.crl"),
        (before, "older than the list"),
        (impostor.list(&[]), "does not verify"),
        (
            scene.partner.list(&[
                "-crl_lastupdate",
                "20200101000000Z",
                "-crl_nextupdate",
                "20200102000000Z",
            ]),
            "was due",
        ),
    ];
    for (list, words) in worse {
        scene.publish(&list);
        gateway.wait_for_log(&["no new revocation list", words]);
        assert_alert(&scene.status(&bad, address).await, CERTIFICATE_REVOKED);
        assert_eq!(scene.status(&good, address).await.status(), Some(200));
        // Nor is the partner anybody who can keep the rest from being reloaded.
        gateway.signal(Signal::HUP);
        gateway.wait_for_log(&["configuration reloaded"]);
        assert_alert(&scene.status(&bad, address).await, CERTIFICATE_REVOKED);
        assert_eq!(scene.status(&good, address).await.status(), Some(200));
    }
    let status = scene.installation.run(&["status"]).stdout;
    assert!(
        status.contains("no new revocation list from acme.crl"),
        "{status}"
    );
    assert!(status.contains("tell pki@acme.example"), "{status}");
}

/// A client of a CA below the partner's root, which the root has revoked; its chain is complete.
fn below_a_revoked_ca(scene: &Scene) -> (Partner, TestIdentity) {
    let below = scene.partner.below("Acme Issuing");
    let leaf = below.issue("leaf");
    let chain = [leaf.chain_pem(), below.root()].concat();
    scene.installation.write("below.pem", &below.root());
    let chain = scene.installation.write("chain.pem", &chain);
    let identity = TestIdentity::read(&chain, &below.path("leaf.key"));
    (below, identity)
}

const BELOW: &str = "intermediates = \"below.pem\"\ncrl = [\"acme.crl\"]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_that_its_source_gives_no_more_stays_until_one_follows_it() {
    let test = "list_that_its_source_gives_no_more_stays_until_one_follows_it";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let (below, identity) = below_a_revoked_ca(&scene);
    let (before, good) = (scene.partner.list(&[]), scene.partner.issue("good"));
    scene.partner.revoke("Acme Issuing");
    let (roots, theirs) = (scene.partner.list(&[]), below.list(&[]));
    scene.publish(&format!("{roots}{theirs}"));
    let gateway = scene.serve(BELOW);
    let address = gateway.gateway();
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    // As `cat` writes it, or as whoever forgot one of them.
    scene.publish(&theirs);
    gateway.wait_for_log(&[
        "no new revocation list",
        "gives 1 of its lists no more",
        "CN=Acme CA",
    ]);
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    assert_eq!(scene.status(&good, address).await.status(), Some(200));
    let status = scene.installation.run(&["status"]).stdout;
    assert!(status.contains("gives 1 of its lists no more"), "{status}");
    // A reload gives it up as little, and an older one does not come back in its place.
    gateway.signal(Signal::HUP);
    gateway.wait_for_log(&["configuration reloaded"]);
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    scene.publish(&format!("{before}{theirs}"));
    gateway.wait_for_log(&[
        "no new revocation list",
        "older than the list of CN=Acme CA",
    ]);
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    // A list of another scope says nothing of who stands on the one that is held.
    scene
        .partner
        .configure("issuingDistributionPoint = critical,@point\n[point]\nonlyuser=TRUE\n");
    let users = scene.partner.list(&[]);
    scene.partner.configure("");
    scene.publish(&format!("{users}{theirs}"));
    gateway.wait_for_log(&["revocation list in force", "4099"]);
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    // The next of the same CA goes in its place.
    scene.publish(&format!("{}{theirs}", scene.partner.list(&[])));
    until("nothing is missing", async || {
        !scene
            .installation
            .run(&["status"])
            .stdout
            .contains("no new revocation list")
    })
    .await;
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    assert_eq!(scene.status(&good, address).await.status(), Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partner_whose_list_is_over_or_garbled_keeps_no_rule_from_being_tightened() {
    let test = "partner_whose_list_is_over_or_garbled_keeps_no_rule_from_being_tightened";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let identity = scene.partner.issue("client");
    scene.publish(&scene.partner.list(&["-crlsec", "20"]));
    let gateway = scene.serve(FILE);
    let address = gateway.gateway();
    assert_eq!(scene.status(&identity, address).await.status(), Some(200));
    let own = scene.ours.client(Protocol::Http1Tls13);
    let ours = async || {
        let request = for_client(Protocol::Http1Tls13, "/own");
        own.without_sessions()
            .request(address, request)
            .await
            .status()
    };
    assert_eq!(ours().await, Some(200));
    until("the list is over", async || {
        matches!(
            scene.status(&identity, address).await,
            Outcome::Alert(ACCESS_DENIED)
        )
    })
    .await;
    let write = |allow: &str, trust: &str| {
        let toml = scene.toml(trust).replace("\"any-trusted\"", allow);
        scene.installation.write("countersign.toml", &toml);
        gateway.signal(Signal::HUP);
    };
    write("{ cn = \"nobody\" }", FILE);
    until("our own is out", async || ours().await == Some(403)).await;
    write("\"any-trusted\"", FILE);
    until("our own is in", async || ours().await == Some(200)).await;
    scene.publish("garbage");
    write("{ cn = \"nobody\" }", FILE);
    until("our own is out", async || ours().await == Some(403)).await;
    assert_alert(&scene.status(&identity, address).await, ACCESS_DENIED);
    // A list that the configuration names for the first time has to be good, and so has one that is asked for more than before.
    scene.installation.write("other.crl", "garbage");
    write("\"any-trusted\"", "crl = [\"other.crl\"]");
    gateway.wait_for_log(&["configuration not reloaded", "other.crl"]);
    write(
        "\"any-trusted\"",
        &format!("{FILE}\nrevocation = \"grace\"\ngrace = \"1h\""),
    );
    gateway.wait_for_log(&["configuration not reloaded", "acme.crl"]);
    assert_eq!(ours().await, Some(403));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_fetched_once_is_followed_after_a_restart_too() {
    let test = "what_was_fetched_once_is_followed_after_a_restart_too";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let Some(nginx) = peer(test, "nginx") else {
        return;
    };
    let (below, identity) = below_a_revoked_ca(&scene);
    let folder = scene.installation.path("web");
    fs::create_dir(&folder).expect("writable");
    let publish = |list: &str| {
        fs::write(folder.join("next"), list).expect("writable");
        fs::rename(folder.join("next"), folder.join("acme.crl")).expect("renamed");
    };
    let old = format!("{}{}", scene.partner.list(&[]), below.list(&[]));
    scene.partner.revoke("Acme Issuing");
    let short = ["-crlsec", "20"];
    let (roots, theirs) = (scene.partner.list(&short), below.list(&short));
    publish(&format!("{roots}{theirs}"));
    let server = web(&folder, &nginx, "");
    let trust = format!(
        "intermediates = \"below.pem\"\ncrl = [\"http://{}/acme.crl\"]\ncrl_refresh = \"5s\"",
        server.address()
    );
    let gateway = scene.serve(&trust);
    assert_alert(
        &scene.status(&identity, gateway.gateway()).await,
        CERTIFICATE_REVOKED,
    );
    publish(&theirs);
    gateway.wait_for_log(&["gives 1 of its lists no more"]);
    drop(gateway);
    let gateway = scene.serve(&trust);
    let address = gateway.gateway();
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    // Past its end too, what it said is what the next has to follow: the older list has days left.
    let good = scene.partner.issue("good");
    until("the list is over", async || {
        matches!(
            scene.status(&good, address).await,
            Outcome::Alert(ACCESS_DENIED)
        )
    })
    .await;
    drop(gateway);
    publish(&old);
    let said = scene.refused(&trust);
    assert!(said.contains("older than the list"), "{said}");
    publish(&format!("{roots}{theirs}"));
    let said = scene.refused(&trust);
    assert!(said.contains("was due to be replaced"), "{said}");
    publish(&format!("{}{}", scene.partner.list(&[]), below.list(&[])));
    let gateway = scene.serve(&trust);
    let address = gateway.gateway();
    assert_alert(&scene.status(&identity, address).await, CERTIFICATE_REVOKED);
    assert_eq!(scene.status(&good, address).await.status(), Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_list_is_over_nobody_of_the_partner_is_left_and_others_stay() {
    let test = "when_the_list_is_over_nobody_of_the_partner_is_left_and_others_stay";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let identity = scene.partner.issue("client");
    // Room for the gateway to start.
    scene.publish(&scene.partner.list(&["-crlsec", "15"]));
    let gateway = scene.serve(FILE);
    let address = gateway.gateway();
    let mut theirs = open(
        &scene.client(&identity, Protocol::Http2Tls13),
        Protocol::Http2Tls13,
        address,
    )
    .await;
    let resuming = scene.client(&identity, Protocol::Http1Tls13);
    drop(warmed_up(&resuming, Protocol::Http1Tls13, address).await);
    let own = scene.ours.client(Protocol::Http2Tls13);
    let mut ours = open(&own, Protocol::Http2Tls13, address).await;
    assert_eq!(theirs.get("/before").await.expect("open").0, 200);
    until("the connection ends", async || {
        theirs.get("/after").await.is_err()
    })
    .await;
    for client in [resuming.clone(), resuming.without_sessions()] {
        let answer = client
            .request(address, for_client(Protocol::Http1Tls13, "/after"))
            .await;
        assert_alert(&answer, ACCESS_DENIED);
    }
    gateway.wait_for_log(&["crl-expired", "CN=Acme CA"]);
    assert_eq!(ours.get("/still").await.expect("open").0, 200);
    // The next list lets them in again.
    scene.publish(&scene.partner.list(&[]));
    until("let in again", async || {
        scene.status(&identity, address).await.status() == Some(200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mode_says_what_becomes_of_whom_no_fresh_list_covers() {
    let test = "mode_says_what_becomes_of_whom_no_fresh_list_covers";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let (bad, good) = (scene.partner.issue("bad"), scene.partner.issue("good"));
    scene.partner.revoke("bad");
    let hour_ago = "20200101000000Z";
    scene.publish(
        &scene
            .partner
            .list(&["-crl_lastupdate", hour_ago, "-crlsec", "1"]),
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = scene.refused(FILE);
    assert!(said.contains("was due"), "{said}");
    for (mode, counted) in [
        ("revocation = \"grace\"\ngrace = \"1h\"", false),
        ("revocation = \"dangerous_soft\"", true),
    ] {
        let gateway = scene.serve(&format!("{FILE}\n{mode}"));
        let address = gateway.gateway();
        // Whatever its age, whom a list names is refused.
        assert_alert(&scene.status(&bad, address).await, CERTIFICATE_REVOKED);
        assert_eq!(scene.status(&good, address).await.status(), Some(200));
        let status = scene.installation.run(&["status"]).stdout;
        assert_eq!(status.contains("1 admitted unchecked"), counted, "{status}");
        if counted {
            gateway.wait_for_log(&["revocation-not-checked"]);
            // A URL where nobody answers is no list either, and in this mode no reason not to start.
            drop(gateway);
            let gone = "crl = [\"http://127.0.0.1:1/acme.crl\"]\nrevocation = \"dangerous_soft\"";
            let gateway = scene.serve(gone);
            assert_eq!(
                scene.status(&good, gateway.gateway()).await.status(),
                Some(200)
            );
            let status = scene.installation.run(&["status"]).stdout;
            assert!(
                status.contains("no list from http://127.0.0.1:1/acme.crl"),
                "{status}"
            );
        }
    }
    let over = format!("{FILE}\nrevocation = \"grace\"\ngrace = \"1s\"");
    let said = scene.refused(&over);
    assert!(said.contains("was due"), "{said}");
}

fn web(folder: &Path, program: &Path, extra: &str) -> Nginx {
    Nginx::start(program, |address| {
        format!(
            "server {{ listen {address}; root {}; default_type application/pkix-crl; {extra} }}",
            text(folder)
        )
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_is_fetched_and_fetched_again_and_outlives_its_server() {
    let test = "list_is_fetched_and_fetched_again_and_outlives_its_server";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let Some(nginx) = peer(test, "nginx") else {
        return;
    };
    let (bad, good) = (scene.partner.issue("bad"), scene.partner.issue("good"));
    let folder = scene.installation.path("web");
    fs::create_dir(&folder).expect("writable");
    let publish = |list: Vec<u8>| {
        fs::write(folder.join("next"), list).expect("writable");
        fs::rename(folder.join("next"), folder.join("acme.crl")).expect("renamed");
    };
    publish(scene.partner.list_der());
    let server = web(&folder, &nginx, "location /moved { return 302 /acme.crl; }");
    let trust = format!(
        "crl = [\"http://{}/moved\"]\ncrl_refresh = \"5s\"",
        server.address()
    );
    let gateway = scene.serve(&trust);
    let address = gateway.gateway();
    let protocol = Protocol::Http2Tls13;
    let mut connection = open(&scene.client(&bad, protocol), protocol, address).await;
    assert_eq!(connection.get("/before").await.expect("open").0, 200);
    scene.partner.revoke("bad");
    publish(scene.partner.list_der());
    until("the connection ends", async || {
        connection.get("/after").await.is_err()
    })
    .await;
    assert_alert(&scene.status(&bad, address).await, CERTIFICATE_REVOKED);
    publish(b"<html>It works!</html>".to_vec());
    gateway.wait_for_log(&["no new revocation list", "/moved"]);
    assert_alert(&scene.status(&bad, address).await, CERTIFICATE_REVOKED);
    assert_eq!(scene.status(&good, address).await.status(), Some(200));
    drop((gateway, server));
    // Started again without the server: what was fetched last is kept.
    let gateway = scene.serve(&trust);
    assert_alert(
        &scene.status(&bad, gateway.gateway()).await,
        CERTIFICATE_REVOKED,
    );
    assert_eq!(
        scene.status(&good, gateway.gateway()).await.status(),
        Some(200)
    );
    gateway.wait_for_log(&["no new revocation list", "cannot connect"]);
    // What left the configuration is not kept.
    let kept = || {
        let entries = fs::read_dir(scene.installation.state().join("lists"));
        entries.expect("readable").count()
    };
    assert_eq!(kept(), 1);
    let without = scene.toml("");
    let next = scene.installation.write("next.toml", &without);
    fs::rename(next, scene.installation.path("countersign.toml")).expect("renamed");
    gateway.wait_for_log(&["configuration reloaded"]);
    assert_eq!(kept(), 0);
}

#[test]
fn answer_that_is_no_list_of_the_partner_lets_nothing_start() {
    let test = "answer_that_is_no_list_of_the_partner_lets_nothing_start";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let Some(nginx) = peer(test, "nginx") else {
        return;
    };
    let folder = scene.installation.path("web");
    fs::create_dir(&folder).expect("writable");
    fs::write(folder.join("page"), "<html>It works!</html>").expect("writable");
    fs::write(folder.join("empty"), "").expect("writable");
    fs::write(folder.join("good"), scene.partner.list_der()).expect("writable");
    let server = web(
        &folder,
        &nginx,
        "location /elsewhere { return 302 http://localhost:1/good; } location /round { return 302 /round; }",
    );
    for (path, words) in [
        ("page", "neither DER nor PEM"),
        ("empty", "holds no"),
        ("missing", "status 404"),
        ("elsewhere", "another place"),
        ("round", "redirects more than"),
    ] {
        let url = format!("http://{}/{path}", server.address());
        let said = scene.refused(&format!("crl = [\"{url}\"]"));
        assert!(
            said.contains(&url) && said.contains(words),
            "{path}: {said}"
        );
        assert!(said.contains("hint"), "{path}: {said}");
    }
    let said = scene.refused("crl = [\"http://127.0.0.1:1/x\"]");
    assert!(said.contains("cannot connect"), "{said}");
    let good = format!("crl = [\"http://{}/good\"]", server.address());
    drop(scene.serve(&good));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partner_is_trusted_on_its_own_name_and_nowhere_else() {
    let test = "partner_is_trusted_on_its_own_name_and_nowhere_else";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    // The partner gives its client the name of one of ours.
    let identity = scene.partner.issue("ours");
    scene.publish(&scene.partner.list(&[]));
    let upstream = scene.upstream.address();
    let toml = format!(
        "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         trust = [\"internal\", \"acme\"]\n\
         [[gateway.listener.route]]\nhost = \"partner.test\"\nupstream = \"http://{upstream}\"\ntrust = [\"acme\"]\n\
         allow = [{{ bundle = \"acme\", cn = \"ours\" }}]\n\
         [[gateway.listener.route]]\nhost = \"own.test\"\nupstream = \"http://{upstream}\"\ntrust = [\"internal\"]\nallow = [\"any-trusted\"]\n\
         [[gateway.listener.route]]\nhost = \"both.test\"\npath = \"/own/**\"\nupstream = \"http://{upstream}\"\ntrust = [\"internal\"]\nallow = [\"any-trusted\"]\n\
         [[gateway.listener.route]]\nhost = \"both.test\"\nupstream = \"http://{upstream}\"\nallow = [{{ cn = \"ours\" }}]\n\
         [[gateway.listener.route]]\nhost = \"shared.test\"\nupstream = \"http://{upstream}\"\nallow = [\"any-trusted\"]\n\
         [trust.acme]\nbundle = \"acme.pem\"\n{FILE}\n"
    );
    let gateway = scene.installation.serve(&toml);
    let address = gateway.gateway();
    let request = |host: &str, path: &str, protocol: Protocol| {
        let is_h2 = protocol == Protocol::Http2Tls13;
        let uri = if is_h2 {
            format!("https://{host}{path}")
        } else {
            path.to_owned()
        };
        let request = http::Request::builder().uri(uri);
        let request = if is_h2 {
            request
        } else {
            request.header("host", host)
        };
        request
            .body(http_body_util::Full::default())
            .expect("a request")
    };
    for protocol in ALL {
        let theirs = |sni: &str| Client::new(&scene.ours.root(), Some(&identity), protocol, sni);
        let own = scene.ours.identity();
        let ours = |sni: &str| Client::new(&scene.ours.root(), Some(&own), protocol, sni);
        let status = async |client: Client, host: &str, path: &str| {
            client.request(address, request(host, path, protocol)).await
        };
        // Each on its own name.
        assert_eq!(
            status(theirs("partner.test"), "partner.test", "/x")
                .await
                .status(),
            Some(200)
        );
        assert_eq!(
            status(ours("own.test"), "own.test", "/x").await.status(),
            Some(200)
        );
        assert_eq!(
            status(theirs("shared.test"), "shared.test", "/x")
                .await
                .status(),
            Some(200)
        );
        // On the other's, in the handshake already, whatever its name.
        assert_alert(
            &status(theirs("own.test"), "own.test", "/leak").await,
            UNKNOWN_CA,
        );
        assert_alert(
            &status(ours("partner.test"), "partner.test", "/leak").await,
            UNKNOWN_CA,
        );
        // Where one route of a host accepts it, each request is judged; a name without a bundle is the internal one.
        assert_eq!(
            status(theirs("both.test"), "both.test", "/own/leak")
                .await
                .status(),
            Some(403)
        );
        assert_eq!(
            status(theirs("both.test"), "both.test", "/leak")
                .await
                .status(),
            Some(403)
        );
        assert_eq!(
            status(ours("both.test"), "both.test", "/own/x")
                .await
                .status(),
            Some(200)
        );
        // A connection that was let in for one name asks for no other.
        for (sni, host) in [
            ("partner.test", "own.test"),
            ("shared.test", "own.test"),
            ("shared.test", "both.test"),
        ] {
            let misdirected = status(theirs(sni), host, "/leak").await;
            assert_eq!(misdirected.status(), Some(421), "{sni} {host}");
        }
    }
    // Nor does its session resume for another, whatever the client offers.
    let openssl = peer(test, "openssl").expect("found above");
    let session = scene.installation.path("session.pem");
    let s_client = |sni: &str, version: &str, session_option: &str| {
        let mut command = std::process::Command::new(&openssl);
        command.args([
            "s_client",
            "-connect",
            &address.to_string(),
            "-servername",
            sni,
            version,
        ]);
        command.args([
            "-ign_eof",
            "-alpn",
            "http/1.1",
            session_option,
            text(&session),
        ]);
        command.args(["-cert", text(&scene.partner.path("ours.pem"))]);
        command.args(["-key", text(&scene.partner.path("ours.key"))]);
        let asked = format!("GET /again HTTP/1.1\r\nHost: {sni}\r\nConnection: close\r\n\r\n");
        let file = scene.installation.write("asked", &asked);
        command.stdin(fs::File::open(file).expect("just written"));
        let output = command.output().expect("openssl starts");
        let output = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&output).into_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let first = s_client("shared.test", version, "-sess_out");
        assert!(first.contains("HTTP/1.1 200"), "{first}");
        let elsewhere = s_client("own.test", version, "-sess_in");
        assert!(!elsewhere.contains("Reused, "), "{elsewhere}");
        assert!(!elsewhere.contains("HTTP/1.1 200"), "{elsewhere}");
        drop(s_client("shared.test", version, "-sess_out"));
        let same = s_client("shared.test", version, "-sess_in");
        assert!(same.contains("Reused, "), "{same}");
    }
    gateway.wait_for_log(&["client-ca-not-trusted"]);
    assert!(!scene.upstream.received_text().contains("leak"));
}
