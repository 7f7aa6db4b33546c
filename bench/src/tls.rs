//! rustls client set-up for the load generator: chosen key exchange, suite, identity, trust.
use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, fs};

pub fn load_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|it| it.collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("certificates in {}", path.display()))?;
    if chain.is_empty() {
        bail!("no certificate in {}", path.display());
    }
    Ok(chain)
}

pub fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| format!("private key in {}", path.display()))
}

pub fn load_roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for cert in load_chain(path)? {
        roots.add(cert)?;
    }
    Ok(roots)
}

/// The aws-lc-rs provider narrowed to one key exchange and one TLS 1.3 suite where asked.
pub fn provider(kx: &str, suite: &str) -> Result<CryptoProvider> {
    let mut p = aws_lc_rs::default_provider();
    p.kx_groups = match kx {
        "default" => p.kx_groups,
        "x25519" => vec![aws_lc_rs::kx_group::X25519],
        "p256" => vec![aws_lc_rs::kx_group::SECP256R1],
        "x25519mlkem768" => vec![aws_lc_rs::kx_group::X25519MLKEM768],
        other => bail!("unknown key exchange {other}"),
    };
    p.cipher_suites = match suite {
        "default" => p.cipher_suites,
        "aes128" => vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        "aes256" => vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        "chacha20" => vec![aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        other => bail!("unknown suite {other}"),
    };
    Ok(p)
}

/// What the client presents, trusts and offers.
pub struct ClientTls {
    pub roots: RootCertStore,
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    pub kx: String,
    pub suite: String,
    pub alpn: Vec<Vec<u8>>,
    pub resumption: bool,
    /// Instead of `identity`: another one each time.
    pub minting: Option<Arc<Minting>>,
}

impl ClientTls {
    /// TLS 1.3 only. Each call makes an own session store, so workers do not share tickets.
    pub fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(provider(&self.kx, &self.suite)?);
        let inner = WebPkiServerVerifier::builder_with_provider(
            Arc::new(self.roots.clone()),
            provider.clone(),
        )
        .build()?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(RememberingVerifier::new(inner)));
        let mut config = match (&self.minting, &self.identity) {
            (Some(minting), _) => builder.with_client_cert_resolver(minting.clone()),
            (None, Some((chain, key))) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key())?
            }
            (None, None) => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config.resumption = if self.resumption {
            Resumption::in_memory_sessions(64)
        } else {
            Resumption::disabled()
        };
        Ok(Arc::new(config))
    }
}

/// Issues a client certificate that no server has seen yet, for a key that none has, to each connection.
pub struct Minting {
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
    made: AtomicU64,
}

impl Minting {
    /// `intermediate.pem` and `intermediate.key` of `mkpki`.
    pub fn load(folder: &Path) -> Result<Self> {
        let read =
            |name: &str| fs::read_to_string(folder.join(name)).with_context(|| name.to_owned());
        let key = KeyPair::from_pem(&read("intermediate.key")?)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&read("intermediate.pem")?, key)?,
            chain: load_chain(&folder.join("intermediate.pem"))?,
            made: AtomicU64::new(0),
        })
    }

    fn mint(&self) -> Result<CertifiedKey> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("client-{}-{number}.bench.local", std::process::id());
        let key = KeyPair::generate()?;
        let leaf =
            leaf(&name, ExtendedKeyUsagePurpose::ClientAuth)?.signed_by(&key, &self.issuer)?;
        let chain = [leaf.der().clone()]
            .into_iter()
            .chain(self.chain.iter().cloned());
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(CertifiedKey::new(
            chain.collect(),
            aws_lc_rs::sign::any_ecdsa_type(&key)?,
        ))
    }
}

impl fmt::Debug for Minting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minting").finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Minting {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.mint().ok().map(Arc::new)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A leaf certificate of the benches, valid from yesterday for a year.
pub fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let mut p = CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()])?;
    p.distinguished_name.push(DnType::CommonName, name);
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    p.extended_key_usages = vec![usage];
    p.use_authority_key_identifier_extension = true;
    p.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    p.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(365);
    Ok(p)
}

/// Verifies a server chain fully the first time and remembers it byte for byte, so that the load
/// generator spends less CPU than the server under test. The handshake signature is always checked.
#[derive(Debug)]
struct RememberingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Vec<Vec<u8>>>,
}

impl RememberingVerifier {
    fn new(inner: Arc<WebPkiServerVerifier>) -> Self {
        Self {
            inner,
            seen: Mutex::new(Vec::new()),
        }
    }
}

impl ServerCertVerifier for RememberingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self.seen.lock().expect("verifier lock");
        if seen.iter().any(|c| c == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let ok =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
        seen.push(end_entity.to_vec());
        Ok(ok)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
