-- When the API last said that the task was not finished.
ALTER TABLE tasks ADD COLUMN unfinished_at INTEGER;

-- How long the platform takes, as a life table: of the tasks that were watched in an age class (for watched_s seconds
-- together), how many finished in it. model_name '' is any model; minutes is the length of the video, rounded up to a
-- power of two, and 0 any length.
CREATE TABLE processing_times (
    model_name TEXT    NOT NULL,
    minutes    INTEGER NOT NULL,
    age_class  INTEGER NOT NULL,
    finished   REAL    NOT NULL,
    watched_s  REAL    NOT NULL,
    PRIMARY KEY (model_name, minutes, age_class)
) STRICT, WITHOUT ROWID;
