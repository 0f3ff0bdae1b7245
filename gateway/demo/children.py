"""Children: the demo's processes, and that none outlives it. Owns how they start, end and are tied to the demo.

A child has the kernel kill it when the demo ends, however that ends. It has a session of its own: Ctrl-C is for the demo alone.
Ports are reserved by sockets that are bound and never listen: a PoP that is dead refuses connects and still owns its port.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gateway

PR_SET_PDEATHSIG = 1  # linux/prctl.h
END_S = 3.0  # for a process that was asked to end


def reserve() -> socket.socket:
    """A free port of loopback that stays ours while the socket is open; a child with SO_REUSEADDR may listen on it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def port_of(held: socket.socket) -> int:
    return int(held.getsockname()[1])


def start(what: str, *arguments: str, log: Path, link: socket.socket | None = None) -> subprocess.Popen[bytes]:
    """`what` is a key of KINDS. From the main thread only: the kernel ties a child to the thread that started it."""
    command = [sys.executable, "-P", "-m", "gateway.demo.children", str(os.getpid()), what, *arguments]
    # This package and no other of its name that may lie where the demo was started.
    path = [str(Path(gateway.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("ab") as written:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            pass_fds=() if link is None else (link.fileno(),),
            start_new_session=True,
        )


def kill(child: subprocess.Popen[bytes]) -> None:
    """As a crash: without a chance to say goodbye."""
    child.kill()
    child.wait()


def end(child: subprocess.Popen[bytes]) -> None:
    """Asked first, then killed."""
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        kill(child)


def tie(parent: int) -> None:
    """This process ends with the one that started it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _pop(*arguments: str) -> int:
    from gateway.demo.pop import main

    return main(*arguments)


def _serve(*arguments: str) -> int:
    """The command `isochrone serve`, nothing else."""
    from gateway.cli import main

    return main(["serve", *arguments])


KINDS: dict[str, Callable[..., int]] = {"pop": _pop, "serve": _serve}

if __name__ == "__main__":
    tie(int(sys.argv[1]))
    sys.exit(KINDS[sys.argv[2]](*sys.argv[3:]))
