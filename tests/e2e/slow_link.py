"""A link with a delay between this network namespace and one of its own: two TUN devices and a relay between them.

Needs the rights to make a namespace and a device. Knows nothing of who speaks over it.
"""

import collections
import ctypes
import fcntl
import os
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Self

NEAR, FAR = "198.18.0.1", "198.18.0.2"  # RFC 2544: for such measurements
CLONE_NEWNET = 0x40000000
# linux/if_tun.h, linux/sockios.h, linux/if.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
SIOCSIFADDR, SIOCSIFDSTADDR, SIOCSIFFLAGS, SIOCSIFMTU = 0x8916, 0x8918, 0x8914, 0x8922
IFF_UP_RUNNING = 0x41


def open_device(mine: str, peer: str) -> int:
    """A TUN device in the namespace of this thread; returns its descriptor, usable from anywhere."""
    name = b"slow"
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name, IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for request, address in ((SIOCSIFADDR, mine), (SIOCSIFDSTADDR, peer)):
            fcntl.ioctl(probe, request, struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(address)))
        fcntl.ioctl(probe, SIOCSIFMTU, struct.pack("16si20x", name, 1400))
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP_RUNNING))
    return device


class SlowLink:
    """From NEAR, here, to FAR. OSError when this machine has no such devices, or gives no right to them."""

    def __init__(self, round_trip_s: float) -> None:
        self.delay_s = round_trip_s / 2
        self.far = ThreadPoolExecutor(1)  # a network namespace is a thread's
        self.is_over = threading.Event()
        self.devices: list[int] = []
        self.relay = threading.Thread(target=self._relay)

    def __enter__(self) -> Self:
        try:
            self.devices.append(open_device(NEAR, FAR))
            self.devices.append(self.far.submit(self._open_far).result())
        except OSError:
            self._close()
            raise
        self.relay.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.relay.join()
        self._close()

    def connect(self, port: int) -> socket.socket:
        """From the far end to a port here: a socket belongs where it was made."""
        return self.far.submit(lambda: socket.create_connection((NEAR, port), timeout=10)).result()

    def _close(self) -> None:
        self.far.shutdown()
        for device in self.devices:
            os.close(device)

    def _open_far(self) -> int:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        return open_device(FAR, NEAR)

    def _relay(self) -> None:
        near, far = self.devices
        due: collections.deque[tuple[float, int, bytes]] = collections.deque()  # one delay for all: what came first is due first
        while not self.is_over.is_set():
            wait_s = min(max(due[0][0] - time.monotonic(), 0.0), 0.1) if due else 0.1
            for device in select.select([near, far], [], [], wait_s)[0]:
                due.append((time.monotonic() + self.delay_s, far if device == near else near, os.read(device, 2048)))
            while due and due[0][0] <= time.monotonic():
                _, device, packet = due.popleft()
                os.write(device, packet)
