-- What the owner of a task says about it, one value for each key: columns of the CSV file that it came from, and what
-- `harvester label` sets.
CREATE TABLE labels (
    task  INTEGER NOT NULL REFERENCES tasks (id),
    key   TEXT    NOT NULL CHECK (key <> ''),
    value TEXT    NOT NULL CHECK (value <> ''),
    PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;

-- Finds the tasks with one label.
CREATE INDEX labels_by_value ON labels (key, value);

CREATE VIEW task_labels AS
SELECT tasks.task_id, labels.key, labels.value
FROM labels
JOIN tasks ON tasks.id = labels.task;

-- Tombstones of `harvester forget`: discovery does not queue these ids. A row has no effect while `tasks` has its id, as
-- after it was named again.
CREATE TABLE forgotten (
    task_id      TEXT    PRIMARY KEY,
    forgotten_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
