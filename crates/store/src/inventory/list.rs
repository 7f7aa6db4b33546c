//! Lists: any filters together, page by page, each page from indexes alone.
//!
//! The narrowest filter drives: its index gives the rows in the list's order, the other filters are looked up per row.
//! Where it means several places of an index (a name of three kinds, three states), each is a stream of its own, and
//! the streams are merged. A page goes on behind the last row of the one before, by that row's place in the order,
//! so that rows that come in between neither repeat nor hide one.
//!
//! A page looks at [`LOOKED_AT`] rows at most, whatever fits: where the other filters leave few of the driver's rows, it is
//! short or empty and says where to go on, so that no list keeps others waiting for a walk through the whole inventory.

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::time::UnixTime;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::filter::{Cursor, Driver, Filter, Glob, IssuerFilter, NameFilter, Order};
use super::stream::Stream;
use super::{EntryId, Page, Status, load};
use crate::row::to_seconds;

pub(super) fn list(
    sql: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
    now: UnixTime,
) -> rusqlite::Result<Page> {
    let Places { found, next } = places(sql, filter, after, limit, now)?;
    let ids: Vec<EntryId> = found.iter().map(|place| place.id).collect();
    Ok(Page {
        entries: load(sql, &ids)?,
        next,
    })
}

/// Part of a list.
pub(crate) struct Places {
    /// Where its rows stand, in the order of the list.
    pub(crate) found: Vec<Cursor>,
    /// Behind which place to go on, if there may be more: that of the last row, or of one that was looked at behind it.
    pub(crate) next: Option<Cursor>,
}

/// The rows after `after`, at most `limit`.
pub(crate) fn places(
    sql: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
    now: UnixTime,
) -> rusqlite::Result<Places> {
    let issuers = match &filter.issuer {
        Some(issuer) => Some(issuers(sql, issuer)?),
        None => None,
    };
    let listing = Listing {
        filter,
        after,
        now: to_seconds(now),
        issuers,
    };
    let streams = listing.streams();
    // Each gets on with every page, so that the list comes to its end.
    let share = (LOOKED_AT / streams.len().max(1)).max(1);
    let limit = limit as usize;
    let mut found: Vec<Cursor> = Vec::new();
    let mut cut: Option<Cursor> = None;
    for stream in streams {
        let end = look_at(sql, stream, filter.order(), limit + 1, share, &mut found)?;
        cut = match (cut, end) {
            (Some(one), Some(other)) => Some(if one.compare(&other).is_le() {
                one
            } else {
                other
            }),
            (one, other) => one.or(other),
        };
    }
    found.sort_by(Cursor::compare);
    found.dedup_by_key(|place| place.id);
    // Behind the first stream that was given up, another row may come before those that are found.
    if let Some(cut) = &cut {
        found.retain(|place| place.compare(cut).is_le());
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = if has_more { found.last().cloned() } else { cut };
    Ok(Places { found, next })
}

/// Adds `wanted` rows of the stream that fit. The place of the last of `share` rows, where it looked at as many and there
/// may be more.
fn look_at(
    sql: &Connection,
    mut stream: Stream,
    order: Order,
    wanted: usize,
    share: usize,
    found: &mut Vec<Cursor>,
) -> rusqlite::Result<Option<Cursor>> {
    let at_most = stream.bind(i64::try_from(share).unwrap_or(i64::MAX));
    let mut statement = sql.prepare_cached(&stream.text(&at_most))?;
    let mut rows = statement.query(params_from_iter(stream.values))?;
    let mut last = None;
    let (mut looked_at, mut fitting) = (0, 0);
    while fitting < wanted {
        let Some(row) = rows.next()? else {
            return Ok(last.filter(|_| looked_at == share));
        };
        looked_at += 1;
        let place = Cursor {
            order,
            text: row.get(0)?,
            number: row.get(1)?,
            id: EntryId(row.get(2)?),
        };
        if row.get(3)? {
            fitting += 1;
            found.push(place.clone());
        }
        last = Some(place);
    }
    Ok(None)
}

/// The numbers of the issuers that are meant.
fn issuers(sql: &Connection, issuer: &IssuerFilter) -> rusqlite::Result<Vec<i64>> {
    let (exactly, further) = match issuer {
        // Further attributes follow behind a comma; `-` is the character after it.
        IssuerFilter::Beginning(name) => (name, Some((format!("{name},"), format!("{name}-")))),
        IssuerFilter::Subject(subject) => (subject, None),
    };
    let (from, to) = further.unwrap_or_default();
    sql.prepare_cached(ISSUERS)?
        .query_map((exactly, from, to, MAX_ISSUERS), |row| row.get(0))?
        .collect()
}

pub(super) struct Listing<'a> {
    pub(super) filter: &'a Filter,
    pub(super) after: Option<Cursor>,
    pub(super) now: i64,
    /// Those that the filter means.
    pub(super) issuers: Option<Vec<i64>>,
}

