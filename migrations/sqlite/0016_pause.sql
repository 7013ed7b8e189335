-- The pause that `harvester pause` asks for, of the requests of all processes: one row while there is one. Without an end
-- it lasts until `harvester resume`. Times are Unix milliseconds.
CREATE TABLE pause (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL,
    until INTEGER
) STRICT;
