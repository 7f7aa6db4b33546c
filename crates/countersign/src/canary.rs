//! Canaries for a look at what is enforced: certificates of minutes, by way of the issuance pipeline like any other, whose keys
//! never leave this process.

use std::time::Duration;

use countersign_authority::api::{
    self, IssueRequest, IssueResponse, RevokeRequest, RevokeResponse,
};
use countersign_authority::client::AdminClient;
use countersign_pki::canary::DOMAIN;
use countersign_pki::feed::RevocationReason;
use countersign_pki::pem;
use countersign_policy::issuance::Profile;
use countersign_probe::server::ClientIdentity;
use countersign_store::idempotency::IdempotencyKey;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::backend::random;
use crate::fault::Fault;
use crate::leaf_key::{KeyKind, LeafKey};

/// One of each kind, all of them to be refused.
#[derive(Debug)]
pub(crate) struct Canaries {
    /// Good, under a name that no rule admits.
    pub(crate) unnamed: ClientIdentity,
    /// For servers alone.
    pub(crate) wrong_purpose: ClientIdentity,
    /// Past its end.
    pub(crate) expired: ClientIdentity,
    /// On the feed.
    pub(crate) revoked: ClientIdentity,
    /// What vouches for them, and for the authority's own listeners.
    pub(crate) root: Vec<Vec<u8>>,
}

impl Canaries {
    /// Has them made; a second passes until one of them has ended.
    pub(crate) async fn make(client: &AdminClient) -> Result<Self, Fault> {
        let (expired, _) = make(client, Profile::CANARY, Some(SHORTEST)).await?;
        let (revoked, issued) = make(client, Profile::CANARY, None).await?;
        let request = RevokeRequest {
            what: Some(issued.serial.to_string()),
            reason: RevocationReason::CessationOfOperation,
            wait_ms: Some(u64::try_from(HEARD.as_millis()).unwrap_or(u64::MAX)),
            ..RevokeRequest::default()
        };
        let _: RevokeResponse = client.post(api::REVOKE, &request).await?;
        let (wrong_purpose, _) = make(client, Profile::CANARY_SERVER, None).await?;
        let (unnamed, issued) = make(client, Profile::CANARY, None).await?;
        // Its last second belongs to its validity (RFC 5280 §4.1.2.5).
        sleep(SHORTEST + Duration::from_millis(1100)).await;
        Ok(Self {
            unnamed,
            wrong_purpose,
            expired,
            revoked,
            root: ders(&issued.ca_pem)?,
        })
    }
}

async fn make(
    client: &AdminClient,
    profile: Profile,
    life: Option<Duration>,
) -> Result<(ClientIdentity, IssueResponse), Fault> {
    let key = LeafKey::generate(KeyKind::P256)?;
    let label: [u8; 8] = random()?;
    let request = IssueRequest {
        profile: profile.to_string(),
        name: format!("{:016x}.{DOMAIN}", u64::from_be_bytes(label)),
        sans: Vec::new(),
        ttl_s: life.map(|life| life.as_secs()),
        csr: pem::encode("CERTIFICATE REQUEST", &key.request()?),
    };
    let once = IdempotencyKey::from_random(random()?);
    let issued: IssueResponse = client.post_once(api::ISSUE, &request, &once).await?;
    let identity = ClientIdentity {
        chain: ders(&issued.chain_pem)?,
        key: Zeroizing::new(key.pkcs8().to_vec()),
    };
    Ok((identity, issued))
}

fn ders(text: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let blocks = pem::decode_all(text.as_bytes()).map_err(Fault::bug)?;
    Ok(blocks.into_iter().map(|block| block.der).collect())
}

/// The least that is issued.
const SHORTEST: Duration = Duration::from_secs(1);

/// A revocation is in force everywhere within a second; a node that does not confirm it is what the look is to find.
const HEARD: Duration = Duration::from_secs(3);
