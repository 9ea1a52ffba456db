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
