"""What plugins are written against: decorators, filters, actions, and that all of it is told."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from receiver import actions as actions_module
from receiver import handlers, testing
from receiver.events import Event, EventType
from receiver.handlers import (
    MARK,
    Address,
    Context,
    Explanation,
    Finding,
    Flag,
    Handler,
    HandlerFunction,
    OptOut,
    People,
    Reply,
    Send,
    SettingsError,
    Target,
    actions,
    addresses,
    fold,
    has_keyword,
    on_delivery,
    on_message,
    on_subscription,
)
from receiver.plugin_host.loader import HOOKS
from tests.floors import tree
from tests.harness import opened, with_plugin
from tests.plugins.asking import change, message, report

GUIDE = Path(__file__).parents[1] / "docs" / "plugins.md"


def decorated(decorator: Callable[[HandlerFunction], HandlerFunction]) -> Handler:
    """What a decorator makes of a function."""

    def function(event: Event[Any], context: Context[None]) -> None:
        """Does nothing."""

    found: Handler = getattr(decorator(function), MARK)
    return found


@pytest.mark.parametrize("decorator", [on_message, on_delivery, on_subscription])
def test_a_decorator_without_parentheses_has_no_filters(decorator: Any) -> None:
    """`@on_message` is `@on_message()`."""
    bare, called = decorated(decorator), decorated(decorator())
    assert replace(bare, function=called.function) == called


def test_a_filter_without_its_name_is_refused_with_file_and_line(tmp_path: Path) -> None:
    """The error says how it is written."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from receiver.handlers import on_message\n\n@on_message('GAME')\n"
        "def mine(event, context): ...\n"
    )
    found = testing.faults(file)
    assert found[""].endswith(
        "mine.py:3: TypeError: @on_message: a filter has a name: @on_message(keyword='GAME')"
    )


@pytest.mark.parametrize("name", handlers.__all__)
def test_public_name_has_a_docstring(name: str) -> None:
    """Everything that a plugin author imports says what it is."""
    value = getattr(handlers, name)
    if inspect.isclass(value) or hasattr(value, "__wrapped__") or inspect.isfunction(value):
        assert value.__doc__
        return
    home = actions_module if hasattr(actions_module, name) else handlers
    tree = ast.parse(inspect.getsource(home))
    [after] = [
        following
        for node, following in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    assert isinstance(after, ast.Expr)
    assert isinstance(after.value, ast.Constant)


@pytest.mark.parametrize("name", handlers.__all__)
def test_public_name_is_in_the_guide(name: str) -> None:
    """Everything that a plugin author imports is named in docs/plugins.md."""
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", GUIDE.read_text("utf-8"))


def test_import_is_cheap() -> None:
    """Importing the plugin API imports no template engine, log formatter, or server."""
    program = "import sys, receiver.handlers; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"jinja2", "structlog", "rich", "uvicorn", "starlette"} & set(run.stdout.split())


def test_decorated_function_is_itself() -> None:
    """A decorator leaves the function as it is, so that tests can call it."""

    def function(event: Event[Any], context: Context[None]) -> str:
        return "yes"

    assert on_message()(function) is function


@pytest.mark.parametrize(
    ("decorator", "wanted"),
    [
        (on_message(), {EventType.MESSAGE_RECEIVED}),
        (on_delivery(), {EventType.DELIVERY_UPDATED}),
        (
            on_subscription(),
            {EventType.SUBSCRIPTION_ACTIVATED, EventType.SUBSCRIPTION_DEACTIVATED},
        ),
    ],
)
def test_each_decorator_has_its_events(decorator: Any, wanted: set[EventType]) -> None:
    """Without filters a handler gets all events of its types, and no others."""
    events = {
        EventType.MESSAGE_RECEIVED: message("hello"),
        EventType.DELIVERY_UPDATED: report(),
        EventType.SUBSCRIPTION_ACTIVATED: change(EventType.SUBSCRIPTION_ACTIVATED),
        EventType.SUBSCRIPTION_DEACTIVATED: change(EventType.SUBSCRIPTION_DEACTIVATED),
    }
    handler = decorated(decorator)
    assert {type_ for type_, event in events.items() if handler.wants(event)} == wanted


@pytest.mark.parametrize("text", ["Balance", " balance! now", "BALANCE", "saldo", "SALDO?"])
def test_keyword_filter(text: str) -> None:
    """A keyword filter takes the first word in any spelling of it."""
    assert decorated(on_message(keyword=["Balance", "saldo"])).wants(message(text))


@pytest.mark.parametrize("text", ["my balance", "balances", "", "?"])
def test_keyword_filter_refuses(text: str) -> None:
    """A keyword filter takes no other word, and no message without words."""
    assert not decorated(on_message(keyword=["Balance", "saldo"])).wants(message(text))


@pytest.mark.parametrize(
    ("keyword", "text", "wanted"),
    [
        *(("A+", "a+ please", True), ("A+", "A-", False), ("A+", "A", False), ("A", "A+", True)),
        *(("Game", "game#one", True), ("GAME", "game*one", True), ("N'DJ", "n\u02bbdj", True)),
        *(("👍", "👍🏿", True), ("GAME7", "game\u0667", True), ("C#", "(c#)", True)),
    ],
)
def test_keyword_filter_folds_as_rules_do(keyword: str, text: str, wanted: bool) -> None:
    """Symbols of a keyword count, signs part words; what an earlier version stored is no matter."""
    event = message(text)
    old = msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, keyword="OLD"))
    for each in (event, old):
        assert decorated(on_message(keyword=keyword)).wants(each) == wanted
    folded = frozenset({fold(keyword, symbols=True)})
    assert has_keyword(event.data, folded) == wanted


