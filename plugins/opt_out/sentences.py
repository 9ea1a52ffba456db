"""Sentences that ask for no more messages.

Texts here are bare: upper case, letters and digits with single spaces, without polite words;
`don't` is DON T. A sentence is obeyed where all of it asks for that and nothing else.
"""

from __future__ import annotations

import re

_ME = "(?:ME|US|MY (?:PHONE )?(?:NUMBER|NO|PHONE)|THIS (?:PHONE )?NUMBER)"
_WHICH = (
    "(?:ALL|ANY|ANYMORE|MORE|FURTHER|THE|THESE|THOSE|THIS|THAT|YOUR|YOU|SUCH|OF|MY|OTHER|UNWANTED"
    r"|PROMOTIONAL|MARKETING)\b"
)
_MESSAGES = "(?:(?:SPAM )?(?:TEXT )?(?:MESSAGES?|MSGS?|TEXTS?|TXTS?|SMS|SMSES)|SPAM|SUBSCRIPTIONS?)"
_LIST = f"(?:{_MESSAGES}|(?:MAILING |SMS )?LISTS?|DATABASE|SERVICES?|SYSTEM)"
_FROM_LIST = f"(?: (?:FROM|OFF|OF)(?: {_WHICH})*+ {_LIST})?"
_SENDING = (
    "(?:SENDING|TEXTING|TXTING|MESSAGING|SMSING|SPAMMING|CONTACTING|BOTHERING|DISTURBING|HARASSING)"
)
_SEND = "(?:SEND|TEXT|TXT|MESSAGE|MSG|SMS|SPAM|CONTACT|BOTHER|DISTURB)"
_NOT = "(?:DO NOT|DON T|DONT|NEVER)"

#: What is asked for.
_REQUESTS = "|".join(
    (
        f"(?:STOP|QUIT|CEASE|END) {_SENDING}(?: {_ME})?(?: WITH)?(?:(?: {_WHICH})*+ {_MESSAGES})?",
        f"(?:STOP|END|CANCEL|QUIT)(?: {_WHICH})++ {_MESSAGES}",
        f"UNSUBSCRIBE(?: {_ME})?{_FROM_LIST}",
        f"OPT ?OUT{_FROM_LIST}",
        f"OPT {_ME} OUT{_FROM_LIST}",
        f"REMOVE {_ME}{_FROM_LIST}",
        f"TAKE {_ME} OFF(?:(?: {_WHICH})*+ {_LIST})?",
        f"{_NOT} (?:EVER )?{_SEND} {_ME}(?:(?: {_WHICH})*+ {_MESSAGES})?",
        f"NO MORE(?: {_WHICH})*+ {_MESSAGES}",
        f"I (?:DO NOT|DON T|DONT) WANT(?: TO (?:RECEIVE|GET))?(?: {_WHICH})*+ {_MESSAGES}",
    )
)
#: What may stand before it and behind it.
_BEFORE = (
    "(?:HI|HELLO|HEY|SIR|MADAM|OK|JUST|NOW|CAN YOU|COULD YOU|WILL YOU|I (?:WANT|WISH|NEED|D LIKE"
    "|WOULD LIKE)(?: YOU)? TO)"
)
_AFTER = (
    "(?:AGAIN|ANYMORE|ANY MORE|NOW|IMMEDIATELY|AT ONCE|TODAY|FOREVER|ALREADY|EVER|FROM YOU"
    f"|TO {_ME}|FOR {_ME})"
)
_OPENING = re.compile(f"(?:{_BEFORE} )++")
_PLAIN = re.compile(f"(?:{_BEFORE} )*+(?:{_REQUESTS})(?: {_AFTER})*+")
_SOMEWHERE = re.compile(
    rf"\b(?<!DON T )(?<!DONT )(?<!NOT )(?<!NEVER )(?:{_REQUESTS}|(?:STOP|END|CANCEL) {_MESSAGES}"
    r"|LEAVE ME ALONE)\b"
)

_SWAHILI_MESSAGES = (
    "(?:(?:SMS|UJUMBE|JUMBE|MESEJI|MESEJ|MESSAGES?|TEXTS?)(?: (?:ZENU|ZAKO|YENU|HIZI|HII|ZOTE))*+)"
)
_SWAHILI = re.compile(
    f"(?:(?:ACHA|ACHENI|WACHA|WACHENI) (?:KUNITUMIA|KUTUMA)(?: {_SWAHILI_MESSAGES})?"
    f"|(?:USINITUMIE|MSINITUMIE|SITAKI)(?: {_SWAHILI_MESSAGES})"
    "|(?:NIONDOE|NIONDOENI|NITOE|NITOENI)(?: (?:KWENYE|KATIKA) (?:ORODHA|LISTI|HUDUMA)"
    "(?: (?:HII|YENU))?)?)(?: TENA| SASA)*+"
)
_BY_LANGUAGE = {"en": _PLAIN, "sw": _SWAHILI}
#: First words of sentences, and of words in pieces, that can count; besides reserved words.
OPENINGS = frozenset(
    {
        *("CEASE", "OPT", "REMOVE", "TAKE", "DONT", "NEVER", "LEAVE", "ST", "STO", "UN", "UNSUB"),
        *("ACHENI", "WACHA", "WACHENI", "USINITUMIE", "MSINITUMIE", "SITAKI", "NIONDOE"),
        *("NIONDOENI", "NITOE", "NITOENI"),
    }
)
#: The same, of many sentences that ask for something else.
COMMON_OPENINGS = frozenset(
    {*("HI", "HELLO", "HEY", "SIR", "MADAM", "OK", "JUST", "NOW", "CAN", "COULD", "WILL", "I")}
    | {"DO", "DON", "NO"}
)
#: Every request holds one of these.
_TELLING = re.compile(
    "STOP|UNSUB|OPT|REMOVE|TAKE|TE?XT|MESSAGE|MSG|SMS|SPAM|SUBSCRI|CONTACT|BOTHER|DISTURB|HARASS"
    "|ALONE|KUNITUMIA|KUTUMA|UJUMBE|JUMBE|MESEJ|NIONDOE|NITOE"
)
#: Characters of the longest sentence that is read; a longer message is about something else too.
_LONGEST = 200


def asks_to_stop(bare: str, languages: frozenset[str]) -> bool:
    """Returns True for a sentence that asks for no more messages, and for nothing else."""
    return may_tell(bare) and any(
        _BY_LANGUAGE[language].fullmatch(bare) for language in _BY_LANGUAGE.keys() & languages
    )


def may_ask_to_stop(bare: str) -> bool:
    """Returns True for a text that asks for no more messages somewhere in it."""
    return may_tell(bare) and _SOMEWHERE.search(bare) is not None


def may_tell(text: str) -> bool:
    """Returns True for a text in upper case that may hold a request: a cheap look."""
    return len(text) <= _LONGEST and _TELLING.search(text) is not None


def without_opening(bare: str) -> str:
    """Returns `STOP` of `HELLO JUST STOP`."""
    return _OPENING.sub("", bare, count=1) if _OPENING.match(bare) else bare
