"""A gateway in this process: real sockets and workers, and its control thread at hand."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from gateway.app import Gateway, NewPart
from gateway.config import parse
from gateway.control.life.lifecycle import Phase
from gateway.control.life.reload import Outcome
from gateway.control.sources.resolver import Lookup, lookup
from gateway.errors import ConfigError
from gateway.model import Loaded
from tests.io.serving import DEADLINE_S, eventually


class Hosted:
    def __init__(self, text: str, resolve: Lookup = lookup, parts: Sequence[NewPart] = ()) -> None:
        self.text = text
        self.loaded: Loaded | None = parse(text, folder=None)  # what a reload reads; None: nothing that can be used
        self.gateway = Gateway(self.loaded.config, self._load, resolve=resolve, parts=parts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self.gateway.run()))
        self._thread.start()

    @property
    def port(self) -> int:
        return self.gateway.listeners.all[0].address.port

    def wait_serving(self) -> None:
        eventually(lambda: self.gateway.lifecycle.phase is Phase.SERVING or not self._thread.is_alive(), "it serves")

    def do(self, what: Callable[..., Any], *args: Any) -> Any:
        """In control's thread."""

        async def on_loop() -> Any:
            return what(*args)

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(DEADLINE_S)

    def reload(self, text: str) -> None:
        self.put(parse(text, folder=None))

    def put(self, loaded: Loaded) -> None:
        self.loaded = loaded
        outcome = self.try_reload()
        assert outcome.is_done, outcome.lines

    def try_reload(self) -> Outcome:
        return asyncio.run_coroutine_threadsafe(self.gateway.reload(), self._loop).result(DEADLINE_S)

    def _load(self) -> Loaded:
        if self.loaded is None:
            raise ConfigError([])
        return self.loaded

    def hold_up(self, seconds: float, when: Callable[[], bool] = lambda: True) -> None:
        """Control stands still for so long, from the moment at which this is so. The workers go on."""

        async def on_loop() -> None:
            async with asyncio.timeout(DEADLINE_S):
                while not when():
                    await asyncio.sleep(0)
            threading.Event().wait(seconds)

        asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(2 * DEADLINE_S)

    def close(self) -> None:
        for _ in range(2):  # the second ends at once
            self.do(self.gateway.terminate)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._loop.close()