impl Listing<'_> {
    pub(super) fn streams(&self) -> Vec<Stream> {
        let filter = self.filter;
        match filter.driver() {
            Driver::Ending => self.ending(),
            Driver::Everything => vec![self.newest("entry e NOT INDEXED", "e.id")],
            Driver::Exactly(place) => self.exactly(place),
            Driver::Fingerprint => self.equal(
                "entry_by_fingerprint",
                "fingerprint",
                blob(filter.fingerprint),
            ),
            Driver::IssuedBy => {
                self.equal("entry_by_who", "issued_by", text(filter.issued_by.as_ref()))
            }
            Driver::Issuer => self
                .issuers
                .iter()
                .flatten()
                .flat_map(|id| {
                    self.equal("entry_by_issuer", "issuer_name_id", Some(Value::from(*id)))
                })
                .collect(),
            Driver::Label => self.labelled(),
            Driver::Like(place) => self.like(place),
            Driver::Owner => self.owned(),
            Driver::Profile => {
                self.equal("entry_by_profile", "profile", text(filter.profile.as_ref()))
            }
            Driver::Serial => {
                let serial = filter.serial.map(|serial| serial.magnitude().to_vec());
                self.equal("entry_by_serial", "serial", serial.map(Value::from))
            }
            Driver::Spki => self.equal("entry_by_spki", "spki", blob(filter.spki)),
            Driver::State if filter.status == Some(Status::Revoked) => {
                vec![
                    self.newest("entry e INDEXED BY entry_revoked", "e.id")
                        .and("e.state = 'revoked'"),
                ]
            }
            Driver::State if filter.status == Some(Status::Held) => {
                vec![
                    self.newest("entry e INDEXED BY entry_held", "e.id")
                        .and("e.held = 1"),
                ]
            }
            Driver::State => {
                vec![
                    // The bytes of each stand there, and of few others.
                    self.newest("intent t CROSS JOIN entry e ON e.id = t.id", "t.id")
                        .and("e.state = 'unknown'"),
                ]
            }
        }
    }

    /// One stream of rows whose `column` has this value.
    fn equal(&self, index: &str, column: &str, value: Option<Value>) -> Vec<Stream> {
        let mut stream = self.newest(&format!("entry e INDEXED BY {index}"), "e.id");
        let value = stream.bind(value.unwrap_or(Value::Null));
        vec![stream.and(&format!("e.{column} = {value}"))]
    }

    fn exactly(&self, place: usize) -> Vec<Stream> {
        let NameFilter::Exactly(names) = &self.filter.names[place] else {
            return Vec::new();
        };
        let of_name = |name: &TypedName| match name {
            TypedName::Spki(spki) => self.equal("entry_by_spki", "spki", blob(Some(*spki))),
            TypedName::SerialIssuer { serial, issuer } => {
                let serial = Value::from(serial.magnitude().to_vec());
                let streams = self.equal("entry_by_serial", "serial", Some(serial));
                let with_issuer = |mut stream: Stream| {
                    let issuer = stream.bind(issuer.to_string());
                    stream.and(&format!(
                        "e.issuer_name_id = (SELECT s.id FROM issuer_name s WHERE s.subject = {issuer})"
                    ))
                };
                streams.into_iter().map(with_issuer).collect()
            }
            other => {
                let from = "name n CROSS JOIN entry e ON e.id = n.entry_id";
                let mut stream = self.newest(from, "n.entry_id");
                let kind = stream.bind(other.kind().prefix().to_owned());
                let value = stream.bind(other.bare());
                vec![stream.and(&format!("n.kind = {kind} AND n.value = {value}"))]
            }
        };
        names.iter().flat_map(of_name).collect()
    }

    /// A row that fits by several names stands under the first of them.
    fn like(&self, place: usize) -> Vec<Stream> {
        let NameFilter::Like(glob, kinds) = &self.filter.names[place] else {
            return Vec::new();
        };
        let (column, index) = match glob {
            Glob::Prefix(_) => ("folded", "name_by_beginning"),
            Glob::Suffix(_) => ("reversed", "name_by_ending"),
        };
        let (from, to) = glob.range();
        let kinds = list_of(kinds);
        let stream = |segment: Segment<'_>| {
            let tables =
                format!("name n INDEXED BY {index} CROSS JOIN entry e ON e.id = n.entry_id");
            let mut stream = Stream::new(&format!("n.{column}"), "0", &tables);
            let (low, high) = (
                stream.bind(from.clone()),
                to.clone().map(|to| stream.bind(to)),
            );
            let below = high
                .as_ref()
                .map(|high| format!(" AND n.{column} < {high}"));
            let below = below.unwrap_or_default();
            // By value, which the index by entry has too, so that the table itself is not looked up.
            let fits = match (glob, &high) {
                (Glob::Prefix(_), Some(high)) => {
                    format!("lower(o.value) >= {low} AND lower(o.value) < {high}")
                }
                (Glob::Prefix(_), None) => format!("lower(o.value) >= {low}"),
                (Glob::Suffix(end), _) => {
                    let end = stream.bind(end.to_ascii_lowercase());
                    format!("substr(lower(o.value), -length({end})) = {end}")
                }
            };
            let first = format!(
                "n.kind IN ({kinds}) AND NOT EXISTS (SELECT 1 FROM name o INDEXED BY name_by_entry WHERE o.entry_id = n.entry_id
                 AND o.position < n.position AND o.kind IN ({kinds}) AND {fits})"
            );
            stream = stream.fitting(&first);
            stream = match segment {
                Segment::All => stream.and(&format!("n.{column} >= {low}{below}")),
                Segment::RestOf(after) => {
                    let (text, id) = (stream.bind(after.text.clone()), stream.bind(after.id.0));
                    stream.and(&format!("n.{column} = {text} AND n.entry_id < {id}"))
                }
                Segment::Behind(after) if after.text < from => {
                    stream.and(&format!("n.{column} >= {low}{below}"))
                }
                Segment::Behind(after) => {
                    let text = stream.bind(after.text.clone());
                    stream.and(&format!("n.{column} > {text}{below}"))
                }
            };
            self.narrowed(stream.ordered(&format!("n.{column}, n.entry_id DESC")))
        };
        // A cursor of another pattern may stand where no row fits this one.
        let is_inside = |segment: &Segment<'_>| match segment {
            Segment::RestOf(after) => {
                after.text >= from && to.as_ref().is_none_or(|to| after.text < *to)
            }
            Segment::All | Segment::Behind(_) => true,
        };
        let segments = self.segments().into_iter().filter(is_inside);
        segments.map(stream).collect()
    }

    fn owned(&self) -> Vec<Stream> {
        self.by_identity(
            "identity d INDEXED BY identity_by_owner",
            "d.id",
            |stream| {
                let owner = stream.bind(self.filter.owner.clone().unwrap_or_default());
                format!("d.owner = {owner}")
            },
        )
    }

    fn labelled(&self) -> Vec<Stream> {
        self.by_identity(
            "label d INDEXED BY label_by_value",
            "d.identity_id",
            |stream| {
                let (key, value) = self.filter.labels[0].clone();
                let (key, value) = (stream.bind(key), stream.bind(value));
                format!("d.key = {key} AND d.value = {value}")
            },
        )
    }

    fn by_identity(
        &self,
        table: &str,
        identity: &str,
        condition: impl Fn(&mut Stream) -> String,
    ) -> Vec<Stream> {
        let stream = |segment: Segment<'_>| {
            let tables = format!(
                "{table} CROSS JOIN entry e INDEXED BY entry_by_identity ON e.identity_id = {identity}"
            );
            let mut stream = Stream::new("''", identity, &tables);
            let condition = condition(&mut stream);
            stream = stream.and(&condition);
            stream = match segment {
                Segment::All => stream,
                Segment::RestOf(after) => {
                    let (number, id) = (stream.bind(after.number), stream.bind(after.id.0));
                    stream.and(&format!("{identity} = {number} AND e.id < {id}"))
                }
                Segment::Behind(after) => {
                    let number = stream.bind(after.number);
                    stream.and(&format!("{identity} > {number}"))
                }
            };
            self.narrowed(stream.ordered(&format!("{identity}, e.id DESC")))
        };
        self.segments().into_iter().map(stream).collect()
    }

    /// By end, each state that is meant.
    fn ending(&self) -> Vec<Stream> {
        let states: &[&str] = match self.filter.status {
            Some(Status::Held | Status::Revoked) => &["revoked"],
            Some(Status::Unknown) => &["unknown"],
            Some(Status::Valid) => &["signed", "imported"],
            None if self.filter.not_ended && self.filter.expiring_before.is_none() => {
                &["signed", "unknown", "imported", "revoked"]
            }
            Some(Status::Expired) | None => &["signed", "unknown", "imported"],
        };
        let stream = |state: &&str| {
            let mut stream = Stream::new("''", "e.not_after", "entry e INDEXED BY entry_by_end");
            let state = stream.bind((*state).to_owned());
            stream = stream.and(&format!("e.state = {state}"));
            let is_expired = self.filter.order() == Order::EndedLast;
            let (end, id) = match &self.after {
                Some(after) => (after.number, after.id.0),
                // Nothing has this number: whatever ends now has not ended yet.
                None => (self.now, -1),
            };
            let (end, id) = (stream.bind(end), stream.bind(id));
            stream = if is_expired {
                stream
                    .and(&format!("(e.not_after, e.id) < ({end}, {id})"))
                    .ordered("e.not_after DESC, e.id DESC")
            } else {
                stream
                    .and(&format!("(e.not_after, e.id) > ({end}, {id})"))
                    .ordered("e.not_after, e.id")
            };
            if let Some(then) = self.filter.expiring_before {
                let then = stream.bind(to_seconds(then));
                stream = stream.and(&format!("e.not_after < {then}"));
            }
            self.narrowed(stream)
        };
        states.iter().map(stream).collect()
    }

    fn newest(&self, tables: &str, id: &str) -> Stream {
        let mut stream = Stream::new("''", "0", tables);
        let after = self.after.as_ref().map_or(i64::MAX, |after| after.id.0);
        let after = stream.bind(after);
        self.narrowed(
            stream
                .and(&format!("{id} < {after}"))
                .ordered(&format!("{id} DESC")),
        )
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        match &self.after {
            Some(after) => vec![Segment::RestOf(after), Segment::Behind(after)],
            None => vec![Segment::All],
        }
    }

    /// With every filter but the driver's names, whose index is looked up already.
    fn narrowed(&self, mut stream: Stream) -> Stream {
        let filter = self.filter;
        let now = self.now;
        if let Some(status) = filter.status {
            let now = stream.bind(now);
            stream = stream.fitting(&match status {
                Status::Held => "e.held = 1".to_owned(),
                Status::Revoked => "e.state = 'revoked' AND e.held = 0".to_owned(),
                Status::Expired => format!("e.state <> 'revoked' AND e.not_after < {now}"),
                Status::Unknown => format!("e.state = 'unknown' AND e.not_after >= {now}"),
                Status::Valid => {
                    format!("e.state IN ('imported', 'signed') AND e.not_after >= {now}")
                }
            });
        }
        if filter.not_ended {
            let now = stream.bind(now);
            stream = stream.fitting(&format!("e.not_after >= {now}"));
        }
        if let Some(then) = filter.expiring_before {
            let (now, then) = (stream.bind(now), stream.bind(to_seconds(then)));
            stream = stream.fitting(&format!("e.not_after >= {now} AND e.not_after < {then}"));
            if filter.status.is_none() {
                stream = stream.fitting("e.state <> 'revoked'");
            }
        }
        if let Some(issuers) = &self.issuers {
            let ids: Vec<String> = issuers.iter().map(ToString::to_string).collect();
            stream = stream.fitting(&format!("e.issuer_name_id IN ({})", ids.join(", ")));
        }
        let columns = [
            ("profile", text(filter.profile.as_ref())),
            (
                "serial",
                filter
                    .serial
                    .map(|serial| Value::from(serial.magnitude().to_vec())),
            ),
            ("fingerprint", blob(filter.fingerprint)),
            ("spki", blob(filter.spki)),
            ("issued_by", text(filter.issued_by.as_ref())),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                let value = stream.bind(value);
                stream = stream.fitting(&format!("e.{column} = {value}"));
            }
        }
        if let Some(owner) = &filter.owner {
            let owner = stream.bind(owner.clone());
            stream = stream.fitting(&format!(
                "EXISTS (SELECT 1 FROM identity o WHERE o.id = e.identity_id AND o.owner = {owner})"
            ));
        }
        for (key, value) in &filter.labels {
            let (key, value) = (stream.bind(key.clone()), stream.bind(value.clone()));
            stream = stream.fitting(&format!(
                "EXISTS (SELECT 1 FROM label o WHERE o.identity_id = e.identity_id AND o.key = {key} AND o.value = {value})"
            ));
        }
        let driver = filter.driver();
        for (place, name) in filter.names.iter().enumerate() {
            if !matches!(driver, Driver::Exactly(it) | Driver::Like(it) if it == place) {
                stream = with_name(stream, name);
            }
        }
        stream
    }
}

