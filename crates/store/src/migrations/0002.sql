-- What stood before and after, where the change was made to something that existed.
ALTER TABLE audit ADD COLUMN before TEXT;
ALTER TABLE audit ADD COLUMN after TEXT;

-- One row for each transaction that wrote audit records; digests in lower-case hexadecimal digits.
CREATE TABLE audit_link (
    number   INTEGER PRIMARY KEY,
    format   INTEGER NOT NULL,
    chain    TEXT    NOT NULL,
    previous TEXT    NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    records  TEXT    NOT NULL,
    hash     TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_link_keeps_what_it_says BEFORE UPDATE ON audit_link
BEGIN
    SELECT raise(ABORT, 'audit is append-only');
END;
CREATE TRIGGER audit_link_forgets_nothing BEFORE DELETE ON audit_link
BEGIN
    SELECT raise(ABORT, 'audit is append-only');
END;

-- Each inventory has a chain of its own. The id has to be unlike others, not secret.
INSERT INTO meta (key, value) VALUES ('audit-chain', lower(hex(randomblob(16))));
