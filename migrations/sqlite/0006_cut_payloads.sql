-- Whether the body was longer than what is kept of it: such a one can be read, and never be decoded.
ALTER TABLE payloads ADD COLUMN is_cut INTEGER NOT NULL DEFAULT 0 CHECK (is_cut IN (0, 1));

-- The content encoding that the body still has inside the gzip; NULL for none.
ALTER TABLE payloads ADD COLUMN encoding TEXT;

-- Before, bodies that came as gzip were cut at this length without a word.
UPDATE payloads SET is_cut = 1 WHERE length(body) >= 16777216;
