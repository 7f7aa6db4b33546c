//! The short id that this gateway's refusals begin with, the same after every restart.

use std::{fs, io};

use aws_lc_rs::rand::fill;
use countersign_authority::state::StateFolder;
use countersign_diagnose::refusal::NodeShortId;
use countersign_runtime::atomic_file::create_new;

use crate::fault::Fault;
use crate::private_folder::make_private_folders;

/// The id in the state folder, drawn at the first start.
pub(crate) fn short_id(state: &StateFolder) -> Result<NodeShortId, Fault> {
    let path = state.path().join("gateway").join("node-id");
    let fault = |error: io::Error| Fault::world(format_args!("{}: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| {
            Fault::world(format_args!("{}: {error}", path.display()))
                .hint("remove the file: the next start draws a new id, and refusals kept under the old one stay")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // 24 bits: two gateways of one operator that share an id make an explanation ambiguous, nothing worse.
            let mut random = [0_u8; 3];
            fill(&mut random).map_err(|_| Fault::world("the system's random source gave nothing"))?;
            let [a, b, c] = random;
            let id = format!("{a:02x}{b:02x}{c:02x}");
            make_private_folders(&state.path().join("gateway")).map_err(fault)?;
            create_new(&path, format!("{id}\n").as_bytes(), 0o644).map_err(fault)?;
            id.parse().map_err(Fault::bug)
        }
        Err(error) => Err(fault(error)),
    }
}
