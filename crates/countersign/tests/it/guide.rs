//! The pages of `docs/guide/` do what they say: their files are written, their commands run.

use std::fs;
use std::path::Path;

use countersign_testkit::ephemeral;

use crate::installation::{Installation, text};
use crate::peers::peer;
use crate::postgresql::Postgresql;
use crate::readme::{Session, transcripts};

#[test]
fn guide_to_revocation_does_what_it_says() {
    if peer("guide_to_revocation_does_what_it_says", "openssl").is_some() {
        check("revocation.md");
    }
}

#[test]
fn guide_to_the_first_ca_does_what_it_says() {
    let test = "guide_to_the_first_ca_does_what_it_says";
    if peer(test, "openssl").is_some() && peer(test, "curl").is_some() {
        check("first-ca.md");
    }
}

#[test]
fn guide_to_adopting_a_ca_does_what_it_says() {
    if peer("guide_to_adopting_a_ca_does_what_it_says", "openssl").is_some() {
        check("adopting-a-ca.md");
    }
}

#[test]
fn guide_to_tcp_services_does_what_it_says() {
    let test = "guide_to_tcp_services_does_what_it_says";
    if peer(test, "redis-server").is_some() && peer(test, "redis-cli").is_some() {
        check("tcp-services.md");
    }
}

#[test]
fn guide_to_authorization_does_what_it_says() {
    check("authorization.md");
}

#[test]
fn guide_to_postgresql_does_what_it_says() {
    let test = "guide_to_postgresql_does_what_it_says";
    let installation = Installation::new();
    let server = installation.issue("server", "db.example.com", &[]);
    let Some(database) = Postgresql::start(test, &server) else {
        return;
    };
    let socket = format!(
        "{}/.s.PGSQL.{}",
        text(database.socket_folder()),
        database.port()
    );
    let options = format!(
        "-h {} -p {}",
        text(database.socket_folder()),
        database.port()
    );
    check_with("postgresql.md", |page| {
        page.replace("/run/postgresql/.s.PGSQL.5432", &socket)
            .replace("-h /run/postgresql", &options)
    });
}

#[test]
fn guide_to_http_services_does_what_it_says() {
    let test = "guide_to_http_services_does_what_it_says";
    if peer(test, "curl").is_some() && peer(test, "python3").is_some() {
        check("http-services.md");
    }
}

#[test]
fn guide_to_a_cron_endpoint_does_what_it_says() {
    if peer("guide_to_a_cron_endpoint_does_what_it_says", "curl").is_some() {
        check("cron.md");
    }
}

#[test]
fn guide_from_nginx_does_what_it_says() {
    let test = "guide_from_nginx_does_what_it_says";
    let peers = ["openssl", "nginx", "curl", "python3"];
    if peers.iter().all(|name| peer(test, name).is_some()) {
        check("from-nginx.md");
    }
}

#[test]
fn guide_from_ghostunnel_does_what_it_says() {
    let test = "guide_from_ghostunnel_does_what_it_says";
    let peers = ["openssl", "redis-server", "redis-cli"];
    if peers.iter().all(|name| peer(test, name).is_some()) {
        check("from-ghostunnel.md");
    }
}

#[test]
fn guide_from_envoy_does_what_it_says() {
    let test = "guide_from_envoy_does_what_it_says";
    let peers = ["openssl", "curl", "python3"];
    if peers.iter().all(|name| peer(test, name).is_some()) {
        check("from-envoy.md");
    }
}

#[test]
fn guide_from_permissive_to_required_does_what_it_says() {
    let test = "guide_from_permissive_to_required_does_what_it_says";
    if peer(test, "curl").is_some() {
        check("permissive-to-required.md");
    }
}

#[test]
fn guide_to_webhooks_does_what_it_says() {
    if peer("guide_to_webhooks_does_what_it_says", "curl").is_some() {
        let folder = tempfile::tempdir().expect("a folder");
        check_with("webhooks.md", |page| {
            page.replace("/run/billing", text(folder.path()))
        });
    }
}

