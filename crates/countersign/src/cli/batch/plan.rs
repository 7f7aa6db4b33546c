//! What a batch asks for: the lines of a CSV file, or the requests of a folder, each parsed once and for all.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use countersign_authority::api::IssueRequest;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::request::CertificateRequest;
use csv::{ReaderBuilder, StringRecord};
use serde::Serialize;

use crate::certificate_file;
use crate::cli::arguments::duration;
use crate::cli::issue::read_request;
use crate::fault::Fault;
use crate::identity_files::folder_name;
use crate::leaf_key::{KeyKind, key_kind_name, parse_key_kind};

/// One certificate that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Where it stands.
    pub(super) place: Place,
    /// Whose it is, and the folder below `--out`, which no other line has.
    pub(super) name: String,
    pub(super) folder: String,
    pub(super) key: KeyWish,
    /// What is sent, without the request for the key.
    pub(super) wish: Wish,
}

/// Where a line stands in what was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A line of the CSV file, counted from 1 with the header.
    Line(u64),
    /// A file of the folder.
    File(String),
}

/// Where the key comes from.
#[derive(Clone, Debug)]
pub(super) enum KeyWish {
    /// One is made here.
    Make(KeyKind),
    /// It lives elsewhere: its request in PEM, and its public half.
    Request { pem: String, spki: Fingerprint },
}

/// What a certificate shall say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Wish {
    profile: String,
    name: String,
    sans: Vec<String>,
    ttl_s: Option<u64>,
}

/// What is wrong with one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) place: Place,
    pub(super) why: String,
}

/// What a line takes where it says nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) profile: Option<String>,
    pub(super) ttl: Option<Duration>,
    pub(super) key: KeyKind,
}

impl Line {
    /// As it goes to the authority, with a request for its key.
    pub(super) fn request(&self, csr: String) -> IssueRequest {
        let Wish {
            profile,
            name,
            sans,
            ttl_s,
        } = self.wish.clone();
        IssueRequest {
            profile,
            name,
            sans,
            ttl_s,
            csr,
        }
    }

    /// What makes it this line and no other: what the certificate shall say, and of which key.
    pub(super) fn digest(&self) -> Fingerprint {
        let key = match &self.key {
            KeyWish::Make(kind) => key_kind_name(*kind).to_owned(),
            KeyWish::Request { spki, .. } => spki.to_string(),
        };
        let Wish {
            profile,
            name,
            sans,
            ttl_s,
        } = &self.wish;
        let text = serde_json::json!([profile, name, sans, ttl_s, key]).to_string();
        Fingerprint::of(text.as_bytes())
    }
}

impl Wish {
    pub(super) fn profile(&self) -> &str {
        &self.profile
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::File(name) => write!(f, "{name}"),
        }
    }
}

/// Every line of the file, or every request of the folder.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) lines: Vec<Line>,
    pub(super) bad: Vec<BadLine>,
    /// How many there are, good and bad.
    pub(super) total: usize,
}

/// Reads the file, or the folder.
pub(super) fn read(source: &Path, defaults: &Defaults) -> Result<Plan, Fault> {
    let (lines, mut bad) = if source.is_dir() {
        in_folder(source, defaults)?
    } else {
        in_csv(source, defaults)?
    };
    let (lines, long): (Vec<Line>, Vec<Line>) = lines
        .into_iter()
        .partition(|line| line.folder.len() <= MAX_FOLDER);
    bad.extend(long.into_iter().map(|line| BadLine {
        why: format!(
            "the name makes a folder of {} bytes, and a file's name has at most {MAX_FOLDER}; a column \"folder\" gives it a shorter one",
            line.folder.len()
        ),
        place: line.place,
    }));
    let total = lines.len() + bad.len();
    bad.extend(collisions(&lines));
    if lines.is_empty() && bad.is_empty() {
        return Err(certificate_file::fault(source, &"the batch is empty").hint(WHAT_A_BATCH_IS));
    }
    Ok(Plan { lines, bad, total })
}