@pytest.mark.parametrize(
    "text", ["", "BUY AIRTIME", " BUY", "BUY\u200bNOW", "\u2060", "BUY#NOW", "BUY,NOW"]
)
def test_keyword_filter_is_one_word(text: str) -> None:
    """A keyword that could never be a first word is refused where it is written."""
    with pytest.raises(ValueError, match="a keyword is one word"):
        on_message(keyword=text)


def test_keyword_filter_of_subscriptions() -> None:
    """A subscription's keyword is compared like a message's, and may be missing."""
    handler = decorated(on_subscription(keyword="game"))
    assert handler.wants(change(EventType.SUBSCRIPTION_ACTIVATED, keyword="Game"))
    assert not handler.wants(change(EventType.SUBSCRIPTION_ACTIVATED))


@pytest.mark.parametrize(
    "written", ["+447786200000", "447786200000", " +44 7786 200 000", "44-7786-200000"]
)
def test_address_filter_knows_numbers(written: str) -> None:
    """A number of ours is the same with and without its plus and separators."""
    assert decorated(on_message(to=written)).wants(message("hello", to="+447786200000"))


def test_address_filter() -> None:
    """A filter takes the short codes it names, and no message whose address is unknown."""
    handler = decorated(on_message(to=["22915", "Shop"]))
    taken = [
        to for to in ("22915", "Shop", "+22915", "2291", None) if handler.wants(message("x", to=to))
    ]
    assert taken == ["22915", "Shop"]


def test_address_filter_of_subscriptions() -> None:
    """A subscription's address is its short code."""
    handler = decorated(on_subscription(to="22915"))
    assert handler.wants(change(EventType.SUBSCRIPTION_ACTIVATED, short_code="22915"))
    assert not handler.wants(change(EventType.SUBSCRIPTION_ACTIVATED, short_code="70700"))


def test_short_codes_are_no_numbers() -> None:
    """They have one form, as have names of senders."""
    assert addresses(["22915", "1234567", " Shop "]) == {"22915", "1234567", "Shop"}


def test_an_address_is_read_by_the_regions_of_the_sources() -> None:
    """As `Settings` have it; without them only what has its country code is a number."""
    assert addresses(Address("07786 200000", ["GB", "KE"])) == {"+447786200000"}
    assert addresses("07786 200000") == {"07786 200000"}
    assert Address("07786 200000", ["GB"]) == "07786 200000"


@pytest.mark.parametrize("decorator", [on_message, on_delivery, on_subscription])
def test_source_filter(decorator: Any) -> None:
    """A source filter takes the sources it names."""
    events = [message("hello"), report(), change(EventType.SUBSCRIPTION_ACTIVATED)]
    ours, other = decorated(decorator(source=["tilil", "b"])), decorated(decorator(source="b"))
    assert sum(map(ours.wants, events)) == 1
    assert not any(map(other.wants, events))


def test_a_function_is_decorated_once() -> None:
    """A second decorator would take the first one's place unseen, so it is refused."""
    with pytest.raises(TypeError, match="function is decorated twice"):
        decorated(lambda function: on_delivery()(on_message()(function)))


def test_handlers_have_names_of_their_own() -> None:
    """A second handler of a name would take the first one's place unseen, so it is refused."""
    source = "@on_message()\ndef reply(event, context): pass\n"
    with pytest.raises(TypeError, match="reply is the second handler of that name"):
        exec(source * 2, {"on_message": on_message})


