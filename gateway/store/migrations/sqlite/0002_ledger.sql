-- Readings lie in order of arrival under ids that their batch was given as one range,
-- so the ledger tells where a station's readings of a time are, and no index on them
-- has to. What the key or the batch says already is not said again in each row.

CREATE TABLE kind (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO kind (id, name) VALUES
    (0, 'glucose'), (1, 'ketone'), (2, 'control-solution'), (3, 'blood-pressure'),
    (4, 'interstitial-glucose'), (5, 'blood-analyte'), (6, 'oxygen-saturation'),
    (7, 'body-temperature'), (8, 'body-weight');

ALTER TABLE batch ADD COLUMN first_id INTEGER;
ALTER TABLE batch ADD COLUMN last_id INTEGER;
ALTER TABLE batch ADD COLUMN first_utc_ms INTEGER;
ALTER TABLE batch ADD COLUMN last_utc_ms INTEGER;
UPDATE batch SET
    first_id = (SELECT min(r.id) FROM reading r WHERE r.batch = batch.id),
    last_id = (SELECT max(r.id) FROM reading r WHERE r.batch = batch.id),
    first_utc_ms = (SELECT min(r.utc_ms) FROM reading r WHERE r.batch = batch.id),
    last_utc_ms = (SELECT max(r.utc_ms) FROM reading r WHERE r.batch = batch.id);
-- Ids were given by the key over a whole commit, so those of one batch may lie within
-- those of another. Readers go by last_id: no batch may begin before one that they have
-- passed, so each range begins where the first of those behind it does.
UPDATE batch SET first_id = reach.first_id FROM (
    SELECT id, min(first_id) OVER (ORDER BY last_id DESC) AS first_id
    FROM batch WHERE last_id IS NOT NULL
) AS reach WHERE reach.id = batch.id;
CREATE INDEX batch_station ON batch (station, last_utc_ms);
CREATE INDEX batch_utc ON batch (last_utc_ms);
CREATE INDEX batch_ids ON batch (last_id);

CREATE TABLE reading_2 (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    discriminator INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    driver INTEGER NOT NULL,
    utc_ms INTEGER,
    time_method INTEGER NOT NULL,
    time_bound_ms INTEGER,
    captured_ms INTEGER NOT NULL,
    device_time TEXT,
    offset_min INTEGER,
    link INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    person TEXT,
    evidence TEXT,
    status TEXT,
    context TEXT,
    "values" TEXT NOT NULL,
    raw BLOB
) STRICT;
INSERT INTO reading_2
    SELECT r.id, r.device, r.generation, r.slot, k.id, r.ordinal, r.discriminator,
        r.batch, r.driver, r.utc_ms, r.time_method, r.time_bound_ms, r.captured_ms,
        r.device_time, r.offset_min, r.link, r.quality, r.person, r.evidence, r.status,
        r.context, r."values", r.raw
    FROM reading r JOIN kind k ON k.name = r.kind ORDER BY r.id;

CREATE TABLE amendment_2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reading INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    batch INTEGER NOT NULL,
    driver INTEGER NOT NULL,
    utc_ms INTEGER,
    time_method INTEGER NOT NULL,
    time_bound_ms INTEGER,
    captured_ms INTEGER NOT NULL,
    device_time TEXT,
    offset_min INTEGER,
    link INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    person TEXT,
    evidence TEXT,
    status TEXT,
    context TEXT,
    "values" TEXT NOT NULL,
    raw BLOB,
    UNIQUE (reading, fingerprint)
) STRICT;
INSERT INTO amendment_2
    SELECT id, reading, fingerprint, batch, driver, utc_ms, time_method, time_bound_ms,
        captured_ms, device_time, offset_min, link, quality, person, evidence, status,
        context, "values", raw
    FROM amendment ORDER BY id;

DROP TABLE amendment;
DROP TABLE reading;
ALTER TABLE reading_2 RENAME TO reading;
ALTER TABLE amendment_2 RENAME TO amendment;
CREATE UNIQUE INDEX reading_key
    ON reading (device, generation, slot, kind, ordinal, discriminator);
CREATE INDEX reading_device_utc ON reading (device, utc_ms);
CREATE INDEX reading_person ON reading (person, utc_ms) WHERE person IS NOT NULL;

CREATE TABLE tally_2 (
    device INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    flagged INTEGER NOT NULL,
    first_utc_ms INTEGER,
    last_utc_ms INTEGER,
    last_reading INTEGER NOT NULL,
    PRIMARY KEY (device, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO tally_2
    SELECT t.device, k.id, t.readings, t.flagged, t.first_utc_ms, t.last_utc_ms,
        t.last_reading
    FROM tally t JOIN kind k ON k.name = t.kind;
DROP TABLE tally;
ALTER TABLE tally_2 RENAME TO tally;

-- Keys of readings that were erased or archived: told again, they are not kept again.
-- Of an archived one the device's clock tells it from a later one of the same key, as a
-- meter whose memory was cleared counts from 1 again.
CREATE TABLE gone (
    device INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    discriminator INTEGER NOT NULL,
    why TEXT NOT NULL,
    device_time TEXT,
    PRIMARY KEY (device, generation, slot, kind, ordinal, discriminator)
) STRICT, WITHOUT ROWID;

-- How to replay a message from the quarantine, and what came of it.
ALTER TABLE quarantine ADD COLUMN replayed_ms INTEGER;
ALTER TABLE quarantine ADD COLUMN outcome TEXT;
