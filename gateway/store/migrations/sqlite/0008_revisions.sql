-- That some readings became a patient's, or ceased to be: those of a device (NULL is any)
-- whose true time is from from_ms on and before until_ms, or a single one. 2^62 is an end
-- that is still open.
CREATE TABLE revision (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    patient INTEGER NOT NULL,
    device INTEGER,
    reading INTEGER,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    made_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX revision_patient ON revision (patient, id);

-- The id of the last one. Whoever changes this row makes others wait until it is
-- committed, so that ids are in order of commit.
CREATE TABLE revised (last INTEGER NOT NULL) STRICT;
INSERT INTO revised (last) VALUES (0);

-- A claim that has ended says since when something else says whose a reading is.
CREATE INDEX claim_of ON claim (reading);

-- Since when a patient has their name. Of those from before it is no later than this.
ALTER TABLE patient ADD COLUMN named_ms INTEGER NOT NULL DEFAULT 0;
UPDATE patient SET named_ms = updated_ms;

-- A stretch is of the order of arrival, or of the order of revisions: about says which.
ALTER TABLE webhook_stretch RENAME TO stretch;
ALTER TABLE stretch ADD COLUMN about TEXT NOT NULL DEFAULT 'readings';
INSERT INTO stretch (webhook, about, after_id, due_ms)
    SELECT id, 'revisions', 0, created_ms FROM webhook
    WHERE patient IS NOT NULL OR programme IS NOT NULL ORDER BY id;
