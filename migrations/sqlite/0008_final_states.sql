-- What must be known of a task before an answer may end it. Times are Unix milliseconds.

-- When the first of the present series of answers came that brought no result and may end the task, or since when it
-- could not be asked although its deadline has passed. NULL while there is no doubt.
ALTER TABLE tasks ADD COLUMN doubted_at INTEGER;

-- The API version that knows the task, where that is another one than the configured version; NULL: not known yet.
ALTER TABLE tasks ADD COLUMN api_version TEXT CHECK (api_version IN ('v1', 'v2'));

-- The id that the last result named in place of this task's; '' where it named none.
ALTER TABLE tasks ADD COLUMN other_id TEXT;

-- A fingerprint of the API key with which the API last knew the task: under another key a 404 does not end it.
ALTER TABLE tasks ADD COLUMN seen_with TEXT;

CREATE INDEX tasks_by_doubt ON tasks (doubted_at) WHERE doubted_at IS NOT NULL AND state IN ('pending', 'ready');
