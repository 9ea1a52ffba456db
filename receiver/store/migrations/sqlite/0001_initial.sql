-- Times are microseconds since 1970 in UTC. `seq` is the sequence number in an event's id.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    key         TEXT NOT NULL,              -- pushes with the same key are the same event
    provider    TEXT NOT NULL,
    type        TEXT NOT NULL,
    subject     TEXT,
    time        INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    data        BLOB NOT NULL,              -- JSON
    answer      BLOB NOT NULL,              -- what every repeat is answered with
    reply       INTEGER NOT NULL,           -- 0 none yet; 1 none yet, and it may become part
                                            -- of the answer; 2 given, there is no other
    note        TEXT,                       -- what a person should know about its handling
    request     BLOB                        -- the raw request (MessagePack); NULL once purged
);
CREATE UNIQUE INDEX events_by_key ON events (source, key);
CREATE INDEX events_open ON events (seq) WHERE reply = 1;

-- Who the events are about. An index by person would be written at a random place for each
-- event, which costs more than the event itself. So it is made of runs: some thousand events
-- in a row, indexed a few hundred at a time. Events after the last run are in none yet.
CREATE TABLE people_runs (
    run    INTEGER PRIMARY KEY,
    last   INTEGER NOT NULL,                -- up to this seq
    events INTEGER NOT NULL
);
CREATE TABLE people (
    run     INTEGER NOT NULL,
    subject TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (run, subject, seq)
) WITHOUT ROWID;

-- Work for the background: handlers to run, wishes of handlers to carry out.
CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,               -- handle, send, forward
    state      TEXT NOT NULL DEFAULT 'due', -- due, dead
    event      INTEGER,
    handler    TEXT NOT NULL,               -- plugin.function: who handles, or who asked
    payload    BLOB,                        -- JSON of the wish
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    error      TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, kind, due_at);
CREATE INDEX jobs_by_event ON jobs (event);

-- The subscription book: where each subscription stands, and how it came there.
CREATE TABLE subscriptions (
    source         TEXT NOT NULL,
    short_code     TEXT NOT NULL,
    service_id     TEXT NOT NULL,
    msisdn         TEXT NOT NULL,
    state          TEXT NOT NULL,           -- active, inactive
    since          INTEGER NOT NULL,        -- the provider's time of the change
    keyword        TEXT,
    subscriber_ref TEXT,
    network        TEXT,
    PRIMARY KEY (source, short_code, service_id, msisdn)
) WITHOUT ROWID;
CREATE INDEX subscriptions_by_msisdn ON subscriptions (msisdn);

CREATE TABLE subscription_history (
    id             INTEGER PRIMARY KEY,
    event          INTEGER,
    source         TEXT NOT NULL,
    short_code     TEXT NOT NULL,
    service_id     TEXT NOT NULL,
    msisdn         TEXT NOT NULL,
    state          TEXT NOT NULL,
    time           INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    keyword        TEXT,
    subscriber_ref TEXT,
    network        TEXT
);
CREATE INDEX subscription_history_by_msisdn ON subscription_history (msisdn);

CREATE TABLE opt_outs (
    msisdn TEXT PRIMARY KEY,
    time   INTEGER NOT NULL,
    reason TEXT NOT NULL,
    source TEXT,
    event  INTEGER
) WITHOUT ROWID;

CREATE TABLE opt_out_history (
    id     INTEGER PRIMARY KEY,
    msisdn TEXT NOT NULL,
    change TEXT NOT NULL,                   -- out, in
    time   INTEGER NOT NULL,
    reason TEXT NOT NULL,
    source TEXT,
    event  INTEGER
);
CREATE INDEX opt_out_history_by_msisdn ON opt_out_history (msisdn);

-- Requests that could not become events; capped, strangers' apart from the providers' own.
CREATE TABLE quarantine (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    source        TEXT NOT NULL,
    authenticated INTEGER NOT NULL,
    outcome       TEXT NOT NULL,
    reason        TEXT NOT NULL,
    received_at   INTEGER NOT NULL,
    client        TEXT NOT NULL,
    request       BLOB NOT NULL
);
CREATE INDEX quarantine_by_class ON quarantine (authenticated, id);
