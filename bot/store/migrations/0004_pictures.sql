-- The picture server's links, and which results' pictures were removed.

-- The key that signs links. One row, made once.
CREATE TABLE picture_key (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL CHECK (length(key) >= 32)
) STRICT;

-- Links of an earlier generation have ended. Without a row it is 0.
CREATE TABLE picture_links (
    job_id     TEXT PRIMARY KEY REFERENCES jobs (id),
    generation INTEGER NOT NULL CHECK (generation > 0)
) STRICT, WITHOUT ROWID;

-- Saved before the files are deleted: `done_at IS NULL` means that some may still be there.
CREATE TABLE picture_removals (
    job_id     TEXT PRIMARY KEY REFERENCES jobs (id),
    removed_at TEXT NOT NULL CHECK (length(removed_at) = 32),
    cause      TEXT NOT NULL CHECK (cause IN ('age', 'size', 'removed', 'erased')),
    done_at    TEXT CHECK (length(done_at) = 32)
) STRICT, WITHOUT ROWID;

CREATE INDEX picture_removals_open ON picture_removals (job_id) WHERE done_at IS NULL;
