"""Signals: what they do to `serve` before it is there to take them, and once it has ended. Imports nothing that takes time.

Importing and reading a configuration take a second, in which an unhandled SIGTERM is an exit status of -15 and an unhandled SIGHUP the
end; as PID 1 of a container they would be lost instead. So these handlers stand before anything else is imported.
"""

import os
import signal


def hold() -> None:
    """SIGTERM and SIGINT are the end, at once and in order: nothing is open yet. SIGHUP is nothing: the file is yet to be read.
    Nor are those that other servers are upgraded with: unhandled they would be the end, without a drain."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))


def drop() -> None:
    """The end is under way and has its exit status. Python gives every handler of its own back to the system before it ends."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
