-- Revocation lists that are published: the complete one of each issuer, whose uri is '', and shards, whose uri stands in the
-- certificates that they are for and in the list itself. changed_at: the last message of the feed that concerns the list;
-- covers: the last one that the signed list knows of. A list with changed_at above covers has to be signed anew.
CREATE TABLE crl (
    id          INTEGER PRIMARY KEY,
    issuer_id   INTEGER NOT NULL REFERENCES issuer (id),
    uri         TEXT    NOT NULL,
    number      INTEGER NOT NULL DEFAULT 0,
    this_update INTEGER NOT NULL DEFAULT 0,
    next_update INTEGER NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0,
    changed_at  INTEGER NOT NULL DEFAULT 0,
    covers      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (issuer_id, uri)
) STRICT;
CREATE TRIGGER crl_number_only_grows BEFORE UPDATE OF number ON crl WHEN NEW.number <= OLD.number
BEGIN
    SELECT raise(ABORT, 'a CRL number only grows');
END;
INSERT INTO crl (issuer_id, uri, changed_at)
    SELECT s.id, '', coalesce((SELECT max(r.sequence) FROM revocation r WHERE r.issuer_id = s.id), 0) FROM issuer s;

-- The last list that was signed, apart from what changes with every revocation.
CREATE TABLE crl_signed (
    crl_id INTEGER PRIMARY KEY REFERENCES crl (id),
    der    BLOB    NOT NULL
) STRICT;

-- The shard whose URI stands in the certificate; none: it was issued without, and is on the complete list alone.
ALTER TABLE intent ADD COLUMN crl_id INTEGER REFERENCES crl (id);

-- Elements of revokedCertificates in DER, in the order of the numbers that serials are. over_at: when both certificate and
-- revocation are past, so that a list signed later shows it for the last time.
CREATE TABLE crl_entry (
    issuer_id INTEGER NOT NULL REFERENCES issuer (id),
    octets    INTEGER NOT NULL,
    serial    BLOB    NOT NULL,
    crl_id    INTEGER REFERENCES crl (id),
    over_at   INTEGER NOT NULL,
    entry     BLOB    NOT NULL,
    PRIMARY KEY (issuer_id, octets, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX crl_entry_by_list ON crl_entry (crl_id, octets, serial) WHERE crl_id IS NOT NULL;

-- SEQUENCE { INTEGER serial, UTCTime revoked_at, [ SEQUENCE { SEQUENCE { 2.5.29.21, OCTET STRING { ENUMERATED reason } } } ] }
WITH part AS (
    SELECT issuer_id, serial, max(not_after, revoked_at) AS over_at,
           CASE WHEN substr(hex(serial), 1, 1) >= '8' THEN '00' ELSE '' END || hex(serial) AS number,
           -- UTCTime has two digits of the year.
           '170D' || hex(substr(strftime('%Y%m%d%H%M%SZ', revoked_at, 'unixepoch'), 3)) AS time,
           CASE reason
               WHEN 'key-compromise' THEN '01' WHEN 'ca-compromise' THEN '02' WHEN 'affiliation-changed' THEN '03'
               WHEN 'superseded' THEN '04' WHEN 'cessation-of-operation' THEN '05' WHEN 'certificate-hold' THEN '06'
               WHEN 'privilege-withdrawn' THEN '09'
           END AS code
    FROM revocation
), body AS (
    SELECT issuer_id, serial, over_at,
           '02' || printf('%02X', length(number) / 2) || number || time || coalesce('300C300A0603551D1504030A01' || code, '') AS hex
    FROM part
)
INSERT INTO crl_entry (issuer_id, octets, serial, over_at, entry)
    SELECT issuer_id, length(serial), serial, over_at, unhex('30' || printf('%02X', length(hex) / 2) || hex) FROM body;

