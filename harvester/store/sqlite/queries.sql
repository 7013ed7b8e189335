-- Each block is one statement, named by the line above it. A test prepares every block.
-- The partial indexes have the text "state IN ('pending', 'ready')", which SQLite compares word by word.
-- CROSS JOIN makes the table on its left the outer one: the few selected tasks, not the whole queue.
-- {claimable} stands for the columns that `queue.task_of` reads, of tasks and of `listed`.
-- {matches} stands for the conditions of a TaskFilter, on tasks, videos and listed; see `task_list.filter_parameters`.
-- {wanted_task}, {wanted_segment} and {superseded} stand for the conditions of a ResultFilter; see `stored_results.filtered`.
-- {result_task} stands for the columns of a ResultTask but its labels.
-- {tasks ...} makes two statements of one: `name` reads all tasks, `name_selected` the tasks in temp.selected.

-- name: add
-- Queue a task, or leave a known one as it is.
INSERT INTO tasks (task_id, added_at, expires_at) VALUES (:task_id, :added_at, :expires_at)
ON CONFLICT (task_id) DO NOTHING

-- name: choose_options
-- The embedding options that version 1 of the API is asked for, of a task that has not ended and has no stored result.
-- An answer under way holds what was chosen before: another choice takes the claim away, and the answer is stale.
UPDATE tasks
SET retrieve_options = :options,
    claim = claim + (lease_owner IS NOT NULL AND retrieve_options IS NOT :options),
    next_attempt_at = iif(
        iif(lease_owner IS NULL, error_code = 'embedding_option_refused', retrieve_options IS NOT :options),
        0, next_attempt_at
    ),
    lease_until = iif(retrieve_options IS :options, lease_until, NULL),
    lease_owner = iif(retrieve_options IS :options, lease_owner, NULL)
WHERE task_id = :task_id AND state IN ('pending', 'ready')
  AND NOT EXISTS (SELECT 1 FROM videos WHERE videos.task = tasks.id)

-- name: find_with_result
-- A task with a result of the API, and the options that the result was asked for. While it is asked for again, those
-- are the options of its segments.
SELECT id, state,
       iif(state = 'harvested', retrieve_options,
           (SELECT json_group_array(DISTINCT embedding_option) FROM segments
            WHERE segments.task = tasks.id AND embedding_option IS NOT NULL)),
       coalesce(expires_at, 1)
FROM tasks
WHERE task_id = :task_id AND source = 'api'
  AND (state = 'harvested' OR (state IN ('pending', 'ready') AND retrieve_options IS NOT NULL))
  AND EXISTS (SELECT 1 FROM videos WHERE videos.task = tasks.id)

-- name: ask_again
-- A task whose stored result is to be replaced. An answer under way holds less: it becomes stale.
UPDATE tasks
SET state = 'ready', claim = claim + 1, lease_owner = NULL, lease_until = NULL,
    next_attempt_at = 0, ended_at = NULL, failures = 0,
    gone = 0, invalid = 0, unfinished_at = NULL, doubted_at = NULL, denied_by = NULL, other_id = NULL,
    error_code = NULL, error_message = NULL, error_at = NULL, retrieve_options = :options
WHERE id = :id

-- name: stored_options
SELECT embedding_option, count(*) FROM segments WHERE task = :task GROUP BY embedding_option

-- name: keep_stored
-- A task that was asked for again and ended with less than it has: its result holds what it held. Without a filter it
-- holds everything.
UPDATE tasks
SET state = 'harvested',
    retrieve_options = iif(retrieve_options IS NULL, NULL, (
        SELECT json_group_array(DISTINCT embedding_option) FROM segments
        WHERE segments.task = tasks.id AND embedding_option IS NOT NULL
    ))
WHERE id = :task

-- name: count_filtered
SELECT count(*) FROM tasks INDEXED BY tasks_filtered
WHERE state = 'harvested' AND source = 'api' AND retrieve_options IS NOT NULL AND retrieve_options <> '[]'

-- name: set_label
-- A label of a task that is queued; one value for each key.
INSERT INTO labels (task, key, value) SELECT id, :key, :value FROM tasks WHERE task_id = :task_id
ON CONFLICT (task, key) DO UPDATE SET value = excluded.value

-- name: remove_label
DELETE FROM labels WHERE task = (SELECT id FROM tasks WHERE task_id = :task_id) AND key = :key

-- name: labels_of
SELECT key, value FROM labels WHERE task = :task ORDER BY key

-- name: label_keys
SELECT DISTINCT key FROM labels ORDER BY key

-- name: list_tasks
-- In the order of row ids, so that a page reads no more of the table than it needs, and sorts nothing.
SELECT tasks.id, tasks.task_id, tasks.state,
       iif(tasks.state = 'harvested', NULL, tasks.error_code), iif(tasks.state = 'harvested', NULL, tasks.error_message),
       coalesce(videos.model_name, listed.model_name), coalesce(videos.input_type, listed.input_type),
       coalesce(videos.input_filename, listed.input_filename), coalesce(videos.input_url, listed.input_url),
       coalesce(videos.duration, listed.duration), videos.segment_count,
       tasks.added_at, tasks.ended_at, iif(tasks.source = 'api', tasks.expires_at, NULL),
       (SELECT json_group_object(key, value) FROM labels WHERE labels.task = tasks.id)
FROM tasks LEFT JOIN videos ON videos.task = tasks.id LEFT JOIN listed ON listed.task = tasks.id
WHERE tasks.id > :after AND {matches}
ORDER BY tasks.id LIMIT :limit

-- name: unknown_among
-- Those of some task ids that were never queued.
SELECT named.value FROM json_each(:task_ids) AS named
WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.task_id = named.value) ORDER BY named.key

-- name: has_triggers
SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger')

-- name: unchanged
-- A task that an UPDATE with the same conditions should have changed.
SELECT next_attempt_at FROM tasks WHERE id = :id AND claim = :claim AND state IN ('pending', 'ready')

-- name: find_listed
-- A task that a page of the list names, whatever its state. The columns of `listed` come from the page itself.
SELECT lease_owner IS NOT NULL,
       id, task_id, state, added_at, coalesce(expires_at, 1), created_at, failures, gone, invalid, claim, unfinished_at,
       NULL, NULL,
       doubted_at, api_version, other_id, seen_with, error_code, error_message, denied_by,
       retrieve_options
FROM tasks WHERE task_id = :task_id

-- name: queue_listed
INSERT INTO tasks (task_id, state, added_at, created_at, expires_at, ended_at, next_attempt_at, unfinished_at,
                   error_code, error_message, error_at, api_version, seen_with, scheduled_at)
VALUES (:task_id, :state, :now, :created_at, max(1, :expires_at), :ended_at, :next_attempt_at, :unfinished_at,
        :error_code, :error_message, :error_at, :api_version, :seen_with, :now)
ON CONFLICT (task_id) DO NOTHING
RETURNING id

-- name: update_listed
-- Store the decision about a listed task, unless its row has changed since it was read: a claim and a result raise the
-- fencing number, and other programs may set the state. A ready task keeps its due time; if claimed for this page, it
-- was due.
UPDATE tasks
SET claim = claim + 1, lease_owner = NULL, lease_until = NULL, attempts = attempts + :charged,
    unfinished_at = :unfinished_at, state = :state, created_at = :created_at, expires_at = max(1, :expires_at),
    ended_at = :ended_at,
    next_attempt_at = iif(state = 'ready' AND lease_owner IS NULL, next_attempt_at, :next_attempt_at),
    failures = :failures, gone = :gone, invalid = :invalid, doubted_at = :doubted_at, seen_with = :seen_with,
    api_version = :api_version, denied_by = :denied_by,
    error_code = coalesce(:error_code, error_code),
    error_message = coalesce(:error_message, error_message),
    error_at = coalesce(:error_at, error_at),
    scheduled_at = :now
