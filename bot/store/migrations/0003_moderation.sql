-- What moderators decide beside quotas: channels, word rules with an effect, what waits for them,
-- reports, and the messages of the log channel.

-- `refuse` tells the member at once, `hold` asks the moderators first. `adult`: the rule holds only
-- where a channel is not age-restricted.
ALTER TABLE word_rules ADD COLUMN effect TEXT NOT NULL DEFAULT 'refuse'
    CHECK (effect IN ('refuse', 'hold'));
ALTER TABLE word_rules ADD COLUMN adult INTEGER NOT NULL DEFAULT 0 CHECK (adult IN (0, 1));

-- Where requests are allowed, and their limits there; `allowed` NULL: limits only. `channel_id` may
-- be a category or a thread. NULL in a limit means: none of its own.
CREATE TABLE channel_rules (
    guild_id        INTEGER NOT NULL,
    channel_id      INTEGER NOT NULL,
    allowed         INTEGER CHECK (allowed IN (0, 1)),
    running         INTEGER CHECK (running > 0),
    seconds_between REAL CHECK (seconds_between > 0),
    max_rows        INTEGER CHECK (max_rows > 0),
    max_samples     INTEGER CHECK (max_samples > 0),
    PRIMARY KEY (guild_id, channel_id)
) STRICT, WITHOUT ROWID;

-- Where a job was requested: its channel may be a thread (`parent_id`) in a category.
ALTER TABLE jobs ADD COLUMN parent_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN category_id INTEGER NOT NULL DEFAULT 0;
-- Whether that channel was age-restricted; the images are checked later, perhaps after a restart.
ALTER TABLE jobs ADD COLUMN age_restricted INTEGER NOT NULL DEFAULT 0
    CHECK (age_restricted IN (0, 1));

-- A job that waits for a moderator: before it runs (`words`), or before it is posted (`image`).
CREATE TABLE holds (
    job_id     TEXT NOT NULL REFERENCES jobs (id),
    kind       TEXT NOT NULL CHECK (kind IN ('words', 'image')),
    guild_id   INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    held_at    TEXT NOT NULL CHECK (length(held_at) = 32),
    decided_at TEXT CHECK (length(decided_at) = 32),
    decided_by INTEGER,
    approved   INTEGER CHECK (approved IN (0, 1)),
    PRIMARY KEY (job_id, kind),
    CHECK ((decided_at IS NULL) = (approved IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_open ON holds (guild_id) WHERE decided_at IS NULL;

-- Reports of one result are one row; each member who reported it is counted once.
CREATE TABLE reports (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    guild_id   INTEGER NOT NULL,
    job_id     TEXT NOT NULL REFERENCES jobs (id),
    channel_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    opened_at  TEXT NOT NULL CHECK (length(opened_at) = 32),
    evidence   TEXT NOT NULL CHECK (json_valid(evidence)),
    decision   TEXT CHECK (decision IN ('removed', 'refunded', 'blocked', 'dismissed')),
    decided_at TEXT CHECK (length(decided_at) = 32),
    decided_by INTEGER,
    CHECK ((decision IS NULL) = (decided_at IS NULL))
) STRICT;

CREATE UNIQUE INDEX reports_open ON reports (guild_id, job_id) WHERE decision IS NULL;
CREATE INDEX reports_by_guild ON reports (guild_id, id);

CREATE TABLE report_votes (
    report_id   INTEGER NOT NULL REFERENCES reports (id),
    reporter_id INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    at          TEXT NOT NULL CHECK (length(at) = 32),
    PRIMARY KEY (report_id, reporter_id)
) STRICT, WITHOUT ROWID;

-- What is to be posted in the log channel, one message for each. `posted_at IS NULL` after an
-- attempt means: perhaps posted, look for the nonce before trying again. `body` is JSON.
CREATE TABLE log_messages (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    guild_id     INTEGER NOT NULL,
    at           TEXT NOT NULL CHECK (length(at) = 32),
    kind         TEXT NOT NULL CHECK (kind IN ('action', 'report', 'hold')),
    subject      TEXT NOT NULL,
    body         TEXT NOT NULL CHECK (json_valid(body)),
    changed_at   TEXT NOT NULL CHECK (length(changed_at) = 32),
    attempted_at TEXT CHECK (length(attempted_at) = 32),
    posted_at    TEXT CHECK (length(posted_at) = 32),
    channel_id   INTEGER,
    message_id   INTEGER
) STRICT;

CREATE INDEX log_messages_open ON log_messages (guild_id, id)
    WHERE posted_at IS NULL OR changed_at > posted_at;
CREATE INDEX log_messages_by_message ON log_messages (message_id) WHERE message_id IS NOT NULL;

-- A member's star on a result: a favourite, and a vote for the gallery.
CREATE TABLE stars (
    job_id  TEXT NOT NULL REFERENCES jobs (id),
    user_id INTEGER NOT NULL,
    at      TEXT NOT NULL CHECK (length(at) = 32),
    PRIMARY KEY (job_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX stars_by_user ON stars (user_id, at);

-- A result that is to be in its server's gallery channel, or is. `attempted_at` without `message_id`
-- means: perhaps posted, look before trying again. `withdrawn_at`: it is to go, or is never to be
-- posted; `removed_at`: so it is. One row for one result, so it is never posted twice.
CREATE TABLE gallery_posts (
    job_id       TEXT PRIMARY KEY REFERENCES jobs (id),
    guild_id     INTEGER NOT NULL,
    wanted_at    TEXT NOT NULL CHECK (length(wanted_at) = 32),
    attempted_at TEXT CHECK (length(attempted_at) = 32),
    posted_at    TEXT CHECK (length(posted_at) = 32),
    channel_id   INTEGER,
    message_id   INTEGER,
    withdrawn_at TEXT CHECK (length(withdrawn_at) = 32),
    removed_at   TEXT CHECK (length(removed_at) = 32),
    CHECK ((posted_at IS NULL) = (message_id IS NULL)),
    CHECK (removed_at IS NULL OR withdrawn_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX gallery_posts_open ON gallery_posts (guild_id)
    WHERE removed_at IS NULL AND (message_id IS NULL OR withdrawn_at IS NOT NULL);
