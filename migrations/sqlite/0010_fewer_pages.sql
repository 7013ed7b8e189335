-- Attempts are pruned in the order in which they were made, which is that of their ids: an index by age costs each
-- commit a page of its own.
DROP INDEX attempts_by_age;
