"""Minutes of chaos: three receivers, two servers, and somebody who breaks one thing after another.

`python -m tests.postgresql.chaos --minutes 10` promotes standbys (the old primary dead, alive, or
rejoined from a new base backup), kills, stops and freezes receivers, cuts them off from the
database, restarts it, has it refuse changes or write slowly, while people write; then it prints
what was done and what was wrong. Its status is 1 if anything was.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from receiver.fake import Options
from tests import stored
from tests.postgresql.network import Cable, refusal
from tests.postgresql.scene import Scene, do, playing
from tests.postgresql.traffic import Verdict

#: Seconds between two blows.
_CALM = (2.0, 6.0)
#: Faults of the gateway that sends: shares of requests.
_FAULTS = {"timeout": 0.02, "429": 0.05, "500": 0.02}


class Chaos:
    """Breaks one thing after the other, and mends it."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.done: Counter[str] = Counter()
        self.away: dict[str, list[float]] = {}
        """Seconds without an acknowledged push, by what was done."""
        self._chance = random.Random(seed)
        self._blows: list[Callable[[], Awaitable[None]]] = [
            self.promote, self.promote_beside_the_old, self.promote_and_copy, self.restart_server,
            self.crash_server, self.lose_standby, self.read_only, self.slow, self.kill_receiver,
            self.kill_all, self.restart_receiver, self.freeze_receiver,
        ]  # fmt: skip
        if scene.network is not None:
            self._blows += [self.cut_off, self.cut_off_all, self.part_servers]

    async def run(self, minutes: float) -> None:
        """Each blow once, in any order, and again until the time is over."""
        until = time.monotonic() + minutes * 60
        left: list[Callable[[], Awaitable[None]]] = []
        while time.monotonic() < until:
            left = left or self._chance.sample(self._blows, len(self._blows))
            blow = left.pop()
            self.scene.traffic.longest = 0.0
            print(f"{until - time.monotonic():5.0f} s left: {blow.__name__}", flush=True)
            await blow()
            await self.scene.back()
            self.done[blow.__name__] += 1
            self.away.setdefault(blow.__name__, []).append(self.scene.traffic.longest)
            await asyncio.sleep(self._chance.uniform(*_CALM))

    async def promote(self) -> None:
        """The primary dies, the standby takes over, what is left of the old one is rewound."""
        await do(self.scene.pair.promote)
        await do(self.scene.pair.rejoin)

    async def promote_beside_the_old(self) -> None:
        """The old primary lives on beside the new one until it is ended."""
        await do(self.scene.pair.promote, stop=False)
        await asyncio.sleep(self._chance.uniform(0, 5))
        await do(self.scene.pair.rejoin)

    async def promote_and_copy(self) -> None:
        """The old primary is lost with its data."""
        await do(self.scene.pair.promote)
        await do(self.scene.pair.rejoin, rewind=False)

    async def restart_server(self) -> None:
        """Stopped and started."""
        await do(self.scene.pair.primary.stop)
        await do(self.scene.pair.primary.start)

    async def crash_server(self) -> None:
        """Killed and started."""
        await do(self.scene.pair.primary.kill)
        await do(self.scene.pair.primary.start)

    async def lose_standby(self) -> None:
        """Commits wait for a standby that is away."""
        await do(self.scene.pair.detach_standby)
        await asyncio.sleep(self._chance.uniform(1, 8))
        await do(self.scene.pair.standby.start)

    async def read_only(self) -> None:
        """The server refuses changes."""
        await do(self.scene.pair.primary.read_only)
        await asyncio.sleep(self._chance.uniform(1, 8))
        await do(self.scene.pair.primary.read_only, on=False)

    async def slow(self) -> None:
        """Commits take a tenth of a second longer."""
        await do(self.scene.pair.primary.slow_disk, 100)
        await asyncio.sleep(self._chance.uniform(1, 8))
        await do(self.scene.pair.primary.slow_disk, 0)

    async def kill_receiver(self) -> None:
        """One receiver is killed; it is started before its lease ends, or after."""
        receiver = self._chance.choice(self.scene.receivers)
        await do(receiver.kill)
        await asyncio.sleep(self._chance.choice([0, 25]))
        await do(receiver.start)

    async def kill_all(self) -> None:
        """All receivers are killed."""
        for receiver in self.scene.receivers:
            receiver.kill()
        await asyncio.gather(*[do(receiver.start) for receiver in self.scene.receivers])

    async def restart_receiver(self) -> None:
        """One receiver is stopped and started."""
        receiver = self._chance.choice(self.scene.receivers)
        await do(receiver.stop)
        await do(receiver.start)

    async def freeze_receiver(self) -> None:
        """One receiver stands still for less than its lease, or for longer."""
        receiver = self._chance.choice(self.scene.receivers)
        receiver.pause()
        await asyncio.sleep(self._chance.choice([5, 27]))
        receiver.resume()

    async def cut_off(self) -> None:
        """One receiver reaches no server."""
        await self._cut(self._chance.choice(self.scene.cables.receivers))

    async def cut_off_all(self) -> None:
        """No receiver reaches any server."""
        await self._cut([cable for cables in self.scene.cables.receivers for cable in cables])

    async def part_servers(self) -> None:
        """The primary does not reach the standby that its commits wait for."""
        await self._cut([self.scene.cables.between])

    async def _cut(self, cables: list[Cable]) -> None:
        for cable in cables:
            await do(cable.cut)
        await asyncio.sleep(self._chance.choice([3, 25]))
        for cable in cables:
            await do(cable.mend)


async def run(minutes: float, seed: int, receivers: int, folder: Path) -> int:
    """Plays, prints the summary; returns the exit status."""
    options = Options(
        sent_after=0.05, delivered_after=0.05, faults=_FAULTS, hang=3.0, seed=seed, kept=1_000_000
    )
    why = refusal()
    if why is not None:
        print(f"nothing is cut off: {why}")
    async with playing(folder, receivers, cables=why is None, people=15, options=options) as scene:
        chaos = Chaos(scene, seed)
        began = time.monotonic()
        async with scene.traffic.flowing():
            await scene.traffic.more()
            await chaos.run(minutes)
        took = time.monotonic() - began
        verdict = await do(scene.traffic.judge, scene.store, scene.fake)
        states = Counter(each.state for each in await do(stored.messages, scene.store))
        errors = Counter(
            error["event"] for receiver in scene.receivers for error in receiver.errors()
        )
    ledger = scene.traffic.ledger
    print(f"\nSeed {seed}: {took / 60:.1f} minutes, {receivers} receivers")
    print(f"pushed {len(ledger.sent)} times, acknowledged {len(ledger.acked)} messages")
    print(f"answers: {dict(ledger.statuses)}; replies by the gateway's API: {dict(states)}")
    print("done, and the longest time without an acknowledged push in s:")
    for name, times in sorted(chaos.away.items()):
        print(f"  {name:24} {chaos.done[name]:3}  {max(times):6.1f}")
    print(f"starts of receivers: {[receiver.starts for receiver in scene.receivers]}")
    print(f"errors in their logs: {dict(errors)}")
    print(f"wrong: {verdict if verdict != Verdict() else 'nothing'}")
    return int(verdict != Verdict())


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--receivers", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {arguments.seed}; logs are kept in {folder}")
    return asyncio.run(run(arguments.minutes, arguments.seed, arguments.receivers, folder))


if __name__ == "__main__":
    sys.exit(main())
