"""Stage: the demo's PoPs as processes. Owns their ports, starts, deaths and returns; must not know what they answer or who asks."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gateway.demo import children
from gateway.demo.wire import Wire
from gateway.errors import StartError

START_S = 30.0  # six Python processes on a busy machine


class Stage:
    """Each PoP keeps its port, dead or alive. Belongs to the main thread: see children.start."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """`folder`: for logs."""
        self._folder = folder
        self._wire = Wire()
        self._held: dict[str, socket.socket] = {name: children.reserve() for name in names}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ports(self) -> dict[str, int]:
        return {name: children.port_of(held) for name, held in self._held.items()}

    async def start(self) -> None:
        """All of them. StartError with the end of its log for the first that does not come up."""
        for name, heard in [(name, self._begin(name)) for name in self._held]:
            await self._wait(name, heard)

    def kill(self, name: str) -> None:
        children.kill(self._running.pop(name))

    async def revive(self, name: str) -> None:
        """Returns when it listens again."""
        await self._wait(name, self._begin(name))

    def close(self) -> None:
        for name in list(self._running):
            self.kill(name)
        self._wire.close()
        for held in self._held.values():
            held.close()

    def _begin(self, name: str) -> asyncio.Event:
        link, heard = self._wire.link()
        with link:
            arguments = (name, str(self.ports[name]), str(link.fileno()))
            self._running[name] = children.start("pop", *arguments, log=self._log(name), link=link)
        return heard

    async def _wait(self, name: str, heard: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(START_S):
                await heard.wait()
        except TimeoutError:
            raise StartError(f"the demo's PoP {name} does not start within {START_S:.0f} s") from None
        if self._wire.n_links < len(self._running):  # what was heard was its end
            said = self._log(name).read_text(errors="replace").splitlines()[-5:]
            raise StartError(f"the demo's PoP {name} does not start:\n" + "\n".join(said))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
