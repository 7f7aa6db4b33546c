-- Retention: what has long ended leaves the inventory.

-- The time that it goes by (countersign_policy::retention): the last record of the log is the best evidence of what time it was.
INSERT INTO meta (key, value) SELECT 'witnessed-at', CAST(at AS TEXT) FROM audit ORDER BY id DESC LIMIT 1;

-- What goes away must not be looked for in whole tables, neither here nor by SQLite on behalf of the foreign keys.
CREATE INDEX entry_by_renewed ON entry (renews) WHERE renews IS NOT NULL;
CREATE INDEX idempotency_key_by_entry ON idempotency_key (entry_id);
CREATE INDEX revocation_by_message ON revocation (sequence);

-- How many rows end in each hour, so that nobody counts millions of them to say how many are valid.
CREATE TABLE ending (
    state TEXT    NOT NULL,
    held  INTEGER NOT NULL,
    hour  INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (state, held, hour)
) STRICT, WITHOUT ROWID;
INSERT INTO ending (state, held, hour, count)
    SELECT state, held, not_after / 3600, count(*) FROM entry GROUP BY state, held, not_after / 3600;
CREATE TRIGGER entry_ends_then AFTER INSERT ON entry
BEGIN
    INSERT INTO ending (state, held, hour, count) VALUES (NEW.state, NEW.held, NEW.not_after / 3600, 1)
        ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER entry_ends_otherwise AFTER UPDATE OF state, held, not_after ON entry
    WHEN (OLD.state, OLD.held, OLD.not_after) <> (NEW.state, NEW.held, NEW.not_after)
BEGIN
    UPDATE ending SET count = count - 1 WHERE state = OLD.state AND held = OLD.held AND hour = OLD.not_after / 3600;
    DELETE FROM ending WHERE state = OLD.state AND held = OLD.held AND hour = OLD.not_after / 3600 AND count = 0;
    INSERT INTO ending (state, held, hour, count) VALUES (NEW.state, NEW.held, NEW.not_after / 3600, 1)
        ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER entry_ends_no_more AFTER DELETE ON entry
BEGIN
    UPDATE ending SET count = count - 1 WHERE state = OLD.state AND held = OLD.held AND hour = OLD.not_after / 3600;
    DELETE FROM ending WHERE state = OLD.state AND held = OLD.held AND hour = OLD.not_after / 3600 AND count = 0;
END;
