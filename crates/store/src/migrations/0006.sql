-- A certificate stands in one row from its intent on, instead of in two with the same serial, key, profile and times, each
-- under indexes of its own: what an issuance writes is what it costs.

-- issuer_id, crl_id and renews: of ours only. crl_id: the shard whose URI stands in the certificate; none: it was issued
-- without, and is on the complete list alone. actor: who asked, in JSON.
ALTER TABLE entry ADD COLUMN issuer_id INTEGER REFERENCES issuer (id);
ALTER TABLE entry ADD COLUMN crl_id INTEGER REFERENCES crl (id);
ALTER TABLE entry ADD COLUMN renews INTEGER REFERENCES entry (id);
ALTER TABLE entry ADD COLUMN actor TEXT;
UPDATE entry SET issuer_id = i.issuer_id, crl_id = i.crl_id, renews = i.renews, actor = i.actor
    FROM intent i WHERE i.id = entry.id;
UPDATE entry SET actor = m.actor FROM imported m WHERE m.id = entry.id;
ALTER TABLE imported DROP COLUMN actor;

ALTER TABLE idempotency_key RENAME TO idempotency_key_before;
CREATE TABLE idempotency_key (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    actor      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    entry_id   INTEGER NOT NULL REFERENCES entry (id),
    claimed_at INTEGER NOT NULL,
    UNIQUE (actor, key)
) STRICT;
INSERT INTO idempotency_key (id, actor, key, digest, entry_id, claimed_at)
    SELECT id, actor, key, digest, intent_id, claimed_at FROM idempotency_key_before ORDER BY id;
DROP TABLE idempotency_key_before;

-- The fingerprint is the entry's.
ALTER TABLE certificate RENAME TO certificate_before;
CREATE TABLE certificate (
    id        INTEGER PRIMARY KEY REFERENCES entry (id),
    der       BLOB    NOT NULL,
    issued_at INTEGER NOT NULL
) STRICT;
INSERT INTO certificate (id, der, issued_at) SELECT id, der, issued_at FROM certificate_before ORDER BY id;
DROP TABLE certificate_before;

-- The bytes that a key may have signed, as long as no certificate of them is known. With the certificate, which holds
-- them, the row goes.
ALTER TABLE intent RENAME TO intent_before;
CREATE TABLE intent (
    id           INTEGER PRIMARY KEY REFERENCES entry (id),
    to_be_signed BLOB    NOT NULL
) STRICT;
INSERT INTO intent (id, to_be_signed)
    SELECT b.id, b.to_be_signed FROM intent_before b WHERE NOT EXISTS (SELECT 1 FROM certificate c WHERE c.id = b.id) ORDER BY b.id;
DROP TABLE intent_before;

-- Those in the state unknown have an intent, by which they are found.
DROP INDEX entry_unknown;
