-- What the processes on one database share of the request budget: the theoretical arrival time (GCRA) of the next
-- request, in Unix milliseconds. A process leases requests by moving it on.
CREATE TABLE budget (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    arrival REAL NOT NULL
) STRICT;

-- Until when the API has asked for no requests of a class; also what a restarted process must not forget.
CREATE TABLE blocks (
    endpoint      TEXT PRIMARY KEY,
    blocked_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
