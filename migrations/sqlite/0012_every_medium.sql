-- The model and the medium of each vector, and its place in them. `harvester migrate` and the housekeeping of a harvest fill
-- these columns for older rows from the stored documents and `listed`, after the old checksum was right.

-- Where a task comes from: the API, or an imported file.
ALTER TABLE tasks ADD COLUMN source TEXT NOT NULL DEFAULT 'api' CHECK (source IN ('api', 'file', 'bedrock'));

-- The embedding options that version 1 of the API is asked for, as a JSON list; NULL for all.
ALTER TABLE tasks ADD COLUMN retrieve_options TEXT;

ALTER TABLE listed ADD COLUMN input_type TEXT;

-- 'video', 'audio', 'document' or 'image'; version 1 has videos only.
ALTER TABLE videos ADD COLUMN input_type TEXT;
ALTER TABLE videos ADD COLUMN start_offset_sec REAL;
ALTER TABLE videos ADD COLUMN end_offset_sec REAL;
ALTER TABLE videos ADD COLUMN embedding_dimension INTEGER;
-- 1 if the model has read a part of the input only, and the API's reason; NULL where the API does not say.
ALTER TABLE videos ADD COLUMN is_truncated INTEGER CHECK (is_truncated IN (0, 1));
ALTER TABLE videos ADD COLUMN truncation_reason TEXT;
-- What names the model: the answer, the account's list, a feature that only one model has, or a person.
ALTER TABLE videos ADD COLUMN model_source TEXT CHECK (model_source IN ('answer', 'list', 'inferred', 'given'));
-- When the list was last read for the model and did not name it, in Unix milliseconds.
ALTER TABLE videos ADD COLUMN model_asked_at INTEGER;
-- What a result lacks, as a JSON list of sentences; NULL for a whole one.
ALTER TABLE videos ADD COLUMN warnings TEXT;
-- The form of content_blake2b. Form 2 covers the columns of this file; a row with form 1 does not have their values yet.
ALTER TABLE videos ADD COLUMN content_form INTEGER NOT NULL DEFAULT 1;

-- Finds the rows that are not filled in yet, those without a checksum among them; empty in the end.
CREATE INDEX videos_in_old_form ON videos (task) WHERE content_form < 2;
DROP INDEX videos_without_checksum;
CREATE INDEX videos_without_model ON videos (model_asked_at) WHERE model_name IS NULL;
-- Finds the results that a person is warned about.
CREATE INDEX videos_with_faults ON videos (task) WHERE is_truncated = 1 OR warnings IS NOT NULL;

-- The options that the API lists for the result.
CREATE TABLE video_options (
    task             INTEGER NOT NULL REFERENCES videos (task),
    position         INTEGER NOT NULL,
    embedding_option TEXT    NOT NULL,
    PRIMARY KEY (task, position)
) STRICT, WITHOUT ROWID;

-- usage.input_tokens: how many tokens of each medium the model has read.
CREATE TABLE video_tokens (
    task   INTEGER NOT NULL REFERENCES videos (task),
    medium TEXT    NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (task, medium)
) STRICT, WITHOUT ROWID;

-- Pages are counted from 1, chunks from 0. Of a page that is divided, the whole page has no quadrant.
ALTER TABLE segments ADD COLUMN start_page INTEGER;
ALTER TABLE segments ADD COLUMN end_page INTEGER;
ALTER TABLE segments ADD COLUMN quadrant TEXT;
ALTER TABLE segments ADD COLUMN chunk_index INTEGER;

-- embedding_uncertainty, as the table embeddings has the vectors: as many numbers, a higher one is less certain.
CREATE TABLE uncertainties (
    id       INTEGER PRIMARY KEY,
    task     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    dim      INTEGER NOT NULL,
    dtype    TEXT    NOT NULL CHECK (dtype IN ('f4', 'f8')),
    vector   BLOB    NOT NULL,
    UNIQUE (task, position),
    FOREIGN KEY (task, position) REFERENCES segments (task, position)
) STRICT;

DROP VIEW segment_vectors;
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
       embeddings.vector,
       videos.input_type,
       segments.start_page,
       segments.end_page,
       segments.quadrant,
       segments.chunk_index,
       videos.input_filename,
       videos.input_url,
       videos.duration,
       videos.harvested_at
FROM tasks
JOIN videos ON videos.task = tasks.id
JOIN segments ON segments.task = tasks.id
JOIN embeddings ON embeddings.task = segments.task AND embeddings.position = segments.position;

CREATE VIEW segment_uncertainties AS
SELECT tasks.task_id, uncertainties.position, uncertainties.dim, uncertainties.dtype, uncertainties.vector
FROM tasks
JOIN uncertainties ON uncertainties.task = tasks.id;
