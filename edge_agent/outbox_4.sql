-- Version 4: what must not wait; and no query that grows with what waits.

ALTER TABLE reading ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;  -- 1: goes first
ALTER TABLE batch ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;    -- 1: of such only

DROP INDEX reading_by_batch;
CREATE INDEX reading_by_batch ON reading (batch, urgent, id);
CREATE INDEX batch_by_digest ON batch (digest);
CREATE INDEX batch_without_receipt ON batch (urgent, counter) WHERE refused IS NULL;
