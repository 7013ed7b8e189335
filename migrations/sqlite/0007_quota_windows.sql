-- What the open window of a quota had left when the API last told of it, and when the window ends: a restart goes on
-- from there. Times are Unix milliseconds.
ALTER TABLE learned_limits ADD COLUMN window_remaining INTEGER;
ALTER TABLE learned_limits ADD COLUMN window_ends INTEGER;
ALTER TABLE learned_limits ADD COLUMN window_at INTEGER;
