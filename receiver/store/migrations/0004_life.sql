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
