-- Version 2: what a device and this station alone know, for devices that ask for it.
CREATE TABLE secret (
    peer TEXT PRIMARY KEY,          -- the address or port it was met at
    key BLOB NOT NULL               -- 16 random bytes
) STRICT;
