"""Logs: one event a line, to stderr; JSON for machines, coloured text on a terminal.

A line is a short sentence and fields. Line ends and control characters in it are escaped. Errors
come with their frames, never with the values of variables, which may hold people's texts and
numbers.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from functools import partial
from typing import Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import ExcInfo, Processor

from receiver.logs.writer import LogWriter
from receiver.text.escape import escape

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    _stamp,
]


class Lines:
    """The logger that structlog writes lines to."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        """Writes one line."""
        self._writer.write(f"{line}\n")

    log = debug = info = warning = warn = error = critical = fatal = exception = msg


def configure(*, level: int = logging.INFO, stream: TextIO | None = None) -> LogWriter:
    """Sends structlog and the standard library's logging to `stream` (default: stderr).

    `level` is for our own sentences; libraries log from WARNING on. Returns the writer of the
    lines.
    """
    stream = stream or sys.stderr
    rendering = _for_people() if stream.isatty() else _for_machines()
    writer = LogWriter(stream, partial(_rendered, rendering))
    structlog.configure(
        processors=[*_SHARED, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: Lines(writer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    handler.addFilter(_without_values)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.raiseExceptions = False
    return writer


def _without_values(record: logging.LogRecord) -> bool:
    """Cuts asyncio's messages after the first line: the rest shows values of a forgotten task."""
    if record.name == "asyncio":
        record.msg, record.args = record.getMessage().partition("\n")[0], None
    return True


def _rendered(rendering: list[Processor], sentence: str, **fields: Any) -> str:
    """Returns a line with its end, as structlog writes it; its time is now unless it has one."""
    event: Any = {**fields, "event": sentence}
    if "timestamp" not in fields:
        event = _stamp(None, "", event)
    for process in rendering:
        event = process(None, "", event)
    return f"{event}\n"


def _for_machines() -> list[Processor]:
    return [
        structlog.processors.ExceptionRenderer(_kind_and_place),
        structlog.processors.JSONRenderer(_in_ascii),
    ]


_as_dicts = ExceptionDictTransformer(show_locals=False, use_rich=False)


def _kind_and_place(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """Returns an exception without its message, which may hold people's texts."""
    try:
        return _without_messages(_as_dicts(exc_info))
    except BaseException:  # noqa: BLE001 - an error of a plugin that cannot be looked at
        return [{"exc_type": exc_info[0].__name__}]


def _without_messages(stacks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for stack in stacks:
        stack.pop("exc_value", None)
        stack.pop("exc_notes", None)
        for inner in stack.get("exceptions", ()):
            _without_messages(inner)
    return stacks


def _lines_of_kind_and_place(exc_info: ExcInfo) -> str:
    error = exc_info[1]
    lines = traceback.format_tb(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            lines.append(_lines_of_kind_and_place((type(inner), inner, inner.__traceback__)) + "\n")
    return "".join([*lines, type(error).__qualname__])


def _in_ascii(event: object, **options: Any) -> str:
    """Returns JSON without characters that end a line or control a terminal."""
    return json.dumps(event, ensure_ascii=True, **options).replace("\x7f", r"\u007f")


def _for_people() -> list[Processor]:
    return [
        structlog.processors.ExceptionRenderer(_lines_of_kind_and_place),
        _escape_all,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]


def _escape_all(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key == "exception":  # several lines, set apart from what begins one
            event[key] = "\n".join(f"  {escape(line)}" for line in str(value).split("\n"))
        elif isinstance(value, str):
            event[key] = escape(value)
        elif not isinstance(value, int | float | bool | None):
            event[key] = escape(repr(value))
    return event
