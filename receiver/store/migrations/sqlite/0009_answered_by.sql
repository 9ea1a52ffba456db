-- Who replied to an event: the handler, and after a space its rule; NULL: nobody did, or an earlier
-- version stored the reply. From now on `reply` says how, too: 2 in the answer, 3 by a message, 4 the
-- decision was that there is none. What earlier versions stored has 2 for all three.
ALTER TABLE events ADD COLUMN answered_by TEXT;
