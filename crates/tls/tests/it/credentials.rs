//! Files that are no credentials are named for what they are.

use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::{Leaf, TestCa, pem, request};
use countersign_tls::credentials::Credentials;

fn check(chain: &str, key: &str, cause: Cause) {
    let invalid = Credentials::from_pem(chain.as_bytes(), key.as_bytes())
        .err()
        .expect("refused");
    assert_eq!(invalid.cause, cause, "{invalid}");
}

#[test]
fn a_chain_with_its_key_is_taken_together_or_in_one_file() {
    let server = TestCa::new("ca").issue(Leaf::server(&["localhost"]));
    let (chain, key) = (server.chain_pem(), server.key_pem.clone());
    let both = format!("{key}{chain}");
    for (chain, key) in [(&chain, &key), (&both, &both)] {
        let credentials = Credentials::from_pem(chain.as_bytes(), key.as_bytes()).expect("good");
        assert_eq!(credentials.leaf().der(), &server.chain[0]);
    }
}

#[test]
fn wrong_files_are_named() {
    let ca = TestCa::new("ca");
    let server = ca.issue(Leaf::server(&["localhost"]));
    let (chain, key) = (server.chain_pem(), server.key_pem.clone());
    let other = ca.issue(Leaf::server(&["other"]));
    let reversed = format!(
        "{}{}",
        pem("CERTIFICATE", &server.chain[1]),
        pem("CERTIFICATE", &server.chain[0])
    );
    check(&chain, &other.key_pem, Cause::KeyCertMismatch);
    check(&reversed, &key, Cause::ChainWrongOrder);
    check(&key, &chain, Cause::FilesSwapped);
    check(&chain, &chain, Cause::FilesSwapped);
    check(&request(), &key, Cause::FileIsCsr);
    check("", &key, Cause::FileMissing);
    check(&chain, "", Cause::FileMissing);
    check("0\u{1}\u{2}", &key, Cause::FileNotPem);
    check(&format!("\u{feff}{chain}"), &key, Cause::FileEncoding);
    check(
        &chain.replace("-----\n-----", "----------"),
        &key,
        Cause::PemGlued,
    );
    check(
        &chain,
        &pem("ENCRYPTED PRIVATE KEY", b"secret"),
        Cause::KeyEncrypted,
    );
    let old = key.replacen(
        "KEY-----\n",
        "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
        1,
    );
    check(&chain, &old, Cause::KeyEncrypted);
    check(
        &chain,
        &pem("PRIVATE KEY", b"nonsense"),
        Cause::SigalgUnsupported,
    );
    check(
        &pem("CERTIFICATE", b"nonsense"),
        &key,
        Cause::MalformedCertificate,
    );
}
