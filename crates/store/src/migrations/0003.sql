-- Inventory: lists by any filter, owners and labels, certificates of others.

-- Subjects of issuers, ours and others'.
CREATE TABLE issuer_name (
    id      INTEGER PRIMARY KEY,
    subject TEXT    NOT NULL UNIQUE
) STRICT;
INSERT INTO issuer_name (subject) SELECT DISTINCT subject FROM issuer;

-- The name that a certificate is shown by, and what people say of it.
CREATE TABLE identity (
    id    INTEGER PRIMARY KEY,
    kind  TEXT    NOT NULL,
    value TEXT    NOT NULL,
    owner TEXT,
    note  TEXT,
    UNIQUE (kind, value)
) STRICT;
CREATE INDEX identity_by_owner ON identity (owner) WHERE owner IS NOT NULL;

CREATE TABLE label (
    identity_id INTEGER NOT NULL REFERENCES identity (id),
    key         TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (identity_id, key)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX label_by_value ON label (key, value, identity_id);

-- What lists are made of: one row per intent, under its number, and one per certificate of others, which has no intent,
-- so that nothing can renew or revoke it. An issued one has a profile, an imported one 'imported'.
CREATE TABLE entry (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    state          TEXT    NOT NULL CHECK (state IN ('imported', 'revoked', 'signed', 'unknown')),
    issuer_name_id INTEGER NOT NULL REFERENCES issuer_name (id),
    serial         BLOB    NOT NULL,
    profile        TEXT    NOT NULL,
    spki           BLOB    NOT NULL,
    fingerprint    BLOB,
    identity_id    INTEGER NOT NULL REFERENCES identity (id),
    not_before     INTEGER NOT NULL,
    not_after      INTEGER NOT NULL,
    added_at       INTEGER NOT NULL,
    issued_by      TEXT    NOT NULL
) STRICT;

CREATE TABLE imported (
    id    INTEGER PRIMARY KEY REFERENCES entry (id),
    der   BLOB NOT NULL,
    actor TEXT NOT NULL
) STRICT;

-- The position of the name that is shown first.
CREATE TEMP TABLE principal AS
    SELECT i.id AS intent_id, (
        SELECT n.position FROM name n WHERE n.intent_id = i.id
        ORDER BY CASE n.kind WHEN 'spiffe' THEN 0 WHEN 'dns' THEN 1 WHEN 'email' THEN 2 WHEN 'cn' THEN 3 ELSE 4 END, n.position
        LIMIT 1
    ) AS position
    FROM intent i;
INSERT OR IGNORE INTO identity (kind, value)
    SELECT n.kind, n.value FROM temp.principal p JOIN name n ON n.intent_id = p.intent_id AND n.position = p.position;
INSERT OR IGNORE INTO identity (kind, value)
    SELECT 'spki', lower(hex(i.spki)) FROM temp.principal p JOIN intent i ON i.id = p.intent_id WHERE p.position IS NULL;

INSERT INTO entry (id, state, issuer_name_id, serial, profile, spki, fingerprint, identity_id, not_before, not_after, added_at, issued_by)
    SELECT i.id,
           CASE WHEN r.serial IS NOT NULL THEN 'revoked' WHEN c.id IS NOT NULL THEN 'signed' ELSE 'unknown' END,
           (SELECT s.id FROM issuer_name s JOIN issuer a ON a.subject = s.subject WHERE a.id = i.issuer_id),
           i.serial, i.profile, i.spki, c.fingerprint,
           coalesce(
               (SELECT d.id FROM name n JOIN identity d ON d.kind = n.kind AND d.value = n.value
                WHERE n.intent_id = i.id AND n.position = p.position),
               (SELECT d.id FROM identity d WHERE d.kind = 'spki' AND d.value = lower(hex(i.spki)))),
           i.not_before, i.not_after, i.intended_at,
           CASE json_extract(i.actor, '$.kind')
               WHEN 'authority' THEN 'authority'
               WHEN 'local-admin' THEN 'uid:' || json_extract(i.actor, '$.uid')
               ELSE coalesce(json_extract(i.actor, '$.identity.name'), '')
           END
    FROM intent i
    JOIN temp.principal p ON p.intent_id = i.id
    LEFT JOIN certificate c ON c.id = i.id
    LEFT JOIN revocation r ON r.serial = i.serial AND r.issuer_id = i.issuer_id;
DROP TABLE temp.principal;

CREATE UNIQUE INDEX entry_by_fingerprint ON entry (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE INDEX entry_by_end ON entry (state, not_after);
CREATE INDEX entry_revoked ON entry (id) WHERE state = 'revoked';
CREATE INDEX entry_unknown ON entry (id) WHERE state = 'unknown';
CREATE INDEX entry_by_issuer ON entry (issuer_name_id);
CREATE INDEX entry_by_serial ON entry (serial);
CREATE INDEX entry_by_profile ON entry (profile);
CREATE INDEX entry_by_spki ON entry (spki);
CREATE INDEX entry_by_identity ON entry (identity_id);
CREATE INDEX entry_by_who ON entry (issued_by);
-- Lists went by these.
DROP INDEX intent_by_end;
DROP INDEX intent_by_spki;

-- folded and reversed are for patterns: lower case of ASCII letters, forwards and backwards; NULL for a DN.
ALTER TABLE name RENAME TO name_before;
CREATE TABLE name (
    kind     TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    entry_id INTEGER NOT NULL REFERENCES entry (id),
    position INTEGER NOT NULL,
    folded   TEXT,
    reversed TEXT,
    PRIMARY KEY (kind, value, entry_id)
) STRICT, WITHOUT ROWID;
INSERT INTO name (kind, value, entry_id, position, folded, reversed)
    SELECT kind, value, intent_id, position,
           CASE WHEN kind <> 'dn' THEN lower(value) END,
           CASE WHEN kind <> 'dn' THEN (
               WITH RECURSIVE backwards (place, text) AS (
                   SELECT length(value), ''
                   UNION ALL
                   SELECT place - 1, text || substr(lower(value), place, 1) FROM backwards WHERE place > 0
               )
               SELECT text FROM backwards WHERE place = 0
           ) END
    FROM name_before;
DROP TABLE name_before;
CREATE INDEX name_by_entry ON name (entry_id, position);
CREATE INDEX name_by_beginning ON name (folded, entry_id DESC, kind, position) WHERE folded IS NOT NULL;
CREATE INDEX name_by_ending ON name (reversed, entry_id DESC, kind, position) WHERE reversed IS NOT NULL;
