-- Indexes for what serving and commands ask, so that no answer costs more for what was stored
-- before. tests/store/test_plans.py explains every statement against them.

-- Messages that are being sent, by person: none leaves for somebody to whom one is under way.
DROP INDEX messages_under_way;
CREATE INDEX messages_under_way ON messages (source, msisdn) WHERE state = 'sending';
-- One person's messages through a source, by time: for reports with an id that we do not know.
DROP INDEX messages_by_msisdn;
CREATE INDEX messages_by_person ON messages (msisdn, source, sent_at);
-- The newest of a source, and of those that were not simply sent.
CREATE INDEX messages_of_source ON messages (source);
CREATE INDEX messages_by_state ON messages (state) WHERE state <> 'sent';

-- Reports that found no message, the oldest first: after 72 hours they go.
CREATE INDEX reports_waiting ON reports (event) WHERE message IS NULL;

-- Targets for which something is due, however much was put off; and in the order of their ids what
-- is due for one, without a look at the rows of all that was put off.
DROP INDEX jobs_of_target;
CREATE INDEX jobs_of_target ON jobs (target, state, id, due_at) WHERE target IS NOT NULL;
CREATE INDEX jobs_to_forward ON jobs (target, state, due_at) WHERE target IS NOT NULL;

-- Whom a job is about, of kind deactivate too: who is forgotten is found by it.
UPDATE jobs SET subject = json_extract(CAST(payload AS TEXT), '$.msisdn')
    WHERE kind = 'deactivate' AND payload IS NOT NULL;
CREATE INDEX jobs_by_subject ON jobs (subject) WHERE subject IS NOT NULL;

-- Lists that show the newest first.
CREATE INDEX opt_outs_by_time ON opt_outs (time DESC, msisdn);
CREATE INDEX audit_by_time ON audit (time);
CREATE INDEX flags_near_misses ON flags (id) WHERE substr(reason, 1, 13) = 'near miss of ';

-- Which subscription a job of kind deactivate is about, beside its person (subject): the book is asked
-- whether they have joined again. Empty where it has none.
ALTER TABLE jobs ADD COLUMN short_code TEXT;
ALTER TABLE jobs ADD COLUMN service_id TEXT;
UPDATE jobs SET short_code = coalesce(json_extract(CAST(payload AS TEXT), '$.short_code'), ''),
                service_id = coalesce(json_extract(CAST(payload AS TEXT), '$.service_id'), '')
    WHERE kind = 'deactivate' AND payload IS NOT NULL;