WHERE id = :id AND task_id = :task_id AND claim = :claim AND state = :state_read

-- name: infer_ready
-- A page of the tasks in processing did not show the task, so it has finished, and its result is worth a request.
UPDATE tasks
SET state = 'ready', claim = claim + 1, lease_owner = NULL, lease_until = NULL, attempts = attempts + 1,
    next_attempt_at = 0
WHERE id = :id AND task_id = :task_id AND claim = :claim AND state = 'pending'

-- name: retract_ready
-- A task was inferred to be ready from a page without it, and was not.
UPDATE tasks SET state = 'pending', claim = claim + 1 WHERE id = :id AND state = 'ready' AND lease_owner IS NULL

-- name: store_listed
-- Store the API's description of a task's video, unless the task has ended or was deleted since it was read.
INSERT INTO listed (task, listed_at, model_name, duration, input_filename, input_url, input_type)
SELECT id, :now, :model_name, :duration, :input_filename, :input_url, :input_type FROM tasks
WHERE id = :task AND task_id = :task_id AND state IN ('pending', 'ready')
ON CONFLICT (task) DO UPDATE
SET listed_at = excluded.listed_at,
    model_name = coalesce(excluded.model_name, model_name), duration = coalesce(excluded.duration, duration),
    input_filename = coalesce(excluded.input_filename, input_filename),
    input_url = coalesce(excluded.input_url, input_url), input_type = coalesce(excluded.input_type, input_type)

-- name: is_any_unnamed
SELECT EXISTS (SELECT 1 FROM videos INDEXED BY videos_without_model WHERE model_name IS NULL)

-- name: find_unnamed
-- A result without a model, by the id of its task. Rows in the old form get their columns from the stored JSON first.
SELECT videos.task, tasks.task_id, videos.segment_count FROM tasks CROSS JOIN videos ON videos.task = tasks.id
WHERE tasks.task_id = :task_id AND videos.model_name IS NULL AND videos.content_form >= 2 AND tasks.source = 'api'

-- name: unnamed
-- Results without a model: those that the list was never asked for, then those that it is to be asked for again. The
-- second time range holds no others: a deadline is at most seven days after the harvest.
SELECT * FROM (
    SELECT videos.harvested_at, {claimable}
    FROM videos INDEXED BY videos_without_model CROSS JOIN tasks ON tasks.id = videos.task
    LEFT JOIN listed ON listed.task = tasks.id
    WHERE videos.model_name IS NULL AND videos.model_asked_at IS NULL
      AND videos.content_form >= 2 AND tasks.source = 'api'
    LIMIT :limit
)
UNION ALL
SELECT * FROM (
    SELECT videos.harvested_at, {claimable}
    FROM videos INDEXED BY videos_without_model CROSS JOIN tasks ON tasks.id = videos.task
    LEFT JOIN listed ON listed.task = tasks.id
    WHERE videos.model_name IS NULL AND videos.model_asked_at > :now - :retention
      AND videos.model_asked_at <= :now - :pause AND :now < tasks.expires_at
      AND 2 * videos.model_asked_at - videos.harvested_at <= :now
      AND videos.content_form >= 2 AND tasks.source = 'api'
    LIMIT :limit
)
LIMIT :limit

-- name: unnamed_selected
SELECT videos.harvested_at, {claimable}
FROM temp.selected CROSS JOIN videos ON videos.task = selected.task CROSS JOIN tasks ON tasks.id = videos.task
LEFT JOIN listed ON listed.task = tasks.id
WHERE videos.model_name IS NULL AND videos.content_form >= 2 AND tasks.source = 'api'
  AND (videos.model_asked_at IS NULL
       OR (videos.model_asked_at > :now - :retention AND videos.model_asked_at <= :now - :pause
           AND :now < tasks.expires_at AND 2 * videos.model_asked_at - videos.harvested_at <= :now))
ORDER BY videos.model_asked_at LIMIT :limit

-- name: name_model
UPDATE videos
SET model_name = :model_name, model_source = :model_source, duration = :duration, input_filename = :input_filename,
    input_url = :input_url, input_type = :input_type, content_blake2b = :content_blake2b
WHERE task = :task AND model_name IS NULL

-- name: model_not_listed
UPDATE videos SET model_asked_at = :now WHERE task = :task AND model_name IS NULL

-- name: model_gaps
SELECT count(*), count(model_asked_at) FROM videos INDEXED BY videos_without_model WHERE model_name IS NULL

-- name: listed_of
SELECT listed_at, model_name, duration, input_filename, input_url, input_type FROM listed WHERE task = :task

-- name: known_versions
-- When the last queued tasks were created that an answer has identified, and the API version that knows them. Only the
-- last rows are read: a search for known ones could read all.
SELECT coalesce(created_at, expires_at - :retention), api_version
FROM (SELECT id, created_at, expires_at, api_version FROM tasks ORDER BY id DESC LIMIT :limit)
WHERE api_version IS NOT NULL AND expires_at IS NOT NULL
ORDER BY id DESC

-- name: find_inserted
-- Rows that other programs inserted and that have no deadline yet, or an impossible one.
SELECT id, task_id, added_at, created_at FROM tasks INDEXED BY tasks_by_deadline
WHERE state IN ('pending', 'ready') AND expires_at IS NULL
UNION ALL
SELECT id, task_id, added_at, created_at FROM tasks INDEXED BY tasks_by_deadline
WHERE state IN ('pending', 'ready') AND expires_at <= 0
LIMIT :limit

-- name: import_inserted
-- A deadline is at least 1: claims read only those above 0, and a created_at from before 1970 must not hide a task.
UPDATE tasks SET expires_at = max(1, :expires_at) WHERE id = :id

-- name: reject_inserted
-- The row gets no deadline, so that a retry brings it back here and not into a claim.
UPDATE tasks
SET state = 'rejected', ended_at = :now,
    error_code = :code, error_message = :message, error_at = :now
WHERE id = :id

-- name: make_due
-- Waiting tasks whose time has come and, with :lapsed, claimed tasks whose lease has ended by this clock. Called once
-- for each open state, so that the index serves a range.
UPDATE tasks SET next_attempt_at = 0, lease_owner = NULL, lease_until = NULL
WHERE state = :state AND next_attempt_at > 0 AND next_attempt_at <= :now AND (:lapsed OR lease_owner IS NULL)

-- name: make_strayed_due
-- Tasks that wait, or are claimed, for longer than this program ever sets: the clock has been set back since.
UPDATE tasks SET next_attempt_at = 0, lease_owner = NULL, lease_until = NULL
WHERE state = :state AND next_attempt_at > :latest_wait
  AND (lease_owner IS NULL OR (:lapsed AND next_attempt_at > :latest))

-- name: needs_upkeep
-- Whether find_inserted finds a row or, with :make_due, one of the two statements above would change one.
SELECT EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_by_deadline WHERE state IN ('pending', 'ready') AND expires_at IS NULL
) OR EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_by_deadline WHERE state IN ('pending', 'ready') AND expires_at <= 0
) OR (:make_due AND (EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_by_turn
    WHERE state IN ('pending', 'ready') AND next_attempt_at > 0 AND next_attempt_at <= :now
      AND (:lapsed OR lease_owner IS NULL)
) OR EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_by_turn
    WHERE state IN ('pending', 'ready') AND next_attempt_at > :latest_wait
      AND (lease_owner IS NULL OR (:lapsed AND next_attempt_at > :latest))
)))

-- name: is_any_misdated
-- Whether a task waits whose due time was set by a clock that was ahead.
SELECT EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_by_turn
    WHERE state = :state AND next_attempt_at > :now AND scheduled_at > :latest AND lease_owner IS NULL
)

