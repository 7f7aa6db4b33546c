//! The database of `openssl ca`: a line for each certificate, of which those that are revoked are taken.

use std::fs;
use std::path::Path;

use countersign_pki::crl::CrlEntry;
use countersign_pki::feed::RevocationReason;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;

use crate::certificate_file::fault;
use crate::fault::Fault;

/// What `index.txt` says is revoked, each with the name of the file.
pub(super) fn revoked(path: &Path) -> Result<Vec<(String, CrlEntry)>, Fault> {
    let text = fs::read_to_string(path).map_err(|error| fault(path, &error))?;
    // As it is beside a CA that issues with `openssl x509`: it tells nothing of what that has revoked.
    if text.trim().is_empty() {
        return Err(fault(path, &"the database is empty").hint(
            "it has a line for each certificate that `openssl ca` issued; where no certificate was ever revoked, say so with --nothing-revoked",
        ));
    }
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = entry(line).map_err(|why| {
            fault(path, &format_args!("line {number} {why}"))
                .hint("--index takes the database of `openssl ca`, which its configuration calls `database`")
        })?;
        entries.extend(entry.map(|entry| (path.display().to_string(), entry)));
    }
    Ok(entries)
}

/// `R`, end, revocation with its reason, serial number, file, subject; apart by tabs (openssl-ca(1)).
fn entry(line: &str) -> Result<Option<CrlEntry>, &'static str> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [status, _, revocation, serial, _, _] = fields[..] else {
        return Err("does not have six fields");
    };
    match status {
        "V" | "E" => return Ok(None),
        "R" => {}
        _ => return Err("begins with none of V, R and E"),
    }
    let mut parts = revocation.split(',');
    let time = parts.next().unwrap_or_default();
    Ok(Some(CrlEntry {
        serial: serial
            .parse::<SerialNumber>()
            .map_err(|_| "has no serial number in its fourth field")?,
        revoked_at: time_of(time).ok_or("has no time of revocation in its third field")?,
        reason: parts
            .next()
            .map_or(RevocationReason::Unspecified, reason_of),
        invalid_since: None,
    }))
}

/// `YYMMDDHHMMSSZ`, or with four digits of the year.
fn time_of(text: &str) -> Option<UnixTime> {
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let full = match digits.len() {
        // RFC 5280 §4.1.2.5.1.
        12 if digits < "50" => format!("20{digits}"),
        12 => format!("19{digits}"),
        14 => digits.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| &full[from..to];
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    );
    text.parse().ok()
}

/// One that openssl writes and no list of ours has revokes as well.
fn reason_of(text: &str) -> RevocationReason {
    match text {
        "keyCompromise" | "keyTime" => RevocationReason::KeyCompromise,
        "CACompromise" | "CAkeyTime" => RevocationReason::CaCompromise,
        "affiliationChanged" => RevocationReason::AffiliationChanged,
        "superseded" => RevocationReason::Superseded,
        "cessationOfOperation" => RevocationReason::CessationOfOperation,
        "certificateHold" | "holdInstruction" => RevocationReason::CertificateHold,
        "privilegeWithdrawn" => RevocationReason::PrivilegeWithdrawn,
        _ => RevocationReason::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_lines_are_taken_and_the_others_are_not() {
        let line = |status: &str, time: &str, serial: &str| {
            entry(&format!(
                "{status}\t270101000000Z\t{time}\t{serial}\tunknown\t/CN=a"
            ))
        };
        assert_eq!(line("V", "", "01"), Ok(None));
        assert_eq!(line("E", "", "01"), Ok(None));
        let revoked = |time| line("R", time, "1000").expect("a line").expect("revoked");
        let entry = revoked("260102030405Z,keyCompromise");
        assert_eq!(entry.serial.to_string(), "1000");
        assert_eq!(entry.revoked_at.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(entry.reason, RevocationReason::KeyCompromise);
        assert_eq!(revoked("20260102030405Z").revoked_at, entry.revoked_at);
        assert_eq!(
            revoked("260102030405Z,keyTime,20260101000000Z").reason,
            RevocationReason::KeyCompromise
        );
        assert_eq!(
            revoked("991231235959Z").revoked_at.to_string(),
            "1999-12-31T23:59:59Z"
        );
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for line in [
            "",
            "-----BEGIN CERTIFICATE-----",
            "X\t270101000000Z\t\t01\tunknown\t/CN=a",
            "R\t270101000000Z\t\t01\tunknown\t/CN=a",
            "R\t270101000000Z\t2601020304Z\t01\tunknown\t/CN=a",
            "R\t270101000000Z\t26010203040\u{e9}Z\t01\tunknown\t/CN=a",
            "R\t270101000000Z\t269902030405Z\t01\tunknown\t/CN=a",
            "R\t270101000000Z\t260102030405Z\tzz\tunknown\t/CN=a",
        ] {
            assert!(entry(line).is_err(), "{line:?}");
        }
    }
}
