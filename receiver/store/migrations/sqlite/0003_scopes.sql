-- Opt-outs have a scope: a short code or number of ours, a service, or (both empty) everything.
CREATE TABLE scoped_opt_outs (
    msisdn     TEXT NOT NULL,
    short_code TEXT NOT NULL,
    service_id TEXT NOT NULL,
    time       INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    source     TEXT,
    event      INTEGER,
    PRIMARY KEY (msisdn, short_code, service_id)
) WITHOUT ROWID;
INSERT INTO scoped_opt_outs SELECT msisdn, '', '', time, reason, source, event FROM opt_outs;
DROP TABLE opt_outs;
ALTER TABLE scoped_opt_outs RENAME TO opt_outs;
ALTER TABLE opt_out_history ADD COLUMN short_code TEXT NOT NULL DEFAULT '';
ALTER TABLE opt_out_history ADD COLUMN service_id TEXT NOT NULL DEFAULT '';

-- Whether the report says that its person, whom it does not name, wants no more of our sender.
ALTER TABLE reports ADD COLUMN opted_out INTEGER NOT NULL DEFAULT 0;

-- Events that a handler wants a person to look at.
CREATE TABLE flags (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    event   INTEGER NOT NULL,
    handler TEXT NOT NULL,
    reason  TEXT NOT NULL,
    time    INTEGER NOT NULL
);

-- What an event brought about, for replay.
CREATE INDEX subscription_history_by_event ON subscription_history (event);
CREATE INDEX opt_out_history_by_event ON opt_out_history (event);
CREATE INDEX flags_by_event ON flags (event);

-- The changes of each subscription in their order, without a look at the table: for counts, and for
-- the book as it stood. At the same moment 'active' stands before 'inactive', which counts.
DROP INDEX subscription_history_by_msisdn;
CREATE INDEX subscription_history_by_subscription ON subscription_history
    (msisdn, source, short_code, service_id, time, state);
-- Long exports are read in this order, instead of being sorted first.
CREATE INDEX subscription_history_by_time ON subscription_history (time);
ALTER TABLE subscription_history ADD COLUMN reason TEXT; -- of what came from no event: reconcile

-- Jobs of kind forward: where to, and whose event it is, since one person's go in order.
ALTER TABLE jobs ADD COLUMN target TEXT;
ALTER TABLE jobs ADD COLUMN subject TEXT;
CREATE INDEX jobs_of_target ON jobs (target, state, id) WHERE target IS NOT NULL;
CREATE INDEX jobs_in_line ON jobs (target, subject, state, id) WHERE target IS NOT NULL;
-- Those that the programs of schemas 1 and 2 were asked for and could not do.
UPDATE jobs SET target = coalesce(json_extract(CAST(payload AS TEXT), '$.target'),
                                  json_extract(CAST(payload AS TEXT), '$.url'), ''),
                subject = (SELECT subject FROM events WHERE seq = jobs.event)
    WHERE kind = 'forward';

-- Replies that were held back or withheld, for a person to look at.
CREATE INDEX events_noted ON events (seq) WHERE note IS NOT NULL;
