-- What is purged of an event leaves its row: source, key, time and received_at, with an empty type
-- and a reply that counts as given. So a repeat is known as one however late it comes.

-- Who did what to the data by hand, and what the service let go of by itself. Numbers are masked.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    who     TEXT NOT NULL,
    act     TEXT NOT NULL,
    details TEXT NOT NULL                    -- JSON
);

-- Opt-outs of people who were forgotten stay, under a name that this key makes of their number.
INSERT INTO meta (key, value) VALUES ('pseudonyms', randomblob(32));

-- The keys of subscriptions held the number of the person; they outlive their event. Key by key as
-- providers.tilil makes them from now on, and so that no other key is looked at.
WITH RECURSIVE sources (name) AS (
    SELECT min(source) FROM events
    UNION ALL SELECT (SELECT min(source) FROM events WHERE source > name) FROM sources
    WHERE name IS NOT NULL
)
UPDATE events SET key = digested_key(key) WHERE seq IN (
    SELECT seq FROM sources JOIN events ON events.source = sources.name
    AND key >= 'subscription:' AND key < 'subscription;'
);
