-- Requests of one text with permutations or --repeat. A row waits for its author to run all of
-- them or none; it is deleted when that is decided or its time is over. `id` is the interaction
-- that asked, `requests` a JSON array.
CREATE TABLE request_sets (
    id         INTEGER PRIMARY KEY,
    author_id  INTEGER NOT NULL,
    expires_at TEXT NOT NULL CHECK (length(expires_at) = 32),
    requests   TEXT NOT NULL CHECK (json_valid(requests))
) STRICT;

CREATE INDEX request_sets_by_author ON request_sets (author_id);
CREATE INDEX request_sets_by_expiry ON request_sets (expires_at);

-- The set that a job was accepted with; such a job answers no interaction of its own.
ALTER TABLE jobs ADD COLUMN set_id INTEGER;

CREATE INDEX jobs_by_set ON jobs (set_id) WHERE set_id IS NOT NULL;
