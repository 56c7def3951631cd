-- Times are ms since 1970 UTC; 4611686018427387904 (2^62) is an end that is still open.
-- Names are compared byte by byte, as in the tables before.

CREATE TABLE patient (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    family TEXT COLLATE "C" NOT NULL,
    given TEXT COLLATE "C" NOT NULL,
    family_folded TEXT COLLATE "C" NOT NULL,
    given_folded TEXT COLLATE "C" NOT NULL,
    birth_date TEXT COLLATE "C" NOT NULL,
    gender TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (tenant, name)
);

CREATE TABLE patient_identifier (
    tenant TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    patient BIGINT NOT NULL REFERENCES patient (id),
    PRIMARY KEY (tenant, value, system)
);
CREATE INDEX patient_identifier_patient ON patient_identifier (patient);

-- A row ends when another one replaces it or it is taken back, and never goes away
-- but with its patient.
CREATE TABLE attribution (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    device BIGINT NOT NULL,
    slot BIGINT,
    patient BIGINT NOT NULL REFERENCES patient (id),
    from_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    evidence TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    made_by TEXT COLLATE "C" NOT NULL,
    ended_ms BIGINT,
    ended_by TEXT COLLATE "C",
    replaces BIGINT,
    CHECK (from_ms < until_ms)
);
CREATE INDEX attribution_device ON attribution (device) WHERE ended_ms IS NULL;
CREATE INDEX attribution_patient ON attribution (patient);

-- Whoever changes a device's attributions changes this row first, so that no two of
-- them are checked against what neither sees of the other.
CREATE TABLE attributed (
    device BIGINT PRIMARY KEY,
    changes BIGINT NOT NULL
);

-- That one reading is a patient's, whatever the attributions say.
CREATE TABLE claim (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reading BIGINT NOT NULL,
    patient BIGINT NOT NULL REFERENCES patient (id),
    utc_ms BIGINT NOT NULL,
    evidence TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    made_by TEXT COLLATE "C" NOT NULL,
    ended_ms BIGINT,
    ended_by TEXT COLLATE "C"
);
CREATE UNIQUE INDEX claim_reading ON claim (reading) WHERE ended_ms IS NULL;
CREATE INDEX claim_patient ON claim (patient, utc_ms, reading);

CREATE TABLE programme (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    UNIQUE (tenant, name)
);

-- kinds: names with commas between them; empty is every kind. from_ms and until_ms are
-- of the readings' true time, expires_ms is of the consent.
CREATE TABLE consent (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient BIGINT NOT NULL REFERENCES patient (id),
    programme BIGINT NOT NULL REFERENCES programme (id),
    kinds TEXT COLLATE "C" NOT NULL,
    from_ms BIGINT,
    until_ms BIGINT,
    expires_ms BIGINT NOT NULL,
    given_ms BIGINT NOT NULL,
    given_by TEXT COLLATE "C" NOT NULL,
    withdrawn_ms BIGINT,
    withdrawn_by TEXT COLLATE "C"
);
CREATE INDEX consent_programme ON consent (programme, patient);
CREATE INDEX consent_patient ON consent (patient);

-- roles: names with commas between them. token: SHA-256; the token itself is not kept.
CREATE TABLE principal (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    roles TEXT COLLATE "C" NOT NULL,
    programme BIGINT REFERENCES programme (id),
    token BYTEA NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    UNIQUE (tenant, name)
);

-- One chain for each tenant: each row's hash is made of the row and the hash before it.
CREATE TABLE audit (
    tenant TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    principal BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    patient BIGINT,
    programme BIGINT,
    purpose TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (tenant, sequence)
);
CREATE INDEX audit_patient ON audit (patient, sequence) WHERE patient IS NOT NULL;

CREATE TABLE audit_head (
    tenant TEXT COLLATE "C" PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL
);
