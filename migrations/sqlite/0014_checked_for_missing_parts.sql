-- 1 after the result was compared with its own description, so that `warnings` says what it lacks; 0 for what an older
-- version stored. `harvester migrate` and the housekeeping of a harvest do it for these, after the checksum was right.
ALTER TABLE videos ADD COLUMN is_checked INTEGER NOT NULL DEFAULT 0 CHECK (is_checked IN (0, 1));

-- Finds the results that an older version stored and that are not brought up to date yet; empty in the end.
CREATE INDEX videos_of_older_version ON videos (task) WHERE content_form < 2 OR is_checked = 0;
DROP INDEX videos_in_old_form;

-- How many results hold only some of the options is counted for each `status`.
CREATE INDEX tasks_filtered ON tasks (id)
WHERE state = 'harvested' AND source = 'api' AND retrieve_options IS NOT NULL AND retrieve_options <> '[]';
