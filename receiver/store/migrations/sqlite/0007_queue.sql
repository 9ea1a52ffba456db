-- Rows of jobs are the only queue. What nobody works on has no owner; what is being worked on
-- has the process that claimed it.
CREATE TABLE owners (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    since INTEGER NOT NULL
);
ALTER TABLE jobs ADD COLUMN owner INTEGER;
-- Where it goes: to a target, through a source; empty for handlers, which all run here.
ALTER TABLE jobs ADD COLUMN lane TEXT GENERATED ALWAYS AS (coalesce(target, source, '')) VIRTUAL;

-- One person's work goes in order.
UPDATE jobs SET subject = (SELECT msisdn FROM messages WHERE messages.id = jobs.message)
    WHERE kind = 'send';
UPDATE jobs SET subject = (SELECT subject FROM events WHERE events.seq = jobs.event)
    WHERE kind = 'handle' AND event IS NOT NULL;
-- An attempt is counted when it is claimed, so that none is made that is not counted. A kind that
-- was counted with its failures has counted the same by now.

DROP INDEX jobs_of_source;
DROP INDEX jobs_of_target;
DROP INDEX jobs_to_forward;
DROP INDEX jobs_in_line;
DROP INDEX jobs_by_subject;
CREATE INDEX jobs_by_subject ON jobs (subject) WHERE kind IN ('forward', 'deactivate');
CREATE INDEX jobs_waiting ON jobs (kind, lane, due_at, id) WHERE owner IS NULL AND state = 'due';
CREATE INDEX jobs_in_line ON jobs (kind, lane, subject, id, due_at)
    WHERE owner IS NULL AND state = 'due';
CREATE INDEX jobs_owned ON jobs (kind, lane, subject) WHERE owner IS NOT NULL;
