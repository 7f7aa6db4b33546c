//! Mail servers and directories: Postfix, Dovecot, Exim; `OpenLDAP`.

use super::meaning::{self, file, transport};
use super::message::{Product, Table, row};

pub(super) static MAIL: Table = Table {
    product: Product::Mail,
    rows: &[
        row(
            "certificate verification failed for {host}: untrusted issuer {issuer}",
            &meaning::UNTRUSTED,
            POSTFIX,
        ),
        row(
            "certificate verification failed for {host}: self-signed certificate",
            &meaning::SELF_SIGNED,
            POSTFIX,
        ),
        row(
            "certificate verification failed for {host}: not trusted by local or TLSA policy",
            &meaning::UNTRUSTED,
            POSTFIX,
        ),
        row(
            "Server certificate not trusted",
            &meaning::UNTRUSTED,
            POSTFIX,
        ),
        row(
            "Server certificate not verified",
            &meaning::VERIFY_FAILED,
            POSTFIX,
        ),
        row(
            "warning: cannot get RSA certificate from file \"{file}\"",
            &file::UNUSABLE_CERTIFICATE,
            POSTFIX,
        ),
        row(
            "warning: cannot get RSA private key from file \"{file}\"",
            &file::UNUSABLE_KEY,
            POSTFIX,
        ),
        row(
            "TLS is required, but was not offered by host {host}",
            &transport::NO_TLS_OFFERED,
            POSTFIX,
        ),
        row(
            "Must issue a STARTTLS command first",
            &transport::STARTTLS,
            "postfix src/smtpd/smtpd.c; RFC 3207 §4",
        ),
        row("STARTTLS is required", &transport::STARTTLS, "RFC 3207 §4"),
        row(
            "Plaintext authentication disallowed on non-secure (SSL/TLS) connections",
            &transport::STARTTLS,
            "dovecot src/auth",
        ),
        row(
            "Can't load SSL certificate{}The certificate is in",
            &file::NOT_PEM,
            DOVECOT,
        ),
        row(
            "ssl_cert: Can't load SSL certificate",
            &file::UNUSABLE_CERTIFICATE,
            DOVECOT,
        ),
        row(
            "ssl_key: Can't load SSL private key",
            &file::UNUSABLE_KEY,
            DOVECOT,
        ),
        row(
            "Couldn't parse private SSL key",
            &file::UNUSABLE_KEY,
            DOVECOT,
        ),
        row(
            "Key is for a different cert than ssl_cert",
            &file::KEY_MISMATCH,
            DOVECOT,
        ),
        row(
            "Client didn't send a valid SSL certificate",
            &meaning::NO_CLIENT_CERT,
            DOVECOT,
        ),
        row(
            "Client didn't present valid SSL certificate",
            &meaning::NO_CLIENT_CERT,
            DOVECOT,
        ),
    ],
};

pub(super) static LDAP: Table = Table {
    product: Product::Ldap,
    rows: &[
        row(
            "TLS confidentiality required",
            &transport::STARTTLS,
            "openldap servers/slapd/backend.c",
        ),
        row(
            "Confidentiality required (13)",
            &transport::STARTTLS,
            "openldap; RFC 4511 §4.1.9",
        ),
        row(
            "TLS: hostname does not match",
            &meaning::NAME_MISMATCH,
            OPENLDAP,
        ),
        row(
            "TLS: unable to get CN from peer certificate",
            &meaning::SAN_MISSING,
            OPENLDAP,
        ),
        row(
            "TLS: could not load client CA list",
            &file::UNUSABLE_BUNDLE,
            OPENLDAP,
        ),
        row(
            "TLS: could not use certificate",
            &file::UNUSABLE_CERTIFICATE,
            OPENLDAP,
        ),
        row("TLS: could not use key file", &file::UNUSABLE_KEY, OPENLDAP),
        row(
            "TLS: peer cert untrusted or revoked",
            &meaning::VERIFY_FAILED,
            "openldap libraries/libldap/tls_g.c",
        ),
        row(
            "TLS trace: SSL3 alert write:fatal:unknown CA",
            &meaning::UNTRUSTED,
            OPENLDAP,
        ),
    ],
};

const POSTFIX: &str = "postfix src/tls/tls_client.c, src/smtp/smtp_proto.c";
const DOVECOT: &str = "dovecot src/lib-ssl-iostream";
const OPENLDAP: &str = "openldap libraries/libldap/tls_o.c, tls2.c";
