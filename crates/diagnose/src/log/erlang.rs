//! Erlang's `ssl`: `RabbitMQ`, EMQX, `CouchDB`, Elixir.

use super::meaning::{self, alert, file, transport};
use super::message::{Meaning, Product, Table, client, row};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Erlang,
    rows: &[
        row(
            "generated SERVER ALERT: Fatal - Insufficient Security",
            &transport::CIPHER,
            CONNECTION,
        ),
        row("malformed_handshake_data", &transport::BROKEN, CONNECTION),
        row(
            "certify: ssl_connection.erl:{}Fatal error: handshake failure",
            &meaning::VERIFY_FAILED,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Unknown CA",
            &meaning::UNTRUSTED,
            CONNECTION,
        ),
        row(
            "generated CLIENT ALERT: Fatal - Unknown CA",
            &meaning::UNTRUSTED,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Bad Certificate",
            &meaning::VERIFY_FAILED,
            CONNECTION,
        ),
        row(
            "generated CLIENT ALERT: Fatal - Bad Certificate",
            &meaning::VERIFY_FAILED,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Certificate Expired",
            &meaning::EXPIRED,
            CONNECTION,
        ),
        row(
            "generated CLIENT ALERT: Fatal - Certificate Expired",
            &meaning::EXPIRED,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Certificate required",
            &meaning::NO_CLIENT_CERT,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Certificate Revoked",
            &meaning::revocation::REVOKED,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Unsupported Certificate",
            &meaning::PURPOSE,
            CONNECTION,
        ),
        row(
            "generated CLIENT ALERT: Fatal - Unsupported Certificate",
            &meaning::PURPOSE,
            CONNECTION,
        ),
        row(
            "generated CLIENT ALERT: Fatal - Handshake Failure{}hostname_check_failed",
            &meaning::NAME_MISMATCH,
            CONNECTION,
        ),
        row(
            "hostname_check_failed",
            &meaning::NAME_MISMATCH,
            "erlang lib/public_key/src/public_key.erl",
        ),
        row(
            "generated SERVER ALERT: Fatal - Insufficient Security - no_suitable_ciphers",
            &transport::CIPHER,
            CONNECTION,
        ),
        row("no_suitable_ciphers", &transport::CIPHER, CONNECTION),
        row(
            "generated SERVER ALERT: Fatal - Protocol Version",
            &transport::VERSION,
            CONNECTION,
        ),
        row(
            "generated SERVER ALERT: Fatal - Handshake Failure - no_client_certificate_provided",
            &meaning::NO_CLIENT_CERT,
            CONNECTION,
        ),
        row(
            "no_client_certificate_provided",
            &meaning::NO_CLIENT_CERT,
            CONNECTION,
        ),
        row(
            "received SERVER ALERT: Fatal - Unknown CA",
            &CLIENT_SIDE,
            CONNECTION,
        ),
        row(
            "received CLIENT ALERT: Fatal - Unknown CA",
            &alert::UNKNOWN_CA,
            CONNECTION,
        ),
        row(
            "ALERT: Fatal - Certificate Unknown",
            &alert::CERTIFICATE_UNKNOWN,
            CONNECTION,
        ),
        row(
            "received CLIENT ALERT: Fatal - Bad Certificate",
            &alert::BAD_CERTIFICATE,
            CONNECTION,
        ),
        row(
            "received SERVER ALERT: Fatal - Bad Certificate",
            &alert::BAD_CERTIFICATE,
            CONNECTION,
        ),
        row(
            "received SERVER ALERT: Fatal - Certificate Expired",
            &alert::EXPIRED,
            CONNECTION,
        ),
        row(
            "received CLIENT ALERT: Fatal - Certificate Expired",
            &alert::EXPIRED,
            CONNECTION,
        ),
        row(
            "received SERVER ALERT: Fatal - Certificate required",
            &alert::REQUIRED,
            CONNECTION,
        ),
        row(
            "received SERVER ALERT: Fatal - Handshake Failure",
            &alert::HANDSHAKE_FAILURE,
            CONNECTION,
        ),
        row(
            "received SERVER ALERT: Fatal - Protocol Version",
            &alert::PROTOCOL_VERSION,
            CONNECTION,
        ),
        row(
            "{tls_alert,{unknown_ca,",
            &meaning::VERIFY_FAILED,
            CONNECTION,
        ),
        row("{tls_alert,\"unknown ca\"}", &alert::UNKNOWN_CA, CONNECTION),
        row(
            "{tls_alert,\"bad certificate\"}",
            &alert::BAD_CERTIFICATE,
            CONNECTION,
        ),
        row(
            "{tls_alert,\"certificate expired\"}",
            &alert::EXPIRED,
            CONNECTION,
        ),
        row(
            "{tls_alert,\"handshake failure\"}",
            &alert::HANDSHAKE_FAILURE,
            CONNECTION,
        ),
        row("{bad_cert,cert_expired}", &meaning::EXPIRED, CONNECTION),
        row("{bad_cert,invalid_issuer}", &meaning::UNTRUSTED, CONNECTION),
        row(
            "{bad_cert,selfsigned_peer}",
            &meaning::SELF_SIGNED,
            CONNECTION,
        ),
        row(
            "{bad_cert,invalid_signature}",
            &meaning::OTHER_KEY,
            CONNECTION,
        ),
        row(
            "{bad_cert,max_path_length_reached}",
            &meaning::TOO_DEEP,
            CONNECTION,
        ),
        row(
            "{bad_cert,missing_basic_constraint}",
            &meaning::NOT_A_CA,
            CONNECTION,
        ),
        row(
            "{bad_cert,invalid_key_usage}",
            &meaning::CANNOT_SIGN,
            CONNECTION,
        ),
        row(
            "{bad_cert,invalid_ext_key_usage}",
            &meaning::PURPOSE,
            CONNECTION,
        ),
        row(
            "{bad_cert,{revoked,",
            &meaning::revocation::REVOKED,
            CONNECTION,
        ),
        row(
            "{bad_cert,name_not_permitted}",
            &meaning::NAME_CONSTRAINTS,
            CONNECTION,
        ),
        row(
            "{bad_cert,{revocation_status_undetermined",
            &meaning::revocation::UNDETERMINED,
            CONNECTION,
        ),
        row(
            "{options,{keyfile,{file},{error,enoent}}",
            &file::MISSING,
            OPTIONS,
        ),
        row(
            "{keyfile,\"{file}\",{error,enoent}}",
            &file::MISSING,
            OPTIONS,
        ),
        row(
            "{certfile,\"{file}\",{error,enoent}}",
            &file::MISSING,
            OPTIONS,
        ),
        row(
            "{cacertfile,\"{file}\",{error,enoent}}",
            &file::MISSING,
            OPTIONS,
        ),
        row(
            "{keyfile,\"{file}\",{error,eacces}}",
            &file::PERMISSIONS,
            OPTIONS,
        ),
    ],
};

static CLIENT_SIDE: Meaning = Meaning::at_client(
    "the server does not know the CA of the client's certificate",
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::ChainMissingIntermediate).possible(),
    ],
);

const CONNECTION: &str = "erlang lib/ssl/src/ssl_alert.erl, ssl_handshake.erl";
const OPTIONS: &str = "erlang lib/ssl/src/ssl_config.erl";
