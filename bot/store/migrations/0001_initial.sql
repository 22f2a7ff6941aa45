-- The first schema: jobs and what was posted for them, the ledger of images, what moderators
-- decided, and the audit. Moments are ISO 8601 UTC text with microseconds, 32 characters, so they
-- sort as text. Ids of Discord are snowflakes, which fit SQLite's signed 64-bit integers.

-- One row for one accepted request. `request` and `snapshot` together are the Job; the columns
-- beside them are what the engine asks for. `interaction_id` makes one press one job.
-- `author_roles` are the roles the author had when it was accepted: a JSON array of ids.
CREATE TABLE jobs (
    id               TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 32),
    interaction_id   INTEGER UNIQUE,
    application_id   INTEGER,
    token            TEXT,
    token_expires_at TEXT CHECK (length(token_expires_at) = 32),
    author_id        INTEGER NOT NULL,
    guild_id         INTEGER NOT NULL,
    channel_id       INTEGER NOT NULL,
    author_roles     TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(author_roles)),
    state            TEXT NOT NULL CHECK (state IN (
        'queued', 'submitting', 'pending', 'running', 'collecting', 'delivering',
        'finished', 'failed', 'cancelled'
    )),
    images           INTEGER NOT NULL CHECK (images > 0),
    steps            INTEGER NOT NULL CHECK (steps > 0),
    pixels           INTEGER NOT NULL CHECK (pixels > 0),
    created_at       TEXT NOT NULL CHECK (length(created_at) = 32),
    updated_at       TEXT NOT NULL CHECK (length(updated_at) = 32),
    dispatched_at    TEXT CHECK (length(dispatched_at) = 32),
    started_at       TEXT CHECK (length(started_at) = 32),
    run_over_at      TEXT CHECK (length(run_over_at) = 32),
    ended_at         TEXT CHECK (length(ended_at) = 32),
    erased_at        TEXT CHECK (length(erased_at) = 32),
    request          TEXT NOT NULL CHECK (json_valid(request)),
    snapshot         TEXT NOT NULL CHECK (json_valid(snapshot)),
    mac_key          BLOB NOT NULL CHECK (length(mac_key) >= 16),
    price_credits    TEXT,
    cost_credits     TEXT,
    CHECK ((interaction_id IS NULL) = (application_id IS NULL))
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, created_at, id);
CREATE INDEX jobs_by_author_state ON jobs (author_id, state);
CREATE INDEX jobs_by_author ON jobs (author_id, id);
CREATE INDEX jobs_by_author_turn ON jobs (author_id, dispatched_at)
    WHERE dispatched_at IS NOT NULL;
CREATE INDEX jobs_by_channel ON jobs (channel_id, state);
CREATE INDEX jobs_by_guild ON jobs (guild_id, created_at);
CREATE INDEX jobs_unsettled ON jobs (created_at, id)
    WHERE price_credits IS NOT NULL AND cost_credits IS NULL;
CREATE INDEX jobs_finished ON jobs (ended_at) WHERE state = 'finished';

-- The messages that belong to a job, so that they can be edited and their buttons answered.
CREATE TABLE messages (
    job_id     TEXT NOT NULL REFERENCES jobs (id),
    kind       TEXT NOT NULL CHECK (kind IN ('card', 'result', 'thread', 'notice')),
    channel_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    posted_at  TEXT NOT NULL CHECK (length(posted_at) = 32),
    PRIMARY KEY (job_id, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_id ON messages (message_id);

-- The intent before each posting. `done_at IS NULL` means: perhaps posted, look before trying again.
CREATE TABLE deliveries (
    id           INTEGER PRIMARY KEY,
    job_id       TEXT NOT NULL REFERENCES jobs (id),
    rung         TEXT NOT NULL,
    nonce        TEXT NOT NULL,
    attempted_at TEXT NOT NULL CHECK (length(attempted_at) = 32),
    done_at      TEXT CHECK (length(done_at) = 32),
    delivered    INTEGER CHECK (delivered IN (0, 1)),
    detail       TEXT NOT NULL DEFAULT '',
    UNIQUE (job_id, rung, nonce),
    CHECK ((done_at IS NULL) = (delivered IS NULL))
) STRICT;

-- Every movement of images, never changed afterwards. A job is reserved once and then either
-- settled or refunded once: the two unique indexes say so.
CREATE TABLE ledger (
    id         INTEGER PRIMARY KEY,
    at         TEXT NOT NULL CHECK (length(at) = 32),
    guild_id   INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    job_id     TEXT REFERENCES jobs (id),
    kind       TEXT NOT NULL CHECK (kind IN ('reserve', 'settle', 'refund', 'grant', 'reset')),
    images     INTEGER NOT NULL CHECK (images >= 0),
    expires_at TEXT CHECK (length(expires_at) = 32),
    actor_id   INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    CHECK ((job_id IS NULL) = (kind IN ('grant', 'reset'))),
    CHECK (expires_at IS NULL OR kind = 'grant')
) STRICT;

CREATE UNIQUE INDEX ledger_opening ON ledger (job_id) WHERE kind = 'reserve';
CREATE UNIQUE INDEX ledger_closing ON ledger (job_id) WHERE kind IN ('settle', 'refund');
CREATE INDEX ledger_by_user ON ledger (guild_id, user_id, kind, at);

CREATE TRIGGER ledger_keeps_entries BEFORE UPDATE ON ledger
BEGIN
    SELECT raise(ABORT, 'the ledger is append-only');
END;

CREATE TRIGGER ledger_loses_nothing BEFORE DELETE ON ledger
BEGIN
    SELECT raise(ABORT, 'the ledger is append-only');
END;

-- What moderators set for their server; `value` is JSON.
CREATE TABLE guild_settings (
    guild_id INTEGER NOT NULL,
    key      TEXT NOT NULL,
    value    TEXT NOT NULL CHECK (json_valid(value)),
    PRIMARY KEY (guild_id, key)
) STRICT, WITHOUT ROWID;

-- NULL means: this rule says nothing about it. Images and window go together.
CREATE TABLE quota_rules (
    guild_id       INTEGER NOT NULL,
    scope          TEXT NOT NULL CHECK (scope IN ('server', 'role', 'member')),
    subject_id     INTEGER NOT NULL,
    images         INTEGER CHECK (images >= 0),
    window_seconds REAL CHECK (window_seconds > 0),
    running        INTEGER CHECK (running >= 0),
    waiting        INTEGER CHECK (waiting >= 0),
    PRIMARY KEY (guild_id, scope, subject_id)
) STRICT, WITHOUT ROWID;

-- `channel_id` NULL: everywhere on the server. Ids are never used twice: the audit names them.
CREATE TABLE word_rules (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    guild_id   INTEGER NOT NULL,
    channel_id INTEGER,
    pattern    TEXT NOT NULL CHECK (length(pattern) > 0),
    whole_word INTEGER NOT NULL CHECK (whole_word IN (0, 1))
) STRICT;

CREATE INDEX word_rules_by_guild ON word_rules (guild_id);

-- `until` NULL: until somebody lifts it.
CREATE TABLE blocks (
    guild_id INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    until    TEXT CHECK (length(until) = 32),
    reason   TEXT NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;

-- Who did what to whom, never changed afterwards.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY,
    at       TEXT NOT NULL CHECK (length(at) = 32),
    guild_id INTEGER NOT NULL,
    actor_id INTEGER NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    detail   TEXT NOT NULL CHECK (json_valid(detail))
) STRICT;

CREATE INDEX audit_by_guild ON audit (guild_id, id);

CREATE TRIGGER audit_keeps_entries BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_loses_nothing BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit is append-only');
END;
