"""Wire: the way between a PoP and its client. What a PoP has said is on its way, whatever becomes of the PoP.

The PoP sends the head of an answer at once and hands the rest over here, with a duplicate of the connection; the wire delivers it
after the round trip. It lives in the demo's own process, so that a PoP can be killed at any moment: as on a real network, what it
had sent still arrives, and what it had not yet answered is lost. Were the PoP to wait itself, its death would also cut answers
that had left it long before, and no gateway can mend an answer that was cut in its middle.

Owns the link over which answers are handed over, and the waiting. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Protocol

MAX_BYTES = 4096  # of what is handed over at once
BACKLOG_BYTES = 1 << 20  # answers that wait while the demo's loop is busy drawing


class _Connection(Protocol):
    def fileno(self) -> int: ...


def hand_over(link: socket.socket, connection: _Connection, delay_ms: float, body: bytes) -> None:
    """By the PoP. OSError when the other end is gone or too far behind."""
    socket.send_fds(link, [b"%.3f %b" % (delay_ms, body)], [connection.fileno()])


class Wire:
    """All links of one demo. Belongs to the thread of the event loop."""

    def __init__(self) -> None:
        self._links: set[socket.socket] = set()
        self._under_way: dict[int, asyncio.TimerHandle] = {}

    def link(self) -> tuple[socket.socket, asyncio.Event]:
        """The PoP's end of a new link, to be closed once the PoP has it; and the event of its first word: that it listens, or its end."""
        # SEQPACKET: one answer is one message, and the end of the PoP is an end of file.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG_BYTES)
        heard = asyncio.Event()
        self._links.add(ours)
        asyncio.get_running_loop().add_reader(ours, self._read, ours, heard)
        return theirs, heard

    @property
    def n_links(self) -> int:
        """PoPs whose end is open."""
        return len(self._links)

    def close(self) -> None:
        """What is under way is dropped."""
        for link in list(self._links):
            self._forget(link)
        for descriptor, timer in self._under_way.items():
            timer.cancel()
            os.close(descriptor)
        self._under_way.clear()

    def _read(self, link: socket.socket, heard: asyncio.Event) -> None:
        heard.set()
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(link, MAX_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self._forget(link)
                return
            delay_ms, _, body = message.partition(b" ")
            for descriptor in descriptors:
                timer = asyncio.get_running_loop().call_later(float(delay_ms) / 1000, self._deliver, descriptor, body)
                self._under_way[descriptor] = timer

    def _deliver(self, descriptor: int, body: bytes) -> None:
        del self._under_way[descriptor]
        try:
            os.write(descriptor, body)
        except OSError:
            pass  # the gateway has hung up
        finally:
            os.close(descriptor)

    def _forget(self, link: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(link)
        self._links.discard(link)
        link.close()
