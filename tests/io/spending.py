"""What costs a gateway ports, in a network that has few of them: `python -m tests.io.spending FOLDER SCENARIO`, see test_lacks.

A connection that we end cleanly holds its port for a minute. Clients come by a unix socket: they have none.
"""

import contextlib
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.io.serving import CONFIG, LIMITED, Served, eventually, served

ADDRESS = ("127.0.0.2", 15000)
N = 300  # more than there are ports
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"  # and nothing of its body
BARE = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"


class Endpoint:
    """It keeps its connections, answers a POST by its head and reads on, and waits for a PUT's body."""

    def __init__(self, takes_s: float = 0) -> None:
        self.takes_s = takes_s
        self.health = 200
        self.n_made = 0  # connections
        self.n_begun = 0  # PUTs
        self.door = socket.create_server(ADDRESS, backlog=200)
        threading.Thread(target=self._accept, daemon=True).start()

    def has_begun(self, n: int) -> bool:
        return self.n_begun >= n

    def _accept(self) -> None:
        while True:
            threading.Thread(target=self._serve, args=(self.door.accept()[0],), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        self.n_made += 1
        with end, contextlib.suppress(ConnectionError):
            while head := end.recv(65536):
                if b"/healthz" in head:
                    end.sendall(BARE % self.health)
                elif head.startswith(b"GET"):
                    time.sleep(self.takes_s)
                    end.sendall(BARE % 200)
                else:
                    self.n_begun += head.startswith(b"PUT")
                    if head.startswith(b"POST"):
                        end.sendall(BARE % 401)
                    while end.recv(65536):
                        pass
                    return


class Clients:
    def __init__(self, door: Path) -> None:
        self.door = door
        self.seen: Counter[str] = Counter()

    @contextlib.contextmanager
    def one(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(20)
            end.connect(str(self.door))
            yield end

    def ask(self, request: bytes, n: int = 1) -> None:
        with self.one() as end:
            for _ in range(n):
                end.sendall(request)
                self.seen[end.recv(4096)[9:12].decode()] += 1

    def are_served(self) -> bool:
        self.ask(GET)
        return self.seen["200"] > 0


@contextlib.contextmanager
def standing(folder: Path, config: str, takes_s: float = 0) -> Iterator[tuple[Served, Endpoint, Clients]]:
    door = folder / "door"
    config = config.replace("listeners: [", 'listeners: [{{name: local, bind: "unix:{door}"}}, ')
    endpoint = Endpoint(takes_s)
    with served(folder, config, fra="{}:{}".format(*ADDRESS), door=str(door)) as gateway:
        yield gateway, endpoint, Clients(door)


ALONE = CONFIG.replace("      - {{pop: nyc", "      #").replace("{nyc}", "-").replace("up_after: 2", "up_after: 100")


def panic(folder: Path) -> None:
    with standing(folder, ALONE) as (gateway, endpoint, clients):
        endpoint.health = 503
        eventually(lambda: "endpoint is shut" in gateway.log, "its gate shuts")
        eventually(clients.are_served, "the panic serves")
        clients.seen.clear()
        clients.ask(GET, N)
        assert clients.seen == {"200": N}, (clients.seen, endpoint.n_made)


def early(folder: Path) -> None:
    with standing(folder, ALONE) as (_, _, clients):
        for _ in range(N):
            clients.ask(b"POST " + UPLOAD)
        clients.ask(GET)
        assert clients.seen == {"401": N, "200": 1}, clients.seen


def given_up(folder: Path) -> None:
    with standing(folder, ALONE) as (_, endpoint, clients):
        for number in range(N):
            with clients.one() as end:
                end.sendall(b"PUT " + UPLOAD)
                eventually(partial(endpoint.has_begun, number + 1), "it has come")
        clients.ask(GET)
        assert clients.seen == {"200": 1}, clients.seen


def handed_over(folder: Path) -> None:
    config = LIMITED.replace("{workers}", "4").replace("{limits}", "{{connections_per_endpoint: 8}}").replace("{queue}", "1s")
    with standing(folder, config, takes_s=0.02) as (_, endpoint, clients):
        threads = [threading.Thread(target=clients.ask, args=(GET, 20)) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert clients.seen == {"200": 2000}, (clients.seen, endpoint.n_made)


if __name__ == "__main__":
    {each.__name__: each for each in (panic, early, given_up, handed_over)}[sys.argv[2]](Path(sys.argv[1]))
