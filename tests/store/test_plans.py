"""No statement of serving or of a command costs more for what was stored before.

Every statement of the program runs once (`everything`), and SQLite explains each of them, as it
would go about it in a new store and in one with millions of rows. What reads a table or an index
without knowing where it ends stands in `ALLOWED`, with the reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from fnmatch import fnmatchcase

import pytest

from receiver import cli
from receiver.store.engine.sqlite.database import open_writer
from tests.store import everything
from tests.store.statements import Ran, claim_history, plan, unbounded, written

pytestmark = pytest.mark.commit

#: By the reason: the statements, by where they stand in `receiver.store`, and the lines of their
#: plans (`*`: anything).
ALLOWED: Mapping[str, Mapping[str, Sequence[str]]] = {
    "its LIMIT ends it, and all that it meets in the order of the index is what is asked for": {
        "audit._ACTS": [
            "SCAN audit USING INDEX audit_by_time",
            "SEARCH audit * (time>?)",
            "SEARCH audit * (time<?)",
            "SEARCH audit * (time>? AND time<?)",
        ],
        "reads.BETWEEN": ["SEARCH events * (rowid>? AND rowid<?)"],
        "reads._LOWEST": ["SEARCH events * (rowid<?)"],
        "forwards._ATTEMPTS": [
            "SCAN forward_attempts USING INDEX forward_attempts_by_time",
            "SEARCH forward_attempts USING INDEX forward_attempts_by_time (time>?)",
            "SEARCH forward_attempts USING INDEX forward_attempts_by_time (time<?)",
            "SEARCH forward_attempts USING INDEX forward_attempts_by_time (time>? AND time<?)",
        ],
        "campaign_reads._EVERY": ["SEARCH c USING INTEGER PRIMARY KEY (rowid<?)"],
        "campaign_reads._WAITING": [
            "SEARCH messages USING INDEX messages_in_campaign (campaign=? AND state=? AND status=?)"
        ],
        "campaigns._SOME_WAITING": [
            "SEARCH messages USING * messages_in_campaign (campaign=? AND state=? AND status=?)"
        ],
        "forgetting._KEYS": ["SEARCH events * ((source,key)>(?,?))"],
        "forgetting._UNREAD": ["SEARCH shared_requests * shared_requests_unread (id>?)"],
        "health_reads._clients#0": ["SCAN events"],
        "jobs._BURY": ["SEARCH jobs USING INDEX jobs_waiting (kind=? AND lane=? AND due_at<?)"],
        "jobs._HURRY_LANE": [
            "SEARCH jobs USING INDEX jobs_waiting (kind=? AND lane=? AND due_at>?)"
        ],
        "metric_reads.BALANCE": ["SEARCH messages * (source=? AND sent_at>?)"],
        "metric_reads._JOBS": ["SEARCH jobs USING COVERING INDEX * (state=? AND kind=?)"],
        "metric_reads._NEWEST": ["SEARCH events * (rowid<?)", "USE TEMP B-TREE FOR GROUP BY"],
        "metric_reads._STATUSES": [
            "SEARCH messages * (source=? AND sent_at>? AND sent_at<?)",
            "USE TEMP B-TREE FOR GROUP BY",
        ],
        "metric_reads._OUTBOX": ["SEARCH jobs USING INDEX * (kind=? AND lane=?)"],
        "metric_reads._UNCOUNTED": [
            "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)",
            "SEARCH messages USING INTEGER PRIMARY KEY (rowid>?)",
        ],
        "not_understood._NEWEST": ["SCAN events"],
        "opt_out_reads._CHANGE": ["SCAN opt_out_history"],
        "opt_out_reads._NEAR_MISSES": ["SCAN f USING INDEX flags_near_misses"],
        "purges.TRUST": ["SCAN events"],
        "purges._OF_EVENTS": ["SEARCH events * (rowid>? AND rowid<?)"],
        "purges._OF_MESSAGES": ["SEARCH messages * (rowid>?)"],
        "reads._JOB": [
            "SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)",
            "SEARCH jobs USING INDEX jobs_by_state (state=? AND kind=? AND due_at<?)",
        ],
        "renames._EVENTS": ["SEARCH events * (source=?)"],
        "renames._LINES": ["SEARCH subscriptions * (source=?)"],
        "renames._MEETING": ["SEARCH events * (source=?)"],
        "renames._go_through#0": ["SEARCH * USING INTEGER PRIMARY KEY (rowid>?)"],
        "renames._move#0": ["SEARCH * USING PRIMARY KEY (source=?)"],
        "renumbering._CHANGES": ["SEARCH subscription_history * (rowid>?)"],
        "renumbering._EVENT": ["SEARCH events * (rowid>?)"],
        "renumbering._JOBS": ["SEARCH jobs * (rowid>?)"],
        "renumbering._LINES": ["SEARCH subscriptions * ((source,*)>(?,?,?,?))"],
        "renumbering._LINKS": ["SEARCH links * ((source,link_id)>(?,?))"],
        "renumbering._MESSAGE": ["SEARCH messages * (rowid>?)"],
        "renumbering._OPTED": ["SEARCH opt_out* (msisdn>?)", "USE TEMP B-TREE FOR ORDER BY"],
        "rollups._NEXT_EVENTS": ["SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
        "rollups._NEXT_MESSAGES": ["SEARCH messages USING INTEGER PRIMARY KEY (rowid>?)"],
        "rollups._OF_SOURCE": ["SEARCH rollups USING PRIMARY KEY (source=?)"],
        "subscriber_counts._NEXT": [
            "SEARCH subscription_history USING INTEGER PRIMARY KEY (rowid>?)"
        ],
    },
    "newest first until its LIMIT; what a person chooses by more than one thing, or by what has no"
    " index since each push would write it, is sought in their own process, and nobody waits": {
        "message_reads._MESSAGE": [
            "SCAN m",
            "SEARCH m USING INDEX messages_by_creation (created_at>?)",
            "SEARCH m USING INDEX messages_by_creation (created_at<?)",
            "SEARCH m USING INDEX messages_by_creation (created_at>? AND created_at<?)",
            "SEARCH m USING INDEX messages_of_source (source=?)",
            "SEARCH m USING INDEX messages_by_state (state=?)",
            "SEARCH m USING INDEX messages_by_status (status=?)",
        ],
        "reads._EVENT": [
            *("SCAN events", "SCAN events * events_noted", "SEARCH events * (rowid>?)"),
            *("SEARCH events * (rowid<?)", "SEARCH events * (rowid>? AND rowid<?)"),
        ],
        "replay_reads._EVENTS": ["SEARCH events * (rowid>? AND rowid<?)"],
    },
    "it stops at the first, or takes the lowest or highest alone": {
        "campaigns._OPEN": [
            "SEARCH messages USING COVERING INDEX messages_in_campaign (campaign=? AND state=?)"
        ],
        "health_reads._OLDEST_DUE": ["SEARCH jobs USING COVERING INDEX * (state=? AND kind=?)"],
        "job_reads._LANES": [
            "SCAN k",  # kinds, or the lanes that were found
            "SEARCH jobs USING INDEX * (kind=?)",
            "SEARCH jobs USING INDEX * (kind=? AND lane>?)",
            "SEARCH jobs USING INDEX jobs_waiting (kind=? AND lane=? AND due_at<?)",
        ],
        "opt_out_lines._lines#0": ["SEARCH opt_outs * (msisdn>? AND msisdn<?)"],
        "pseudonyms.ANY": ["SEARCH opt_outs * (msisdn>? AND msisdn<?)"],
        "purges._DROP_KEY": ["SEARCH other * (source=? AND key>? AND key<?)"],
        "engine.person_index._DROP_RUN": ["SEARCH people USING PRIMARY KEY (run=?)"],
        "renames.KNOWN_SOURCES": ["SEARCH * (source>?)"],
        "renames.is_known#1": ["SEARCH * (source=?)"],
        "rollup_reads._SPAN": [
            "SEARCH rollups * (source>?)",
            "SEARCH rollups * (source=? AND kind=?)",
            "SCAN named",
            "SCAN kinds",
        ],
        "repeats._LATEST": ["SEARCH events * (source=? AND key>? AND key<?)"],
    },
    "both ends are given, and few rows lie between them": {
        "event_effects._CHANGES": ["SEARCH subscription_history * (event>? AND event<?)"],
        "event_effects._FLAGS": ["SEARCH flags * (event>? AND event<?)"],
        "event_effects._MESSAGES": ["SEARCH messages * (event>? AND event<?)"],
        "event_effects._OPTED": ["SEARCH opt_out_history * (event>? AND event<?)"],
        "event_effects._WORK": ["SEARCH jobs * (event>? AND event<?)"],
        "renames._go_through#2": ["SEARCH * USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
        "rollups._COUNT_MESSAGES": [
            "SEARCH messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "USE TEMP B-TREE FOR GROUP BY",
        ],
        "subscriber_counts._COUNT": [
            "SEARCH this USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "USE TEMP B-TREE FOR GROUP BY",
        ],
        # The rows of one quarter hour, and one row by its whole key.
        "rollups._KEYWORDS": [
            "SEARCH rollups USING PRIMARY KEY (source=? AND kind=? AND quarter=?)",
            "SEARCH rollups USING PRIMARY KEY (source=? AND kind=? AND quarter=? AND keyword*",
            "USE TEMP B-TREE FOR DISTINCT",
        ],
        "rollups._DROP": ["SEARCH rollups USING PRIMARY KEY (* AND status=?)"],
        "rollups._DROP_EMPTY": ["SEARCH rollups USING PRIMARY KEY (* AND status=?)"],
        "rollups._TAKE": ["SEARCH rollups USING PRIMARY KEY (* AND status=?)"],
        "renames._move#5": ["SEARCH message_ids * (source=? AND key<?)"],
        "renames._move#6": ["SEARCH message_ids * (source=? AND key<?)"],
        # What came with the id of another, and says the same.
        "repeats._BELOW_KEY": [
            "SEARCH events * (source=? AND key>? AND key<?)",
            "USE TEMP B-TREE FOR ORDER BY",
        ],
    },
    "a minute's messages; the provider allows no more": {
        "message_reads._ATTEMPTS": [
            "SEARCH messages USING INDEX messages_by_attempt (source=? AND sent_at>?)"
        ]
    },
    "the events after the last run of people: as many as are in one run": {
        "forgetting._EVENTS": ["SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"],
        "people._HISTORY": ["SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"],
        "engine.person_index.OF_PERSON": ["SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"],
        "engine.person_index._ADD_PEOPLE": [
            "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "USE TEMP B-TREE FOR ORDER BY",
        ],
        "engine.person_index.count_unindexed#1": [
            "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"
        ],
    },
    "nothing is put off for two days, unless the clock was wrong": {
        "jobs._BRING_FORWARD": ["SEARCH jobs USING INDEX * (state=? AND kind=? AND due_at>?)"]
    },
    "a campaign has one job": {
        "campaigns._DROP_JOB": ["SEARCH jobs USING INDEX jobs_of_campaign (campaign=?)"],
        "campaigns._PUT_OFF": ["SEARCH jobs USING INDEX jobs_of_campaign (campaign=?)"],
    },
    "the campaigns of a source that cannot send": {
        "campaigns._IN_LANE": ["SEARCH jobs USING INDEX jobs_in_line (kind=? AND lane=?)"],
    },
    "a person asks for one campaign: it counts the people of it": {
        "campaign_reads._COUNTS": [
            "SEARCH messages USING COVERING INDEX messages_in_campaign (campaign=?)"
        ],
        "campaign_reads._REASONS": [
            "SEARCH messages USING INDEX messages_in_campaign (campaign=? AND state=?)",
            "USE TEMP B-TREE FOR GROUP BY",
            "USE TEMP B-TREE FOR ORDER BY",
        ],
        "message_reads._MESSAGE": [
            "SEARCH m USING INDEX messages_*_campaign (campaign=?)",
            "USE TEMP B-TREE FOR ORDER BY",
        ],
    },
    "the clock was set, and all that waits moves with it": {
        "jobs.move#1": ["SEARCH jobs * (state=? AND kind=?)"],
        "jobs.move#2": ["SEARCH jobs * (state=? AND kind=?)"],
        "jobs.move#3": ["SEARCH jobs * (state=?)"],
        "jobs.bring_forward#1": ["SEARCH jobs USING INDEX jobs_of_campaign (campaign>?)"],
    },
    "what is due in one lane, in its order; while a target fails for all, nobody looks": {
        "job_reads.due#1": ["SEARCH j USING INDEX jobs_waiting (kind=? AND lane=? AND due_at<?)"]
    },
    "the jobs that one commit adds": {
        "jobs.added#1": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)"]
    },
    "what one process works on, at its start and its end": {
        "jobs.hand_back#1": ["SCAN jobs USING INDEX jobs_owned"],
        "engine.__init__.Membership#6": ["SCAN jobs USING INDEX jobs_owned"],
        "jobs.release_all#1": ["SCAN jobs USING INDEX jobs_owned"],
    },
    "a source gets another name, once": {"renames._move_opt_outs#1": ["SCAN opt_outs"]},
    "a person asks for all of it, in a process of their own, and gets it as it is read": {
        "opt_out_reads._EVERY": [
            "SCAN opt_outs USING INDEX opt_outs_by_time",
            "SEARCH opt_outs USING INDEX opt_outs_by_time (time<?)",
        ],
        "subscription_reads._BOOK": [
            "SEARCH subscriptions * ((msisdn,source,short_code,service_id)>(?,?,?,?))",
            "SCAN subscriptions USING INDEX subscriptions_by_msisdn",
            "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY",  # of one person's lines
        ],
        "subscription_reads._PLACED": [
            "SEARCH subscriptions * ((msisdn,source,short_code,service_id)>(?,?,?,?))",
            "SCAN subscriptions USING INDEX subscriptions_by_msisdn",
        ],
        "subscription_reads._BOOK_AS_OF": ["SCAN h USING INDEX *"],
        "subscription_reads._HISTORY": [
            "SCAN subscription_history USING INDEX subscription_history_by_time",
            "SEARCH subscription_history * (time>? AND time<?)",
        ],
    },
    "a person asks for a sum over all of it, in a process of their own": {
        "engine.sqlite.backup._verify#5": ["SCAN events"],
        "rollup_reads._COUNTS": [
            "SEARCH rollups USING PRIMARY KEY (source>?)",  # the next source
            "SEARCH rollups USING PRIMARY KEY (source=? AND kind=? AND quarter>? AND quarter<?)",
            "USE TEMP B-TREE FOR GROUP BY",
        ],
        "health_reads.store_health#2": ["SEARCH jobs USING COVERING INDEX * (state=?)"],
        # A row for each service, and for each quarter hour since the time that is asked for.
        "subscriber_counts._READ": [
            "SCAN subscriber_totals",
            "SEARCH subscriber_totals USING PRIMARY KEY (source=? AND short_code=?*",
            "SEARCH subscriber_counts USING PRIMARY KEY (quarter>?)",
            "SEARCH this USING INTEGER PRIMARY KEY (rowid>?)",  # what is not counted yet
        ],
    },
    "the doctor's search ends by the clock": {"health_reads._last_pushes#1": ["SCAN events"]},
}


@pytest.fixture(scope="module", params=["a new store", "a store with history"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sqlite3.Connection]:
    """An empty store; with history, one that SQLite takes for large."""
    with closing(open_writer(tmp_path_factory.mktemp("store") / "receiver.db")) as db:
        if request.param == "a store with history":
            claim_history(db)
        yield db


def allowed(places: set[str]) -> Iterator[str]:
    """The lines that a statement's plan may have, by where it stands."""
    for statements in ALLOWED.values():
        for place in places:
            yield from statements.get(place.removeprefix("store."), ())


