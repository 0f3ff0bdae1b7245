from typing import final

from gateway.dataplane.shared._settings import CompiledSettings
from geoip import Locator
from routing_core import Table

PHASES: tuple[str, ...]
DUTIES: tuple[str, ...]

@final
class Snapshots:
    """Publishes snapshots to workers. For one control thread."""
    def __new__(cls, table: Table, locator: Locator, settings: CompiledSettings) -> Snapshots: ...
    @property
    def generation(self) -> int: ...
    def reserve(self) -> None:
        """Memory for the next publish, which can't lack it then: MemoryError comes here, before anything has changed."""
    def publish(self, table: Table, locator: Locator, settings: CompiledSettings) -> int:
        """Swap in; returns how many older snapshots are still held."""
    def reclaim(self) -> int:
        """Free what all workers have let go of; returns how many older snapshots are still held."""
    def oldest(self) -> int:
        """Generation of the oldest snapshot not yet freed."""
    def generations(self) -> list[int]:
        """Of the snapshots not yet freed, the oldest first: rows absent from all of them may be released."""
    def order(self, phase: str, close_share: float = 0.0) -> None:
        """phase: serving, lameduck, closing, aborting. close_share: answers that announce the end, 0 to 1."""
    def order_listener(self, number: int, duty: str, fd: int = -1) -> int:
        """What workers do at a listener: leave, empty, last, accept; `fd`: that of a listening, non-blocking socket, where they accept. It
        stays open for as long as a worker may know it: until each that turns has acted on an order to leave or empty, by the version that
        is returned, and `versions` of the counters."""
