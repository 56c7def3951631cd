-- Bulk exports that were asked for: nothing of a patient, only how far to read when the
-- files are fetched. types: names with commas between them. chunks: numbers likewise,
-- each of the patients whose ids have it as their thousands.
CREATE TABLE export (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    principal INTEGER NOT NULL,
    request TEXT NOT NULL,
    types TEXT NOT NULL,
    since_ms INTEGER,
    through_id INTEGER NOT NULL,
    chunks TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a FHIR Subscription says beyond its webhook.
CREATE TABLE subscription (
    webhook INTEGER PRIMARY KEY,
    principal INTEGER NOT NULL,
    criteria TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
