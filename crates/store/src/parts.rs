//! Every revocation there is, in parts: what a node far away begins with is never in memory as a whole.

use countersign_pki::feed::Revoked;
use countersign_pki::serial::SerialNumber;
use rusqlite::params;

use crate::error::StoreError;
use crate::row::{fingerprint, serial, time, word};
use crate::store::Store;

/// A part of all revocations.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// As many as were asked for, or the last ones.
    pub revoked: Vec<Revoked>,
    /// Where the next part begins; `None`: this is the last.
    pub next: Option<PartPlace>,
}

/// The last revocation of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartPlace {
    serial: SerialNumber,
    issuer_id: i64,
}

impl Store {
    /// The next `limit` revocations behind `after`, none left out for being past its end.
    ///
    /// Parts are read one by one, and what is revoked in between may be in them or not. So a reader takes the feed's place
    /// first, then every part, then the messages behind that place: a revocation is in one of them or in both.
    pub async fn part(&self, after: Option<PartPlace>, limit: u32) -> Result<Part, StoreError> {
        self.lists
            .read(move |sql| {
                let (serial_after, issuer_after) = match &after {
                    Some(place) => (place.serial.magnitude(), place.issuer_id),
                    // Before every serial, none of which is empty.
                    None => (&[][..], 0),
                };
                let mut statement = sql.prepare_cached(
                    "SELECT s.spki, r.serial, r.reason, r.revoked_at, r.issuer_id
                     FROM revocation r CROSS JOIN issuer s ON s.id = r.issuer_id
                     WHERE (r.serial, r.issuer_id) > (?1, ?2)
                     ORDER BY r.serial, r.issuer_id LIMIT ?3",
                )?;
                let rows =
                    statement.query_map(params![serial_after, issuer_after, limit], |row| {
                        let revoked = Revoked {
                            issuer_key: fingerprint(row, 0)?,
                            serial: serial(row, 1)?,
                            reason: word(row, 2)?,
                            revoked_at: time(row, 3)?,
                        };
                        let place = PartPlace {
                            serial: revoked.serial,
                            issuer_id: row.get(4)?,
                        };
                        Ok((revoked, place))
                    })?;
                let mut part = Part::default();
                let mut last = None;
                for row in rows {
                    let (revoked, place) = row?;
                    part.revoked.push(revoked);
                    last = Some(place);
                }
                let is_full = u32::try_from(part.revoked.len()).is_ok_and(|found| found == limit);
                part.next = last.filter(|_| is_full);
                Ok(part)
            })
            .await
    }
}
