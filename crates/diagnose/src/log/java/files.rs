//! Java's keystores, and the keys and certificates that Netty and Tomcat read.

use crate::cause::Cause;
use crate::log::meaning::{self, file};
use crate::log::message::{Meaning, Product, Table, either, row};

pub(in crate::log) static TABLE: Table = Table {
    product: Product::Java,
    rows: &[
        row(
            "FileNotFoundException: {file}.jks (No such file or directory)",
            &file::MISSING,
            "jdk java/io/FileInputStream",
        ),
        row(
            "FileNotFoundException: {file}.p12 (No such file or directory)",
            &file::MISSING,
            "jdk java/io/FileInputStream",
        ),
        row(
            "FileNotFoundException: {file}.pfx (No such file or directory)",
            &file::MISSING,
            "jdk java/io/FileInputStream",
        ),
        row(
            "FileNotFoundException: {file}.pem (No such file or directory)",
            &file::MISSING,
            "jdk java/io/FileInputStream",
        ),
        row("keystore password was incorrect", &file::PASSWORD, KEYSTORE),
        row(
            "Keystore was tampered with, or password was incorrect",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row(
            "UnrecoverableKeyException: Cannot recover key",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row(
            "Get Key failed: Given final block not properly padded",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row(
            "Given final block not properly padded. Such issues can arise if a bad key is used during decryption",
            &file::PASSWORD,
            KEYSTORE,
        ),
        row("Invalid keystore format", &file::NOT_PEM, KEYSTORE),
        row(
            "DerInputStream.getLength(): lengthTag=",
            &file::NOT_PEM,
            KEYSTORE,
        ),
        row(
            "toDerInputStream rejects tag type",
            &file::NOT_PEM,
            KEYSTORE,
        ),
        row(
            "Unable to initialize, java.io.IOException: extra data given to DerValue constructor",
            &file::NOT_PEM,
            KEYSTORE,
        ),
        row(
            "Could not parse certificate: java.io.IOException: Empty input",
            &meaning::BUNDLE_EMPTY,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "Could not parse certificate: java.io.IOException: Illegal header",
            &file::GLUED,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "Could not parse certificate: java.io.IOException: Incomplete data",
            &file::GLUED,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "Could not parse certificate",
            &meaning::MALFORMED,
            "jdk sun/security/provider/X509Factory.java",
        ),
        row(
            "signed fields invalid",
            &meaning::MALFORMED,
            "jdk sun/security/x509/X509CertImpl.java",
        ),
        row(
            "algid parse error, not a sequence",
            &PKCS1,
            "jdk sun/security/x509/AlgorithmId.java",
        ),
        row(
            "File does not contain valid private key",
            &file::UNUSABLE_KEY,
            "netty SslContext.java",
        ),
        row(
            "File does not contain valid certificates",
            &file::NO_CERTIFICATE_PEM,
            "netty SslContext.java",
        ),
        row(
            "Input stream does not contain valid private key",
            &file::UNUSABLE_KEY,
            "netty SslContext.java",
        ),
        row(
            "could not find a PKCS #8 private key in input stream",
            &PKCS1,
            "netty PemReader.java",
        ),
        row(
            "Alias name [{alias}] does not identify a key entry",
            &file::UNUSABLE_KEY,
            "tomcat SSLUtilBase.java",
        ),
        row(
            "Private key must be accompanied by certificate chain",
            &file::UNUSABLE_KEY,
            "jdk java/security/KeyStore.java",
        ),
        row(
            "Private key does not match with the certificate",
            &file::KEY_MISMATCH,
            "jdk",
        ),
    ],
};

static PKCS1: Meaning = Meaning::same(
    "the private key is not PKCS#8, which is all that this reader takes",
    &[
        either(Cause::FileNotPem).likely(),
        either(Cause::KeyEncrypted).possible(),
    ],
);

const KEYSTORE: &str =
    "jdk sun/security/pkcs12/PKCS12KeyStore.java, sun/security/provider/JavaKeyStore.java";
