-- Nobody asks for the last reading of a device and kind.
ALTER TABLE tally DROP COLUMN last_reading;
