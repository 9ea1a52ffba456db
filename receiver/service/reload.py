"""Changing the configuration, rules and plugins of a running service.

All of it is read and checked first, in a thread, while pushes go on being answered as before.
Then everything changes between two turns of the event loop: a push is answered by the old
configuration or by the new one. Whatever is wrong, nothing changes.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from receiver import config
from receiver.config import Config
from receiver.errors import ConfigError, Fault, PluginError
from receiver.service import systemd
from receiver.service.parts import Parts, Service, prepare, warn

log = structlog.get_logger("receiver.service.reload")


async def reload(service: Service) -> Parts:
    """Has the service go on with what its configuration file says now.

    Raises `ConfigError` with every fault; the service goes on as it was then.
    """
    async with service.changing:
        service.refused = True  # until it is taken in
        systemd.reloading()
        try:
            parts = await asyncio.to_thread(_prepare, service.parts.config)
            await service.adopt(parts)
            service.refused = False
        except PluginError as error:
            fault = ConfigError([Fault("plugins", str(error))], str(service.parts.config.file))
            _tell(fault)
            raise fault from error
        except ConfigError as error:
            _tell(error)
            raise
        finally:
            systemd.notify("READY=1")
        await warn(parts, service.store)
        plugins = [plugin.name for plugin in parts.plugins]
        log.info("reloaded", sources=list(parts.config.sources), plugins=plugins)
        return parts


def _tell(error: ConfigError) -> None:
    for fault in error.faults:
        log.error("not reloaded", key=fault.key, fault=fault.message)


def _prepare(running: Config) -> Parts:
    wanted = config.load(running.file)
    faults = [
        Fault(key, "changed; that takes a restart of the service")
        for key in (*_changed("server", running.server, wanted.server), *_moved(running, wanted))
    ]
    if faults:
        raise ConfigError(faults, str(wanted.file))
    return prepare(wanted)


def _changed(section: str, old: msgspec.Struct, new: msgspec.Struct) -> list[str]:
    return [
        f"{section}.{name}"
        for name in old.__struct_fields__
        if str(getattr(old, name)) != str(getattr(new, name))
    ]


def _moved(old: Config, new: Config) -> list[str]:
    return ["store.url"] if old.store_address != new.store_address else []
