"""The pushes of `receiver demo`, each with the expected result."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from receiver.events import EventType
from receiver.providers import Sample, built_in

_AMINA, _JUMA, _WANJIRU = "254726770792", "254712000111", "254733000222"
_WELCOME = "Welcome to the game, {}!"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A push and its expected result."""

    title: str
    source: str
    sample: Sample
    status: int = 200
    reply: str | None = None
    """Tilil's `result_message`; None where the answer has none."""
    repeat: bool = False
    """The answer must be the last one, byte for byte."""
    event: EventType | None = None


class Traffic:
    """Makes realistic pushes, each a new one, with the right credential by default."""

    def __init__(self, tokens: dict[str, str], now: datetime) -> None:
        """`tokens` by the name of the source, which is its provider's."""
        self._tokens = tokens
        self._now = now

    def steps(self) -> list[Step]:
        """Returns all pushes in order."""
        groups = (
            self._messages(),
            self._subscriptions(),
            self._reports(),
            self._opting_out(),
            self._tsconect(),
            self._talkntalk(),
            self._text_connect(),
            self._late(),
        )
        return [step for group in groups for step in group]

    def _push(self, source: str, kind: str, *, token: str | None = None, **values: str) -> Sample:
        provider = built_in()[source]
        self._now += timedelta(microseconds=1)
        fresh = provider.fresh_values(kind, self._now.astimezone(provider.default_timezone))
        secret = self._tokens[source] if token is None else token
        return provider.sample(kind, secret, {**fresh, **values})

    def _message(self, title: str, mobile: str, text: str, reply: str) -> Step:
        sample = self._push("tilil", "inbound", mobile=mobile, message=text)
        type_ = EventType.MESSAGE_RECEIVED
        return Step(title=title, source="tilil", sample=sample, reply=reply, event=type_)

    def _messages(self) -> Iterator[Step]:
        yield self._message(
            "A keyword is answered in the same breath",
            _AMINA,
            "GAME Amina",
            _WELCOME.format("Amina"),
        )
        spelled = self._message(
            "However it is spelled", _JUMA, " \u00a0pLaY!  Juma", _WELCOME.format("Juma")
        )
        yield spelled
        yield Step(
            title="The same push again: the same bytes, no second event",
            source="tilil",
            sample=spelled.sample,
            reply=spelled.reply,
            repeat=True,
        )
        yield Step(
            title="Somebody guesses the token: refused, no event",
            source="tilil",
            sample=self._push("tilil", "inbound", token="guess", message="GAME"),  # noqa: S106 - a wrong one
            status=401,
            reply="",
        )
        whole = self._push("tilil", "delivery")
        cut_off = msgspec.structs.replace(whole, body=whole.body[: len(whole.body) // 2])
        yield Step(
            title="A push that was cut off: Tilil is told to try again, we keep it to look at",
            source="tilil",
            sample=cut_off,
            status=400,
            reply="",
        )

    def _subscriptions(self) -> Iterator[Step]:
        for title, kind, mobile, reply, type_ in (
            ("Somebody joins", "activation", _AMINA, "You have joined the game.", "activated"),
            ("And another", "activation", _JUMA, "You have joined the game.", "activated"),
            ("Who leaves again", "deactivation", _JUMA, "", "deactivated"),
        ):
            sample = self._push("tilil", kind, mobile=mobile, subscriber_ref=mobile[-5:])
            event = EventType(f"sms.subscription.{type_}")
            yield Step(title=title, source="tilil", sample=sample, reply=reply, event=event)
            self._now += timedelta(seconds=1)

    def _reports(self) -> Iterator[Step]:
        for title, code, name in (
            ("Delivered, says the first report to arrive", "1", "DeliveredToTerminal"),
            ("Queued, says one that was overtaken", "22", "Queued"),
            ("On its way, says the last", "5", "DeliveredToNetwork"),
        ):
            sample = self._push(
                "tilil", "delivery", messageId="288369252", dlrStatus=code, dlrDesc=name
            )
            yield _report(title, "tilil", sample)

    def _opting_out(self) -> Iterator[Step]:
        game, welcome = "GAME Wanjiru", _WELCOME.format("Wanjiru")
        stopped = "You will get no more messages from us. To get them again, text START."
        started = "You will get our messages again. To stop them, text STOP."
        for title, mobile, text, reply in (
            ("STOP opts out, and is confirmed once", _WANJIRU, "Stop.", stopped),
            ("From then on nothing is answered", _WANJIRU, game, ""),
            ("START opts in again", _WANJIRU, "start", started),
            ("And the game goes on", _WANJIRU, game, welcome),
            ("In a sentence, STOP is no opt-out", _AMINA, "we must STOP this", "Sorry, try GAME."),
            ("Somebody leaves for good", _JUMA, "please stop", stopped),
        ):
            yield self._message(title, mobile, text, reply)

    def _text_connect(self) -> Iterator[Step]:
        source, type_ = "text-connect", EventType.MESSAGE_RECEIVED
        for title, kind, fields in (
            ("Text-Connect forwards by GET", "inbound-get", {"msg": "Hello world"}),
            ("Or by POST, with a name", "inbound-post", {"msg": "Caffè £5?", "MMName": "Ann"}),
        ):
            sample = self._push(source, kind, **fields)
            yield Step(title=title, source=source, sample=sample, event=type_)
        forged = self._push(source, "inbound-get", token="guess")  # noqa: S106 - a wrong one
        yield Step(title="With a wrong auth", source=source, sample=forged, status=401)

    def _late(self) -> Iterator[Step]:
        """Last, since their delivery reports come when they like."""
        for title, text in (
            ("A handler that takes too long: no reply yet, it is sent", "BALANCE"),
            ("A handler sends through another provider, which is asked for the status", "REMIND"),
        ):
            sample = self._push("tilil", "inbound", mobile=_AMINA, message=text, shortcode="22915")
            type_ = EventType.MESSAGE_RECEIVED
            yield Step(title=title, source="tilil", sample=sample, reply="", event=type_)

    def _tsconect(self) -> Iterator[Step]:
        for title, kind in (("TSCONECT queues", "queued"), ("TSCONECT delivers", "delivered")):
            sample = self._push("tsconect", kind, message_id="msg_01HX92")
            yield _report(title, "tsconect", sample)
        bare = self._push("tsconect", "delivered", token="")
        yield Step(title="Without the secret URL", source="tsconect", sample=bare, status=401)

    def _talkntalk(self) -> Iterator[Step]:
        signed = self._push("talkntalk", "delivered")
        yield _report("TalkNTalk signs its reports", "talkntalk", signed)
        changed = msgspec.structs.replace(
            signed, body=signed.body.replace(b"254712345678", b"254700000000")
        )
        title = "Changed on the way, the signature is wrong"
        yield Step(title=title, source="talkntalk", sample=changed, status=401)


def _report(title: str, source: str, sample: Sample) -> Step:
    return Step(title=title, source=source, sample=sample, event=EventType.DELIVERY_UPDATED)
