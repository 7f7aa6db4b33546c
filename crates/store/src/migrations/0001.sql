-- What stands once: the feed's history and where its sequence began.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE issuer (
    id          INTEGER PRIMARY KEY,
    role        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL UNIQUE,
    spki        BLOB    NOT NULL,
    subject     TEXT    NOT NULL,
    der         BLOB    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- A serial is reserved and to_be_signed is recorded before a key is used. A row without a certificate means that a
-- signature may exist.
CREATE TABLE intent (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    issuer_id    INTEGER NOT NULL REFERENCES issuer (id),
    serial       BLOB    NOT NULL,
    profile      TEXT    NOT NULL,
    spki         BLOB    NOT NULL,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    to_be_signed BLOB    NOT NULL,
    actor        TEXT    NOT NULL,
    renews       INTEGER REFERENCES intent (id),
    intended_at  INTEGER NOT NULL,
    UNIQUE (serial, issuer_id)
) STRICT;
CREATE INDEX intent_by_end ON intent (not_after);
CREATE INDEX intent_by_spki ON intent (spki);

CREATE TABLE certificate (
    id          INTEGER PRIMARY KEY REFERENCES intent (id),
    fingerprint BLOB    NOT NULL UNIQUE,
    der         BLOB    NOT NULL,
    issued_at   INTEGER NOT NULL
) STRICT;

-- SPKI and serial with issuer are columns above, not names here.
CREATE TABLE name (
    kind      TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    intent_id INTEGER NOT NULL REFERENCES intent (id),
    position  INTEGER NOT NULL,
    PRIMARY KEY (kind, value, intent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX name_by_intent ON name (intent_id, position);

CREATE TABLE feed (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL
) STRICT;

-- Not bound to an intent: a serial that was never ours to record can be revoked too.
CREATE TABLE revocation (
    issuer_id  INTEGER NOT NULL REFERENCES issuer (id),
    serial     BLOB    NOT NULL,
    reason     TEXT    NOT NULL,
    revoked_at INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    sequence   INTEGER NOT NULL REFERENCES feed (sequence),
    PRIMARY KEY (serial, issuer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocation_by_end ON revocation (not_after);

CREATE TABLE audit (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    authenticated TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    object        TEXT    NOT NULL,
    reason        TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_keeps_what_it_says BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'audit is append-only');
END;
CREATE TRIGGER audit_forgets_nothing BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'audit is append-only');
END;
