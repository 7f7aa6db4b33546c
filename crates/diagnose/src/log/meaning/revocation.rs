//! CRLs and OCSP.

use crate::cause::Cause;
use crate::log::message::{Meaning, client, either, server};

pub(in crate::log) static REVOKED: Meaning = Meaning::new(
    "{peer}'s certificate is revoked",
    &[server(Cause::CertificateRevoked)],
    &[client(Cause::CertificateRevoked)],
);

pub(in crate::log) static CRL_MISSING: Meaning = Meaning::same(
    "there is no CRL for an issuer in {peer}'s chain",
    &[
        either(Cause::CrlMissing),
        either(Cause::CrlWrongIssuer).possible(),
    ],
);

pub(in crate::log) static CRL_EXPIRED: Meaning =
    Meaning::same("a CRL is past its nextUpdate", &[either(Cause::CrlExpired)]);

pub(in crate::log) static CRL_NOT_YET: Meaning = Meaning::same(
    "a CRL has not begun, or cannot be processed",
    &[
        either(Cause::CrlUnprocessed),
        either(Cause::ClockSkewLocal).possible(),
    ],
);

pub(in crate::log) static CRL_UNPROCESSED: Meaning = Meaning::same(
    "a CRL is of a kind that {self} does not process",
    &[
        either(Cause::CrlUnprocessed),
        either(Cause::CrlWrongIssuer).possible(),
    ],
);

pub(in crate::log) static CRL_SIGNATURE: Meaning = Meaning::same(
    "a CRL's signature does not verify",
    &[
        either(Cause::CrlBadSignature),
        either(Cause::CrlWrongIssuer).possible(),
    ],
);

pub(in crate::log) static CRL_ISSUER: Meaning = Meaning::same(
    "the issuer of a CRL is not that of the certificates",
    &[either(Cause::CrlWrongIssuer)],
);

pub(in crate::log) static CRL_USAGE: Meaning = Meaning::same(
    "the issuer of a CRL may not sign CRLs (key usage)",
    &[either(Cause::CrlUnprocessed)],
);

pub(in crate::log) static UNDETERMINED: Meaning = Meaning::same(
    "whether {peer}'s certificate is revoked could not be found out",
    &[
        either(Cause::OcspUnreachable).likely(),
        either(Cause::CrlMissing).likely(),
    ],
);

pub(in crate::log) static OFFLINE: Meaning = Meaning::same(
    "the revocation server was not reached",
    &[
        either(Cause::OcspUnreachable),
        either(Cause::CrlMissing).possible(),
    ],
);

pub(in crate::log) static OCSP_UNREACHABLE: Meaning = Meaning::same(
    "the OCSP responder does not answer",
    &[either(Cause::OcspUnreachable)],
);

pub(in crate::log) static OCSP_UNKNOWN: Meaning = Meaning::same(
    "the OCSP responder does not know the certificate",
    &[either(Cause::OcspUnknown)],
);

pub(in crate::log) static OCSP_STALE: Meaning = Meaning::same(
    "an OCSP answer is past its nextUpdate",
    &[either(Cause::OcspStale)],
);

pub(in crate::log) static OCSP_INVALID: Meaning = Meaning::same(
    "an OCSP answer cannot be relied on",
    &[
        either(Cause::OcspAnswerInvalid),
        either(Cause::OcspStale).possible(),
    ],
);

pub(in crate::log) static STAPLE_MISSING: Meaning = Meaning::same(
    "the certificate demands a stapled OCSP answer, and none came",
    &[server(Cause::OcspStapleMissing)],
);