fn in_folder(folder: &Path, defaults: &Defaults) -> Result<(Vec<Line>, Vec<BadLine>), Fault> {
    let profile = defaults.profile.as_ref().ok_or_else(|| {
        Fault::configuration("a folder of requests does not say what its certificates are for")
            .hint("name the profile: `countersign issue client --batch DIR --out DIR`")
    })?;
    let unreadable = |error: &std::io::Error| certificate_file::fault(folder, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(&error))? {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && !is_hidden {
            files.push(path);
        }
        if files.len() > MAX_LINES {
            return Err(too_many(folder));
        }
    }
    files.sort();
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    for path in files {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let place = Place::File(text(path.file_name()));
        let name = text(path.file_stem());
        match request_in(&path) {
            Ok(key) => lines.push(Line {
                place,
                folder: folder_name(&name),
                key,
                wish: Wish {
                    profile: profile.clone(),
                    name: name.clone(),
                    sans: Vec::new(),
                    ttl_s: defaults.ttl.map(|ttl| ttl.as_secs()),
                },
                name,
            }),
            Err(why) => bad.push(BadLine { place, why }),
        }
    }
    Ok((lines, bad))
}

fn request_in(path: &Path) -> Result<KeyWish, String> {
    let len = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if len > MAX_REQUEST {
        return Err(format!("{len} bytes are no certificate request"));
    }
    let pem = read_request(path).map_err(|fault| fault.sentence().to_owned())?;
    let blocks = countersign_pki::pem::decode_all(pem.as_bytes());
    let der = blocks.ok().and_then(|mut blocks| blocks.pop());
    let der = der.ok_or("the file holds no certificate request")?.der;
    let request = CertificateRequest::parse(&der).map_err(|error| error.to_string())?;
    Ok(KeyWish::Request {
        pem,
        spki: Fingerprint::of(request.spki_der()),
    })
}

fn in_csv(path: &Path, defaults: &Defaults) -> Result<(Vec<Line>, Vec<BadLine>), Fault> {
    let fault = |why: &dyn fmt::Display| certificate_file::fault(path, why).hint(WHAT_A_BATCH_IS);
    let len = fs::metadata(path).map_err(|error| fault(&error))?.len();
    if len > MAX_BYTES {
        return Err(fault(&format_args!(
            "the file has {len} bytes, at most {MAX_BYTES} are taken"
        )));
    }
    let bytes = fs::read(path).map_err(|error| fault(&error))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| fault(&"the file is not UTF-8; spreadsheets offer it as `CSV UTF-8`"))?;
    // Spreadsheets mark UTF-8 so.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The reader takes the two for one end, and counts the second to the line after.
    let text = text.replace("\r\n", "\n");
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let header = records
        .next()
        .ok_or_else(|| fault(&"the file is empty"))?
        .map_err(|error| fault(&error))?;
    let columns = Columns::of(&header, defaults).map_err(|why| fault(&why))?;
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    for record in records {
        let record = record.map_err(|error| fault(&error))?;
        let number = record.position().map_or(0, csv::Position::line);
        let place = Place::Line(number);
        if lines.len() + bad.len() >= MAX_LINES {
            return Err(too_many(path));
        }
        match columns.line(&record, place.clone(), defaults) {
            Ok(line) => lines.push(line),
            Err(why) => bad.push(BadLine { place, why }),
        }
    }
    Ok((lines, bad))
}

/// Which cell holds what.
struct Columns {
    names: Vec<Column>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Dns,
    Email,
    Folder,
    Ip,
    Key,
    Name,
    Profile,
    Spiffe,
    Ttl,
    Uri,
}

impl Columns {
    fn of(header: &StringRecord, defaults: &Defaults) -> Result<Self, String> {
        let mut names = Vec::new();
        for cell in header {
            let column = Column::of(cell).ok_or_else(|| {
                format!(
                    "the header has a column {}, which means nothing here",
                    quoted(cell)
                )
            })?;
            if names.contains(&column) {
                return Err(format!("the header has two columns {}", quoted(cell)));
            }
            names.push(column);
        }
        if !names.contains(&Column::Name) {
            return Err("the header has no column \"name\"".to_owned());
        }
        if !names.contains(&Column::Profile) && defaults.profile.is_none() {
            return Err(
                "the header has no column \"profile\", and the command names none".to_owned(),
            );
        }
        Ok(Self { names })
    }

