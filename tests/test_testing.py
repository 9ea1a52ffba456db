"""What plugin authors test with: events, people, and a plugin that is asked as the service asks."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from receiver import testing
from receiver.errors import ConfigError
from receiver.events import Data, Event, EventType, Message, Status, decode_data, encode_data
from receiver.handlers import OptOut, Reply, Send, SourceInfo, Subscription
from receiver.store import book, opt_outs, to_micros
from receiver.store.jobs import NEVER, OPERATOR, Origin
from receiver.store.people import StoredPeople
from receiver.store.tx import Tx
from receiver.testing import (
    MOMENT,
    PERSON,
    Asked,
    FakePeople,
    Running,
    activation,
    ask,
    deactivation,
    faults,
    load,
    message,
    people,
    report,
    running,
    subscription,
)
from receiver.text.msisdn import normalise
from tests.examples import examples
from tests.harness import opened
from tests.stored import change

OTHER = "+254711000000"
HEAD = "import asyncio\nimport msgspec\nfrom receiver.handlers import *\n"


def write(folder: Path, source: str, name: str = "mine") -> Path:
    """A plugin's file."""
    file = folder / f"{name}.py"
    file.write_text(HEAD + dedent(source), "utf-8")
    return file


# Names


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_is_in_the_guide(name: str) -> None:
    """docs/plugins.md shows what there is to test with, and each function says what it does."""
    guide = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text("utf-8")
    assert f"`{name}" in guide
    value = getattr(testing, name)
    if inspect.isfunction(value) or inspect.isclass(value):
        assert value.__doc__


