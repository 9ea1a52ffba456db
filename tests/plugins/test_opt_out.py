"""STOP and START: obeyed however they are typed, and only when they are meant."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import Flag, OptIn, OptOut, Reply
from receiver.people import Nobody
from receiver.plugin_host.loader import Plugin, ordered
from tests.plugins.asking import PERSON, ask, explain, faults, load, message, report

PLUGIN = load("opt_out")
SWAHILI = load("opt_out", stop_words=["Acha", "ondoa mimi", "🛑"], start_words=["anza"])
NAMED = load("opt_out", languages=["en", "sw"])
BY_CODE = load("opt_out", scope="short_code")
BY_SERVICE = load("opt_out", scope="service")
SILENT = load("opt_out", stop_reply="", start_reply="")
CONFIRMATION = Reply(PLUGIN.settings.stop_reply, even_if_opted_out=True, if_changed=True)
GUIDE = Path(__file__).parents[2] / "docs" / "opt-outs.md"
#: GSM 03.38: the basic alphabet without its letters for Greek and national use.
GSM = re.compile(r"[A-Za-z0-9 @£$!\"#%&'()*+,\-./:;<=>?\n]*")

MODULE = importlib.import_module("plugins.opt_out")
STOPS = (
    *("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL"),
    *("OPTOUT", "OPT OUT", "REVOKE"),
)
#: What people and phones put beside a word without meaning anything by it.
decoration = st.text(st.sampled_from(" \t\n\xa0\u200b\u200d\u2060\ufeff.,;:!?\"'()-_*…“”¡🙏😀"))
any_case = st.sampled_from([str.upper, str.lower, str.title, str.swapcase])


class Known(Nobody):
    """People of whom something is known."""

    def __init__(self, out: tuple[str | None, str | None]) -> None:
        """`out`: the short code and service of an opt-out, for `has_opted_out` to say yes to."""
        self._out = out

    def has_opted_out(
        self, msisdn: str, *, short_code: str | None = None, service_id: str | None = None
    ) -> bool:
        """Whether it is asked about just that scope."""
        return (short_code, service_id) == self._out


def knowing(plugin: Plugin, people: Known) -> Plugin:
    """The plugin where this is known."""
    context = msgspec.structs.replace(plugin.context, people=people)
    return msgspec.structs.replace(plugin, context=context)


@pytest.mark.parametrize("word", STOPS)
def test_stop(word: str) -> None:
    """Each stop word opts out, is recorded as the reason, and is confirmed in spite of itself."""
    out, reply = ask(PLUGIN, message(word))
    assert out == OptOut(PERSON, word)
    assert reply == CONFIRMATION


@pytest.mark.parametrize("word", ["START", "UNSTOP"])
def test_start(word: str) -> None:
    """Each start word opts in and is confirmed."""
    assert ask(PLUGIN, message(word)) == (
        OptIn(PERSON, word),
        Reply(PLUGIN.settings.start_reply),
    )


@given(st.sampled_from(STOPS), decoration, decoration, any_case)
def test_decorated_stop(word: str, before: str, after: str, case: object) -> None:
    """Space, punctuation, emoji, case and the invisible make no difference to a stop word."""
    assert callable(case)
    assert ask(PLUGIN, message(before + case(word) + after))[0] == OptOut(PERSON, word)


@given(st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad"), st.integers(0, 4))
def test_stop_with_the_invisible_inside(char: str, at: int) -> None:
    """What nobody sees inside the word does not hide it."""
    assert ask(PLUGIN, message("STOP"[:at] + char + "STOP"[at:]))[0] == OptOut(PERSON, "STOP")


@pytest.mark.parametrize(
    "text",
    [
        "Stop. Thank you",
        "please stop",
        "Please, STOP!",
        "stop pls",
        "Kindly stop. Many thanks",
        "thanks, stop",
        "Stop.Thank you very much",
        "stop thank u 🙏",
        "Tafadhali stop. Asante sana!",
        "\u200bplease\u200bstop\u200b",
        "\uff33\uff34\uff2f\uff30",
    ],
)
def test_polite_stop(text: str) -> None:
    """Politeness around the word is no sentence."""
    assert ask(PLUGIN, message(text))[0] == OptOut(PERSON, "STOP")


@pytest.mark.parametrize(
    "text", ["stop all", "Stop-All", "STOP, ALL!", "stop\u200ball", "stop/all."]
)
def test_stop_of_two_words(text: str) -> None:
    """STOP ALL is two words with anything between them that is no word."""
    assert ask(PLUGIN, message(text))[0] == OptOut(PERSON, "STOP ALL")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *(("STOP STOP STOP", "STOP"), ("stop!!!! Stop", "STOP"), ("stop please stop", "STOP")),
        *(("Stop, cancel, end", "STOP"), ("quit stop all", "STOP ALL"), ("opt-out", "OPT OUT")),
        *(("S T O P", "STOP"), ("s.t.o.p.", "STOP"), ("S-T-O-P", "STOP"), ("S*T*O*P", "STOP")),
        *(("e.n.d", "END"), ("R E V O K E please", "REVOKE"), ("UN SUBSCRIBE", "UNSUBSCRIBE")),
        *(("ST0P", "STOP"), ("5T0P!", "STOP"), ("S T 0 P", "STOP"), ("CANCE1", "CANCEL")),
        *(("qu1t", "QUIT"), ("UN5UB5CR1BE", "UNSUBSCRIBE"), ("0PT0UT", "OPTOUT")),
        *(("STOP1", "STOP"), ("STOP70700", "STOP"), ("22915STOP", "STOP"), ("END22915", "END")),
        *(("STOP 22915", "STOP"), ("stop to 22915", "STOP"), ("QUIT: 22915", "QUIT")),
        *(("STOP\u0661", "STOP"), ("STOP ٢٢٩١٥", "STOP")),
        *(("STOP\n\nJohn Doe", "STOP"), ("Stop.\r\n \r\nJane Doe\r\nCEO, Acme", "STOP")),
        *(("STOP\r\rJane", "STOP"), ("please stop\n-- \nJane", "STOP")),
        *(("STOP\nSent from my iPhone", "STOP"), ("\n\nSTOP 22915\n\n\nJ", "STOP")),
        ("STOP ALL\n\nStop means stop", "STOP ALL"),
    ],
)
def test_plain_commands(text: str, word: str) -> None:
    """The command alone, repeated, spelled, glued to a number, before a signature or our code."""
    assert ask(PLUGIN, message(text, to="22915"))[0] == OptOut(PERSON, word)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *(("Please stop texting me", "STOP"), ("stop sending me messages!", "STOP")),
        *(("stop these messages", "STOP"), ("STOP ALL MESSAGES", "STOP ALL")),
        *(("Unsubscribe me", "STOP"), ("unsubscribe from your mailing list", "STOP")),
        *(("remove me from your list", "STOP"), ("Take me off this list now", "STOP")),
        *(("I want to unsubscribe", "STOP"), ("I'd like to opt out", "STOP")),
        *(("Don't text me", "STOP"), ("Don\u2019t text me again!", "STOP")),
        *(("do not contact me", "STOP"), ("No more texts please", "STOP")),
        *(("I don't want to receive any more messages from you", "STOP"), ("opt me out", "STOP")),
        *(("cancel my subscription", "STOP"), ("Can you please stop spamming us?", "STOP")),
        ("stop texting me\n\nJane", "STOP"),
    ],
)
def test_sentences_that_plainly_ask(text: str, word: str) -> None:
    """A sentence that asks for no more messages and for nothing else is obeyed."""
    assert ask(PLUGIN, message(text))[0] == OptOut(PERSON, word)
    [explanation] = explain(PLUGIN, message(text))
    assert "the whole message asks for what the word does" in explanation.why


def test_sentences_of_languages() -> None:
    """Swahili sentences are obeyed where Swahili is named."""
    for text in (
        "acha kunitumia sms",
        "Niondoe!",
        "sitaki sms zenu tena",
        "nitoe kwenye orodha hii",
    ):
        assert ask(NAMED, message(text))[0] == OptOut(PERSON, "STOP")
        assert ask(PLUGIN, message(text)) == ()


@pytest.mark.parametrize(
    ("text", "to"),
    [("STOP 07786 200000", "+447786200000"), ("stop +44 7786-200000", "+447786200000")],
)
def test_stop_before_a_number_of_ours(text: str, to: str) -> None:
    """The number is ours however it is written; any other number makes a near miss."""
    assert isinstance(ask(PLUGIN, message(text, to=to))[0], OptOut)
    assert not any(
        isinstance(each, OptOut) for each in ask(PLUGIN, message(text, to="+447786200001"))
    )
    assert not any(isinstance(each, OptOut) for each in ask(PLUGIN, message(text, to=None)))


@pytest.mark.parametrize("text", ["START START", "start 22915", "START\n\nJohn"])
def test_start_may_be_repeated_and_signed(text: str) -> None:
    """Who has a signature gets back in, too; a start word is not guessed from letters."""
    assert ask(PLUGIN, message(text, to="22915"))[0] == OptIn(PERSON, "START")


def test_ordinary_words_are_not_obeyed() -> None:
    """A keyword of the configuration that reads as a command can be named."""
    plugin = load("opt_out", ordinary_words=["STOP1", "stop stop"])
    for text in ("stop1", "Stop, stop!"):
        assert ask(plugin, message(text)) == ()
    assert isinstance(ask(plugin, message("stop2"))[0], OptOut)


@given(st.sampled_from(STOPS), st.sampled_from([" ", ".", "-", "*", ", ", "\u2060 "]), any_case)
def test_letters_apart(word: str, apart: str, case: object) -> None:
    """Whatever stands between the letters of a stop word, it is that word."""
    assert callable(case)
    found = ask(PLUGIN, message(apart.join(case(word.replace(" ", "")))))[0]
    assert isinstance(found, OptOut)
    assert found.reason.replace(" ", "") == word.replace(" ", "")


@given(
    st.sampled_from(STOPS),
    st.sampled_from(["\n\n", "\r\n\r\n", "\n \t\n", "\n--\n", "\r\r"]),
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1),
    decoration,
)
def test_any_signature(word: str, line: str, signature: str, beside: str) -> None:
    """Whatever follows the command after a blank line, but a start word."""
    text = f"{word}{beside.strip()}{line}signed {signature}"
    assert ask(PLUGIN, message(text))[0] == OptOut(PERSON, word)


@given(st.sampled_from(STOPS), st.integers(1, 30), st.sampled_from([" ", "\n", ", ", "! "]))
def test_repeated_any_number_of_times(word: str, times: int, apart: str) -> None:
    """A command said often is the command."""
    assert ask(PLUGIN, message(apart.join([word] * times)))[0] == OptOut(PERSON, word)


@given(st.lists(st.sampled_from(["WE", "MUST", "THIS", "BILL", "HOUSE", "TOMORROW"]), min_size=1))
def test_a_word_within_other_words(others: list[str]) -> None:
    """Inside a sentence about something else a stop word is neither obeyed nor listed."""
    assert ask(PLUGIN, message(f"WE MUST STOP {' '.join(others)} NOW")) == ()


@pytest.mark.parametrize(
    "text",
    [
        "we must STOP this bill",
        "stop this bill",
        "please stop this bill",
        "stopwatch",
        "STOP WATCH",
        "don't stop",
        "Don't. Stop.",
        "bus stop",
        "end of the world",
        "start game",
        "please",
        "thank you",
        "stop start",
        "",
        " \u200b ",
        "!!!",
        "🙏",
        "नहीं",
        *("stop start", "STOP\n\nSTART", "\n\n", "STOP 22915 START", "starts"),
        *("END5", "the end5", "5END", "3nding", "5t0pwatch", "stop5watch", "STOPWATCH1"),
        *("S T A R T", "ST4RT", "START1", "s t o p w a t c h", "a b c", "1", "5 5", "I"),
        *("end the war", "cancel the meeting", "quit smoking", "revoke my licence"),
        *("I want to stop smoking", "take me home", "remove", "text me", "send me messages"),
        *("do not stop sending me messages", "I don't want to stop", "no more rice"),
        *("we must stop\n\nthis bill", "no messages today?", "option 1", "opt for the second"),
    ],
)
def test_no_stop(text: str) -> None:
    """A word inside a sentence or another word, or none at all, is a message like any other."""
    assert ask(PLUGIN, message(text)) == ()


@given(decoration, st.text(st.characters(categories=["L", "N"]), min_size=1), any_case)
def test_stop_in_a_longer_word(before: str, tail: str, case: object) -> None:
    """Whatever letters follow without a space: `stop` never matches `stopwatch`."""
    assert callable(case)
    for rest in ("watch", f"watch{tail}"):
        assert ask(PLUGIN, message(before + case(f"stop{rest}"))) == ()


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_taken(text: str) -> None:
    """There is no text that the plugin fails on."""
    ask(PLUGIN, message(text))
    explain(PLUGIN, message(text))


@pytest.mark.parametrize(
    "text", ["Acha!", "tafadhali acha", "ONDOA  mimi", "🛑", "🛑!", "🛑\ufe0f"]
)
def test_further_stop_words(text: str) -> None:
    """Words of the configuration work like the built-in ones, which stay."""
    assert isinstance(ask(SWAHILI, message(text))[0], OptOut)
    assert isinstance(ask(SWAHILI, message("stop"))[0], OptOut)
    assert ask(PLUGIN, message(text)) == ()


def test_further_words_in_other_scripts() -> None:
    """A vowel sign is part of its word; a hyphen in a configured word may be typed as a space."""
    plugin = load("opt_out", stop_words=["बंद", "acha-yote"])
    assert ask(plugin, message("बंद!"))[0] == OptOut(PERSON, "बंद")
    assert ask(plugin, message("ब द")) == ()
    assert ask(plugin, message("acha yote"))[0] == OptOut(PERSON, "ACHA-YOTE")


def test_further_start_words() -> None:
    """Start words can be added too."""
    assert ask(SWAHILI, message("ANZA"))[0] == OptIn(PERSON, "ANZA")


def test_silence() -> None:
    """An empty text confirms nothing, but keeps other handlers from answering all the same."""
    assert ask(SILENT, message("stop")) == (
        OptOut(PERSON, "STOP"),
        Reply("", even_if_opted_out=True, if_changed=True),
    )
    assert ask(SILENT, message("start")) == (OptIn(PERSON, "START"), Reply(""))


@pytest.mark.parametrize("sender", ["22915", "Safaricom", "STOP"])
def test_only_people_are_opted_out(sender: str) -> None:
    """A short code or a name is nobody who could opt out."""
    assert ask(PLUGIN, message("STOP", sender=sender)) == ()


def test_words_come_before_rules() -> None:
    """The handler of messages is asked first, wherever the plugin stands, and inline."""
    [(_, first), *_] = ordered([load("keyword_reply", rules=[]), PLUGIN])
    assert first is PLUGIN.handlers[0]
    assert first.inline


@pytest.mark.parametrize("text", [PLUGIN.settings.stop_reply, PLUGIN.settings.start_reply])
def test_confirmations_fit_one_message(text: str) -> None:
    """The built-in confirmations are one segment in the GSM alphabet."""
    assert len(text) <= 160
    assert GSM.fullmatch(text)


def test_network_opt_out() -> None:
    """Who told the network to stop our sender is opted out of it, where the report says who."""
    assert ask(PLUGIN, report(opted_out=True, to=PERSON)) == (OptOut(PERSON, "network"),)
    out = OptOut(PERSON, "network", short_code="SHOP")
    assert ask(PLUGIN, report(opted_out=True, to=PERSON, sender="SHOP")) == (out,)


@pytest.mark.parametrize(
    "data", [{"opted_out": True}, {"opted_out": True, "to": "22915"}, {"to": PERSON}, {}]
)
def test_no_network_opt_out(data: dict[str, object]) -> None:
    """Other reports opt nobody out."""
    assert ask(PLUGIN, report(**data)) == ()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"stop_words": [" \u200b"]}, {"stop_words[0]": "expected a word, got an empty text"}),
        ({"start_words": ["ANZA", ""]}, {"start_words[1]": "expected a word, got an empty text"}),
        ({"start_words": ["End!"]}, {"start_words[0]": "END is a stop word"}),
        ({"stop_words": ["start"]}, {"stop_words[0]": "START is a start word"}),
        (
            {"stop_words": ["toka", ""], "start_words": ["TOKA"]},
            {
                "stop_words[1]": "expected a word, got an empty text",
                "start_words[0]": "TOKA is a stop word",
            },
        ),
    ],
)
def test_wrong_words(settings: dict[str, list[str]], expected: dict[str, str]) -> None:
    """Words that are none, or are of both kinds, are refused, all of them at once."""
    assert faults("opt_out", **settings) == expected


def test_word_may_be_repeated() -> None:
    """A built-in word in the configuration is no fault."""
    assert load("opt_out", stop_words=["STOP", "stop all"])


@pytest.mark.parametrize(
    ("text", "verdict", "why"),
    [
        ("please stop", "answers", "the whole message is the word; it opts the sender out"),
        ("START", "answers", "it opts the sender in again"),
        ("game", "no", "the message is none of CANCEL, END"),
    ],
)
def test_explain(text: str, verdict: str, why: str) -> None:
    """It says what it made of a message, and with which word."""
    [explanation] = explain(PLUGIN, message(text))
    assert explanation.verdict == verdict
    assert why in explanation.why


def test_explain_silence() -> None:
    """Without a confirmation it acts, rather than answers."""
    [explanation] = explain(SILENT, message("stop"))
    assert (explanation.verdict, explanation.reply) == ("acts", None)


def test_explain_nobody() -> None:
    """A sender that is no person is told apart."""
    [explanation] = explain(PLUGIN, message("stop", sender="22915"))
    assert explanation.verdict == "no"
    assert "no person's number" in explanation.why


def test_examples_of_the_guide() -> None:
    """The table of messages in docs/opt-outs.md is true."""
    outcomes = {
        "opts out": {OptOut, Reply},
        "is listed as a near miss": {Flag},
        "is a message like any other": set(),
    }
    rows = re.findall(
        rf"^\| (`.*) \| ({'|'.join(outcomes)}) \|$", GUIDE.read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) == 3
    for texts, outcome in rows:
        for text in re.findall(r"`([^`]*)`", texts):
            asked = ask(PLUGIN, message(text))
            assert {type(action) for action in asked} == outcomes[outcome], text


def test_the_guide_names_every_word() -> None:
    """The built-in words of each language stand in docs/opt-outs.md."""
    text = GUIDE.read_text("utf-8")
    for words in MODULE.LANGUAGES.values():
        for stops_and_starts in words:
            assert all(f"`{word}`" in text for word in stops_and_starts)


@pytest.mark.parametrize("kind", [0, 1])
def test_words_of_languages(kind: int) -> None:
    """Swahili words count where Swahili is named, beside the English ones."""
    action = (OptOut, OptIn)[kind]
    for word in MODULE.LANGUAGES["sw"][kind]:
        assert isinstance(ask(NAMED, message(f"{word.lower()}!"))[0], action)
        assert ask(PLUGIN, message(word)) == ()
    assert isinstance(ask(NAMED, message(MODULE.LANGUAGES["en"][kind][0]))[0], action)


def test_an_unknown_language_is_refused() -> None:
    """The error names those that there are."""
    expected = {"languages[1]": "expected one of en, sw; got 'fr'"}
    assert faults("opt_out", languages=["sw", "fr"]) == expected


@pytest.mark.parametrize(
    ("plugin", "text", "data", "scope"),
    [
        (PLUGIN, "stop", {"service_id": "44"}, (None, None)),
        (BY_CODE, "stop", {"service_id": "44"}, ("22915", None)),
        (BY_CODE, "stop", {"to": None}, (None, None)),
        (BY_CODE, "stopall", {}, (None, None)),
        (BY_CODE, "Stop, all!", {}, (None, None)),
        (BY_SERVICE, "stop", {"service_id": "44"}, (None, "44")),
        (BY_SERVICE, "stop", {}, ("22915", None)),
        (BY_SERVICE, "stop", {"service_id": "0"}, ("22915", None)),
        (BY_SERVICE, "stop all", {"service_id": "44"}, (None, None)),
        (BY_SERVICE, "start", {"service_id": "44"}, (None, "44")),
        (BY_CODE, "start", {}, ("22915", None)),
    ],
)
def test_scope(
    plugin: Plugin, text: str, data: dict[str, Any], scope: tuple[str | None, str | None]
) -> None:
    """A word is about what `scope` says and the message names; STOPALL is about everything."""
    change, *_ = ask(plugin, message(text, **data))
    assert isinstance(change, OptOut | OptIn)
    assert (change.short_code, change.service_id) == scope


@pytest.mark.parametrize(
    ("plugin", "scope"), [(PLUGIN, (None, None)), (BY_CODE, ("22915", None))], ids=["all", "code"]
)
def test_a_second_stop_is_not_confirmed(
    plugin: Plugin, scope: tuple[str | None, str | None]
) -> None:
    """It is recorded, and answered by nobody; START is confirmed in any case."""
    known = knowing(plugin, Known(out=scope))
    out, reply = ask(known, message("stop"))
    assert isinstance(out, OptOut)
    assert reply == Reply("", even_if_opted_out=True)
    assert ask(known, message("start"))[-1] == Reply(PLUGIN.settings.start_reply)


def test_a_wider_stop_is_confirmed() -> None:
    """Who is out of one short code and then says STOP to all is told so."""
    known = knowing(PLUGIN, Known(out=("22915", None)))
    assert ask(known, message("stop"))[-1] == CONFIRMATION


@pytest.mark.parametrize(
    "text",
    [
        *("STOPP", "stp", "Sotp!", "stpo", "stops", "please stopp", "unsubscibe", "cancle"),
        *("STOPAL", "stop 123", "stop it", "Stop you", "stop it now", "stop 70700", "stop sms"),
        *("pls cancel it", "STOP MESSAGES", "ST OP", "hello stop", "I want to stop"),
        *("how do I unsubscribe?", "hey, stop texting me or I call the police", "leave me alone"),
        *("who is this? Opt out", "stop\nit", "stop 1", "stop the bus"),
    ],
)
def test_near_miss(text: str) -> None:
    """What may have been meant as a stop word is flagged, and other handlers still answer it."""
    [flag] = ask(PLUGIN, message(text))
    assert isinstance(flag, Flag)
    assert flag.reason.startswith("near miss of ")


@pytest.mark.parametrize(
    "text",
    [
        *("step", "Shop", "stock", "ends", "and", "send", "quiz", "quiet", "top", "cancer"),
        *("starts", "step 123", "stop watch", "stop 1234567", "stop a b c", "end it"),
        *("start now", "smart"),
    ],
)
def test_no_near_miss(text: str) -> None:
    """Ordinary words, words too short to tell, whole sentences, and what is near START."""
    assert ask(PLUGIN, message(text)) == ()


def test_near_misses_of_further_words() -> None:
    """Words of languages and of the configuration have them too, in their own letters."""
    assert ask(NAMED, message("sitsha")) == (Flag("near miss of SITISHA"),)
    assert ask(load("opt_out", stop_words=["СТОП"]), message("стопп")) == (
        Flag("near miss of СТОП"),
    )


def test_ordinary_words_of_the_configuration() -> None:
    """A keyword that is a letter away from a stop word can be named."""
    assert ask(PLUGIN, message("stops")) == (Flag("near miss of STOP"),)
    assert ask(load("opt_out", ordinary_words=["Stops"]), message("stops")) == ()


def test_every_ordinary_word_is_near() -> None:
    """The list holds no word that would not be taken for a near miss without it."""
    bare = MODULE.near_words(NAMED.state.reader.words, frozenset())
    assert set(bare) >= MODULE.ORDINARY


@given(st.sampled_from([word for word in STOPS if len(word) >= 4 and " " not in word]), st.data())
def test_one_letter_off(word: str, data: st.DataObject) -> None:
    """Whichever letter is missing, it is a near miss, another word of ours, or ordinary."""
    at = data.draw(st.integers(0, len(word) - 1))
    typed = word[:at] + word[at + 1 :]
    asked = ask(PLUGIN, message(typed))
    assert asked == (Flag(f"near miss of {word}"),) or typed in MODULE.ORDINARY


def test_explain_a_second_stop() -> None:
    """It says why there is no confirmation."""
    [explanation] = explain(knowing(PLUGIN, Known(out=(None, None))), message("stop"))
    assert (explanation.verdict, explanation.reply) == ("acts", None)
    assert "opted out already" in explanation.why


def test_explain_near_miss() -> None:
    """It says that nothing is done, and where to look."""
    [explanation] = explain(PLUGIN, message("stopp"))
    assert explanation.verdict == "no"
    assert "receiver opt-outs near-misses" in explanation.why


@pytest.mark.parametrize(
    ("plugin", "data", "expected"),
    [
        (BY_CODE, {}, "opts the sender out of messages from 22915, before"),
        (BY_SERVICE, {"service_id": "44"}, "opts the sender out of service 44, before"),
    ],
)
def test_explain_scope(plugin: Plugin, data: dict[str, Any], expected: str) -> None:
    """It says what the opt-out is about."""
    [explanation] = explain(plugin, message("stop", **data))
    assert expected in explanation.why
