//! Makes the test PKI of the benches: ECDSA P-256, root → intermediate → leaves.
//!
//! Files: root.pem, server.{pem,key} and client.{pem,key} (leaf + intermediate), rogue.{pem,key}
//! (another root), server-combined.pem (chain + key, for HAProxy).
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::Path;

fn ca(name: &str, path_len: u8) -> Result<CertificateParams> {
    let mut p = CertificateParams::new(Vec::new())?;
    p.distinguished_name.push(DnType::CommonName, name);
    p.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    p.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    p.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(3650);
    Ok(p)
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let mut p = CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()])?;
    p.distinguished_name.push(DnType::CommonName, name);
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    p.extended_key_usages = vec![usage];
    p.use_authority_key_identifier_extension = true;
    p.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    p.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(365);
    Ok(p)
}

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "run/pki".into());
    let dir = Path::new(&dir);
    fs::create_dir_all(dir)?;
    let write = |name: &str, text: String| fs::write(dir.join(name), text);

    let (root_key, int_key, rogue_key) = (
        KeyPair::generate()?,
        KeyPair::generate()?,
        KeyPair::generate()?,
    );
    let root_params = ca("Bench Root", 1)?;
    let root_pem = root_params.self_signed(&root_key)?.pem();
    let root = Issuer::new(root_params, root_key);
    let mut int_params = ca("Bench Intermediate", 0)?;
    int_params.use_authority_key_identifier_extension = true;
    let int_pem = int_params.signed_by(&int_key, &root)?.pem();
    let intermediate = Issuer::new(int_params, int_key);
    let rogue = Issuer::new(ca("Rogue Root", 1)?, rogue_key);

    write("root.pem", root_pem)?;

    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let key = KeyPair::generate()?;
    let pem = leaf("gateway.bench.local", ServerAuth)?
        .signed_by(&key, &intermediate)?
        .pem();
    write("server.pem", format!("{pem}{int_pem}"))?;
    write("server.key", key.serialize_pem())?;
    write(
        "server-combined.pem",
        format!("{pem}{int_pem}{}", key.serialize_pem()),
    )?;

    let key = KeyPair::generate()?;
    let params = leaf("client.bench.local", ClientAuth)?;
    let pem = params.signed_by(&key, &intermediate)?.pem();
    write("client.pem", format!("{pem}{int_pem}"))?;
    write("client.key", key.serialize_pem())?;

    let key = KeyPair::generate()?;
    let pem = leaf("client.bench.local", ClientAuth)?
        .signed_by(&key, &rogue)?
        .pem();
    write("rogue.pem", pem)?;
    write("rogue.key", key.serialize_pem())?;
    println!("{}", dir.display());
    Ok(())
}
