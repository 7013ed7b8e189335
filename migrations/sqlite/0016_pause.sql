-- The pause that `harvester pause` asks for, of the requests of all processes: one row while there is one. Without an end
-- it lasts until `harvester resume`. Times are Unix milliseconds.
CREATE TABLE pause (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL,
    until INTEGER
) STRICT;

-- Tasks that `harvester expedite` puts before all others, with the number of their attempts at that time: a row has no
-- effect once the task has had another attempt.
CREATE TABLE expedited (
    task     INTEGER PRIMARY KEY REFERENCES tasks (id),
    attempts INTEGER NOT NULL
) STRICT;
