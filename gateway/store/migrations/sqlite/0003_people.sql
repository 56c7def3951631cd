-- Times are ms since 1970 UTC; 4611686018427387904 (2^62) is an end that is still open.

CREATE TABLE patient (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    family TEXT NOT NULL,
    given TEXT NOT NULL,
    family_folded TEXT NOT NULL,
    given_folded TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    gender TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE patient_identifier (
    tenant TEXT NOT NULL,
    value TEXT NOT NULL,
    system TEXT NOT NULL,
    patient INTEGER NOT NULL REFERENCES patient (id),
    PRIMARY KEY (tenant, value, system)
) STRICT, WITHOUT ROWID;
CREATE INDEX patient_identifier_patient ON patient_identifier (patient);

-- A row ends when another one replaces it or it is taken back, and never goes away
-- but with its patient.
CREATE TABLE attribution (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    device INTEGER NOT NULL,
    slot INTEGER,
    patient INTEGER NOT NULL REFERENCES patient (id),
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    ended_ms INTEGER,
    ended_by TEXT,
    replaces INTEGER,
    CHECK (from_ms < until_ms)
) STRICT;
CREATE INDEX attribution_device ON attribution (device) WHERE ended_ms IS NULL;
CREATE INDEX attribution_patient ON attribution (patient);

-- Whoever changes a device's attributions changes this row first, so that no two of
-- them are checked against what neither sees of the other.
CREATE TABLE attributed (
    device INTEGER PRIMARY KEY,
    changes INTEGER NOT NULL
) STRICT;

-- That one reading is a patient's, whatever the attributions say.
CREATE TABLE claim (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reading INTEGER NOT NULL,
    patient INTEGER NOT NULL REFERENCES patient (id),
    utc_ms INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    ended_ms INTEGER,
    ended_by TEXT
) STRICT;
CREATE UNIQUE INDEX claim_reading ON claim (reading) WHERE ended_ms IS NULL;
CREATE INDEX claim_patient ON claim (patient, utc_ms, reading);

CREATE TABLE programme (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

-- kinds: names with commas between them; empty is every kind. from_ms and until_ms are
-- of the readings' true time, expires_ms is of the consent.
CREATE TABLE consent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    patient INTEGER NOT NULL REFERENCES patient (id),
    programme INTEGER NOT NULL REFERENCES programme (id),
    kinds TEXT NOT NULL,
    from_ms INTEGER,
    until_ms INTEGER,
    expires_ms INTEGER NOT NULL,
    given_ms INTEGER NOT NULL,
    given_by TEXT NOT NULL,
    withdrawn_ms INTEGER,
    withdrawn_by TEXT
) STRICT;
CREATE INDEX consent_programme ON consent (programme, patient);
CREATE INDEX consent_patient ON consent (patient);

-- roles: names with commas between them. token: SHA-256; the token itself is not kept.
CREATE TABLE principal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    programme INTEGER REFERENCES programme (id),
    token BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    UNIQUE (tenant, name)
) STRICT;

-- One chain for each tenant: each row's hash is made of the row and the hash before it.
CREATE TABLE audit (
    tenant TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    principal INTEGER NOT NULL,
    name TEXT NOT NULL,
    action TEXT NOT NULL,
    patient INTEGER,
    programme INTEGER,
    purpose TEXT NOT NULL,
    what TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_patient ON audit (patient, sequence) WHERE patient IS NOT NULL;

CREATE TABLE audit_head (
    tenant TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
