-- Times are ms since 1970 UTC. JSON keeps exact decimals as text. Names are compared
-- byte by byte, so that no update of the system's sort orders can spoil an index.

-- Order of arrival, however many gateways commit at once: a transaction takes blocks
-- of 16384 ids, and says before by a lock on the last block of then that ids above it
-- are on their way. Readers stop where the first of those locks is.
CREATE SEQUENCE arrival INCREMENT BY 16384 MINVALUE 0 START WITH 0;
SELECT nextval('arrival');

-- The id up to which all that was ever taken is committed, or never will be.
CREATE FUNCTION arrived() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
    open bigint;
BEGIN
    -- In this order: who takes ids after the first look takes higher ones.
    SELECT last_value INTO taken FROM arrival;
    SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) << 14 INTO open
        FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock'
            AND classid::bigint >> 16 = 30295
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(taken, open);
END $$;

CREATE TABLE station (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    station text COLLATE "C" NOT NULL,
    first_seen_ms bigint NOT NULL,
    last_seen_ms bigint NOT NULL,
    status bytea,
    status_ms bigint,
    UNIQUE (station, tenant)
) WITH (fillfactor = 70);

-- A device is known within its tenant only: nobody can take the keys of
-- another tenant's readings by naming their device.
CREATE TABLE device (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    manufacturer text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    serial text COLLATE "C" NOT NULL,
    firmware text COLLATE "C" NOT NULL,
    first_seen_ms bigint NOT NULL,
    last_seen_ms bigint NOT NULL,
    UNIQUE (device, tenant)
) WITH (fillfactor = 70);

CREATE TABLE driver (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    UNIQUE (name, version)
);

CREATE TABLE kind (
    id smallint PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);
INSERT INTO kind (id, name) VALUES
    (0, 'glucose'), (1, 'ketone'), (2, 'control-solution'), (3, 'blood-pressure'),
    (4, 'interstitial-glucose'), (5, 'blood-analyte'), (6, 'oxygen-saturation'),
    (7, 'body-temperature'), (8, 'body-weight');

-- What is counted of a device, by kind, so that no page has to count rows.
CREATE TABLE tally (
    device bigint NOT NULL,
    kind smallint NOT NULL,
    readings bigint NOT NULL,
    flagged bigint NOT NULL,
    first_utc_ms bigint,
    last_utc_ms bigint,
    last_reading bigint NOT NULL,
    PRIMARY KEY (device, kind)
) WITH (fillfactor = 70);

-- The ledger: every batch that was ever committed. A second row with the same
-- counter is a fork: two stations, or one restored, under one name. Its readings
-- were given the ids from first_id to last_id, so the ledger tells where a station's
-- readings of a time are, and no index on them has to. Its own id is first_id.
CREATE TABLE batch (
    id bigint PRIMARY KEY,
    station bigint NOT NULL REFERENCES station (id),
    counter bigint NOT NULL,
    digest bytea NOT NULL,
    made_ms bigint NOT NULL,
    received_ms bigint NOT NULL,
    new integer NOT NULL,
    known integer NOT NULL,
    amended integer NOT NULL,
    deliveries integer NOT NULL DEFAULT 1,
    first_id bigint,
    last_id bigint,
    first_utc_ms bigint,
    last_utc_ms bigint,
    UNIQUE (station, counter, digest)
);
CREATE INDEX batch_station ON batch (station, last_utc_ms);
CREATE INDEX batch_utc ON batch (last_utc_ms);
CREATE INDEX batch_ids ON batch (last_id);

-- By device, so that the key can be kept in each part for itself.
CREATE TABLE reading (
    id bigint NOT NULL,
    device bigint NOT NULL,
    generation integer NOT NULL,
    slot smallint NOT NULL,
    kind smallint NOT NULL,
    ordinal bigint NOT NULL,
    discriminator integer NOT NULL,
    batch bigint NOT NULL,
    driver bigint NOT NULL,
    utc_ms bigint,
    time_method smallint NOT NULL,
    time_bound_ms bigint,
    captured_ms bigint NOT NULL,
    device_time text COLLATE "C",
    offset_min smallint,
    link smallint NOT NULL,
    quality integer NOT NULL,
    person text COLLATE "C",
    evidence text COLLATE "C",
    status text COLLATE "C",
    context text COLLATE "C",
    "values" text COLLATE "C" NOT NULL,
    raw bytea
) PARTITION BY HASH (device);
CREATE UNIQUE INDEX reading_key
    ON reading (device, generation, slot, kind, ordinal, discriminator);
CREATE INDEX reading_id ON reading (id);
CREATE INDEX reading_device_utc ON reading (device, utc_ms);
CREATE INDEX reading_person ON reading (person, utc_ms) WHERE person IS NOT NULL;
DO $$ BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE reading_%s PARTITION OF reading '
            'FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
END $$;

-- A later report of a stored reading that says something else. The first one
-- stands; this is kept whole beside it.
CREATE TABLE amendment (
    id bigint PRIMARY KEY,
    reading bigint NOT NULL,
    fingerprint bytea NOT NULL,
    batch bigint NOT NULL,
    driver bigint NOT NULL,
    utc_ms bigint,
    time_method smallint NOT NULL,
    time_bound_ms bigint,
    captured_ms bigint NOT NULL,
    device_time text COLLATE "C",
    offset_min smallint,
    link smallint NOT NULL,
    quality integer NOT NULL,
    person text COLLATE "C",
    evidence text COLLATE "C",
    status text COLLATE "C",
    context text COLLATE "C",
    "values" text COLLATE "C" NOT NULL,
    raw bytea,
    UNIQUE (reading, fingerprint)
);

-- Keys of readings that were erased or archived: told again, they are not kept again.
-- Of an archived one the device's clock tells it from a later one of the same key, as a
-- meter whose memory was cleared counts from 1 again.
CREATE TABLE gone (
    device bigint NOT NULL,
    generation integer NOT NULL,
    slot smallint NOT NULL,
    kind smallint NOT NULL,
    ordinal bigint NOT NULL,
    discriminator integer NOT NULL,
    why text COLLATE "C" NOT NULL,
    device_time text COLLATE "C",
    PRIMARY KEY (device, generation, slot, kind, ordinal, discriminator)
);

-- A commit that looked here before must not store such a key after: whoever adds keys
-- waits for the commits under way, and those that come wait for them. Add keys first,
-- then delete readings.
CREATE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(30296::bigint << 48);
    RETURN NULL;
END $$;
CREATE TRIGGER alone BEFORE INSERT ON gone FOR EACH STATEMENT EXECUTE FUNCTION alone();

CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text COLLATE "C" NOT NULL,
    station bigint REFERENCES station (id),
    digest bytea NOT NULL,
    reason text COLLATE "C" NOT NULL,
    message bytea NOT NULL,
    received_ms bigint NOT NULL,
    last_received_ms bigint NOT NULL,
    deliveries integer NOT NULL DEFAULT 1,
    replayed_ms bigint,
    outcome text COLLATE "C",
    UNIQUE (topic, digest)
);
