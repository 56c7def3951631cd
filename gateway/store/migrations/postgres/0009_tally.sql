-- Nobody asks for the last reading of a device and kind. Older gateways that still run
-- write it: a later version drops the column.
ALTER TABLE tally ALTER COLUMN last_reading DROP NOT NULL;