    fn line(
        &self,
        record: &StringRecord,
        place: Place,
        defaults: &Defaults,
    ) -> Result<Line, String> {
        if record.as_slice().len() > MAX_LINE {
            return Err(format!("the line is longer than {MAX_LINE} bytes"));
        }
        if record.len() != self.names.len() {
            return Err(format!(
                "the line has {} cells, the header {}",
                record.len(),
                self.names.len()
            ));
        }
        let cell = |column: Column| {
            let at = self.names.iter().position(|it| *it == column)?;
            record.get(at).filter(|cell| !cell.is_empty())
        };
        let name = cell(Column::Name).ok_or("the name is empty")?.to_owned();
        let profile = cell(Column::Profile)
            .map(str::to_owned)
            .or_else(|| defaults.profile.clone())
            .ok_or("the profile is empty")?;
        let mut sans = Vec::new();
        for (column, kind) in SANS {
            for text in cell(column).unwrap_or_default().split_whitespace() {
                let san = TypedName::parse_as(kind, text)
                    .map_err(|error| format!("{}: {error}", quoted(text)))?;
                sans.push(san.to_string());
            }
        }
        let ttl = match cell(Column::Ttl) {
            Some(text) => {
                Some(duration(text).map_err(|error| format!("ttl {}: {error}", quoted(text)))?)
            }
            None => defaults.ttl,
        };
        let key = match cell(Column::Key) {
            Some(text) => parse_key_kind(text)
                .ok_or_else(|| format!("{} is no kind of key that is made here", quoted(text)))?,
            None => defaults.key,
        };
        let folder = match cell(Column::Folder) {
            Some(text) if folder_name(text) == text => text.to_owned(),
            Some(text) => return Err(format!("{} cannot be the name of a folder", quoted(text))),
            None => folder_name(&name),
        };
        Ok(Line {
            place,
            folder,
            key: KeyWish::Make(key),
            wish: Wish {
                profile,
                name: name.clone(),
                sans,
                ttl_s: ttl.map(|ttl| ttl.as_secs()),
            },
            name,
        })
    }
}

impl Column {
    fn of(header: &str) -> Option<Self> {
        Some(match header {
            "dns" => Self::Dns,
            "email" => Self::Email,
            "folder" => Self::Folder,
            "ip" => Self::Ip,
            "key" => Self::Key,
            "name" => Self::Name,
            "profile" => Self::Profile,
            "spiffe" => Self::Spiffe,
            "ttl" => Self::Ttl,
            "uri" => Self::Uri,
            _ => return None,
        })
    }
}

/// Two lines that would write to one folder, told at the second. Folders that differ in case alone are one on some disks.
fn collisions(lines: &[Line]) -> Vec<BadLine> {
    let mut taken: HashMap<String, &Place> = HashMap::new();
    let mut bad = Vec::new();
    for line in lines {
        if let Some(first) = taken.insert(line.folder.to_lowercase(), &line.place) {
            bad.push(BadLine {
                place: line.place.clone(),
                why: format!(
                    "{} would go to the same folder as {first}; a column \"folder\" gives each its own",
                    quoted(&line.name)
                ),
            });
        }
    }
    bad
}

fn too_many(path: &Path) -> Fault {
    certificate_file::fault(
        path,
        &format_args!("it asks for more than {MAX_LINES} certificates"),
    )
    .hint("split it: each part goes to a folder of its own")
}

/// What somebody wrote, escaped for a terminal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

const SANS: [(Column, NameKind); 5] = [
    (Column::Dns, NameKind::Dns),
    (Column::Ip, NameKind::Ip),
    (Column::Spiffe, NameKind::Spiffe),
    (Column::Email, NameKind::Email),
    (Column::Uri, NameKind::Uri),
];

const WHAT_A_BATCH_IS: &str = "a batch is a CSV file whose first line names the columns, such as `profile,name,dns,ip,spiffe,email,uri,ttl,key,folder`, \
     or a folder of certificate requests";