@pytest.mark.parametrize(
    ("returned", "asked"),
    [
        (None, ()),
        ("hello", (Reply("hello"),)),
        ("", (Reply(""),)),
        (Reply("hello"), (Reply("hello"),)),
        (Flag("look at it"), (Flag("look at it"),)),
        (["hello", None, OptOut("+1")], (Reply("hello"), OptOut("+1"))),
        ((Send(to="+1", text="x"), ["y"]), (Send(to="+1", text="x"), Reply("y"))),
        ([], ()),
    ],
)
def test_actions(returned: object, asked: tuple[object, ...]) -> None:
    """None, a text, an action, and lists and tuples of those are what a handler returns."""
    assert actions(returned) == asked


@pytest.mark.parametrize("returned", [1, b"hello", {"text": "hello"}, True, [object()], Reply])
def test_actions_refuses(returned: object) -> None:
    """Anything else is an error that tells what is expected."""
    with pytest.raises(TypeError, match="a handler returns None, a text, an action or a list"):
        actions(returned)


def test_settings_error_tells_the_key() -> None:
    """A fault of settings shows its key where there is one."""
    assert str(SettingsError("rules[2].reply", "missing")) == "rules[2].reply: missing"
    assert str(SettingsError("", "no rules")) == "no rules"


def test_context_has_a_logger() -> None:
    """A context made without a logger, as in an author's tests, has one that can be used."""
    context: Context[None] = Context(plugin="mine", settings=None, state=None)
    context.log.info("asked", handler="mine")


def test_context_without_a_store_knows_nobody() -> None:
    """Its people answer every question, with no."""
    context: Context[None] = Context(plugin="mine", settings=None, state=None)
    known: People = context.people
    assert not known.is_subscriber("+254726770792", short_code="22915")
    assert not known.has_opted_out("+254726770792", service_id="44")
    assert (known.subscriptions("+254726770792"), known.history("+254726770792")) == ([], [])


# Hooks

#: A plugin with every hook; each leaves a trace that `test_hook_is_called` finds.
EVERY_HOOK = """
from receiver.handlers import Explanation, Finding, Forward, Target, on_message

def setup(settings): return ["set up"]
def start(context): context.state.append("started")
def stop(context): context.state.append("stopped")
def explain(event, context): return [Explanation(rule="mine", verdict="no", why=event.data.text)]
def lint(context): return [Finding("mine", context.state[0])]
def targets(settings): return [Target(name="crm", url="https://crm.example.com/events")]

@on_message()
def answer(event, context): return Forward(target="crm")
"""


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented(name: str) -> None:
    """Each stands with its parameters in docs/plugins.md and in the docstring of the module."""
    signature = f"{name}({', '.join(HOOKS[name])})"
    table = [row for row in GUIDE.read_text("utf-8").splitlines() if row.startswith("| `")]
    assert any(row.startswith(f"| `{signature}` |") for row in table)
    assert f"def {signature}" in (handlers.__doc__ or "")


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.anyio
async def test_hook_is_called(tmp_path: Path, name: str) -> None:
    """Each does its part in a plugin that has all of them; a new hook needs its line here."""
    async with opened(tmp_path, with_plugin(EVERY_HOOK)) as service:
        [plugin] = service.parts.plugins
        during = list(plugin.state)
    context = plugin.context
    called: dict[str, Callable[[], bool]] = {
        "setup": lambda: during[0] == "set up",
        "start": lambda: during == ["set up", "started"],
        "stop": lambda: plugin.state == ["set up", "started", "stopped"],
        "explain": lambda: (
            plugin.explain is not None
            and plugin.explain(message("hm"), context)
            == [Explanation(rule="mine", verdict="no", why="hm")]
        ),
        "lint": lambda: (
            plugin.lint is not None and plugin.lint(context) == [Finding("mine", "set up")]
        ),
        "targets": lambda: (
            plugin.targets == (Target(name="crm", url="https://crm.example.com/events"),)
        ),
    }
    assert called[name]()


def used_in_tests() -> set[str]:
    """Every name that the body of a function in a test file refers to."""
    names = set()
    for file in Path(__file__).parent.rglob("*.py"):
        for function in ast.walk(tree(file)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                names |= {
                    node.id if isinstance(node, ast.Name) else node.attr
                    for node in ast.walk(function)
                    if isinstance(node, ast.Name | ast.Attribute)
                }
    return names


def test_every_public_name_is_used_in_a_test() -> None:
    """What plugin authors are given is exercised, not only listed."""
    assert set(handlers.__all__) | set(testing.__all__) <= used_in_tests()
