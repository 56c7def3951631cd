-- Of which devices a batch tells: its readings of a time are then found device by
-- device, without a look into every part of the table. NULL is not known: what was
-- stored before, and by older gateways that still run.
ALTER TABLE batch ADD COLUMN devices bigint[];

-- Which batches of a station may tell of a time, without a look at those behind it.
CREATE INDEX batch_station_times ON batch (station, last_utc_ms, first_utc_ms);
DROP INDEX batch_station;