/// `NAME_MAX` of every file system of use.
const MAX_FOLDER: usize = 255;
/// A fleet; more would be days of work for one command, and two files do it as well.
const MAX_LINES: usize = 100_000;
/// A hundred SANs of 253 bytes fit; no line of use is longer.
const MAX_LINE: usize = 32 * 1024;
/// Some 600 bytes for each of the lines.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What the admin API takes, with room for PEM.
const MAX_REQUEST: u64 = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Plan, Fault> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        read(file.path(), &Defaults::default())
    }

    fn bad(text: &str) -> Vec<(String, String)> {
        let plan = parse(text).expect("a batch");
        plan.bad
            .into_iter()
            .map(|it| (it.place.to_string(), it.why))
            .collect()
    }

    #[test]
    fn lines_are_read_with_quotes_lists_and_what_they_leave_out() {
        let text = "\u{feff}name,profile,dns,ip,ttl,key,folder\r\n\
            a.example,server,\"b.example  c.example\",10.0.0.1,30d,rsa2048,first\r\n\
            \"you, \"\"too\"\"\",client,,,,,\r\n";
        let Plan { lines, bad, total } = parse(text).expect("a batch");
        assert_eq!(total, 2);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(lines[0].place, Place::Line(2));
        assert_eq!(lines[0].folder, "first");
        assert_eq!(
            lines[0].wish.sans,
            ["dns:b.example", "dns:c.example", "ip:10.0.0.1"]
        );
        assert_eq!(lines[0].wish.ttl_s, Some(30 * 24 * 3600));
        assert!(matches!(lines[0].key, KeyWish::Make(KeyKind::Rsa2048)));
        assert_eq!(lines[1].name, "you, \"too\"");
        assert_eq!(lines[1].folder, folder_name("you, \"too\""));
        assert!(matches!(lines[1].key, KeyWish::Make(KeyKind::P256)));
    }

    #[test]
    fn every_bad_line_is_told_by_its_number_and_the_good_ones_are_kept() {
        let found = bad(
            "profile,name,ip,ttl,key,folder\nclient,a,,,,\nclient,,,,,\nclient,b,300.1.2.3,,,\nclient,c,,soon,,\nclient,d,,,dsa,\n\
             client,e,,,,../x\nclient,f\n,g,,,,\nclient,A,,,,\n",
        );
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(
            places,
            [
                "line 3", "line 4", "line 5", "line 6", "line 7", "line 8", "line 9", "line 10"
            ]
        );
        assert!(
            found[7].1.contains("the same folder as line 2"),
            "{found:?}"
        );
    }

    #[test]
    fn name_that_no_folder_can_have_is_told_before_anything_is_issued() {
        let long = |count: usize| format!("spiffe://example.com/{}", "a".repeat(count));
        let (fits, does_not) = (long(255 - 12), long(255 - 11));
        let text = format!(
            "profile,name,folder\nworkload,{fits},\nworkload,{does_not},\nworkload,{does_not}b,short\n"
        );
        let found = bad(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "line 3");
        assert!(found[0].1.contains("a folder of 256 bytes"), "{found:?}");
    }

    #[test]
    fn number_of_a_line_counts_the_lines_within_quotes() {
        let found = bad("profile,name\nclient,\"a\nb\"\nclient,\n");
        assert_eq!(found[0].0, "line 4");
    }

    #[test]
    fn header_that_says_too_little_or_too_much_is_refused() {
        for header in [
            "",
            "name\na\n",
            "profile\nclient\n",
            "profile,name,nmae\n",
            "name,profile,name\n",
            "profile,name\n",
        ] {
            assert!(parse(header).is_err(), "{header:?}");
        }
        assert!(parse("profile;name\nclient;a\n").is_err());
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let found = bad("profile,name,dns\nclient,a,\u{1b}[2J\n");
        assert!(
            !found[0].1.contains('\u{1b}') && found[0].1.contains("\\u{1b}"),
            "{found:?}"
        );
        let header = parse("profile,name,\u{1b}[2J\n").expect_err("an unknown column");
        assert!(!header.sentence().contains('\u{1b}'));
    }

    #[test]
    fn long_lines_are_refused_and_digests_tell_lines_apart() {
        let found = bad(&format!(
            "profile,name,dns\nclient,a,{}\n",
            "x ".repeat(MAX_LINE)
        ));
        assert!(found[0].1.contains("longer than"), "{found:?}");
        let lines = parse("profile,name,dns,ttl,key,folder\nclient,a,,,,1\nclient,b,,,,2\nclient,a,x.example,,,3\nclient,a,,1d,,4\nclient,a,,,p384,5\nclient,a,,,,6\n").expect("a batch").lines;
        let digests: Vec<_> = lines.iter().map(Line::digest).collect();
        for (at, digest) in digests[..5].iter().enumerate() {
            assert!(!digests[..at].contains(digest), "{at}");
        }
        assert_eq!(digests[0], digests[5]);
    }
}
