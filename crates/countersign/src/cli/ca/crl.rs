//! `countersign ca crl`: the revocation lists as a file, for servers that read one.

use std::path::PathBuf;

use clap::Args;
use countersign_authority::api::{ListsResponse, REVOCATION_LISTS};
use countersign_runtime::atomic_file::write_atomic;

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::fault::{Answer, Fault};

/// Write the revocation lists of the issuing CA and of the root, in PEM: what servers such as nginx and OpenSSL read from a file
///
/// The issuing CA's list is signed anew if something was revoked since the last one, or if that is a day old. It has every
/// revoked certificate, whatever shard it is on, and is good for seven days.
#[derive(Debug, Args)]
pub(crate) struct CrlCommand {
    /// Into this file, which is replaced at once and as a whole [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl CrlCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let response: ListsResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            backend.issuing().await?;
            Ok(backend.client.post(REVOCATION_LISTS, &()).await?)
        })?;
        let pem: String = response
            .lists
            .iter()
            .map(|list| list.pem.as_str())
            .collect();
        let Some(path) = self.out else {
            globals.output().answer(&response, |_| pem)?;
            return Ok(Answer::Yes);
        };
        write_atomic(&path, pem.as_bytes(), PUBLIC).map_err(|error| {
            Fault::world(format_args!("cannot write {}: {error}", path.display()))
        })?;
        globals.output().answer(&response, |response| {
            let list = |list: &countersign_authority::api::ListView| {
                format!(
                    "{}: number {}, until {}\n",
                    list.issuer, list.number, list.next_update
                )
            };
            response.lists.iter().map(list).collect()
        })?;
        Ok(Answer::Yes)
    }
}

/// Whoever verifies reads it, under whatever user.
const PUBLIC: u32 = 0o644;
