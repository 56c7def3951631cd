-- Version 3: what the filters keep in mind of each device, to judge its next reading.
CREATE TABLE filters (
    device TEXT PRIMARY KEY,        -- device.id
    state BLOB NOT NULL             -- edge_agent.quality
) STRICT, WITHOUT ROWID;
