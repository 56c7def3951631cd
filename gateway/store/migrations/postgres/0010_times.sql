-- Which batches of a station may tell of a time, without a look at those behind it.
-- Alone, as it takes a while, and holds up who writes meanwhile, but nobody who reads.
CREATE INDEX batch_station_times ON batch (station, last_utc_ms, first_utc_ms);
