"""The plugin of `receiver demo`: what needs longer than an answer may wait, and leaves otherwise.

It is copied beside the configuration of the demo, as a plugin of your own would stand there.
"""

import asyncio

from receiver.handlers import Context, Event, Message, Send, on_message


@on_message(keyword="BALANCE", to="22915")
async def balance(event: Event[Message], context: Context[None]) -> str:
    """Asks a ledger that takes its time: too late for the answer, so the reply is sent."""
    await asyncio.sleep(0.4)
    return "Your balance is KES 1,250."


@on_message(keyword="REMIND", to="22915")
async def remind(event: Event[Message], context: Context[None]) -> Send:
    """Sends something through another provider."""
    return Send(to=event.data.from_, text="Your payment is due today.", source="rayprotech")