-- name: make_misdated_due
UPDATE tasks SET next_attempt_at = 0
WHERE state = :state AND next_attempt_at > :now AND scheduled_at > :latest AND lease_owner IS NULL

-- name: make_open_due_selected
-- The user wants an answer now: backed-off tasks need not wait. Claimed tasks stay with their owner.
UPDATE tasks SET next_attempt_at = 0
WHERE state IN ('pending', 'ready') AND next_attempt_at > 0 AND lease_owner IS NULL
  AND id IN (SELECT task FROM temp.selected)

-- name: make_open_due
UPDATE tasks SET next_attempt_at = 0
WHERE state IN ('pending', 'ready') AND next_attempt_at > 0 AND lease_owner IS NULL

-- name: release_held
-- Make tasks due that wait for a confirmation, the nearest deadline first.
UPDATE tasks SET next_attempt_at = 0
WHERE id IN (
    SELECT id FROM {tasks INDEXED BY tasks_by_doubt}
    WHERE doubted_at IS NOT NULL AND state IN ('pending', 'ready') AND next_attempt_at > 0 AND lease_owner IS NULL
    ORDER BY expires_at LIMIT :limit
)

-- name: held
-- Open tasks whose last answers brought no result; beside a single max(), the bare columns are those of the latest.
SELECT count(*), task_id, coalesce(error_message, error_code), max(error_at) FROM tasks INDEXED BY tasks_by_doubt
WHERE doubted_at IS NOT NULL AND state IN ('pending', 'ready')

-- name: held_by_reason
-- Such tasks that wait until after a time: how many the API does not know, and the others by error code.
SELECT CASE WHEN gone > 0 THEN 'unknown' ELSE coalesce(error_code, '') END AS reason, count(*)
FROM {tasks INDEXED BY tasks_by_doubt}
WHERE doubted_at IS NOT NULL AND state IN ('pending', 'ready') AND next_attempt_at > :after AND lease_owner IS NULL
GROUP BY reason

-- name: recent_attempts
-- The last answers about tasks, the newest first, without those about tasks that have ended without a result. A body
-- from a file is no answer.
SELECT recent.task, recent.outcome
FROM (
    SELECT id, task, at, endpoint, outcome FROM attempts WHERE endpoint <> 'import' ORDER BY id DESC LIMIT :limit
) AS recent
CROSS JOIN tasks ON tasks.id = recent.task
WHERE recent.at >= :since AND recent.at <= :now AND recent.endpoint <> 'list'
  AND tasks.state IN ('pending', 'ready', 'harvested')
ORDER BY recent.id DESC

-- name: is_heard_since
-- Whether the API has answered one of the last requests. A failure, or a refused key, is no answer about tasks. What
-- `verify --repair` and `retry --from-kept` have noted has no HTTP status.
SELECT EXISTS (
    SELECT 1
    FROM (SELECT at, outcome, http_status FROM attempts WHERE endpoint <> 'import' ORDER BY id DESC LIMIT :limit) AS recent
    WHERE at >= :since AND at <= :now AND outcome NOT IN ('transient', 'misrouted', 'refused')
      AND http_status IS NOT NULL
)

-- name: due
-- The due tasks of one state whose embeddings the platform still has, the nearest deadline first.
SELECT {claimable}
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE state = :state AND next_attempt_at = 0 AND expires_at > max(0, :now)
ORDER BY expires_at LIMIT :limit

-- name: due_newest
SELECT {claimable}
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE state = :state AND next_attempt_at = 0 AND expires_at > max(0, :now)
ORDER BY expires_at DESC LIMIT :limit

-- name: due_overdue
-- The due tasks whose embeddings the platform may have dropped: they must not delay others.
SELECT {claimable}
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE state = :state AND next_attempt_at = 0 AND expires_at > 0 AND expires_at <= :now
ORDER BY expires_at LIMIT :limit

-- name: due_selected
-- The due tasks among those that a user named: this reads and sorts all named tasks. The nearest deadline comes first
-- or, with :direction -1, last; tasks past their deadline come after all others.
SELECT {claimable}
FROM temp.selected CROSS JOIN tasks ON tasks.id = selected.task LEFT JOIN listed ON listed.task = tasks.id
WHERE tasks.state = :state AND tasks.next_attempt_at = 0 AND tasks.expires_at > 0
ORDER BY tasks.expires_at <= :now, tasks.expires_at * :direction LIMIT :limit

-- name: due_expedited
-- The due tasks that come before all others. Rarely there are any.
SELECT {claimable}
FROM expedited CROSS JOIN tasks ON tasks.id = expedited.task LEFT JOIN listed ON listed.task = tasks.id
WHERE tasks.attempts = expedited.attempts AND tasks.state IN ('pending', 'ready')
  AND tasks.next_attempt_at = 0 AND tasks.expires_at > 0
ORDER BY tasks.expires_at LIMIT :limit

-- name: due_expedited_selected
SELECT {claimable}
FROM expedited CROSS JOIN temp.selected ON selected.task = expedited.task
CROSS JOIN tasks ON tasks.id = expedited.task LEFT JOIN listed ON listed.task = tasks.id
WHERE tasks.attempts = expedited.attempts AND tasks.state IN ('pending', 'ready')
  AND tasks.next_attempt_at = 0 AND tasks.expires_at > 0
ORDER BY tasks.expires_at LIMIT :limit

-- name: find_to_expedite
SELECT state, doubted_at IS NOT NULL FROM tasks WHERE task_id = :task_id

-- name: expedite
INSERT INTO expedited (task, attempts) SELECT id, attempts FROM tasks WHERE task_id = :task_id
ON CONFLICT (task) DO UPDATE SET attempts = excluded.attempts

-- name: make_named_due
UPDATE tasks SET next_attempt_at = 0 WHERE task_id = :task_id AND lease_owner IS NULL

-- name: drop_answered
DELETE FROM expedited WHERE attempts <> (SELECT tasks.attempts FROM tasks WHERE tasks.id = expedited.task)

-- name: first_selected
-- The selected tasks among the first due ones, in the order of the index: if most tasks are selected, this finds the
-- first few without reading the whole selection. It reads no more tasks than are selected, because then reading the
-- selection is cheaper. SQLite keeps the order of a subquery that has a limit; sorting would read all of its rows.
SELECT {claimable}
FROM (
    SELECT id FROM tasks INDEXED BY tasks_by_turn
    WHERE state = :state AND next_attempt_at = 0 AND expires_at > :after AND expires_at <= :until
    ORDER BY expires_at LIMIT (SELECT count(*) FROM temp.selected)
) AS turn CROSS JOIN temp.selected ON selected.task = turn.id CROSS JOIN tasks ON tasks.id = turn.id
LEFT JOIN listed ON listed.task = tasks.id
LIMIT :limit

-- name: last_selected
SELECT {claimable}
FROM (
    SELECT id FROM tasks INDEXED BY tasks_by_turn
    WHERE state = :state AND next_attempt_at = 0 AND expires_at > :after AND expires_at <= :until
    ORDER BY expires_at DESC LIMIT (SELECT count(*) FROM temp.selected)
) AS turn CROSS JOIN temp.selected ON selected.task = turn.id CROSS JOIN tasks ON tasks.id = turn.id
LEFT JOIN listed ON listed.task = tasks.id
LIMIT :limit

-- name: more_than_selected
-- Whether there are due tasks that the two statements above have not read.
SELECT EXISTS (
    SELECT 1 FROM tasks INDEXED BY tasks_by_turn
    WHERE state = :state AND next_attempt_at = 0 AND expires_at > :after AND expires_at <= :until
    LIMIT 1 OFFSET (SELECT count(*) FROM temp.selected)
)

