//! Everything that can go wrong at start: a clear error, a hint, the right exit code.

use std::net::TcpListener;
use std::process::Command;

use countersign_testkit::pki::{Leaf, TestCa};

use crate::installation::{Answer, Installation, binary, countersign, text};
use crate::peers::peer;

/// Starts what cannot start: `prepare` makes the fault and gives the arguments.
struct Case<'a> {
    /// Who has to act: 2 whoever wrote the configuration, 3 whoever runs the machine.
    code: i32,
    /// What the error names.
    words: &'a [&'a str],
    arguments: &'a [&'a str],
}

#[track_caller]
fn check(installation: &Installation, case: &Case<'_>) {
    let answer = installation.run(case.arguments);
    answer.assert_fault(case.code, case.words);
    // Nothing was announced, so no script goes on.
    assert!(!answer.stdout.contains("ready"), "{answer:#?}");
}

/// The same for a configuration file.
#[track_caller]
fn check_configuration(installation: &Installation, toml: &str, words: &[&str]) {
    let file = installation.write("countersign.toml", toml);
    installation
        .run(&["run", "-c", text(&file)])
        .assert_fault(2, words);
    let folder = file.parent().expect("a file has a folder");
    countersign(folder, &["config", "check", text(&file)]).assert_fault(2, words);
}

#[test]
fn port_taken() {
    let installation = Installation::empty();
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("bound").to_string();
    check(
        &installation,
        &Case {
            code: 3,
            words: &[&address],
            arguments: &["up", "--listen", &address, "--metrics", "127.0.0.1:0"],
        },
    );
}

#[test]
fn metrics_port_taken() {
    let installation = Installation::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("bound").to_string();
    let toml = format!(
        "[gateway]\nmetrics_address = \"{address}\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
    );
    let file = installation.write("countersign.toml", &toml);
    check(
        &installation,
        &Case {
            code: 3,
            words: &[&address],
            arguments: &["run", "-c", text(&file)],
        },
    );
}

#[test]
fn process_with_nothing_to_do() {
    let installation = Installation::new();
    for toml in ["", "[gateway]\nworkers = 1\n"] {
        check_configuration(
            &installation,
            toml,
            &["gateway.listener", "nobody would be served", "[authority]"],
        );
    }
    let elsewhere = "[authority]\n[gateway.feed]\nurl = \"https://127.0.0.1:1\"\n\
                     certificate = \"cert.pem\"\nkey = \"key.pem\"\nbundle = \"ca.pem\"\n";
    let file = installation.write("countersign.toml", elsewhere);
    let folder = file.parent().expect("a file has a folder");
    countersign(folder, &["config", "check", text(&file)]).assert_fault(2, &["gateway.listener"]);
    let without_authority = Installation::empty();
    let file = without_authority.write("countersign.toml", "[authority]\n");
    without_authority
        .run(&["run", "-c", text(&file)])
        .assert_fault(2, &["none is initialised", "countersign init"]);
}

#[test]
fn address_that_is_not_this_machines() {
    let installation = Installation::empty();
    // RFC 5737: documentation only.
    let address = "192.0.2.1:8443";
    check(
        &installation,
        &Case {
            code: 3,
            words: &[address],
            arguments: &["up", "--listen", address, "--metrics", "127.0.0.1:0"],
        },
    );
}

#[test]
fn listen_address_malformed() {
    let installation = Installation::empty();
    for address in ["8443", "localhost:8443", "127.0.0.1", "127.0.0.1:99999"] {
        check(
            &installation,
            &Case {
                code: 2,
                words: &[address],
                arguments: &["up", "--listen", address],
            },
        );
    }
    assert!(
        !installation.state().exists(),
        "nothing is made for a command line that is wrong"
    );
}

#[test]
fn upstream_malformed() {
    let installation = Installation::empty();
    for url in [
        "localhost:3000",
        "ftp://127.0.0.1:3000",
        "http://",
        "http://127.0.0.1:99999",
        "http://a b",
        "/run/app.sock",
    ] {
        check(
            &installation,
            &Case {
                code: 2,
                words: &[url],
                arguments: &["up", "--upstream", url],
            },
        );
    }
    assert!(
        !installation.state().exists(),
        "nothing is made for a command line that is wrong"
    );
}

