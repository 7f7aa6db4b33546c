//! Makes the test PKI of the benches: ECDSA P-256, root → intermediate → leaves.
//!
//! Files: root.pem, intermediate.{pem,key}, server.{pem,key} and client.{pem,key} (leaf + intermediate), rogue.{pem,key}
//! (another root), server-combined.pem (chain + key, for HAProxy), and crl-N.der for each N of
//! `--revoked`: the intermediate's list with so many serial numbers, none of which any of them has.
use anyhow::Result;
use clap::Parser;
use countersign_bench::tls::leaf;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use std::fs;
use std::path::PathBuf;

fn ca(name: &str, path_len: u8) -> Result<CertificateParams> {
    let mut p = CertificateParams::new(Vec::new())?;
    p.distinguished_name.push(DnType::CommonName, name);
    p.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    p.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    p.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(3650);
    Ok(p)
}

#[derive(Parser)]
struct Args {
    #[arg(default_value = "run/pki")]
    dir: PathBuf,
    /// How many serial numbers; may be given again.
    #[arg(long)]
    revoked: Vec<u64>,
}

/// Spread over all 16 bytes, as those of a CA are.
fn serial(number: u64) -> SerialNumber {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes = [&[0x11][..], &mixed.to_be_bytes(), &number.to_be_bytes()].concat();
    SerialNumber::from(bytes)
}

fn list(issuer: &Issuer<'_, KeyPair>, revoked: u64) -> Result<Vec<u8>> {
    let now = time::OffsetDateTime::now_utc();
    let revoked = (0..revoked).map(|number| RevokedCertParams {
        serial_number: serial(number),
        revocation_time: now - time::Duration::days(1),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: now - time::Duration::hours(1),
        next_update: now + time::Duration::days(365),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(issuer)?.der().to_vec())
}

fn main() -> Result<()> {
    let Args { dir, revoked } = Args::parse();
    fs::create_dir_all(&dir)?;
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
    let int_key_pem = int_key.serialize_pem();
    let intermediate = Issuer::new(int_params, int_key);
    for count in revoked {
        fs::write(
            dir.join(format!("crl-{count}.der")),
            list(&intermediate, count)?,
        )?;
    }
    let rogue = Issuer::new(ca("Rogue Root", 1)?, rogue_key);

    write("root.pem", root_pem)?;
    write("intermediate.pem", int_pem.clone())?;
    write("intermediate.key", int_key_pem)?;

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
