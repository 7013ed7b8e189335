-- BLAKE2b with 16 bytes over all that is given back of a task; harvester/store/sqlite/content.py has its form. NULL for what an
-- older version stored: `harvester migrate` and the housekeeping of a harvest compute it, after vectors_crc32 was right.
ALTER TABLE videos ADD COLUMN content_blake2b BLOB;

-- Finds those without; empty in the end.
CREATE INDEX videos_without_checksum ON videos (task) WHERE content_blake2b IS NULL;