#[test]
fn name_malformed() {
    let installation = Installation::empty();
    for name in ["-a.example", "a..example", "a b", "über.example"] {
        let argument = format!("--name={name}");
        check(
            &installation,
            &Case {
                code: 2,
                words: &[],
                arguments: &["up", &argument],
            },
        );
    }
}

#[test]
fn state_folder_unwritable() {
    // As root no permission binds, so these are places where nobody can make a folder.
    let installation = Installation::empty();
    let file = installation.write("file", "");
    let below_file = file.join("state");
    let check = |state: &str, code: i32, word: &str| {
        let answer = countersign(file.parent().expect("a folder"), &["up", "--state", state]);
        answer.assert_fault(code, &[word]);
    };
    check(text(&below_file), 2, text(&file));
    check("/proc/countersign-state", 3, "/proc/countersign-state");
    check(
        "/sys/kernel/countersign-state",
        3,
        "/sys/kernel/countersign-state",
    );
}

#[test]
fn state_folder_is_a_file_or_somebody_elses() {
    let installation = Installation::empty();
    installation.write("state", "");
    check(
        &installation,
        &Case {
            code: 2,
            words: &["state"],
            arguments: &["up"],
        },
    );
    let foreign = Installation::empty();
    std::fs::create_dir(foreign.state()).expect("writable");
    foreign.write("state/thesis.tex", "years of work");
    check(
        &foreign,
        &Case {
            code: 2,
            words: &["thesis.tex"],
            arguments: &["up"],
        },
    );
}

#[test]
fn state_of_a_newer_version() {
    let installation = Installation::new();
    let format = installation.state().join("format");
    let known = std::fs::read_to_string(&format).expect("a format file");
    let newer = known.replace('1', "4711");
    assert_ne!(newer, known);
    std::fs::write(&format, newer).expect("writable");
    for arguments in [
        &["up"][..],
        &["list"],
        &["issue", "client", "partner"],
        &["status"],
        &["revoke", "you"],
    ] {
        check(
            &installation,
            &Case {
                code: 2,
                words: &["4711"],
                arguments,
            },
        );
    }
}

#[test]
fn inventory_of_a_newer_version() {
    let installation = Installation::new();
    let inventory =
        rusqlite::Connection::open(installation.state().join("inventory.db")).expect("a database");
    inventory
        .pragma_update(None, "user_version", 9999)
        .expect("writable");
    inventory.close().expect("closed");
    check(
        &installation,
        &Case {
            code: 2,
            words: &["9999"],
            arguments: &["up"],
        },
    );
}

#[test]
fn inventory_that_is_no_database() {
    let installation = Installation::new();
    let inventory = installation.state().join("inventory.db");
    std::fs::write(
        &inventory,
        "not a database, but long enough to be taken for one by nobody".repeat(100),
    )
    .expect("writable");
    check(
        &installation,
        &Case {
            code: 3,
            words: &["inventory.db"],
            arguments: &["up"],
        },
    );
}

#[test]
fn second_process_on_the_same_state() {
    let installation = Installation::new();
    let first = installation.up(&[]);
    let id = first.id().to_string();
    check(
        &installation,
        &Case {
            code: 3,
            words: &["in use", &id],
            arguments: &["up", "--listen", "127.0.0.1:0"],
        },
    );
    assert!(first.interrupt().success(), "the first goes on");
}

#[test]
fn clock_before_the_authoritys_birth() {
    let Some(faketime) = peer("clock_before_the_authoritys_birth", "faketime") else {
        return;
    };
    let installation = Installation::empty();
    let state = installation.state();
    let mut init = Command::new(faketime);
    init.args(["-f", "+400d"])
        .arg(binary())
        .args(["init", "--state", text(&state)]);
    let made = Answer::of(&mut init);
    assert_eq!(made.code, Some(0), "{made:#?}");
    check(
        &installation,
        &Case {
            code: 3,
            words: &["clock"],
            arguments: &["up", "--listen", "127.0.0.1:0"],
        },
    );
}

#[test]
fn socket_path_too_long() {
    let installation = Installation::empty();
    // unix(7): sun_path has 108 bytes, the last of them a NUL.
    let state = installation.path(&"s".repeat(100));
    let answer = countersign(&installation.path(""), &["up", "--state", text(&state)]);
    answer.assert_fault(2, &["107"]);
    assert!(!state.join("ca").exists(), "found before anything is made");
}

