-- Bulk exports that were asked for: nothing of a patient, only how far to read when the
-- files are fetched. types: names with commas between them. chunks: numbers likewise,
-- each of the patients whose ids have it as their thousands.
CREATE TABLE export (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    principal BIGINT NOT NULL,
    request TEXT NOT NULL,
    types TEXT NOT NULL,
    since_ms BIGINT,
    through_id BIGINT NOT NULL,
    chunks TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

-- What a FHIR Subscription says beyond its webhook.
CREATE TABLE subscription (
    webhook BIGINT PRIMARY KEY,
    principal BIGINT NOT NULL,
    criteria TEXT NOT NULL,
    reason TEXT NOT NULL
);
