-- What the account's list of tasks said about a task, before its embeddings were stored (then see videos).
CREATE TABLE listed (
    task           INTEGER PRIMARY KEY REFERENCES tasks (id),
    listed_at      INTEGER NOT NULL,
    model_name     TEXT,
    duration       REAL,
    input_filename TEXT,
    input_url      TEXT
) STRICT;