#[test]
fn passphrase_wrong_missing_or_empty() {
    let installation = Installation::empty();
    let right = installation.write("right", "correct horse battery staple\n");
    let wrong = installation.write("wrong", "incorrect horse\n");
    let empty = installation.write("empty", "\n");
    let missing = installation.path("missing");
    installation.ok(&["init", "--passphrase-file", text(&right)]);
    let up = |file| {
        [
            "up",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--passphrase-file",
            file,
        ]
    };
    check(
        &installation,
        &Case {
            code: 2,
            words: &["passphrase"],
            arguments: &up(text(&wrong)),
        },
    );
    check(
        &installation,
        &Case {
            code: 2,
            words: &[text(&missing)],
            arguments: &up(text(&missing)),
        },
    );
    check(
        &installation,
        &Case {
            code: 2,
            words: &[text(&empty)],
            arguments: &up(text(&empty)),
        },
    );
    check(
        &installation,
        &Case {
            code: 2,
            words: &["passphrase"],
            arguments: &["issue", "client", "partner"],
        },
    );
    drop(installation.up(&["--passphrase-file", text(&right)]));
}

#[test]
fn ca_files_damaged_or_gone() {
    let serve = ["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let installation = Installation::new();
    for file in [
        "ca/root.pem",
        "ca/intermediate.pem",
        "ca/operator.pem",
        "ca/intermediate.key.sealed",
        "meta.json",
    ] {
        let path = installation.state().join(file);
        let sound = std::fs::read(&path).expect("init makes it");
        for damage in [None, Some("garbage")] {
            match damage {
                None => std::fs::remove_file(&path).expect("it was there"),
                Some(text) => std::fs::write(&path, text).expect("writable"),
            }
            let answer = installation.run(&serve);
            assert!(
                matches!(answer.code, Some(2 | 3)),
                "{file} {damage:?}: {answer:#?}"
            );
            assert!(
                answer.stderr.contains("error: ") && answer.stderr.contains(file),
                "{file} {damage:?}: {answer:#?}"
            );
        }
        std::fs::write(&path, sound).expect("writable");
    }
}

#[test]
fn ca_of_another_state_is_refused() {
    let (installation, other) = (Installation::new(), Installation::new());
    for file in [
        "root.pem",
        "intermediate.pem",
        "intermediate.key.sealed",
        "operator.pem",
    ] {
        let path = |installation: &Installation| installation.state().join("ca").join(file);
        std::fs::copy(path(&other), path(&installation)).expect("copied");
    }
    let answer = installation.run(&["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    assert!(matches!(answer.code, Some(2 | 3)), "{answer:#?}");
    assert!(answer.stderr.contains("hint: "), "{answer:#?}");
}

#[test]
fn damaged_gateway_certificate_is_replaced() {
    let installation = Installation::new();
    for damage in ["garbage", ""] {
        std::fs::write(installation.state().join("gateway/cert.pem"), damage).expect("writable");
        let gateway = installation.up(&[]);
        let now =
            std::fs::read_to_string(installation.state().join("gateway/cert.pem")).expect("there");
        assert!(now.starts_with("-----BEGIN CERTIFICATE-----"), "{now}");
        drop(gateway);
    }
}

#[test]
fn configuration_missing() {
    let installation = Installation::new();
    let missing = installation.path("missing.toml");
    check(
        &installation,
        &Case {
            code: 2,
            words: &[text(&missing)],
            arguments: &["run", "-c", text(&missing)],
        },
    );
}

#[test]
fn configuration_with_unknown_keys() {
    let installation = Installation::new();
    for (toml, key) in [
        (configuration("", "alow = []\n"), "alow"),
        (
            configuration("", "[gateway.listener.route.shadow]\nallow = []\n"),
            "shadow",
        ),
        (configuration("[egress]\nid = 1\n", ""), "egress"),
        (configuration("[gateway]\nworker = 2\n", ""), "worker"),
    ] {
        check_configuration(&installation, &toml, &[key]);
    }
}

#[test]
fn configuration_that_cannot_be_served() {
    let installation = Installation::new();
    let listener = "[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n";
    let route = "[[gateway.listener.route]]\nupstream = \"demo\"\n";
    for (toml, words) in [
        (format!("{listener}{route}"), &["allow"][..]),
        (format!("{listener}{route}allow = [\"any\"]\n"), &["any"]),
        (
            format!("{listener}{route}allow = [\"anyone\"]\n"),
            &["anyone"],
        ),
        (
            format!("{listener}trust = [\"acme\"]\n{route}allow = [\"any-trusted\"]\n"),
            &["acme"],
        ),
        (
            format!("{listener}certificate = \"a.pem\"\n{route}allow = [\"any-trusted\"]\n"),
            &["key"],
        ),
        (
            format!("{listener}client_certificate = \"off\"\n{route}allow = [\"any-trusted\"]\n"),
            &["never asks"],
        ),
        (
            format!("{listener}{route}host = \"a..b\"\nallow = [\"any-trusted\"]\n"),
            &["a..b"],
        ),
        (
            format!("{listener}{route}allow = [{{ spiffe = \"https://a\" }}]\n"),
            &["https://a"],
        ),
        ("[gateway]\n".to_owned(), &["listener"]),
        ("not toml".to_owned(), &["countersign.toml"]),
    ] {
        check_configuration(&installation, &toml, words);
    }
}

#[test]
fn trust_bundle_missing_empty_garbage_or_expired() {
    let installation = Installation::new();
    let missing = installation.path("missing.pem");
    let empty = installation.write("empty.pem", "");
    let garbage = installation.write(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    );
    let ca = TestCa::new("partner");
    let key = installation.write("key.pem", &ca.issue(Leaf::client("x")).key_pem);
    let expired = installation.write("expired.pem", &countersign_testkit::pki::expired_root_pem());
    let nothing = installation.write("nothing.pem", "# no certificate yet\n");
    for file in [missing, empty, garbage, key, nothing] {
        check_configuration(&installation, &partner(text(&file)), &[text(&file)]);
    }
    check_configuration(
        &installation,
        &partner(text(&expired)),
        &["partner", "expired", text(&expired), "valid now"],
    );
}

#[test]
fn certificate_that_no_client_would_accept() {
    let installation = Installation::new();
    let folder = installation.path("");
    let ca = TestCa::new("server");
    let server = || Leaf::server(&["localhost"]);
    for (leaf, cause) in [
        (server().valid(-7200, -3600), "leaf-expired"),
        (server().valid(3600, 7200), "not-yet-valid"),
        (Leaf::client("localhost"), "eku-missing-serverauth"),
    ] {
        let (certificate, key) = ca.issue(leaf).write(&folder, cause);
        let own = format!(
            "certificate = \"{}\"\nkey = \"{}\"\n",
            text(&certificate),
            text(&key)
        );
        check_configuration(
            &installation,
            &with_listener(&own),
            &[cause, text(&certificate), "no client"],
        );
    }
}

#[test]
fn gateway_folder_that_cannot_be_written_costs_no_certificate() {
    let installation = Installation::new();
    let gateway = installation.state().join("gateway");
    std::fs::remove_dir_all(&gateway).expect("init makes it");
    // As root no permission binds, so this is a place where nobody can make a file.
    std::fs::write(&gateway, "").expect("writable");
    let before = installation.json(&["list"]);
    check(
        &installation,
        &Case {
            code: 3,
            words: &[text(&gateway)],
            arguments: &["up", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"],
        },
    );
    assert_eq!(installation.json(&["list"]), before);
}

#[test]
fn certificate_and_key_that_do_not_belong_together() {
    let installation = Installation::new();
    let folder = installation.path("");
    let ca = TestCa::new("server");
    let (certificate, key) = ca
        .issue(Leaf::server(&["localhost"]))
        .write(&folder, "server");
    let (other_certificate, other_key) = ca
        .issue(Leaf::server(&["localhost"]))
        .write(&folder, "other");
    let missing = installation.path("missing.pem");
    for (certificate, key, word) in [
        (&certificate, &other_key, text(&other_key)),
        (&other_certificate, &key, text(&key)),
        (&key, &certificate, text(&key)),
        (&certificate, &missing, text(&missing)),
        (&missing, &key, text(&missing)),
    ] {
        let own = format!(
            "certificate = \"{}\"\nkey = \"{}\"\n",
            text(certificate),
            text(key)
        );
        check_configuration(&installation, &with_listener(&own), &[word]);
    }
}

fn configuration(before: &str, after: &str) -> String {
    format!(
        "{before}[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n{after}"
    )
}

fn with_listener(own: &str) -> String {
    format!(
        "[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n{own}\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
    )
}

fn partner(bundle: &str) -> String {
    format!(
        "[trust.partner]\nbundle = \"{bundle}\"\n{}",
        with_listener("trust = [\"internal\", \"partner\"]\n")
    )
}
