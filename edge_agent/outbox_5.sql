-- Version 5: one spelling of each Bluetooth address, in capitals, as the configuration is
-- now read. Of two spellings of one address what was written last stands.

DELETE FROM device WHERE peer GLOB '??:??:??:??:??:??' AND rowid < (
    SELECT max(other.rowid) FROM device other WHERE upper(other.peer) = upper(device.peer));
DELETE FROM secret WHERE peer GLOB '??:??:??:??:??:??' AND rowid < (
    SELECT max(other.rowid) FROM secret other WHERE upper(other.peer) = upper(secret.peer));
UPDATE device SET peer = upper(peer) WHERE peer GLOB '??:??:??:??:??:??';
UPDATE secret SET peer = upper(peer) WHERE peer GLOB '??:??:??:??:??:??';
UPDATE journal SET peer = upper(peer) WHERE peer GLOB '??:??:??:??:??:??';
UPDATE OR IGNORE undecoded SET peer = upper(peer) WHERE peer GLOB '??:??:??:??:??:??';