def test_three_lines_without_a_server(tmp_path: Path) -> None:
    """A plugin's file, an event and the expected reply are all that a test needs."""
    write(tmp_path, '@on_message(keyword="HOURS")\ndef hours(event, context): return "8 to 18"\n')
    test = tmp_path / "test_mine.py"
    test.write_text(
        "from receiver.testing import ask, message\n\n"
        'def test_hours():\n    assert ask("mine.py", message("hours?")).reply == "8 to 18"\n'
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in run.stdout, run.stdout


# Events


@pytest.mark.parametrize(
    ("event", "type_"),
    [
        (message("hello"), EventType.MESSAGE_RECEIVED),
        (report(), EventType.DELIVERY_UPDATED),
        (activation(), EventType.SUBSCRIPTION_ACTIVATED),
        (deactivation(), EventType.SUBSCRIPTION_DEACTIVATED),
    ],
)
def test_events_are_what_the_service_makes(event: Event[Data], type_: EventType) -> None:
    """Each is of its type, about the same person, and survives the store."""
    assert event.type == type_
    assert (event.subject, event.source_name, event.time) == (PERSON, "tilil", MOMENT)
    assert decode_data(event.type, encode_data(event.data)) == event.data


def test_a_message_has_what_is_given() -> None:
    """Every field can be set; the keyword is found as the service finds it."""
    time = MOMENT.replace(hour=22)
    event = message(
        "«Saldo», please",
        from_=OTHER,
        to="70700",
        source="mine",
        time=time,
        network="airtel",
        service_id="32",
        link_id="link",
        fields={"MM1": "gold"},
        external_id="007",
    )
    data = event.data
    assert (event.subject, event.source_name, event.receivedat) == (OTHER, "mine", time)
    assert (data.from_, data.to, data.text, data.keyword) == (
        OTHER,
        "70700",
        "«Saldo», please",
        "SALDO",
    )
    assert (data.network, data.service_id, data.link_id) == ("airtel", "32", "link")
    assert (data.fields, data.external_id) == ({"MM1": "gold"}, "007")


@pytest.mark.parametrize("status", Status)
def test_a_report_is_final_when_its_status_is(status: Status) -> None:
    """As the service says; a status may be given by its name."""
    assert report(status).data.final == status.final
    assert report(str(status)).data.status is status


def test_a_deactivation_takes_what_an_activation_takes() -> None:
    """They differ in their type alone."""
    joined = activation(OTHER, short_code="70700", service_id="44", keyword="GAME")
    left = deactivation(OTHER, short_code="70700", service_id="44", keyword="GAME")
    assert joined.data == left.data


def test_ids_are_in_the_order_of_making() -> None:
    """Later events have higher ids, and those in the history of people lower ones."""
    now = [message(str(n)) for n in range(5)]
    known = people(history=[message("a"), message("b")]).history(PERSON)
    ids = [event.id for event in [*reversed(known), *now]]
    assert ids == sorted(set(ids))


# People


def test_history_is_newest_first_and_ones_own() -> None:
    """As the store gives it, and no more than is asked for."""
    some = people(history=[message("1"), message("2", from_=OTHER), message("3"), message("4")])
    data = [event.data for event in some.history(PERSON, 2)]
    assert [one.text for one in data if isinstance(one, Message)] == ["4", "3"]
    assert len(some.history(OTHER)) == 1


codes = st.sampled_from(["", "22915", "70700", "+447786200000", "447786200000"])
services = st.sampled_from(["", "44", "55", "0"])
lines = st.lists(
    st.builds(
        subscription,
        st.sampled_from([PERSON, OTHER]),
        short_code=codes,
        service_id=services,
        state=st.sampled_from(["active", "inactive"]),
    ),
    max_size=4,
    unique_by=lambda line: (line.msisdn, line.short_code, line.service_id),
)
outs = st.lists(
    st.builds(OptOut, st.sampled_from([PERSON, OTHER]), short_code=codes, service_id=services),
    max_size=3,
    unique_by=lambda out: (out.msisdn, out.short_code, out.service_id),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with nothing in it."""
    folder = tmp_path_factory.mktemp("store")

    async def make() -> None:
        async with opened(folder):
            pass

    asyncio.run(make())
    return folder / "receiver.db"


def ordered(book: list[Subscription]) -> list[Subscription]:
    """Lines of the book in the order of the store."""
    return sorted(book, key=lambda line: (line.source, line.short_code, line.service_id))


def fill(tx: Tx, lines: list[Subscription], outs: list[OptOut]) -> None:
    """Has the store know these, each by itself: no opt-out has ended a subscription."""
    for line in lines:
        book.set_line(tx, {**msgspec.structs.asdict(line), "since": to_micros(line.since)})
    before_all = Origin(time=0, received_at=0, now=NEVER)
    for out in outs:
        # In the one form of numbers, as what a handler asks for comes into the store.
        code = normalise(out.short_code or "", None)
        opt_outs.opt_out(tx, before_all, OPERATOR, msgspec.structs.replace(out, short_code=code))


@examples(50, suppress_health_check=[HealthCheck.too_slow])  # each changes a store on disk
@given(lines=lines, outs=outs, code=codes, service=services)
def test_people_are_as_the_store_would_have_them(
    store: Path, lines: list[Subscription], outs: list[OptOut], code: str, service: str
) -> None:
    """The fake answers every question as the store does."""
    filled = Path(shutil.copy(store, store.with_name("filled.db")))
    change(filled, fill, lines, outs)
    fake, real = people(subscriptions=lines, opted_out=outs), StoredPeople(filled)
    asked = {"short_code": code or None, "service_id": service or None}
    try:
        assert fake.is_subscriber(PERSON, **asked) == real.is_subscriber(PERSON, **asked)
        assert fake.has_opted_out(PERSON, **asked) == real.has_opted_out(PERSON, **asked)
        assert ordered(fake.subscriptions(PERSON)) == real.subscriptions(PERSON)
    finally:
        real.close()


def test_a_number_alone_is_opted_out_of_everything() -> None:
    """A text among `opted_out` is a person who wants nothing at all."""
    some = people(opted_out=[PERSON])
    assert some.has_opted_out(PERSON, short_code="22915", service_id="44")
    assert not some.has_opted_out(OTHER)


def test_forms_of_a_number_of_ours_are_one() -> None:
    """As in the store: an opt-out from `+447786200000` is one from `447786200000`."""
    some = people(opted_out=[OptOut(PERSON, short_code="+447786200000")])
    assert some.has_opted_out(PERSON, short_code="447786200000")
    assert some.has_opted_out(PERSON, short_code="+44 7786 200000")


# Asking


def test_all_that_is_asked_for(tmp_path: Path) -> None:
    """By handler, in the order in which the service asks: inline first, then those marked first."""
    file = write(
        tmp_path,
        """
        @on_message()
        async def last(event, context): return ["last", Send(to="+1", text="x")]

        @on_message(keyword="OTHER")
        def unasked(event, context): return "no"

        @on_message(first=True)
        def second(event, context): return None

        @on_message(inline=True)
        def inline(event, context): return "inline"
        """,
    )
    asked = ask(file, message("hello"))
    assert list(asked.results) == ["inline", "second", "last"]
    assert asked.results["second"] == ()
    assert asked.actions == (Reply("inline"), Reply("last"), Send(to="+1", text="x"))
    assert asked.reply == "inline"
    assert ask(file, report()) == Asked({})
    assert ask(file, report()).reply is None


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{}['key']", KeyError),
        ("return 5", TypeError),
        ("return Reply(None)", msgspec.ValidationError),
    ],
)
def test_what_a_handler_raises_comes_out(
    tmp_path: Path, kind: str, body: str, error: type[Exception]
) -> None:
    """So does that it returned what the service would not take."""
    file = write(tmp_path, f"@on_message()\n{kind} f(event, context):\n    {body}\n")
    with pytest.raises(error):
        ask(file, message("hello"))


HOOKS = """
class Settings(msgspec.Struct):
    greeting: str = "hi"

def setup(settings): return [settings.greeting]

{kind} start(context): context.state.extend(["started", asyncio.get_running_loop()])

@on_message()
async def f(event, context):
    assert context.state[2] is asyncio.get_running_loop()
    return " ".join(context.state[:2])

{kind} stop(context):
    context.state[1] = "stopped"
    assert context.state[2] is asyncio.get_running_loop()
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_hooks_are_called(tmp_path: Path, kind: str) -> None:
    """Start before the first event and stop after the last, on the loop of the handlers."""
    plugin = load(write(tmp_path, HOOKS.format(kind=kind)), greeting="hello")
    with running(plugin) as started:
        assert isinstance(started, Running)
        assert started.ask(message("a")).reply == "hello started"
        assert started.ask(message("b")).reply == "hello started"
    assert plugin.state[1] == "stopped"


def test_stop_is_called_whatever_happens(tmp_path: Path) -> None:
    """Also when the test fails inside the block."""
    plugin = load(write(tmp_path, HOOKS.format(kind="def")))
    with pytest.raises(ZeroDivisionError), running(plugin):
        _ = 1 / 0
    assert plugin.state[1] == "stopped"


def test_people_and_sources_are_known(tmp_path: Path) -> None:
    """A handler sees in its context what the test gives."""
    file = write(
        tmp_path,
        """
        @on_message()
        def f(event, context):
            known = context.people.is_subscriber(event.data.from_, service_id="44")
            return f"{known} {context.sources['tilil'].max_reply}"
        """,
    )
    some = people(subscriptions=[subscription(service_id="44")])
    sources = [SourceInfo(name="tilil", provider="tilil", max_reply=160)]
    assert ask(file, message("x"), people=some, sources=sources).reply == "True 160"


@pytest.mark.parametrize(
    ("decorator", "seen"), [("on_message()", 3), ("on_message(inline=True)", 2)]
)
def test_an_event_is_in_the_history_once_it_is_stored(
    tmp_path: Path, decorator: str, seen: int
) -> None:
    """Handlers see the event that they are asked about; inline ones, asked before, do not."""
    source = "def f(event, context): return str(len(context.people.history(event.subject)))\n"
    file = write(tmp_path, f"@{decorator}\n{source}")
    some = people(history=[message("1"), message("2")])
    assert ask(file, message("3"), people=some).reply == str(seen)
    with running(file, people=some) as started:
        started.ask(message("3"))
        assert started.ask(message("4")).reply == str(seen + 1)
    assert len(some.history(PERSON)) == 2  # what the test gave is as it was
    assert isinstance(some, FakePeople)


def test_settings_are_validated(tmp_path: Path) -> None:
    """As `receiver check` does: every fault, with its key below the plugin's table."""
    file = write(tmp_path, HOOKS.format(kind="def"))
    assert faults(file) == {}
    wrong = {"greeting": 5, "greting": "x"}
    assert faults(file, **wrong) == {
        "greeting": "expected a text, got an integer",
        "greting": "unknown key; did you mean greeting?",
    }
    with pytest.raises(ConfigError, match=r"^plugins\.mine\.greting: unknown key"):
        load(file, **wrong)


def test_a_plugin_that_cannot_be_loaded(tmp_path: Path) -> None:
    """It is told with file and line, without settings that no test has made."""
    file = write(tmp_path, "@on_message()\ndef f(event): pass\n")
    told = f"{file}:4: f(event) must take (event, context)"
    assert faults(file) == {"": told}
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == told


def test_a_plugin_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that leads nowhere is told with the folder that it starts from."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"plugins/hours.py: no such file in {tmp_path}"):
        load("plugins/hours.py")


def test_shipped_plugins_by_name() -> None:
    """What comes with the program is named without a path."""
    assert ask(load("opt_out", stop_reply="Bye."), message("stop!")).reply == "Bye."


def test_a_module_that_the_test_has_imported(tmp_path: Path) -> None:
    """Its own functions are asked, so that a test can replace what they call."""
    file = write(
        tmp_path, "def look(): return 'real'\n@on_message()\ndef f(event, context): return look()\n"
    )
    spec = importlib.util.spec_from_file_location("some.mine", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module, ModuleType)
    module.look = lambda: "fake"  # type: ignore[attr-defined] # the point
    assert ask(module, message("x")).reply == "fake"
    assert faults(module, a=1) == {"": "this plugin has no settings"}


def test_paths_in_settings_start_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is below the folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    source = "from pathlib import Path\nclass Settings(msgspec.Struct):\n    file: Path\n"
    file = write(tmp_path, f"{source}@on_message()\ndef f(event, context): return None\n")
    assert load(file, file="a.txt").settings.file == tmp_path / "a.txt"


@pytest.mark.anyio
async def test_not_on_a_running_loop(tmp_path: Path) -> None:
    """An `async def` test is told why it cannot ask, and what to write instead."""
    file = write(tmp_path, "@on_message()\ndef f(event, context): return None\n")
    with pytest.raises(RuntimeError, match="write the test as def, not async def"):
        ask(file, message("x"))


def test_people_are_found_by_their_number_in_any_form_with_its_country_code() -> None:
    """As in the store: of a person, and of ours in the scope of an opt-out."""
    known = people(
        subscriptions=[subscription("254726770792", short_code="447786200000")],
        opted_out=[OptOut("+254726770792", "STOP", short_code="+447786200000")],
    )
    for number in ("+447786200000", "447786200000", "+44 7786 200000"):
        assert known.has_opted_out("254 726 770792", short_code=number)
        assert known.is_subscriber("254726770792", short_code=number)
    assert not known.has_opted_out(PERSON, short_code="+447786200001")
    assert message("hello", from_="0726770792", to="0700 000001").data.to == "+254700000001"


def test_numbers_of_tests_are_those_of_the_service(tmp_path: Path) -> None:
    """In decorators, in what is asked for, and in events: by the region of the tests' source."""
    write(
        tmp_path,
        '@on_message(to="0700 000001")\n'
        'def mine(event, context): return Send(to="0711 000222", text="hello")\n',
    )
    asked = ask(tmp_path / "mine.py", message("x", to="254700000001"))
    assert asked.actions == (Send(to="+254711000222", text="hello"),)
