-- Whom to tell of readings. kinds: names with commas between them; empty is every kind
-- that is about a person. The secret has to be kept as it is, to sign with.
CREATE TABLE webhook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    kinds TEXT NOT NULL,
    patient INTEGER,
    programme INTEGER,
    whole INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

-- What a webhook is yet to be told: readings behind after_id, in order of arrival, up
-- to through_id; NULL is without end. reached_id is where the message in flight ends.
CREATE TABLE webhook_stretch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook INTEGER NOT NULL REFERENCES webhook (id),
    dead INTEGER NOT NULL DEFAULT 0,
    after_id INTEGER NOT NULL,
    reached_id INTEGER,
    through_id INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    failing_ms INTEGER,
    due_ms INTEGER NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    holder TEXT NOT NULL DEFAULT '',
    leased_until_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX webhook_stretch_webhook ON webhook_stretch (webhook, dead);
CREATE INDEX webhook_stretch_due ON webhook_stretch (due_ms) WHERE dead = 0;
