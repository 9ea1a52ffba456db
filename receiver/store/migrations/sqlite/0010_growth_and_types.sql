-- How many joined and left each service, by quarter hour of the change's time. Every zone's days begin
-- at a quarter hour. Only what changes a state counts: no second activation, no end of what never began.
CREATE TABLE subscriber_counts (
    quarter    INTEGER NOT NULL,            -- since 1970, in UTC
    source     TEXT NOT NULL,
    short_code TEXT NOT NULL,
    service_id TEXT NOT NULL,
    joined     INTEGER NOT NULL,
    gone       INTEGER NOT NULL,
    PRIMARY KEY (quarter, source, short_code, service_id)
) WITHOUT ROWID;

-- Their sums: how many are subscribed.
CREATE TABLE subscriber_totals (
    source     TEXT NOT NULL,
    short_code TEXT NOT NULL,
    service_id TEXT NOT NULL,
    active     INTEGER NOT NULL,
    PRIMARY KEY (source, short_code, service_id)
) WITHOUT ROWID;
CREATE TRIGGER subscriber_counts_begun AFTER INSERT ON subscriber_counts
BEGIN
    INSERT INTO subscriber_totals (source, short_code, service_id, active)
        VALUES (new.source, new.short_code, new.service_id, new.joined - new.gone)
        ON CONFLICT (source, short_code, service_id)
        DO UPDATE SET active = active + excluded.active;
END;
CREATE TRIGGER subscriber_counts_moved AFTER UPDATE ON subscriber_counts
BEGIN
    UPDATE subscriber_totals
        SET active = active + (new.joined - new.gone) - (old.joined - old.gone)
        WHERE source = new.source AND short_code = new.short_code AND service_id = new.service_id;
END;

-- Up to this id of subscription_history everything is counted, and nothing above.
ALTER TABLE rollup_cursors ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
UPDATE rollup_cursors SET changes = (SELECT coalesce(max(id), 0) FROM subscription_history);
INSERT INTO subscriber_counts (quarter, source, short_code, service_id, joined, gone)
    SELECT time / 900000000 AS quarter, source, short_code, service_id,
           sum(state = 'active'), sum(state = 'inactive')
    FROM (SELECT source, short_code, service_id, time, state, lag(state, 1, 'inactive') OVER (
              PARTITION BY msisdn, source, short_code, service_id ORDER BY time, state, id
          ) AS before FROM subscription_history) AS changes
    WHERE state <> before GROUP BY quarter, source, short_code, service_id;

-- What each change adds to the counts, by its id, seen from the changes that are counted or came before
-- it. If it changes the state that the one before it in time left, it counts. Then the one after it in
-- time counts from now on, if it has another state; if it has the same, it counts no longer.
CREATE VIEW subscriber_steps AS
    SELECT id, quarter, source, short_code, service_id,
           (state = 'active') * sign AS joined, (state = 'inactive') * sign AS gone
    FROM (
        SELECT this.id, counted.time / 900000000 AS quarter,
               counted.source, counted.short_code, counted.service_id, counted.state,
               CASE WHEN counted.id <> this.id AND counted.state = this.state THEN -1 ELSE 1 END AS sign
        FROM subscription_history AS this JOIN subscription_history AS counted ON counted.id IN (
            this.id, (
                SELECT id FROM subscription_history AS later
                WHERE msisdn = this.msisdn AND source = this.source
                AND short_code = this.short_code AND service_id = this.service_id
                AND (time, state, id) > (this.time, this.state, this.id)
                AND id <= max(this.id, (SELECT changes FROM rollup_cursors))
                ORDER BY time, state, id LIMIT 1
            )
        )
        WHERE this.state <> coalesce((
            SELECT state FROM subscription_history AS earlier
            WHERE msisdn = this.msisdn AND source = this.source
            AND short_code = this.short_code AND service_id = this.service_id
            AND (time, state, id) < (this.time, this.state, this.id)
            AND id <= max(this.id, (SELECT changes FROM rollup_cursors))
            ORDER BY time DESC, state DESC, id DESC LIMIT 1
        ), 'inactive')
    ) AS steps;

-- A counted change that is deleted, or is no longer of the same subscription or time, takes what it
-- added with it, in the same transaction.
CREATE TRIGGER subscription_history_deleting BEFORE DELETE ON subscription_history
WHEN old.id <= (SELECT changes FROM rollup_cursors)
BEGIN
    INSERT INTO subscriber_counts (quarter, source, short_code, service_id, joined, gone)
        SELECT quarter, source, short_code, service_id, -joined, -gone
        FROM subscriber_steps WHERE id = old.id
        ON CONFLICT (quarter, source, short_code, service_id)
        DO UPDATE SET joined = joined + excluded.joined, gone = gone + excluded.gone;
END;
-- The next change may get the id of the newest one that is gone.
CREATE TRIGGER subscription_history_deleted AFTER DELETE ON subscription_history
BEGIN
    UPDATE rollup_cursors
        SET changes = min(changes, (SELECT coalesce(max(id), 0) FROM subscription_history));
END;
CREATE TRIGGER subscription_history_moving
BEFORE UPDATE OF msisdn, source, short_code, service_id, time, state ON subscription_history
WHEN old.id <= (SELECT changes FROM rollup_cursors)
BEGIN
    INSERT INTO subscriber_counts (quarter, source, short_code, service_id, joined, gone)
        SELECT quarter, source, short_code, service_id, -joined, -gone
        FROM subscriber_steps WHERE id = old.id
        ON CONFLICT (quarter, source, short_code, service_id)
        DO UPDATE SET joined = joined + excluded.joined, gone = gone + excluded.gone;
END;
CREATE TRIGGER subscription_history_moved
AFTER UPDATE OF msisdn, source, short_code, service_id, time, state ON subscription_history
WHEN new.id <= (SELECT changes FROM rollup_cursors)
BEGIN
    INSERT INTO subscriber_counts (quarter, source, short_code, service_id, joined, gone)
        SELECT quarter, source, short_code, service_id, joined, gone
        FROM subscriber_steps WHERE id = new.id
        ON CONFLICT (quarter, source, short_code, service_id)
        DO UPDATE SET joined = joined + excluded.joined, gone = gone + excluded.gone;
END;
-- Each kind of value in a column of its own: PostgreSQL has no columns without a type.
CREATE TABLE meta_typed (
    key   TEXT PRIMARY KEY,
    value INTEGER,
    text  TEXT,
    bytes BLOB
) WITHOUT ROWID;
INSERT INTO meta_typed (key, value, text, bytes) SELECT key,
    CASE typeof(value) WHEN 'integer' THEN value END,
    CASE typeof(value) WHEN 'text' THEN value END,
    CASE typeof(value) WHEN 'blob' THEN value END FROM meta;
DROP TABLE meta;
ALTER TABLE meta_typed RENAME TO meta;
