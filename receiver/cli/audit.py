"""`receiver audit`."""

from __future__ import annotations

from receiver.cli.listing import form_of, show_stored
from receiver.cli.options import ConfigFile, Csv, Json, Limit, load_leniently
from receiver.cli.times import Since, Tz, Until, period
from receiver.views.lists import audit_listing


def command(
    *,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists who changed data with a command, and what retention deleted."""
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    show_stored(
        load_leniently(config),
        audit_listing(),
        lambda reader, most: reader.audit.every(since=start, until=end, limit=most),
        form,
        limit,
    )
