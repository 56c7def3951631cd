-- That some readings became a patient's, or ceased to be: those of a device (NULL is any)
-- whose true time is from from_ms on and before until_ms, or a single one, of its kind.
-- 2^62 is an end that is still open.
CREATE TABLE revision (
    id bigint PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    patient bigint NOT NULL,
    device bigint,
    reading bigint,
    kind text COLLATE "C",
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    made_ms bigint NOT NULL
);
CREATE INDEX revision_patient ON revision (patient, id);

-- The id of the last one. Whoever changes this row makes others wait until it is
-- committed, so that ids are in order of commit.
CREATE TABLE revised (last bigint NOT NULL);

-- What moved before this was told to nobody: each patient's receivers ask once.
INSERT INTO revision (id, tenant, patient, from_ms, until_ms, made_ms)
    SELECT row_number() OVER (ORDER BY id), tenant, id, 0, 1::bigint << 62,
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM patient ORDER BY id;
INSERT INTO revised (last) SELECT count(*) FROM revision;

-- When the last claim of a reading that has ended did: since then something else says
-- whose it is. It outlives the claim, which is erased with its patient.
CREATE TABLE released (
    reading bigint PRIMARY KEY,
    ended_ms bigint NOT NULL
);
INSERT INTO released (reading, ended_ms)
    SELECT reading, max(ended_ms) FROM claim WHERE ended_ms IS NOT NULL
    GROUP BY reading;

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
