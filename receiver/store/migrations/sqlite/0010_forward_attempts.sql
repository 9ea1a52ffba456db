-- What each target answered when an event was posted to it: the newest attempts of an event and
-- target, which go when the event goes.
CREATE TABLE forward_attempts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    event   INTEGER NOT NULL,
    target  TEXT NOT NULL,                   -- its name, or a URL
    handler TEXT NOT NULL,
    job     INTEGER NOT NULL,
    time    INTEGER NOT NULL,
    taken   INTEGER NOT NULL,                -- 1: answered with 2xx
    answer  TEXT NOT NULL                    -- the status in words, or why there was none
);
CREATE INDEX forward_attempts_by_event ON forward_attempts (event, target);
CREATE INDEX forward_attempts_by_time ON forward_attempts (time);

-- When a person made a dead job due again: it has its whole time anew, and what was made when
-- stays as it was.
ALTER TABLE jobs ADD COLUMN revived_at INTEGER;
UPDATE jobs SET revived_at = (SELECT created_at FROM messages WHERE messages.id = jobs.message)
    WHERE kind = 'send' AND message IS NOT NULL
    AND created_at < (SELECT created_at FROM messages WHERE messages.id = jobs.message);

-- Messages by the time at which they were made, for lists of a period.
CREATE INDEX messages_by_creation ON messages (created_at);
