-- Of which devices a batch tells: its readings of a time are then found device by
-- device, without a look into every part of the table. NULL is not known: what was
-- stored before, and by older gateways that still run.
ALTER TABLE batch ADD COLUMN devices bigint[];
DROP INDEX batch_station;
