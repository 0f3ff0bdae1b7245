"""`isochrone serve` as a process that a prepared Python forks: what it imports takes most of a start, and is the same in every test.

The prepared Python (this file, run as a program: one for each process of tests) has imported all and done nothing yet. A gateway that it
forks begins where `python -m gateway` does, with the words, streams, environment and folder of its own, and ends as any Python does.
"""

import atexit
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

STREAMS = 3
NOBODY = 65534
MESSAGE_BYTES = 1 << 17
POLL_S = 0.005


class Forked:
    """What there is of Popen, for such a process."""

    def __init__(
        self,
        words: Sequence[str],
        stderr: int,
        *,
        descriptors: int | None = None,
        is_nobody: bool = False,
    ) -> None:
        """`words` of the command line. The environment is that of now, but for what Python itself reads at its start."""
        self.returncode: int | None = None
        self._words = words
        self._lock = threading.RLock()
        what = {
            "words": words,
            "folder": os.getcwd(),
            "environment": dict(os.environ),
            "descriptors": descriptors,
            "is_nobody": is_nobody,
        }
        with open(os.devnull) as nothing:
            self.pid = _prepared().ask(what, [nothing.fileno(), 1, stderr])

    def poll(self) -> int | None:
        with self._lock:  # who learns of the end is the last to ask: from then on the number may be another's
            if self.returncode is None:
                self.returncode = _prepared().ask({"pid": self.pid})
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.poll()) is None:
            if timeout is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired(list(self._words), timeout)
            time.sleep(POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        with self._lock:
            if self.poll() is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Prepared:
    """The test's end of the prepared Python."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:  # -P: this file's folder has modules that are nobody's to import
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            environment = {**os.environ, "PYTHONWARNINGS": "error"}
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()])
        atexit.register(self.close)

    def ask(self, what: Mapping[str, Any], streams: Sequence[int] = ()) -> Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(what).encode()], streams)
            answer = self._socket.recv(MESSAGE_BYTES)
        assert answer, "the prepared Python has ended"
        return json.loads(answer)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _prepared() -> Prepared:
    return Prepared()


# --- The prepared Python ---


def prepare() -> Callable[[], int]:
    """Imports whatever serving does; returns what `python -m gateway` runs."""
    import encodings.idna
    import encodings.utf_8_sig

    import uvloop

    import gateway.__main__
    import gateway.app
    import gateway.cli
    import gateway.commands.serve
    import gateway.control.operator.access_log
    import gateway.loading

    gateway.commands.serve.parts()
    assert encodings and uvloop
    return gateway.__main__.main


def attend(asking: socket.socket) -> bool:
    """Forks what is asked for and says how each ended, until the test's end is closed. True in a process that is to be a gateway."""
    while True:
        message, streams, _, _ = socket.recv_fds(asking, MESSAGE_BYTES, STREAMS)
        if not message:
            return False
        what = json.loads(message)
        if "pid" in what:
            pid, status = os.waitpid(what["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            become(what, streams)
            return True
        for stream in streams:
            os.close(stream)
        asking.send(json.dumps(answer).encode())


def become(what: Mapping[str, Any], streams: Sequence[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv[1:] = what["words"]
    os.chdir(what["folder"])
    os.environ.clear()
    os.environ.update(what["environment"])
    if what["descriptors"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (what["descriptors"], what["descriptors"]))
    if what["is_nobody"]:  # only now: what a developer installed for himself need not be there for others
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def main() -> int:
    run = prepare()
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        is_gateway = attend(asking)
    return run() if is_gateway else 0


if __name__ == "__main__":
    sys.exit(main())
