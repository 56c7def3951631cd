-- Whom to tell of readings. kinds: names with commas between them; empty is every kind
-- that is about a person. The secret has to be kept as it is, to sign with.
CREATE TABLE webhook (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    kinds TEXT NOT NULL,
    patient BIGINT,
    programme BIGINT,
    whole BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- What a webhook is yet to be told: readings behind after_id, in order of arrival, up
-- to through_id; NULL is without end. reached_id is where the message in flight ends.
CREATE TABLE webhook_stretch (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook BIGINT NOT NULL REFERENCES webhook (id),
    dead BIGINT NOT NULL DEFAULT 0,
    after_id BIGINT NOT NULL,
    reached_id BIGINT,
    through_id BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    failing_ms BIGINT,
    due_ms BIGINT NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    holder TEXT NOT NULL DEFAULT '',
    leased_until_ms BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX webhook_stretch_webhook ON webhook_stretch (webhook, dead);
CREATE INDEX webhook_stretch_due ON webhook_stretch (due_ms) WHERE dead = 0;
