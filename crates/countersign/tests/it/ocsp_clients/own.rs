//! The partner runs Countersign itself: its responder is delegated by the issuing CA, and answers from what is kept.

use countersign_testkit::ephemeral;

use crate::revocation::open;

use super::*;

/// The partner's authority with its public endpoint, and a gateway of ours that asks it.
struct Both {
    partner: Installation,
    _authority: Process,
    ours: Issued,
    installation: Installation,
    upstream: Upstream,
    responder: SocketAddr,
}

impl Both {
    fn new() -> Self {
        let (partner, installation) = (Installation::new(), Installation::new());
        let responder = ephemeral::address();
        let authority = partner.serve(&format!(
            "[authority.public]\naddress = \"{responder}\"\nurl = \"http://{responder}\"\n\
             [gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
             [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n"
        ));
        let root = fs::read_to_string(partner.state().join("ca.pem")).expect("a root");
        installation.write("acme.pem", &root);
        let ours = installation.issue("client", "ours", &[]);
        Self {
            partner,
            _authority: authority,
            ours,
            installation,
            upstream: Upstream::start(),
            responder,
        }
    }

    fn serve(&self, ocsp: &str) -> Process {
        self.installation.serve(&format!(
            "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
             trust = [\"internal\", \"acme\"]\n[[gateway.listener.route]]\nhost = \"localhost\"\nupstream = \"http://{}\"\n\
             allow = [\"any-trusted\"]\n[trust.acme]\nbundle = \"acme.pem\"\n\
             ocsp = {{ url = \"http://{}/ocsp\", {PATIENT}, {ocsp} }}\n",
            self.upstream.address(),
            self.responder
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partner_that_runs_countersign_revokes_and_every_path_here_refuses() {
    let both = Both::new();
    let identities = ["bad", "good"].map(|name| both.partner.issue("client", name, &[]).identity());
    let gateway = both.serve("max_age = \"5s\"");
    let address = gateway.gateway();
    let protocol = Protocol::Http2Tls13;
    let [bad, good] =
        identities.map(|it| Client::new(&both.ours.root(), Some(&it), protocol, "localhost"));
    let (doomed, mut spared) = (
        open(&bad, protocol, address).await,
        open(&good, protocol, address).await,
    );
    both.partner.ok(&["revoke", "bad"]);
    let _ = doomed.ended().await;
    for client in [bad.clone(), bad.without_sessions()] {
        let outcome = client
            .request(address, for_client(protocol, "/after"))
            .await;
        assert!(
            matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
            "{outcome:?}"
        );
    }
    assert_eq!(spared.get("/spared").await.expect("it goes on").0, 200);
    assert!(!both.upstream.received_text().contains("/after"));
}

/// A responder answers for the CA that certified it; who is asked about the CAs above has to speak for those, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chain_is_asked_about_whole_where_that_is_wanted() {
    let both = Both::new();
    let identity = both.partner.issue("client", "client", &[]).identity();
    let protocol = Protocol::Http1Tls13;
    for (chain, status) in [("chain = false", 200), ("chain = true", 403)] {
        let gateway = both.serve(chain);
        let client = Client::new(&both.ours.root(), Some(&identity), protocol, "localhost");
        let outcome = client
            .request(gateway.gateway(), for_client(protocol, "/chain"))
            .await;
        assert_eq!(outcome.status(), Some(status), "{chain} {outcome:?}");
        if status == 403 {
            let explained = ["explain", "--from", "127.0.0.1", "--since", "1h"];
            let explained = both.installation.ok(&explained);
            for part in ["ocsp-unreachable", "unauthorized"] {
                assert!(explained.contains(part), "{part} in {explained}");
            }
        }
    }
}