#[test]
fn guide_to_grpc_does_what_it_says() {
    if peer("guide_to_grpc_does_what_it_says", "curl").is_some() {
        check("grpc.md");
    }
}

#[test]
fn guide_to_api_keys_and_tokens_does_what_it_says() {
    let test = "guide_to_api_keys_and_tokens_does_what_it_says";
    if peer(test, "openssl").is_some() && peer(test, "curl").is_some() {
        check("api-keys-and-tokens.md");
    }
}

#[test]
fn guide_to_partners_does_what_it_says() {
    let test = "guide_to_partners_does_what_it_says";
    if peer(test, "openssl").is_some() && peer(test, "curl").is_some() {
        check("partners.md");
    }
}

#[test]
fn guide_to_retention_does_what_it_says() {
    check("retention.md");
}

#[test]
fn guide_to_diagnosis_does_what_it_says() {
    let test = "guide_to_diagnosis_does_what_it_says";
    let peers = ["openssl", "curl", "python3"];
    if peers.iter().all(|name| peer(test, name).is_some()) {
        check("diagnosis.md");
    }
}

#[test]
fn guide_to_break_glass_does_what_it_says() {
    if peer("guide_to_break_glass_does_what_it_says", "curl").is_some() {
        check("break-glass.md");
    }
}

#[test]
fn guide_to_operators_does_what_it_says() {
    if peer("guide_to_operators_does_what_it_says", "curl").is_some() {
        check("operators.md");
    }
}

fn check(page: &str) {
    check_with(page, str::to_owned);
}

/// `change`: what stands elsewhere on this machine.
fn check_with(page: &str, change: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide");
    let page = fs::read_to_string(path.join(page)).expect("there is such a page");
    let page = with_free_ports(&change(&page));
    let mut session = Session::new();
    for (name, text) in files(&page) {
        session.write(name, text);
    }
    let transcripts: Vec<&str> = transcripts(&page).collect();
    assert!(!transcripts.is_empty(), "a page without commands");
    for transcript in transcripts {
        session
            .play(transcript)
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
}

/// The documented ports may be taken.
fn with_free_ports(page: &str) -> String {
    let mut page = page.to_owned();
    for port in [
        "127.0.0.1:8080",
        "127.0.0.1:8443",
        "127.0.0.1:8444",
        "127.0.0.1:9443",
    ] {
        let free = ephemeral::address();
        page = page.replace(port, &free.to_string());
        // As options of other programs say it.
        if let Some((_, number)) = port.split_once(':') {
            for before in ["--port ", "localhost:", "port=", "http.server "] {
                page = page.replace(
                    &format!("{before}{number}"),
                    &format!("{before}{}", free.port()),
                );
            }
        }
    }
    // The default is not in the file.
    let metrics = format!("metrics_address = \"{}\"\n", ephemeral::address());
    let Some((before, from)) = page.split_once("[[gateway.listener]]") else {
        return page;
    };
    let (others, file) = before.rsplit_once("```toml").unwrap_or(("", before));
    let file = match file.split_once("[gateway]\n") {
        Some((comment, keys)) => format!("{comment}[gateway]\n{metrics}{keys}"),
        None => format!("{file}[gateway]\n{metrics}\n"),
    };
    format!("{others}```toml{file}[[gateway.listener]]{from}")
}

/// Blocks of TOML, INI, sh and nginx's own whose first line is a comment with nothing but a file's name.
fn files(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let blocks = ["toml", "ini", "nginx", "sh"].map(|kind| format!("\n```{kind}\n"));
    let blocks = blocks
        .iter()
        .flat_map(|opening| page.split(opening.as_str()).skip(1).collect::<Vec<_>>());
    let blocks: Vec<&str> = blocks.collect();
    blocks
        .into_iter()
        .filter_map(|block| block.split("```").next())
        .filter_map(|block| {
            let (first, _) = block.split_once('\n')?;
            let name = first.strip_prefix("# ")?;
            Path::new(name).extension()?;
            Some((name, block))
        })
}