def test_no_statement_reads_to_the_end(ran: list[Ran], store: sqlite3.Connection) -> None:
    """Whatever SQLite knows of the tables, an index leads to what is asked for."""
    growing = []
    for statement, places in ran:
        may = set(allowed(places))
        growing += [
            f"{sorted(places)}: {line}\n    {statement}"
            for line in unbounded(statement, plan(store, statement))
            if not any(fnmatchcase(line, pattern) for pattern in may)
        ]
    assert not growing, "\n".join(growing)


def test_every_statement_of_the_program_ran(ran: list[Ran]) -> None:
    """None is missing among those that are explained, and none came from elsewhere."""
    assert set().union(*(each.places for each in ran)) == set(written())
    assert all(each.places for each in ran)


def test_the_list_has_nothing_too_much() -> None:
    """Whoever is in it is there still."""
    places = {place.removeprefix("store.") for place in written()}
    assert {place for statements in ALLOWED.values() for place in statements} <= places


def test_every_command_ran() -> None:
    """A new command is either among them or asks no store."""
    run = {command.split()[0] for command in everything.COMMANDS}
    assert run | everything.WITHOUT_STORE == set(cli.COMMANDS)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM messages WHERE text = ?",
        "SELECT 1 FROM messages WHERE source = ? AND text = ?",
        "SELECT id FROM messages WHERE source = ? ORDER BY text LIMIT 1",
        "UPDATE jobs SET due_at = 0 WHERE state = 'due'",
        "SELECT id FROM messages WHERE id = 1 AND EXISTS (SELECT 1 FROM events WHERE type = ?)",
    ],
)
def test_what_reads_to_the_end_is_found(statement: str, store: sqlite3.Connection) -> None:
    """A scan, an index that many rows share, a sort, a look-up inside."""
    assert unbounded(statement, plan(store, statement))