/// A condition on the names of one row, looked up by the row.
fn with_name(mut stream: Stream, name: &NameFilter) -> Stream {
    let mut alternatives = Vec::new();
    match name {
        NameFilter::Exactly(names) => {
            for name in names {
                alternatives.push(match name {
                    TypedName::Spki(spki) => format!("e.spki = {}", stream.bind(spki.as_bytes().to_vec())),
                    TypedName::SerialIssuer { serial, issuer } => {
                        let serial = stream.bind(serial.magnitude().to_vec());
                        let issuer = stream.bind(issuer.to_string());
                        format!("e.serial = {serial} AND e.issuer_name_id = (SELECT s.id FROM issuer_name s WHERE s.subject = {issuer})")
                    }
                    other => {
                        let kind = stream.bind(other.kind().prefix().to_owned());
                        let value = stream.bind(other.bare());
                        format!("EXISTS (SELECT 1 FROM name o WHERE o.kind = {kind} AND o.value = {value} AND o.entry_id = e.id)")
                    }
                });
            }
        }
        NameFilter::Like(glob, kinds) => {
            let column = match glob {
                Glob::Prefix(_) => "folded",
                Glob::Suffix(_) => "reversed",
            };
            let (from, to) = glob.range();
            let from = stream.bind(from);
            let to = to.map(|to| format!(" AND o.{column} < {}", stream.bind(to)));
            alternatives.push(format!(
                "EXISTS (SELECT 1 FROM name o INDEXED BY name_by_entry WHERE o.entry_id = e.id AND o.kind IN ({}) AND o.{column} >= {from}{})",
                list_of(kinds),
                to.unwrap_or_default()
            ));
        }
    }
    if alternatives.is_empty() {
        stream.fitting("FALSE")
    } else {
        stream.fitting(&format!("({})", alternatives.join(" OR ")))
    }
}

/// Words of ours, as they stand in SQL.
fn list_of(kinds: &[NameKind]) -> String {
    let words: Vec<String> = kinds
        .iter()
        .map(|kind| format!("'{}'", kind.prefix()))
        .collect();
    words.join(", ")
}

fn blob(fingerprint: Option<Fingerprint>) -> Option<Value> {
    fingerprint.map(|fingerprint| Value::from(fingerprint.as_bytes().to_vec()))
}

fn text(text: Option<&String>) -> Option<Value> {
    text.cloned().map(Value::from)
}

/// What of an index that has several rows per place is still to be read.
#[derive(Clone, Copy)]
enum Segment<'a> {
    All,
    Behind(&'a Cursor),
    RestOf(&'a Cursor),
}

/// Rows of a driver that a page looks at: some 10 ms with pages that are at hand, and three pages of [`super::MAX_PAGE`] where
/// each third row fits.
const LOOKED_AT: usize = 3000;

/// Issuers of one common name; more than a handful is an attack on whoever reads the list.
const MAX_ISSUERS: i64 = 64;

pub(super) const ISSUERS: &str =
    "SELECT id FROM issuer_name WHERE subject = ?1 OR (subject >= ?2 AND subject < ?3) LIMIT ?4";
