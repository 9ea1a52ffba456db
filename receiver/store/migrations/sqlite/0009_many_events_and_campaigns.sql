-- A push may tell several events. Its request is kept once, under the lowest new event's seq; in the
-- rows of its events `request` is empty then (NULL once purged, as ever).
CREATE TABLE shared_requests (
    id      INTEGER PRIMARY KEY,
    request BLOB NOT NULL,                  -- MessagePack
    unread  INTEGER NOT NULL                -- 1: some items could not become events
);

-- The events that a shared request is about, repeats included: what deletes one of them, or its
-- request, deletes the shared request.
CREATE TABLE request_events (
    event   INTEGER NOT NULL,
    request INTEGER NOT NULL,
    PRIMARY KEY (event, request)
) WITHOUT ROWID;
CREATE INDEX request_events_by_request ON request_events (request);
CREATE INDEX shared_requests_unread ON shared_requests (id) WHERE unread <> 0;

-- Campaigns: messages to many, later, and within limits. Each person's message is a row of messages
-- from the beginning; the job of kind campaign stands for all of them that wait. One gets a job of
-- its own when its send begins.
CREATE TABLE campaigns (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    source     TEXT NOT NULL,
    handler    TEXT NOT NULL,               -- who asks for it: plugin.function, or operator
    event      INTEGER,
    state      TEXT NOT NULL,               -- draft, running, paused, cancelled, done
    created_at INTEGER NOT NULL,
    start_at   INTEGER NOT NULL,            -- by the clock on the wall: a clock that is set moves it not
    valid_for  INTEGER,                     -- seconds from start_at on; NULL: for ever
    opens      INTEGER,                     -- minutes of the day in the zone of the source; NULL: all day
    closes     INTEGER,
    rate       INTEGER,                     -- people a minute; NULL: as the source takes them
    ended_at   INTEGER,
    error      TEXT                         -- why the service paused it
);
ALTER TABLE messages ADD COLUMN campaign INTEGER;
-- Of a request for many: the first of its messages. NULL: it had a request of its own.
ALTER TABLE messages ADD COLUMN chunk INTEGER;
-- A person has one message of a campaign.
CREATE UNIQUE INDEX messages_of_campaign ON messages (campaign, msisdn) WHERE campaign IS NOT NULL;
-- What waits, those that were tried least first; and how far a campaign is, without its messages.
CREATE INDEX messages_in_campaign ON messages (campaign, state, status, attempts, id)
    WHERE campaign IS NOT NULL;

ALTER TABLE jobs ADD COLUMN campaign INTEGER;
-- A campaign has one job.
CREATE UNIQUE INDEX jobs_of_campaign ON jobs (campaign) WHERE campaign IS NOT NULL;
