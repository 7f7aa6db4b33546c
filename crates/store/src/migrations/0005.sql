-- Holds, and what answers a request that is made again.

-- 1: its revocation is a hold. state is 'revoked' then, because whoever asks whether it may be used must hear no.
ALTER TABLE entry ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1));
CREATE INDEX entry_held ON entry (id) WHERE held = 1;

-- Which intent a key of a caller stands for; the digest is over the request, so that the same key cannot ask for
-- something else. Numbered in the order of time, so that the oldest are found without an index.
CREATE TABLE idempotency_key (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    actor      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    intent_id  INTEGER NOT NULL REFERENCES intent (id),
    claimed_at INTEGER NOT NULL,
    UNIQUE (actor, key)
) STRICT;
