from typing import Any, final

from gateway.dataplane.shared._counters import Counters
from gateway.dataplane.shared._snapshot import Snapshots
from routing_core import Figures

@final
class Worker:
    """One worker. Drive it by turn() in a test, by run() in a thread of its own. Where it accepts, Snapshots.order_listener says."""
    def __new__(
        cls,
        number: int,
        snapshots: Snapshots,
        figures: Figures,
        counters: Counters,
        now_us: int = 0,
        seed: int = 1,
        log_bytes: int = 1048576,
    ) -> Worker: ...
    def adopt_downstream(self, fd: int, address: str = "127.0.0.1", listener: int = 0) -> None:
        """Serve a connected, non-blocking socket; owns fd from here on."""
    def adopt_upstream(self, fd: int, row: int) -> None:
        """Put a connected, non-blocking socket into the pool of an endpoint's row; owns fd from here on."""
    def turn(self, now_us: int, before_us: int = -1) -> int:
        """Serve what is ready at now_us (monotonic), without waiting. Returns the number of events. before_us: when the turn before was, by
        the clock, as run() has it; without it the worker was not held up, whatever the time."""
    def run(self) -> None:
        """Serve until stop(). Holds no GIL while it does."""
    def stop(self) -> None:
        """Ask run() to return, also one that has not begun. From any thread."""
    def wake(self) -> None:
        """Have a sleeping worker look at snapshot and orders now. From any thread."""
    def read_log(self) -> list[dict[str, Any]]:
        """Access log records since the last call, oldest first: the fields of the access log but what control adds. For one thread."""
    def close(self) -> None:
        """Close every connection and give all memory back. Twice does no harm; during run() it is an error."""
