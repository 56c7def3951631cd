-- That some readings became a patient's, or ceased to be: those of a device (NULL is any)
-- whose true time is from from_ms on and before until_ms, or a single one. 2^62 is an end
-- that is still open.
CREATE TABLE revision (
    id bigint PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    patient bigint NOT NULL,
    device bigint,
    reading bigint,
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    made_ms bigint NOT NULL
);
CREATE INDEX revision_patient ON revision (patient, id);

-- The id of the last one. Whoever changes this row makes others wait until it is
-- committed, so that ids are in order of commit.
CREATE TABLE revised (last bigint NOT NULL);
INSERT INTO revised (last) VALUES (0);

-- A claim that has ended says since when something else says whose a reading is.
CREATE INDEX claim_of ON claim (reading);

-- Since when a patient has their name. Of those from before it is no later than this. An
-- older gateway that still runs may write more of them down.
ALTER TABLE patient ADD COLUMN named_ms bigint;
UPDATE patient SET named_ms = updated_ms;
ALTER TABLE patient ALTER COLUMN named_ms
    SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
ALTER TABLE patient ALTER COLUMN named_ms SET NOT NULL;

-- A stretch is of the order of arrival, or of the order of revisions: about says which.
-- Under the old name an older gateway that still runs would take those of revisions for
-- readings, and tell each webhook everything from the beginning.
ALTER TABLE webhook_stretch RENAME TO stretch;
ALTER TABLE stretch ADD COLUMN about text NOT NULL DEFAULT 'readings';
INSERT INTO stretch (webhook, about, after_id, due_ms)
    SELECT id, 'revisions', 0, created_ms FROM webhook
    WHERE patient IS NOT NULL OR programme IS NOT NULL ORDER BY id;

-- A gateway of before would say of no change whose readings it moves.
UPDATE version SET needs = 8;
