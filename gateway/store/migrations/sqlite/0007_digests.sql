-- By what a reading that is gone is known when it is told again: device and HMAC under
-- the secret, see gateway/store/gone.py. Of an erased one the key that was kept until now
-- says too much: the value can be found from it; and too little: a later reading may have
-- the same one. So may two archived ones, and reports beside them.
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO secret (name, value) VALUES ('gone', randomblob(32));

CREATE TABLE gone_digest (
    device INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (device, digest)
) STRICT, WITHOUT ROWID;

-- What was measured after this is not what was erased before it. A station's clock may be
-- ahead of this one, and this one be behind all others: the ledger knows both.
ALTER TABLE gone ADD COLUMN before_ms INTEGER;
UPDATE gone SET before_ms = max(
        CAST(unixepoch('subsec') * 1000 AS INTEGER),
        (SELECT coalesce(max(last_utc_ms), 0) FROM batch),
        (SELECT coalesce(max(received_ms), 0) FROM batch))
    WHERE why = 'erased';

-- AUTOINCREMENT: after a restore no device or station has the id of one that was lost.
CREATE TABLE station_2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    station TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    status BLOB,
    status_ms INTEGER,
    UNIQUE (station, tenant)
) STRICT;
INSERT INTO station_2 SELECT * FROM station ORDER BY id;
DROP TABLE station;
ALTER TABLE station_2 RENAME TO station;

CREATE TABLE device_2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
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
INSERT INTO device_2 SELECT * FROM device ORDER BY id;
DROP TABLE device;
ALTER TABLE device_2 RENAME TO device;
