-- Times are ms since 1970 UTC. JSON keeps exact decimals as text.

CREATE TABLE station (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    station TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    status BLOB,
    status_ms INTEGER,
    UNIQUE (station, tenant)
) STRICT;

-- A device is known within its tenant only: nobody can take the keys of
-- another tenant's readings by naming their device.
CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    device TEXT NOT NULL,
    manufacturer TEXT NOT NULL,
    model TEXT NOT NULL,
    serial TEXT NOT NULL,
    firmware TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    UNIQUE (device, tenant)
) STRICT;

-- What is counted of a device, by kind, so that no page has to count rows.
CREATE TABLE tally (
    device INTEGER NOT NULL REFERENCES device (id),
    kind TEXT NOT NULL,
    readings INTEGER NOT NULL,
    flagged INTEGER NOT NULL,
    first_utc_ms INTEGER,
    last_utc_ms INTEGER,
    last_reading INTEGER NOT NULL,
    PRIMARY KEY (device, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE driver (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    UNIQUE (name, version)
) STRICT;

-- The ledger: every batch that was ever committed. A second row with the same
-- counter is a fork: two stations, or one restored, under one name.
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    station INTEGER NOT NULL REFERENCES station (id),
    counter INTEGER NOT NULL,
    digest BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    new INTEGER NOT NULL,
    known INTEGER NOT NULL,
    amended INTEGER NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 1,
    UNIQUE (station, counter, digest)
) STRICT;

-- AUTOINCREMENT: an id is a place in the order of arrival, and never used twice.
CREATE TABLE reading (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device INTEGER NOT NULL REFERENCES device (id),
    generation INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    discriminator INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    batch INTEGER NOT NULL REFERENCES batch (id),
    station INTEGER NOT NULL REFERENCES station (id),
    driver INTEGER NOT NULL REFERENCES driver (id),
    sequence INTEGER,
    device_time TEXT,
    offset_min INTEGER,
    arrival INTEGER,
    utc_ms INTEGER,
    time_method INTEGER NOT NULL,
    time_bound_ms INTEGER,
    captured_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    link INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    person TEXT,
    evidence TEXT,
    status TEXT,
    context TEXT,
    "values" TEXT NOT NULL,
    raw BLOB,
    UNIQUE (device, generation, slot, kind, ordinal, discriminator)
) STRICT;

-- Each ends in the id, so a device's or a station's rows come in order of arrival.
CREATE INDEX reading_device ON reading (device);
CREATE INDEX reading_station ON reading (station);
CREATE INDEX reading_utc ON reading (utc_ms, kind) WHERE utc_ms IS NOT NULL;

-- A later report of a stored reading that says something else. The first one
-- stands; this is kept whole beside it.
CREATE TABLE amendment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reading INTEGER NOT NULL REFERENCES reading (id),
    fingerprint BLOB NOT NULL,
    batch INTEGER NOT NULL REFERENCES batch (id),
    station INTEGER NOT NULL REFERENCES station (id),
    driver INTEGER NOT NULL REFERENCES driver (id),
    sequence INTEGER,
    device_time TEXT,
    offset_min INTEGER,
    arrival INTEGER,
    utc_ms INTEGER,
    time_method INTEGER NOT NULL,
    time_bound_ms INTEGER,
    captured_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
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

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    station INTEGER REFERENCES station (id),
    digest BLOB NOT NULL,
    reason TEXT NOT NULL,
    message BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    last_received_ms INTEGER NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 1,
    UNIQUE (topic, digest)
) STRICT;
