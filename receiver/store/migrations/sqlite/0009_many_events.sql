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
