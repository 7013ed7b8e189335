-- Which API version a task is of. Times are Unix milliseconds.

-- From now on `api_version` holds the version for each task that an answer has identified, not only where it is another
-- one than the configured version. NULL: not known yet.

-- The API version that gave the last of the "not found" answers that `gone` counts; NULL without one. A task ends as
-- unknown only after both versions have said so.
ALTER TABLE tasks ADD COLUMN denied_by TEXT CHECK (denied_by IN ('v1', 'v2'));

-- Open tasks that were denied before: it is not recorded by which version, so the confirmations begin anew.
UPDATE tasks SET gone = 0 WHERE gone > 0 AND state IN ('pending', 'ready') AND api_version IS NULL;
