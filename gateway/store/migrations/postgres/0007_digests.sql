-- By what a reading that is gone is known when it is told again: device and HMAC under
-- the secret, see gateway/store/gone.py. Of an erased one the key that was kept until now
-- says too much: the value can be found from it; and too little: a later reading may have
-- the same one. So may two archived ones, and reports beside them.
CREATE TABLE secret (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
-- Each of the two has 122 bits from the system's source of chance.
INSERT INTO secret (name, value) VALUES ('gone',
    sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea));

CREATE TABLE gone_digest (
    device bigint NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (device, digest)
);
CREATE TRIGGER alone BEFORE INSERT ON gone_digest
    FOR EACH STATEMENT EXECUTE FUNCTION alone();

-- What was measured after this is not what was erased before it. A station's clock may be
-- ahead of this one, and this one be behind all others: the ledger knows both. An older
-- gateway that still runs may erase too; a default from the beginning would write the
-- table anew.
ALTER TABLE gone ADD COLUMN before_ms bigint;
ALTER TABLE gone ALTER COLUMN before_ms
    SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
UPDATE gone SET before_ms = greatest(
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        (SELECT max(last_utc_ms) FROM batch),
        (SELECT max(received_ms) FROM batch))
    WHERE why = 'erased';

-- The id up to which all rows of a table are committed that ever will be. Who adds some
-- locks the last id of then before, as commits do with the ids of readings.
CREATE FUNCTION settled(register text, prefix bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
    open bigint;
BEGIN
    -- In this order: who takes ids after the first look takes higher ones.
    EXECUTE format('SELECT last_value FROM %I', register || '_id_seq') INTO taken;
    SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) INTO open
        FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock'
            AND classid::bigint >> 16 = prefix
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(taken, open);
END $$;

-- A gateway of before would keep again what was erased.
UPDATE version SET needs = 7;