-- name: every_nth
-- Every :every-th task of one open state, also if it waits, is claimed or has no deadline yet. The index has the ids,
-- too, so only the rows of those tasks are read.
SELECT next_attempt_at, {claimable}
FROM tasks INDEXED BY tasks_by_turn LEFT JOIN listed ON listed.task = tasks.id
WHERE state = :state AND tasks.id % :every = 0

-- name: due_after_wait
-- Tasks that `make_due` would make due, the nearest deadline first or, with :direction -1, last; tasks past their
-- deadline come after all others.
SELECT next_attempt_at, {claimable}
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE tasks.id IN (
    SELECT id FROM tasks INDEXED BY tasks_by_turn
    WHERE state = :state AND next_attempt_at > 0 AND next_attempt_at <= :now AND expires_at > 0
    ORDER BY expires_at <= :now, expires_at * :direction LIMIT :limit
)

-- name: next_due_tasks
-- The tasks that fall due next by themselves; a claimed task does so only if its owner dies.
SELECT next_attempt_at, {claimable}
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE state = :state AND next_attempt_at > :now AND lease_owner IS NULL
ORDER BY next_attempt_at LIMIT :limit

-- name: inserted_tasks
-- The rows that find_inserted finds, with all columns of a claim.
SELECT next_attempt_at, {claimable}
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE tasks.id IN (
    SELECT id FROM tasks INDEXED BY tasks_by_deadline WHERE state IN ('pending', 'ready') AND expires_at IS NULL
    UNION ALL
    SELECT id FROM tasks INDEXED BY tasks_by_deadline WHERE state IN ('pending', 'ready') AND expires_at <= 0
    LIMIT :limit
)

-- name: count_due
SELECT count(*) FROM tasks WHERE state = :state AND next_attempt_at <= :now

-- name: in_hand
SELECT count(*), count(DISTINCT lease_owner) FROM tasks
WHERE lease_owner IS NOT NULL AND lease_until > :now

-- name: due_again
-- One open task, right after it was put back. Only a row of another program has no deadline.
SELECT tasks.id, task_id, state, added_at, coalesce(expires_at, 1), created_at, failures, gone, invalid, claim,
       unfinished_at, listed.model_name, listed.duration,
       doubted_at, api_version, other_id, seen_with, error_code, error_message, denied_by,
       retrieve_options
FROM tasks LEFT JOIN listed ON listed.task = tasks.id
WHERE task_id = :task_id AND state IN ('pending', 'ready') AND next_attempt_at = 0

-- name: find_importable
-- A task whose result a file brings, and whether a process works on it. A task that is asked for again has its result.
SELECT id, iif(EXISTS (SELECT 1 FROM videos WHERE videos.task = tasks.id), 'harvested', state),
       lease_owner IS NOT NULL AND lease_until > :now
FROM tasks WHERE task_id = :task_id

-- name: begin_import
-- The fencing number grows: a result that a process brings later is refused.
UPDATE tasks
SET state = 'pending', next_attempt_at = 0, ended_at = NULL, claim = claim + 1, lease_owner = NULL, lease_until = NULL,
    source = :source
WHERE id = :id

-- name: harvested_among
-- The harvested ones of some tasks, with the length of the file that the last import read; NULL for others.
SELECT tasks.task_id,
       (SELECT bytes FROM attempts WHERE task = tasks.id AND endpoint = 'import' ORDER BY at DESC, id DESC LIMIT 1)
FROM json_each(:task_ids) AS named CROSS JOIN tasks ON tasks.task_id = named.value
WHERE tasks.state = 'harvested'

-- name: has_vectors
-- Whether the result that is stored of a task has these vectors.
SELECT EXISTS (
    SELECT 1 FROM videos WHERE task = :task AND segment_count = :count AND vectors_crc32 = :vectors_crc32
)

-- name: unclaimed
-- Those tasks of a list of [id, claim, task_id] that no process has claimed since then; as one row, because each row
-- releases and takes the interpreter's lock. The row id of a task that was forgotten may belong to another one now.
SELECT group_concat(tasks.id) FROM json_each(:seen) AS seen
CROSS JOIN tasks ON tasks.id = json_extract(seen.value, '$[0]')
WHERE tasks.claim = json_extract(seen.value, '$[1]') AND tasks.task_id = json_extract(seen.value, '$[2]')
  AND next_attempt_at = 0 AND state IN ('pending', 'ready')

-- name: claim
-- Unclaimed tasks. They fall due again by themselves when the lease ends.
UPDATE tasks
SET claim = claim + 1, lease_owner = :owner, lease_until = :lease_until, next_attempt_at = :lease_until,
    scheduled_at = :at
WHERE id IN (SELECT value FROM json_each(:ids))

-- name: postpone
-- A task that is not worth a request yet, unless a process has claimed it. See `unclaimed` for the task_id.
UPDATE tasks SET next_attempt_at = :until, scheduled_at = :now
WHERE id = :id AND task_id = :task_id AND claim = :claim AND next_attempt_at = 0 AND state IN ('pending', 'ready')

-- name: renew
-- A process keeps the tasks that it still works on, whatever the wall clock shows: lease_owner changes with a takeover.
UPDATE tasks SET lease_until = :lease_until, next_attempt_at = :lease_until, scheduled_at = :at
WHERE lease_owner = :owner AND state IN ('pending', 'ready')

-- name: held_leases
-- The owners of claims: until when, for how long they took or renewed them (NULL: unknown), and how many tasks.
SELECT lease_owner, max(lease_until), max(lease_until - scheduled_at), count(*)
FROM tasks INDEXED BY tasks_by_owner WHERE lease_owner IS NOT NULL AND state IN ('pending', 'ready')
GROUP BY lease_owner

-- name: free
-- The tasks of a dead owner, unless it has renewed its leases since they were read.
UPDATE tasks SET lease_owner = NULL, lease_until = NULL, next_attempt_at = 0
WHERE lease_owner = :owner AND lease_until <= :until AND state IN ('pending', 'ready')

-- name: defer
-- A claimed task about which no request may go out for a while.
UPDATE tasks SET lease_owner = NULL, lease_until = NULL, next_attempt_at = :until
WHERE id = :id AND task_id = :task_id AND claim = :claim AND state IN ('pending', 'ready')

-- name: release
-- The claimed tasks of an owner are due at once.
UPDATE tasks SET lease_owner = NULL, lease_until = NULL, next_attempt_at = 0
WHERE lease_owner = :owner AND state IN ('pending', 'ready')

-- name: settleable
-- Of a list of [id, claim, task_id], the places of those that are neither stale nor settled before: a settlement uses up
-- the claim. As one row, because each row releases and takes the interpreter's lock. See `unclaimed` for the task_id.
SELECT group_concat(seen.key) FROM json_each(:seen) AS seen
CROSS JOIN tasks ON tasks.id = json_extract(seen.value, '$[0]')
WHERE tasks.claim = json_extract(seen.value, '$[1]') AND tasks.task_id = json_extract(seen.value, '$[2]')
  AND state IN ('pending', 'ready')

-- name: settle
-- The results of attempts, for settleable tasks.
UPDATE tasks
SET claim = tasks.claim + 1,
    state = result.state,
    next_attempt_at = result.next_attempt_at,
    scheduled_at = result.settled_at,
    expires_at = max(1, result.expires_at),
    created_at = result.created_at,
    ended_at = result.ended_at,
    attempts = attempts + charged,
    failures = result.failures,
    gone = result.gone,
    invalid = result.invalid,
    unfinished_at = result.unfinished_at,
    doubted_at = result.doubted_at,
    api_version = result.api_version,
    denied_by = result.denied_by,
    other_id = result.other_id,
    seen_with = result.seen_with,
    retrieve_options = coalesce(result.retrieve_options, tasks.retrieve_options),
    error_code = iif(charged, result.error_code, tasks.error_code),
    error_message = iif(charged, result.error_message, tasks.error_message),
    error_at = iif(charged, result.error_at, tasks.error_at),
    lease_owner = NULL,
    lease_until = NULL
