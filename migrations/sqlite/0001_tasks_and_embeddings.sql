-- Times are Unix milliseconds, offsets and durations are seconds.

-- One row for each task that was ever queued. INSERT INTO tasks(task_id) VALUES ('…') from any program queues one:
-- the rest is filled in when the harvester first sees the row (expires_at IS NULL until then).
--
-- next_attempt_at is 0 for a task that is due, and otherwise the time at which it becomes due. A claimed task is
-- due again when its lease ends, so a killed process's tasks come back by themselves. claim is the fencing number:
-- it grows with each claim, and a result is accepted only with the number it was claimed with.
CREATE TABLE tasks (
    id              INTEGER PRIMARY KEY,
    task_id         TEXT    NOT NULL UNIQUE,
    state           TEXT    NOT NULL DEFAULT 'pending'
                    CHECK (state IN ('pending', 'ready', 'harvested', 'failed', 'expired', 'missing', 'rejected')),
    added_at        INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    created_at      INTEGER,
    expires_at      INTEGER,
    ended_at        INTEGER,
    next_attempt_at INTEGER NOT NULL DEFAULT 0 CHECK (next_attempt_at >= 0),
    attempts        INTEGER NOT NULL DEFAULT 0,
    failures        INTEGER NOT NULL DEFAULT 0,
    gone            INTEGER NOT NULL DEFAULT 0,
    invalid         INTEGER NOT NULL DEFAULT 0,
    error_code      TEXT,
    error_message   TEXT,
    error_at        INTEGER,
    lease_owner     TEXT,
    lease_until     INTEGER,
    claim           INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Claims: of one state, due, the nearest deadline first. Waking: of one state, next_attempt_at in the past.
CREATE INDEX tasks_by_turn ON tasks (state, next_attempt_at, expires_at);
-- The nearest deadline, and rows that other programs inserted.
CREATE INDEX tasks_by_deadline ON tasks (expires_at) WHERE state IN ('pending', 'ready');
CREATE INDEX tasks_by_arrival ON tasks (added_at) WHERE state IN ('pending', 'ready');
CREATE INDEX tasks_by_owner ON tasks (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX tasks_by_error ON tasks (error_at) WHERE error_at IS NOT NULL;

-- One row for each harvested task. document is the API's JSON with an empty list of segments and layouts are the
-- field names of its segments: with the rows below they give the received JSON back. vectors_crc32 is over the
-- vectors in order of position: it finds damage that SQLite itself cannot see.
CREATE TABLE videos (
    task              INTEGER PRIMARY KEY REFERENCES tasks (id),
    model_name        TEXT,
    duration          REAL,
    input_filename    TEXT,
    input_url         TEXT,
    video_clip_length REAL,
    created_at        INTEGER,
    updated_at        INTEGER,
    harvested_at      INTEGER NOT NULL,
    segment_count     INTEGER NOT NULL,
    vectors_crc32     INTEGER NOT NULL,
    document          TEXT    NOT NULL,
    layouts           TEXT    NOT NULL
) STRICT;

CREATE TABLE video_scopes (
    task                  INTEGER NOT NULL REFERENCES videos (task),
    position              INTEGER NOT NULL,
    video_embedding_scope TEXT    NOT NULL,
    PRIMARY KEY (task, position)
) STRICT, WITHOUT ROWID;

-- extra holds, as JSON, the fields of a segment that this version does not know.
CREATE TABLE segments (
    task             INTEGER NOT NULL REFERENCES videos (task),
    position         INTEGER NOT NULL,
    embedding_option TEXT,
    embedding_scope  TEXT,
    start_offset_sec REAL,
    end_offset_sec   REAL,
    layout           INTEGER NOT NULL DEFAULT 0,
    extra            TEXT,
    PRIMARY KEY (task, position)
) STRICT, WITHOUT ROWID;

-- vector is dim little-endian numbers of dtype. A table with row ids: rows of 4 KB would overflow the pages of a
-- table without them, which may hold a quarter of a page at most.
CREATE TABLE embeddings (
    id       INTEGER PRIMARY KEY,
    task     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    dim      INTEGER NOT NULL,
    dtype    TEXT    NOT NULL CHECK (dtype IN ('f4', 'f8')),
    vector   BLOB    NOT NULL,
    UNIQUE (task, position),
    FOREIGN KEY (task, position) REFERENCES segments (task, position)
) STRICT;

-- Each request about a task; pruned by age.
CREATE TABLE attempts (
    id          INTEGER PRIMARY KEY,
    task        INTEGER NOT NULL REFERENCES tasks (id),
    at          INTEGER NOT NULL,
    endpoint    TEXT    NOT NULL,
    http_status INTEGER,
    outcome     TEXT    NOT NULL,
    code        TEXT,
    message     TEXT,
    trace_id    TEXT,
    bytes       INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX attempts_by_task ON attempts (task, at);
CREATE INDEX attempts_by_age ON attempts (at);

-- The bodies of rejected answers, gzip.
CREATE TABLE payloads (
    task        INTEGER PRIMARY KEY REFERENCES tasks (id),
    received_at INTEGER NOT NULL,
    body        BLOB    NOT NULL
) STRICT;

CREATE VIEW segment_vectors AS
SELECT tasks.task_id,
       segments.position,
       videos.model_name,
       segments.embedding_option,
       segments.embedding_scope,
       segments.start_offset_sec,
       segments.end_offset_sec,
       embeddings.dim,
       embeddings.dtype,
       embeddings.vector
FROM tasks
JOIN videos ON videos.task = tasks.id
JOIN segments ON segments.task = tasks.id
JOIN embeddings ON embeddings.task = segments.task AND embeddings.position = segments.position;
