-- The station's memory, version 1. Times are ms since 1970 UTC by the station's clock.

CREATE TABLE device (
    peer TEXT PRIMARY KEY,          -- the address or port it was met at
    id TEXT NOT NULL,
    manufacturer TEXT NOT NULL,
    model TEXT NOT NULL,
    serial TEXT NOT NULL,
    firmware TEXT NOT NULL
) STRICT;

CREATE TABLE cursor (
    device TEXT NOT NULL,           -- device.id
    driver TEXT NOT NULL,
    mark INTEGER NOT NULL,          -- the driver's last checkpoint
    PRIMARY KEY (device, driver)
) STRICT;

-- What was captured before, so that what a device repeats is not sent again.
CREATE TABLE seen (
    device TEXT NOT NULL,
    name BLOB NOT NULL,             -- digest of a reading's key and fingerprint
    PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
    counter INTEGER PRIMARY KEY AUTOINCREMENT,
    message BLOB NOT NULL,
    digest BLOB NOT NULL,
    refused TEXT                    -- why the gateway did not store it
) STRICT;

CREATE TABLE reading (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch INTEGER REFERENCES batch (counter),
    captured_ms INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX reading_by_batch ON reading (batch, id);

-- Payloads of devices that tell a reading only once, until they are captured.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    peer TEXT NOT NULL,
    driver TEXT NOT NULL,
    source TEXT NOT NULL,           -- the characteristic
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX journal_by_payload ON journal (peer, payload, id);

-- Bytes that no reading could be made of.
CREATE TABLE undecoded (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    peer TEXT NOT NULL,
    driver TEXT NOT NULL,
    source TEXT NOT NULL,
    payload BLOB NOT NULL,
    problem TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    UNIQUE (peer, driver, source, payload)
) STRICT;


-- For whom the batches were made; one row at most.
CREATE TABLE station (tenant TEXT NOT NULL, station TEXT NOT NULL) STRICT;
