"""The plugin of `receiver demo`: a slow handler, and one that sends through another provider.

It is copied beside the configuration of the demo, where a plugin of your own would be.
"""

import asyncio

from receiver.handlers import Context, Event, Message, Send, on_message


@on_message(keyword="BALANCE", to="22915")
async def balance(event: Event[Message], context: Context[None]) -> str:
    """Answers too late for the answer to the push, so the reply is sent as a message."""
    await asyncio.sleep(0.4)
    return "Your balance is KES 1,250."


@on_message(keyword="REMIND", to="22915")
async def remind(event: Event[Message], context: Context[None]) -> Send:
    """Sends a message through another provider."""
    return Send(to=event.data.from_, text="Your payment is due today.", source="rayprotech")
