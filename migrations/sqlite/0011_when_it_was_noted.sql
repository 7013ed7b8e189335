-- When next_attempt_at was last set, by the clock of whoever set it, in Unix milliseconds; NULL where that is unknown.
-- A time that lies in the future is that of a clock which was ahead: what it lets sleep sleeps too long. Of a claimed
-- task it is when the lease was taken or renewed, and so tells how long the lease is.
ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER;

-- The same of a block.
ALTER TABLE blocks ADD COLUMN noted_at INTEGER;
