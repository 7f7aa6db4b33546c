//! Why a CA was not adopted, and what to do.

use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::adoption::AdoptionFault;

use crate::init::InitError;
use crate::signer::SignError;

/// Why a CA was not adopted. Nothing is in place then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The CA itself.
    #[error(transparent)]
    Fault(#[from] AdoptionFault),
    /// The state folder, or what is made for it.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A CRL that says nothing of these CAs.
    #[error("{file} is no CRL to go by: {why}")]
    List {
        /// Its name.
        file: String,
        /// Why.
        why: String,
    },
    /// What was revoked since it was signed would be good again.
    #[error(
        "{file} may not be the last CRL of {subject}: it {}",
        match next_update {
            Some(end) => format!("was good until {end}"),
            None => "does not say until when it is good".to_owned(),
        }
    )]
    ListIsOver {
        /// Its name.
        file: String,
        /// Whose it is.
        subject: String,
        /// nextUpdate.
        next_update: Option<UnixTime>,
    },
    /// Its next list would be empty, and what it has revoked good again.
    #[error(
        "nothing that was given says what {subject} has revoked{}",
        part.as_ref().map_or_else(String::new, |file| format!(": {file} tells of a part of its certificates"))
    )]
    NoEvidence {
        /// Whose revocations are not known.
        subject: String,
        /// A list that is not of all its certificates.
        part: Option<String>,
    },
    /// A request's key is sealed by it.
    #[error("the key of the request is sealed by a passphrase that was not given")]
    NoPassphrase,
    /// Without it, no issuing CA can be made.
    #[error(
        "{root} alone issues nothing here: neither an issuing CA below it nor its key was given"
    )]
    NoRootKey {
        /// Which root.
        root: String,
    },
    /// What is given as a root has an issuer.
    #[error("{subject} is no root: another CA has issued it")]
    NotARoot {
        /// Which.
        subject: String,
    },
    /// No request was made in this folder.
    #[error("no key was given for the issuing CA, and none was made here before")]
    NothingRequested,
    /// Key and certificate do not belong together.
    #[error("the certificate of {subject} is not for {whose}")]
    OtherKey {
        /// Whose certificate.
        subject: String,
        /// Which key.
        whose: &'static str,
    },
    /// Whoever signed has changed the name.
    #[error("the certificate is for {subject}, the request was for {asked}")]
    OtherSubject {
        /// As certified.
        subject: String,
        /// As asked for.
        asked: String,
    },
    /// Its issuer has withdrawn it.
    #[error("{subject} is revoked since {revoked_at}, says {told_by}")]
    Revoked {
        /// Whose certificate.
        subject: String,
        /// Who says so.
        told_by: String,
        /// Since when.
        revoked_at: UnixTime,
    },
    /// A root is given as the issuing CA.
    #[error("{subject} is a root: its key should sign CAs, and rest otherwise")]
    RootIssuesItself {
        /// Which.
        subject: String,
    },
    /// Which of them a revocation would mean cannot be told.
    #[error("two certificates have the serial number {serial}, one of them in {file}")]
    SerialTwice {
        /// The number.
        serial: SerialNumber,
        /// Where the second one is.
        file: String,
    },
    /// The root's list.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl AdoptError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fault(fault) => fault.hint(),
            Self::Init(error) => return error.hint(),
            Self::Sign(error) => return error.hint(),
            Self::List { .. } => {
                "give CRLs of the issuing CA and of those above it, as they were published; `countersign inspect FILE` shows whose one is"
            }
            Self::ListIsOver { .. } => {
                "give its latest one: --crl FILE; where none will come any more, --accept-expired-crl takes what it lists, and whatever was revoked after it is good again"
            }
            Self::NoEvidence { .. } => {
                "--crl FILE gives its latest complete CRL, --index FILE the database of `openssl ca`; if it never revoked a certificate, say so with --nothing-revoked"
            }
            Self::NoPassphrase => "--passphrase-file names the file that the request was made with",
            Self::NoRootKey { .. } => {
                "--intermediate FILE and --key FILE give the CA that issues; or --root-key FILE the root's key, to have one made below it"
            }
            Self::NotARoot { .. } => {
                "give it as --intermediate with its --key, and the CAs above it as --root"
            }
            Self::NothingRequested => {
                "--key FILE or --p12 FILE gives the key; `countersign init --csr-out FILE` makes one for a sub-CA, with its request"
            }
            Self::OtherKey { .. } => {
                "`countersign inspect FILE` shows the fingerprint of the key (spki) in a certificate and in a key file"
            }
            Self::OtherSubject { .. } => {
                "have the request signed with the name that it asks for; or begin anew with that name: `countersign init --csr-out FILE --subject DN`"
            }
            Self::Revoked { .. } => {
                "nobody accepts what it issues: have a new one issued, with a new key"
            }
            Self::RootIssuesItself { .. } => {
                "give it as --root with --root-key: an issuing CA is made below it, and what the root has issued itself stays good"
            }
            Self::SerialTwice { .. } => {
                "leave out the one that is not in use; its revocation would revoke both"
            }
        };
        Some(hint.to_owned())
    }
}