FROM (
    WITH result (
        id, state, next_attempt_at, settled_at, expires_at, created_at, ended_at, charged, failures, gone, invalid,
        unfinished_at, doubted_at, api_version, denied_by, other_id, seen_with, retrieve_options, error_code,
        error_message, error_at
    ) AS (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) SELECT * FROM result
) AS result
WHERE tasks.id = result.id

-- name: insert_attempt
INSERT INTO attempts (task, at, endpoint, http_status, outcome, code, message, trace_id, bytes, duration_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_video
INSERT INTO videos (task, model_name, duration, input_filename, input_url, video_clip_length,
                    created_at, updated_at, harvested_at, segment_count, vectors_crc32, document, layouts,
                    input_type, start_offset_sec, end_offset_sec, embedding_dimension, is_truncated, truncation_reason,
                    model_source, content_blake2b, content_form, is_checked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: listed_for
-- The entries of the list about some tasks.
SELECT task, model_name, duration, input_filename, input_url, input_type FROM listed
WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: harvested_before
-- Those of the tasks that have a stored video.
SELECT task FROM videos WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: insert_embedding
INSERT INTO embeddings (task, position, dim, dtype, vector) VALUES (?, ?, ?, ?, ?)

-- name: insert_scope
INSERT INTO video_scopes (task, position, video_embedding_scope) VALUES (?, ?, ?)

-- name: insert_option
INSERT INTO video_options (task, position, embedding_option) VALUES (?, ?, ?)

-- name: insert_tokens
INSERT INTO video_tokens (task, medium, tokens) VALUES (?, ?, ?)

-- name: insert_segment
INSERT INTO segments (task, position, embedding_option, embedding_scope, start_offset_sec, end_offset_sec, layout, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_placed_segment
-- A segment of a result that has pages, quadrants or chunks.
INSERT INTO segments (task, position, embedding_option, embedding_scope, start_offset_sec, end_offset_sec, layout, extra,
                      start_page, end_page, chunk_index, quadrant)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_embeddings
-- Many rows in one statement, because each statement releases and takes the interpreter's lock. The positions are a JSON
-- list; the key of each is its row in the bytes.
INSERT INTO embeddings (task, position, dim, dtype, vector)
SELECT :task, value, :dim, :dtype, substr(:vectors, key * :bytes + 1, :bytes) FROM json_each(:positions)

-- name: insert_uncertainty
INSERT INTO uncertainties (task, position, dim, dtype, vector) VALUES (?, ?, ?, ?, ?)

-- name: insert_uncertainties
INSERT INTO uncertainties (task, position, dim, dtype, vector)
SELECT :task, value, :dim, :dtype, substr(:vectors, key * :bytes + 1, :bytes) FROM json_each(:positions)

-- name: store_payload
INSERT OR REPLACE INTO payloads (task, received_at, body, is_cut, encoding)
VALUES (:task, :received_at, :body, :is_cut, :encoding)

-- name: find_payload
SELECT received_at, body, is_cut, encoding FROM payloads WHERE task = :task

-- name: payload_of
SELECT received_at, length(body) AS bytes, is_cut FROM payloads WHERE task = :task

-- name: dead_letters
SELECT tasks.id, tasks.task_id, tasks.state, payloads.is_cut
FROM payloads CROSS JOIN tasks ON tasks.id = payloads.task
WHERE tasks.state IN ('failed', 'expired', 'missing', 'rejected')
ORDER BY tasks.id

-- name: prune_attempts
-- Check only the first ids: they grow with time, and the few that a wrong clock has dated later hide few others.
DELETE FROM attempts WHERE id IN (
    SELECT id FROM (SELECT id, at FROM attempts WHERE id > 0 ORDER BY id LIMIT :limit) WHERE at < :before
)

-- name: count_old_attempts
SELECT count(*) FROM attempts WHERE at < :before

-- name: count_unneeded_payloads
SELECT count(*), coalesce(sum(length(payloads.body)), 0)
FROM payloads CROSS JOIN tasks ON tasks.id = payloads.task WHERE tasks.state = 'harvested'

-- name: drop_unneeded_payloads
-- A result is stored: its task needs no body of an answer that was rejected before.
DELETE FROM payloads WHERE task IN (
    SELECT payloads.task FROM payloads CROSS JOIN tasks ON tasks.id = payloads.task
    WHERE tasks.state = 'harvested' LIMIT :limit
)

-- name: count_by_state
SELECT state, count(*) FROM {tasks} GROUP BY state

-- name: next_due
-- When the next waiting or claimed task of a state falls due; 0 if one is due now.
SELECT min(next_attempt_at) FROM tasks WHERE state = :state

-- name: next_due_selected
-- Search the first tasks of the index for selected ones; only if there are none, and more tasks, read the selection.
SELECT coalesce(
    (
        SELECT turn.next_attempt_at FROM (
            SELECT id, next_attempt_at FROM tasks INDEXED BY tasks_by_turn WHERE state = :state
            ORDER BY next_attempt_at LIMIT (SELECT count(*) FROM temp.selected)
        ) AS turn CROSS JOIN temp.selected ON selected.task = turn.id LIMIT 1
    ),
    CASE WHEN EXISTS (
        SELECT 1 FROM tasks INDEXED BY tasks_by_turn WHERE state = :state
        LIMIT 1 OFFSET (SELECT count(*) FROM temp.selected)
    ) THEN (
        SELECT min(tasks.next_attempt_at) FROM temp.selected CROSS JOIN tasks ON tasks.id = selected.task
        WHERE tasks.state = :state
    ) END
)

-- name: nearest_deadline
-- Without the index named, SQLite would sort all open tasks.
SELECT task_id, expires_at FROM {tasks INDEXED BY tasks_by_deadline}
WHERE state IN ('pending', 'ready') AND expires_at > 0
ORDER BY expires_at LIMIT 1

-- name: count_expiring
-- Reads only open tasks, however long the table is.
SELECT count(*) FROM tasks INDEXED BY tasks_by_deadline
WHERE state IN ('pending', 'ready') AND expires_at > 0 AND expires_at < :before

-- name: deadlines_ahead
-- How many open tasks have their deadline when, in slices that begin with a deadline and are as long as a 128th of the
-- time left until then. The index finds and counts each slice; GROUP BY would sort all open tasks.
WITH RECURSIVE slices (at) AS (
    SELECT min(expires_at) FROM tasks INDEXED BY tasks_by_deadline
    WHERE state IN ('pending', 'ready') AND expires_at > :now
    UNION ALL
    SELECT (
        SELECT expires_at FROM tasks INDEXED BY tasks_by_deadline
        WHERE state IN ('pending', 'ready') AND expires_at >= slices.at + max(1000, (slices.at - :now) / 128)
        ORDER BY expires_at LIMIT 1
    )
    FROM slices WHERE slices.at IS NOT NULL
)
SELECT slices.at, (
    SELECT count(*) FROM tasks INDEXED BY tasks_by_deadline
    WHERE state IN ('pending', 'ready') AND expires_at >= slices.at
      AND expires_at < slices.at + max(1000, (slices.at - :now) / 128)
)
FROM slices WHERE slices.at IS NOT NULL

-- name: deadlines_selected
SELECT tasks.expires_at, count(*) FROM temp.selected CROSS JOIN tasks ON tasks.id = selected.task
WHERE tasks.state IN ('pending', 'ready') AND tasks.expires_at > 0
GROUP BY tasks.expires_at ORDER BY tasks.expires_at

-- name: task_states
SELECT task_id, state FROM {tasks} WHERE ended_at IS NULL OR ended_at >= :since

-- name: ends_by_reason
-- Beside a single min(), SQLite takes a bare column from the row of the minimum: the message is the example's own.
SELECT state, coalesce(error_code, ''), count(*), min(task_id), error_message FROM {tasks}
WHERE state IN ('failed', 'expired', 'missing', 'rejected') AND ended_at >= :since
GROUP BY state, coalesce(error_code, '')
ORDER BY count(*) DESC, state, coalesce(error_code, '')

-- name: troubled
-- Open tasks whose last answer was an error; beside a single max(), the bare columns are those of the latest.
SELECT count(*), task_id, coalesce(error_message, error_code), max(error_at) FROM {tasks INDEXED BY tasks_by_error}
WHERE error_at >= :since AND state IN ('pending', 'ready')

-- name: oldest_open
SELECT task_id, added_at FROM tasks INDEXED BY tasks_by_arrival
WHERE state IN ('pending', 'ready') ORDER BY added_at LIMIT 1

-- name: last_errors
SELECT task_id, state, error_code, error_message, error_at FROM tasks
WHERE error_at IS NOT NULL ORDER BY error_at DESC LIMIT :limit

-- name: stored_totals
SELECT count(*), coalesce(sum(segment_count), 0), coalesce(sum(duration), 0) FROM videos

-- name: count_incomplete
-- How many results lack something, and the task of the first.
SELECT incomplete.count, tasks.task_id
FROM (
    SELECT count(*) AS count, min(task) AS first FROM videos INDEXED BY videos_with_faults
    WHERE (is_truncated = 1 OR warnings IS NOT NULL) AND warnings IS NOT NULL
) AS incomplete LEFT JOIN tasks ON tasks.id = incomplete.first

-- name: incomplete_results
SELECT tasks.task_id, videos.warnings
FROM videos INDEXED BY videos_with_faults CROSS JOIN tasks ON tasks.id = videos.task
WHERE (is_truncated = 1 OR warnings IS NOT NULL) AND warnings IS NOT NULL ORDER BY videos.task

-- name: set_warnings
UPDATE videos SET warnings = :warnings WHERE task = :task AND harvested_at = :now

-- name: count_truncated
SELECT count(*) FROM videos INDEXED BY videos_with_faults
WHERE (is_truncated = 1 OR warnings IS NOT NULL) AND is_truncated = 1

-- name: retry_state
UPDATE tasks
SET state = 'pending', next_attempt_at = 0, ended_at = NULL, failures = 0, gone = 0, invalid = 0, unfinished_at = NULL,
    doubted_at = NULL, denied_by = NULL, other_id = NULL, retrieve_options = coalesce(:options, retrieve_options)
WHERE state = :state

-- name: retry_task
UPDATE tasks
SET state = 'pending', next_attempt_at = 0, ended_at = NULL, failures = 0, gone = 0, invalid = 0, unfinished_at = NULL,
    doubted_at = NULL, denied_by = NULL, other_id = NULL, retrieve_options = coalesce(:options, retrieve_options)
WHERE task_id = :task_id AND state IN ('failed', 'expired', 'missing', 'rejected')

-- name: find_task
SELECT id, task_id, state, added_at, created_at, expires_at, ended_at, next_attempt_at, attempts, failures,
       error_code, error_message, error_at, lease_owner, lease_until, claim, api_version, retrieve_options, source
FROM tasks WHERE task_id = :task_id

-- name: find_video
SELECT model_name, duration, input_filename, input_url, video_clip_length, created_at, updated_at, harvested_at,
       segment_count, vectors_crc32, document, layouts, content_blake2b, input_type, start_offset_sec, end_offset_sec,
       embedding_dimension, is_truncated, truncation_reason, model_source, model_asked_at, warnings, content_form
FROM videos WHERE task = :task

-- name: video_scopes
SELECT video_embedding_scope FROM video_scopes WHERE task = :task ORDER BY position

-- name: segment_groups
-- In the reading order of their first segments: the API returns segments in any order.
SELECT segments.embedding_option, segments.embedding_scope, count(*), min(segments.start_offset_sec),
       max(segments.end_offset_sec), min(embeddings.dim), min(embeddings.dtype), min(segments.start_page),
       max(segments.end_page), min(segments.chunk_index), max(segments.chunk_index), count(uncertainties.position)
FROM segments JOIN embeddings ON embeddings.task = segments.task AND embeddings.position = segments.position
LEFT JOIN uncertainties ON uncertainties.task = segments.task AND uncertainties.position = segments.position
WHERE segments.task = :task
GROUP BY segments.embedding_option, segments.embedding_scope
ORDER BY min(segments.chunk_index), min(segments.start_page), min(segments.start_offset_sec), min(segments.position)

-- name: segments_of
SELECT segments.embedding_option, segments.embedding_scope, segments.start_offset_sec, segments.end_offset_sec,
       segments.layout, segments.extra, segments.start_page, segments.end_page, segments.quadrant, segments.chunk_index,
       embeddings.dtype, embeddings.vector, uncertainties.dtype, uncertainties.vector
FROM segments JOIN embeddings ON embeddings.task = segments.task AND embeddings.position = segments.position
LEFT JOIN uncertainties ON uncertainties.task = segments.task AND uncertainties.position = segments.position
WHERE segments.task = :task ORDER BY segments.position

-- name: attempts_of
SELECT at AS at_ms, endpoint, http_status, outcome, code, message, trace_id, bytes, duration_ms FROM attempts
WHERE task = :task ORDER BY at, id

-- name: harvested_without_video
SELECT task_id FROM tasks WHERE state = 'harvested' AND id NOT IN (SELECT task FROM videos)

-- name: video_without_harvest
SELECT tasks.task_id, tasks.state FROM videos JOIN tasks ON tasks.id = videos.task WHERE tasks.state <> 'harvested'

-- name: miscounted_segments
-- Segments and vectors must be as many as were received, at positions 0, 1, 2, …
SELECT tasks.task_id, videos.segment_count,
       (SELECT count(*) FROM segments WHERE segments.task = videos.task) AS segments,
       (SELECT count(*) FROM embeddings WHERE embeddings.task = videos.task) AS vectors,
       (SELECT coalesce(max(position) + 1, 0) FROM segments WHERE segments.task = videos.task) AS positions
FROM videos JOIN tasks ON tasks.id = videos.task
WHERE segments <> segment_count OR vectors <> segment_count OR positions <> segment_count OR segment_count = 0

-- name: rows_without_task
-- The row ids of tasks that were deleted while rows refer to them, directly or through a video.
SELECT task FROM (
    SELECT task FROM videos UNION SELECT task FROM segments UNION SELECT task FROM embeddings
    UNION SELECT task FROM uncertainties UNION SELECT task FROM video_scopes UNION SELECT task FROM video_options
    UNION SELECT task FROM video_tokens UNION SELECT task FROM attempts UNION SELECT task FROM payloads
    UNION SELECT task FROM listed UNION SELECT task FROM labels UNION SELECT task FROM expedited
) WHERE task NOT IN (SELECT id FROM tasks) ORDER BY task

-- name: rows_without_video
-- The tasks that need no result and have the rest of one: it would be in the way of the next.
SELECT id, task_id FROM tasks
WHERE state <> 'harvested' AND id NOT IN (SELECT task FROM videos) AND id IN (
    SELECT task FROM segments UNION SELECT task FROM embeddings UNION SELECT task FROM uncertainties
    UNION SELECT task FROM video_scopes UNION SELECT task FROM video_options UNION SELECT task FROM video_tokens
) ORDER BY id

-- name: has_task
SELECT 1 FROM tasks WHERE id = :task

-- name: stored_or_forgotten
-- Whether a result that nothing refers to is needed no more: that of a task that has one, or that was forgotten. No row
-- if the id is unknown.
SELECT EXISTS (SELECT 1 FROM videos WHERE videos.task = tasks.id) FROM tasks WHERE task_id = :task_id
UNION ALL SELECT 1 FROM forgotten WHERE task_id = :task_id LIMIT 1

-- name: restore_task
INSERT INTO tasks (id, task_id, state, added_at, created_at, expires_at, ended_at, source)
VALUES (:id, :task_id, 'harvested', :harvested_at, :created_at, :expires_at, :harvested_at, :source)

-- name: find_damaged
SELECT id, task_id, claim, coalesce(expires_at, 0), source FROM tasks WHERE task_id = :task_id

-- name: put_back_damaged
-- The fencing number grows: a process that works on the task, or has claimed it since it was read, loses it.
UPDATE tasks
SET state = 'pending', next_attempt_at = 0, ended_at = NULL, failures = 0, gone = 0, invalid = 0, unfinished_at = NULL,
    doubted_at = NULL, denied_by = NULL, other_id = NULL,
    claim = claim + 1, lease_owner = NULL, lease_until = NULL,
    error_code = :code, error_message = :message, error_at = :now
WHERE id = :id AND claim = :claim

-- name: forget_uncertainties
DELETE FROM uncertainties WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_options
DELETE FROM video_options WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_tokens
DELETE FROM video_tokens WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_embeddings
DELETE FROM embeddings WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_segments
DELETE FROM segments WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_scopes
DELETE FROM video_scopes WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_video
DELETE FROM videos WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_attempts
DELETE FROM attempts WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_payload
DELETE FROM payloads WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_expedited
DELETE FROM expedited WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_listed
DELETE FROM listed WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: forget_labels
DELETE FROM labels WHERE task IN (SELECT value FROM json_each(:tasks))

-- name: bury
-- The tombstones of tasks that are about to be removed.
INSERT INTO forgotten (task_id, forgotten_at)
SELECT task_id, :now FROM tasks WHERE id IN (SELECT value FROM json_each(:tasks))
ON CONFLICT (task_id) DO UPDATE SET forgotten_at = excluded.forgotten_at

-- name: forget_task
DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(:tasks))

-- name: find_forgettable
-- Those of some tasks that meet a filter: whether a process works on each, and how many segments it has.
SELECT tasks.id, tasks.task_id, tasks.lease_owner IS NOT NULL AND tasks.lease_until > :now,
       coalesce(videos.segment_count, 0)
FROM json_each(:task_ids) AS named CROSS JOIN tasks ON tasks.task_id = named.value
LEFT JOIN videos ON videos.task = tasks.id LEFT JOIN listed ON listed.task = tasks.id
WHERE {matches}
ORDER BY named.key

-- name: count_matching
SELECT count(*), coalesce(sum(videos.segment_count), 0),
       coalesce(sum(tasks.state IN ('pending', 'ready')), 0)
FROM tasks LEFT JOIN videos ON videos.task = tasks.id LEFT JOIN listed ON listed.task = tasks.id
WHERE {matches}

-- name: forgotten_among
SELECT task_id FROM forgotten WHERE task_id IN (SELECT value FROM json_each(:task_ids))

-- name: wrong_lengths
SELECT tasks.task_id, embeddings.position, embeddings.dim, embeddings.dtype, length(embeddings.vector)
FROM embeddings JOIN tasks ON tasks.id = embeddings.task
WHERE length(embeddings.vector) <> embeddings.dim * (CASE embeddings.dtype WHEN 'f4' THEN 4 ELSE 8 END)

-- name: wrong_uncertainties
SELECT tasks.task_id, uncertainties.position
FROM uncertainties JOIN tasks ON tasks.id = uncertainties.task
LEFT JOIN embeddings ON embeddings.task = uncertainties.task AND embeddings.position = uncertainties.position
WHERE uncertainties.dim IS NOT embeddings.dim
   OR length(uncertainties.vector) <> uncertainties.dim * (CASE uncertainties.dtype WHEN 'f4' THEN 4 ELSE 8 END)

-- name: mixed_dimensions
SELECT tasks.task_id, min(embeddings.dim), max(embeddings.dim)
FROM embeddings JOIN tasks ON tasks.id = embeddings.task
GROUP BY embeddings.task HAVING min(embeddings.dim) <> max(embeddings.dim)

-- name: stored_videos
SELECT videos.task, tasks.task_id FROM videos JOIN tasks ON tasks.id = videos.task ORDER BY videos.task

-- name: vectors_of
SELECT position, dim, dtype, vector FROM embeddings WHERE task = :task ORDER BY position

-- name: content_embeddings
SELECT position, dim, dtype FROM embeddings WHERE task = :task ORDER BY position

-- name: content_scopes
SELECT position, video_embedding_scope FROM video_scopes WHERE task = :task ORDER BY position

-- name: uncertainties_of
SELECT position, dim, dtype, vector FROM uncertainties WHERE task = :task ORDER BY position

-- name: content_options
SELECT position, embedding_option FROM video_options WHERE task = :task ORDER BY position

-- name: content_tokens
SELECT medium, tokens FROM video_tokens WHERE task = :task ORDER BY medium

-- name: content_segments
SELECT position, embedding_option, embedding_scope, start_offset_sec, end_offset_sec, layout, extra,
       start_page, end_page, chunk_index, quadrant
FROM segments WHERE task = :task ORDER BY position

-- name: of_older_version
-- The options are those that the stored result was asked for, see find_with_result.
SELECT videos.task, tasks.task_id, videos.segment_count, videos.content_form,
       iif(tasks.state IN ('pending', 'ready') AND tasks.retrieve_options IS NOT NULL,
           (SELECT json_group_array(DISTINCT embedding_option) FROM segments
            WHERE segments.task = tasks.id AND embedding_option IS NOT NULL),
           tasks.retrieve_options)
FROM videos INDEXED BY videos_of_older_version CROSS JOIN tasks ON tasks.id = videos.task
WHERE (videos.content_form < 2 OR videos.is_checked = 0) AND videos.task > :after ORDER BY videos.task LIMIT :limit

-- name: count_of_older_version
-- How many results lack columns, and how many have all columns but were never checked for what they lack.
SELECT count(*) FILTER (WHERE content_form < 2), count(*) FILTER (WHERE content_form >= 2)
FROM videos INDEXED BY videos_of_older_version WHERE content_form < 2 OR is_checked = 0

-- name: set_checked
UPDATE videos SET warnings = :warnings, is_checked = 1 WHERE task = :task

-- name: count_without_model
SELECT count(*) FROM videos INDEXED BY videos_without_model WHERE model_name IS NULL

-- name: fill_in_video
UPDATE videos
SET model_name = :model_name, duration = :duration, input_filename = :input_filename, input_url = :input_url,
    video_clip_length = :video_clip_length, created_at = :created_at, updated_at = :updated_at,
    input_type = :input_type, start_offset_sec = :start_offset_sec,
    end_offset_sec = :end_offset_sec, embedding_dimension = :embedding_dimension, is_truncated = :is_truncated,
    truncation_reason = :truncation_reason, model_source = :model_source,
    content_blake2b = :content_blake2b, content_form = :content_form
WHERE task = :task

-- name: fill_in_segment
UPDATE segments SET extra = :extra, start_page = :start_page, end_page = :end_page, quadrant = :quadrant,
                    chunk_index = :chunk_index
WHERE task = :task AND position = :position

-- name: budget_arrival
SELECT arrival FROM budget

-- name: set_budget_arrival
INSERT INTO budget (id, arrival) VALUES (1, :arrival) ON CONFLICT (id) DO UPDATE SET arrival = excluded.arrival

-- name: current_pause
SELECT since, until FROM pause WHERE until IS NULL OR until > :now

-- name: begin_pause
INSERT INTO pause (id, since, until) VALUES (1, :now, :until)
ON CONFLICT (id) DO UPDATE
SET since = iif(pause.until IS NULL OR pause.until > :now, pause.since, excluded.since), until = excluded.until
RETURNING since, until

-- name: end_pause
DELETE FROM pause

-- name: blocks_ahead
SELECT endpoint, blocked_until FROM blocks
WHERE blocked_until > :now AND blocked_until <= :latest AND coalesce(noted_at, 0) <= :latest_note

-- name: note_block
INSERT INTO blocks (endpoint, blocked_until, noted_at) VALUES (:endpoint, :blocked_until, :now)
ON CONFLICT (endpoint) DO UPDATE SET
    blocked_until = max(blocked_until, excluded.blocked_until), noted_at = excluded.noted_at

-- name: forget_blocks
DELETE FROM blocks WHERE blocked_until <= :now OR blocked_until > :latest OR coalesce(noted_at, 0) > :latest_note

-- name: processing_times
SELECT model_name, minutes, age_class, finished, watched_s FROM processing_times

-- name: set_processing_time
INSERT OR REPLACE INTO processing_times (model_name, minutes, age_class, finished, watched_s) VALUES (?, ?, ?, ?, ?)

-- name: learned_limits
-- The window is returned only if it is open and its times do not come from a clock that was ahead.
SELECT endpoint, rate_per_minute, rate_at, quota_limit, quota_window_s, quota_at, arrival,
       CASE WHEN window_at <= :now AND window_ends > :now AND window_ends <= :latest THEN window_remaining END,
       window_ends, window_at
FROM learned_limits

-- name: note_rate
INSERT INTO learned_limits (endpoint, rate_per_minute, rate_at) VALUES (:endpoint, :per_minute, :at)
ON CONFLICT (endpoint) DO UPDATE SET rate_per_minute = excluded.rate_per_minute, rate_at = excluded.rate_at

-- name: note_quota
INSERT INTO learned_limits (endpoint, quota_limit, quota_window_s, quota_at) VALUES (:endpoint, :limit, :window_s, :at)
ON CONFLICT (endpoint) DO UPDATE SET
    quota_limit = excluded.quota_limit, quota_window_s = excluded.quota_window_s, quota_at = excluded.quota_at

-- name: note_window
-- The latest answer counts, whichever process received it.
INSERT INTO learned_limits (endpoint, window_remaining, window_ends, window_at) VALUES (:endpoint, :remaining, :ends, :at)
ON CONFLICT (endpoint) DO UPDATE SET
    window_remaining = excluded.window_remaining, window_ends = excluded.window_ends, window_at = excluded.window_at
WHERE window_at IS NULL OR window_at <= excluded.window_at OR window_at > :now

-- name: endpoint_arrival
SELECT arrival FROM learned_limits WHERE endpoint = :endpoint

-- name: set_endpoint_arrival
INSERT INTO learned_limits (endpoint, arrival) VALUES (:endpoint, :arrival)
ON CONFLICT (endpoint) DO UPDATE SET arrival = excluded.arrival

-- name: vector_spaces
-- All vectors of a result have one length.
WITH {superseded}
SELECT model_name, dim, sum(vectors) FROM (
    SELECT videos.model_name, embeddings.dim,
           iif(:options IS NULL AND :scopes IS NULL, videos.segment_count,
               (SELECT count(*) FROM segments WHERE segments.task = videos.task AND {wanted_segment})) AS vectors
    FROM {tasks} CROSS JOIN videos ON videos.task = tasks.id
    CROSS JOIN embeddings ON embeddings.task = videos.task AND embeddings.position = 0
    WHERE {wanted_task}
) GROUP BY model_name, dim HAVING sum(vectors) > 0 ORDER BY 3 DESC, 1, 2

-- name: likely_space
-- The models of the wanted tasks: the number of vectors, and the length of those of one task.
WITH {superseded}
SELECT model_name, (SELECT dim FROM embeddings WHERE embeddings.task = one LIMIT 1), vectors FROM (
    SELECT videos.model_name, min(videos.task) AS one, sum(videos.segment_count) AS vectors
    FROM {tasks} JOIN videos ON videos.task = tasks.id
    WHERE {wanted_task} AND videos.segment_count > 0 GROUP BY 1
)

-- name: tasks_with_vectors
WITH {superseded}
SELECT videos.task, {result_task}
FROM {tasks} JOIN videos ON videos.task = tasks.id
WHERE {wanted_task} AND EXISTS (SELECT 1 FROM segments WHERE segments.task = videos.task AND {wanted_segment})
ORDER BY videos.harvested_at, videos.task

-- name: tasks_of_model
WITH {superseded}
SELECT videos.task, {result_task}
FROM {tasks} JOIN videos ON videos.task = tasks.id
WHERE videos.model_name IS :model AND {wanted_task}
ORDER BY videos.harvested_at, videos.task

-- name: result_labels
SELECT one.key, labels.key, labels.value
FROM json_each(:tasks) AS one CROSS JOIN labels ON labels.task = one.value

-- name: result_vectors
-- CROSS JOIN keeps the order of the tasks, and that of the positions in the table of segments.
SELECT one.key, segments.position, segments.embedding_option, segments.embedding_scope,
       segments.start_offset_sec, segments.end_offset_sec, segments.start_page, segments.end_page, segments.quadrant,
       segments.chunk_index, embeddings.vector
FROM json_each(:tasks) AS one CROSS JOIN segments ON segments.task = one.value
CROSS JOIN embeddings ON embeddings.task = segments.task AND embeddings.position = segments.position
WHERE embeddings.dim = :dim AND {wanted_segment}

-- name: result_segments
SELECT one.key, segments.position, segments.embedding_option, segments.embedding_scope,
       segments.start_offset_sec, segments.end_offset_sec, segments.start_page, segments.end_page, segments.quadrant,
       segments.chunk_index
FROM json_each(:tasks) AS one CROSS JOIN segments ON segments.task = one.value
WHERE {wanted_segment}

-- name: result_videos
WITH {superseded}
SELECT tasks.task_id, videos.input_filename, videos.input_url, videos.input_type, videos.model_name, videos.duration,
       videos.video_clip_length, coalesce(videos.created_at, tasks.created_at), videos.harvested_at,
       videos.segment_count,
       (SELECT json_group_object(embedding_option, count) FROM (
            SELECT embedding_option, count(*) AS count FROM segments
            WHERE segments.task = videos.task AND embedding_option IS NOT NULL GROUP BY 1
        )),
       (SELECT json_group_object(key, value) FROM labels WHERE labels.task = tasks.id),
       videos.task IN (SELECT task FROM superseded)
FROM {tasks} JOIN videos ON videos.task = tasks.id
WHERE {wanted_task}
  AND (:options IS NULL AND :scopes IS NULL
       OR EXISTS (SELECT 1 FROM segments WHERE segments.task = videos.task AND {wanted_segment}))
ORDER BY videos.harvested_at, videos.task

-- name: known_models
SELECT DISTINCT model_name FROM videos WHERE model_name IS NOT NULL ORDER BY 1

-- name: known_input_types
SELECT DISTINCT input_type FROM videos WHERE input_type IS NOT NULL ORDER BY 1

-- name: known_options
SELECT DISTINCT embedding_option FROM segments WHERE embedding_option IS NOT NULL ORDER BY 1

-- name: known_scopes
SELECT DISTINCT embedding_scope FROM segments WHERE embedding_scope IS NOT NULL ORDER BY 1
