-- What we send. A message is made in the transaction that asks for it, with a job of kind
-- send; the job is gone when the provider has answered, or dead.

CREATE TABLE messages (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT NOT NULL,
    event       INTEGER,                     -- that it answers, or that made a handler send it
    handler     TEXT NOT NULL,               -- plugin.function, or operator: who asked for it
    msisdn      TEXT NOT NULL,
    sender      TEXT,
    text        TEXT NOT NULL,
    service_id  TEXT,
    link_id     TEXT,
    even_if_opted_out INTEGER NOT NULL DEFAULT 0,
    encoding    TEXT NOT NULL,               -- GSM-7, UCS-2
    parts       INTEGER NOT NULL,            -- counted by us, then as the provider says
    state       TEXT NOT NULL DEFAULT 'waiting', -- waiting, sending, sent, unknown, dead
    status      TEXT NOT NULL DEFAULT 'queued',  -- what became of it, as delivery reports say
    provider_id TEXT,
    cost        TEXT,
    balance     TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    sent_at     INTEGER,                     -- of the last attempt
    updated_at  INTEGER NOT NULL,
    code        TEXT,                        -- the provider's, of the last refusal
    error       TEXT
);
CREATE INDEX messages_by_msisdn ON messages (msisdn);
CREATE INDEX messages_by_event ON messages (event);
CREATE INDEX messages_by_status ON messages (status);
CREATE INDEX messages_under_way ON messages (state) WHERE state = 'sending';
CREATE INDEX messages_by_attempt ON messages (source, sent_at);

-- The ids by which a provider names a message, without case and leading zeros.
CREATE TABLE message_ids (
    source  TEXT NOT NULL,
    key     TEXT NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (source, key)
) WITHOUT ROWID;
CREATE INDEX message_ids_by_message ON message_ids (message);

-- Which message a delivery report is about. NULL: not known yet; kept for 72 hours.
CREATE TABLE reports (
    event   INTEGER PRIMARY KEY,
    source  TEXT NOT NULL,
    key     TEXT NOT NULL,
    status  TEXT NOT NULL,
    message INTEGER
);
CREATE INDEX reports_by_message ON reports (message) WHERE message IS NOT NULL;
CREATE INDEX reports_unjoined ON reports (source, key) WHERE message IS NULL;

-- The link_ids that we have used or that a provider called invalid; a live one is in none.
CREATE TABLE links (
    source     TEXT NOT NULL,
    link_id    TEXT NOT NULL,
    message    INTEGER,
    used_at    INTEGER,
    invalid_at INTEGER,
    PRIMARY KEY (source, link_id)
) WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN source TEXT;     -- of kinds send and poll
ALTER TABLE jobs ADD COLUMN message INTEGER;
CREATE INDEX jobs_of_source ON jobs (source, kind, state, due_at) WHERE source IS NOT NULL;
CREATE INDEX jobs_by_message ON jobs (message) WHERE message IS NOT NULL;

-- Messages that the program of schema 1 was asked for and could not send. Their text is counted
-- when they are sent.
INSERT INTO messages (id, source, event, handler, msisdn, sender, text, service_id, link_id,
                      encoding, parts, created_at, updated_at)
    SELECT jobs.id, coalesce(json_extract(json, '$.source'), events.source, ''), jobs.event, jobs.handler,
           json_extract(json, '$.to'), json_extract(json, '$.sender'), json_extract(json, '$.text'),
           json_extract(json, '$.service_id'), json_extract(json, '$.link_id'), 'GSM-7', 1, created_at, created_at
    FROM (SELECT *, CAST(payload AS TEXT) AS json FROM jobs WHERE kind = 'send') AS jobs
    LEFT JOIN events ON events.seq = jobs.event
    WHERE json_extract(json, '$.to') IS NOT NULL;
UPDATE jobs SET message = id, payload = NULL,
                source = (SELECT source FROM messages WHERE messages.id = jobs.id)
    WHERE kind = 'send' AND id IN (SELECT id FROM messages);
UPDATE messages SET state = 'dead', status = 'failed'
    WHERE id IN (SELECT message FROM jobs WHERE kind = 'send' AND state = 'dead');
