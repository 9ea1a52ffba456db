-- Counts by quarter hour, for `receiver report`. Every zone's days begin at a quarter hour. An event
-- counts in the quarter hour in which it came, a message of ours in that in which it was asked for,
-- with its present status. A column that a kind does not have is empty. Purging leaves the counts.
CREATE TABLE rollups (
    source  TEXT NOT NULL,
    kind    TEXT NOT NULL,                  -- received, reports, joined, left; outgoing: our messages
    quarter INTEGER NOT NULL,               -- since 1970, in UTC
    keyword TEXT NOT NULL,
    network TEXT NOT NULL,
    service TEXT NOT NULL,
    status  TEXT NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (source, kind, quarter, keyword, network, service, status)
) WITHOUT ROWID;

-- Up to these rows everything is counted, and nothing above. The rows of an earlier program are
-- counted beside the service.
CREATE TABLE rollup_cursors (
    events   INTEGER NOT NULL,              -- a seq
    messages INTEGER NOT NULL               -- an id
);
INSERT INTO rollup_cursors (events, messages) VALUES (0, 0);

-- Whatever changes a message that is counted moves its count, in the same transaction.
CREATE TRIGGER messages_recounted
AFTER UPDATE OF source, service_id, status, created_at ON messages
WHEN old.id <= (SELECT messages FROM rollup_cursors)
    AND (old.source, old.created_at / 900000000, coalesce(old.service_id, ''), old.status)
     <> (new.source, new.created_at / 900000000, coalesce(new.service_id, ''), new.status)
BEGIN
    UPDATE rollups SET count = count - 1
        WHERE source = old.source AND kind = 'outgoing' AND quarter = old.created_at / 900000000
        AND keyword = '' AND network = '' AND service = coalesce(old.service_id, '')
        AND status = old.status;
    INSERT INTO rollups (source, kind, quarter, keyword, network, service, status, count)
        VALUES (new.source, 'outgoing', new.created_at / 900000000, '', '',
                coalesce(new.service_id, ''), new.status, 1)
        ON CONFLICT (source, kind, quarter, keyword, network, service, status)
        DO UPDATE SET count = rollups.count + 1;
END;
-- A message that goes before it is counted is counted as it goes.
CREATE TRIGGER messages_counted_last BEFORE DELETE ON messages
WHEN old.id > (SELECT messages FROM rollup_cursors)
BEGIN
    INSERT INTO rollups (source, kind, quarter, keyword, network, service, status, count)
        VALUES (old.source, 'outgoing', old.created_at / 900000000, '', '',
                coalesce(old.service_id, ''), old.status, 1)
        ON CONFLICT (source, kind, quarter, keyword, network, service, status)
        DO UPDATE SET count = rollups.count + 1;
END;

-- Who replied to an event: the handler, and after a space its rule; NULL: nobody did, or an earlier
-- version stored the reply. From now on `reply` says how, too: 2 in the answer, 3 by a message, 4 the
-- decision was that there is none. What earlier versions stored has 2 for all three.
ALTER TABLE events ADD COLUMN answered_by TEXT;

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
