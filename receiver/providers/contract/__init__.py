"""The contract of a provider: everything that the author of one has to read.

A provider is one SMS gateway. It maps bytes to facts and facts to bytes, and does no I/O: it never
touches the network, the store, routes or logs. It consists of

- a `Provider`, which reads what the gateway pushes to `/hooks/{source}` and answers it,
- an `Api`, if messages can be sent through the gateway: it makes requests and reads their answers,
- its settings, if it has any besides those of every source: subclasses of `Source` and `Send`.

`incoming` has what pushes need, `outgoing` what sending needs; authors import both from here.
Beside this package, `payloads` reads JSON, `forms` forms, `signatures` compares credentials,
`calls` makes requests and reads their answers. `receiver.testing.providers` has the promises of
every provider.
"""

from __future__ import annotations

from receiver.providers.contract.incoming import Answer, Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.contract.outgoing import Api, Balance, Operation, Partly, Request, Response

__all__ = [
    "Answer",
    "Api",
    "Balance",
    "Operation",
    "Parsed",
    "Partly",
    "Provider",
    "Push",
    "PushUrl",
    "Request",
    "Response",
    "Sample",
]
