"""Checks the configuration: the warnings of `receiver check`."""

from __future__ import annotations

import asyncio

from receiver.doctor.findings import Finding, Installation, green, yellow
from receiver.plugin_host import lint


async def cautions(installation: Installation) -> list[Finding]:
    """Returns the warnings; a configuration with faults is refused before."""
    parts = installation.parts
    found = await asyncio.to_thread(lint.cautions, parts.config, parts.providers, parts.plugins)
    do = "change it in the configuration, then `receiver check` and `receiver reload`"
    plugins = ", ".join(plugin.name for plugin in parts.plugins) or "none"
    sources = ", ".join(parts.config.sources) or "none"
    summary = f"{parts.config.file}: no faults; sources {sources}; plugins {plugins}"
    return [green(summary), *(yellow(str(caution), do) for caution in found)]
