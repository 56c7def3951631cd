-- Version 6: a device's clock and the station's, before the station set the device's;
-- until all is told that the device recorded before that.
CREATE TABLE clock (
    device TEXT PRIMARY KEY,        -- device.id
    clocks TEXT NOT NULL            -- edge_agent.clock.Offset
) STRICT;
