"""The index of people: it finds the events of a person, in sorted runs.

An ordinary index by person writes to a random page for each event, which costs more than the event
itself. A run holds some thousand consecutive events, sorted by person, and is written after the
answers of a commit. Events after the last run are read one by one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from receiver.store.tx import Tx, execute_many

#: Events in a run. A look-up goes through all runs, so they must not be too short. To add one takes
#: ten to fifteen milliseconds in which no commit begins, so they must not be longer.
RUN_EVENTS = 8192

#: Selects the sequence numbers of a person's events; takes the person as two parameters.
OF_PERSON = (
    # CROSS JOIN has SQLite go through the runs first, and look up the person in each.
    "SELECT people.seq FROM people_runs CROSS JOIN people"
    " WHERE people.run = people_runs.run AND people.subject = ? UNION ALL"
    " SELECT seq FROM events WHERE subject = ?"
    " AND seq > (SELECT coalesce(max(last), 0) FROM people_runs)"
)

_LAST_RUN = "SELECT run, last, events FROM people_runs ORDER BY run DESC LIMIT 1"
_ADD_PEOPLE = (
    "INSERT INTO people (run, subject, seq) SELECT ?, subject, seq FROM events"
    " WHERE seq > ? AND seq <= ? AND subject IS NOT NULL ORDER BY subject, seq"
)
_SET_RUN = (
    "INSERT INTO people_runs (run, last, events) VALUES (?, ?, ?)"
    " ON CONFLICT (run) DO UPDATE SET last = excluded.last, events = excluded.events"
)
_RUNS = "SELECT run, last FROM people_runs WHERE last >= ? ORDER BY run"
_DROP_PERSON = "DELETE FROM people WHERE run = ? AND subject = ? AND seq = ?"
# The end of the last run is the place where the index goes on.
_DROP_RUN = (
    "DELETE FROM people_runs WHERE run = ? AND run < (SELECT max(run) FROM people_runs)"
    " AND NOT EXISTS (SELECT 1 FROM people WHERE people.run = people_runs.run)"
)
_SET_PERSON = (
    "UPDATE people SET subject = ? WHERE seq = ? AND subject = ?"
    " AND run = (SELECT min(run) FROM people_runs WHERE last >= ?)"
)


def index_people(tx: Tx) -> None:
    """Adds the events outside the index to the last run, or to a new one if that is full."""
    run, start, events = tx.execute(_LAST_RUN).fetchone() or (1, 0, 0)
    if events >= RUN_EVENTS:
        run, events = run + 1, 0
    (last,) = tx.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    added = tx.execute(_ADD_PEOPLE, (run, start, last)).rowcount
    tx.execute(_SET_RUN, (run, last, events + added))


def count_unindexed(tx: Tx) -> int:
    """Counts the events that are in no run yet."""
    _, last, _ = tx.execute(_LAST_RUN).fetchone() or (1, 0, 0)
    (count,) = tx.execute("SELECT count(*) FROM events WHERE seq > ?", (last,)).fetchone()
    return int(count)


def drop_people(tx: Tx, people: Sequence[tuple[str, int]]) -> None:
    """Removes events from the index. `people`: pairs of subject and sequence number, by number."""
    if not people:
        return
    runs = tx.execute(_RUNS, (people[0][1],)).fetchall()
    lasts = [last for _, last in runs]
    places = [(bisect_left(lasts, seq), subject, seq) for subject, seq in people]
    indexed = [(runs[at][0], subject, seq) for at, subject, seq in places if at < len(runs)]
    execute_many(tx, _DROP_PERSON, indexed)
    execute_many(tx, _DROP_RUN, {(run,) for run, _, _ in indexed})


def rename_person(tx: Tx, seq: int, former: str | None, subject: str | None) -> None:
    """Changes the subject of an event in the index."""
    tx.execute(_SET_PERSON, (subject, seq, former, seq))
