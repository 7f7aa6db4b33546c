//! What is written becomes records.

use std::io::IoSlice;

use countersign_runtime::lent::{LentBuffer, SIZE};
use rustls::unbuffered::{EncryptError, WriteTraffic};

/// Seals as much of the slices as a buffer has plaintext. How much that is.
///
/// Short ones are a record with their neighbours, so that a head and its body are one; long ones are sealed from where they are.
pub(super) fn seal<D>(
    traffic: &mut WriteTraffic<'_, D>,
    slices: &[IoSlice<'_>],
    sealed: &mut LentBuffer,
) -> Result<usize, EncryptError> {
    if let [slice] = slices
        && slice.len() < LARGE
    {
        encrypt(traffic, slice, sealed)?;
        return Ok(slice.len());
    }
    let mut short = None;
    let mut taken = 0;
    for slice in slices {
        let slice = &slice[..slice.len().min(SIZE - taken)];
        taken += slice.len();
        let ahead = if slice.len() < LONG {
            slice.len()
        } else {
            let ahead = short
                .as_ref()
                .map_or(0, |it: &LentBuffer| it.unread().len());
            lead(ahead, slice, sealed.rest())
        };
        let (ahead, long) = slice.split_at(ahead);
        if !ahead.is_empty() {
            short.get_or_insert_with(LentBuffer::lend).append(ahead);
        }
        if !long.is_empty() {
            if let Some(short) = short.take() {
                encrypt(traffic, short.unread(), sealed)?;
            }
            encrypt(traffic, long, sealed)?;
        }
    }
    if let Some(short) = short {
        encrypt(traffic, short.unread(), sealed)?;
    }
    Ok(taken)
}

fn encrypt<D>(
    traffic: &mut WriteTraffic<'_, D>,
    plaintext: &[u8],
    sealed: &mut LentBuffer,
) -> Result<(), EncryptError> {
    let written = traffic.encrypt(plaintext, sealed.rest())?;
    sealed.advance(written);
    Ok(())
}

/// How much of a large slice goes into the record before, so that the records behind it are copied fast.
///
/// rustls copies what a record holds to just behind the beginning of a page, seals it there, and copies it to where it is wanted. Where source and
/// destination of either have the same place in their pages, `rep movsb`, which is how glibc copies 8 KiB and more, is several times as slow on
/// processors that take one page for the other (AMD's Zen; glibc's bug 30994). All records of a write have nearly the same place in their
/// pages, whose length is a multiple of them. `ahead` bytes come before in the same record, and both go to the beginning of `room`.
fn lead(ahead: usize, bytes: &[u8], room: &[u8]) -> usize {
    if bytes.len() < LARGE {
        return 0;
    }
    let is_slow = |lead: usize| {
        let from = bytes.as_ptr().addr() + lead;
        let before = match ahead + lead {
            0 => 0,
            before => before + MAX_ADDED,
        };
        let to = room.as_ptr().addr() + before;
        is_near(RECORD_HEADER.wrapping_sub(from)) || is_near(to)
    };
    // Each of both is near for one of them at most.
    let leads = [0, PAGE / 4, PAGE / 2, PAGE * 3 / 4];
    leads.into_iter().find(|lead| !is_slow(*lead)).unwrap_or(0)
}

/// Whether a destination so far behind its source is in its way, or would be some records later.
fn is_near(distance: usize) -> bool {
    distance.wrapping_add(DRIFT) % PAGE < DRIFT + NEAR
}

const PAGE: usize = 4096;

/// RFC 8446 §5.1.
const RECORD_HEADER: usize = 5;

/// What encryption adds to a record: with AES-GCM of TLS 1.2 a header, a nonce and a tag.
const MAX_ADDED: usize = 29;

/// What it adds to those of a whole buffer.
const DRIFT: usize = 8 * MAX_ADDED;

/// A page further is as near as none.
const NEAR: usize = 512;

/// Less is not copied in that way, and cheaper to copy than to seal in a record of its own.
const LONG: usize = 8192;

/// With the longest lead, what is left is copied in that way.
const LARGE: usize = LONG + PAGE * 3 / 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_large_slice_is_copied_to_its_own_place_in_another_page() {
        let (bytes, room) = (vec![0; 5 * PAGE + LARGE], vec![0; 2 * PAGE]);
        let (page, room_page) = (
            bytes.as_ptr().align_offset(PAGE),
            room.as_ptr().align_offset(PAGE),
        );
        for from in (0..PAGE).step_by(61) {
            for to in (0..PAGE).step_by(61) {
                for ahead in [0, 1, 300, PAGE / 2, PAGE + 7] {
                    let slice = &bytes[page + from..][..LARGE];
                    let lead = lead(ahead, slice, &room[room_page + to..]);
                    let before = ahead + lead;
                    let added = if before > 0 { 22 } else { 0 };
                    let copied = [
                        (from + lead, RECORD_HEADER),
                        (0, to + before + added),
                        (0, to + before + added + 7 * MAX_ADDED),
                    ];
                    for (from, to) in copied {
                        let distance = (PAGE * 4 + to - from) % PAGE;
                        assert!(distance >= NEAR - 7, "{from} to {to} with {lead}");
                    }
                }
            }
        }
    }

    #[test]
    fn lead_is_for_large_slices_in_the_wrong_place_alone() {
        let (bytes, room) = (vec![0; 5 * PAGE + LARGE], vec![0; 2 * PAGE]);
        let page = bytes.as_ptr().align_offset(PAGE);
        let room = &room[room.as_ptr().align_offset(PAGE) + PAGE / 2..];
        assert_ne!(lead(0, &bytes[page..][..LARGE], room), 0);
        assert_eq!(lead(0, &bytes[page..][..LARGE - 1], room), 0);
        assert_eq!(lead(0, &bytes[page + PAGE / 2..][..LARGE], room), 0);
        assert_eq!(lead(0, &[], room), 0);
    }
}
