-- What the API has taught about a class of requests, for all processes and the next start: the rate it was cut to after
-- refusals, its quota, and the theoretical arrival time (GCRA) of the next request at that rate. Times are Unix
-- milliseconds.
CREATE TABLE learned_limits (
    endpoint        TEXT    PRIMARY KEY,
    rate_per_minute REAL,
    rate_at         INTEGER,
    quota_limit     INTEGER,
    quota_window_s  INTEGER,
    quota_at        INTEGER,
    arrival         REAL    NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
