-- Version 6: a device's clock and the station's, before the station set the device's; what
-- the device recorded before that may come at any later visit.
CREATE TABLE clock (
    device TEXT PRIMARY KEY,        -- device.id
    clocks TEXT NOT NULL            -- edge_agent.clock.Setting
) STRICT;
