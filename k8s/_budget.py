"""Budget: how much of a thread's time may go into decoding. One for all reflectors of a thread, whichever cluster they watch.

Reads no clock and does not sleep: whoever decoded says how long, and is told how long to rest before it reads on. Each second of work
owes a time of rest, which a quiet time before it may have paid already. So a server that floods is read more slowly, until TCP holds it
back, and ten of them take no more together than one.
"""

from __future__ import annotations

REST_WORTH_S = 0.02  # a shorter rest than this is put off


class Budget:
    """`share`: of the time, at most."""

    def __init__(self, share: float = 0.5) -> None:
        self._share = share
        self._paid_at = float("-inf")  # when all that was done so far is paid for

    def rest_s(self, started_at: float, ended_at: float) -> float:
        """After work between these two times: how long to rest; 0 where it is not worth it yet."""
        self._paid_at = max(self._paid_at, started_at) + (ended_at - started_at) / self._share
        owed_s = self._paid_at - ended_at
        return owed_s if owed_s > REST_WORTH_S else 0.0
