"""Site: one PoP of the real run, an HTTP server in a process of its own. `python -m bench.steering.site PORT SEED`.

Every request takes as long as `Work` draws, as the simulator's servers do, by a sleep; any number at a time. GET /slowness/N: from now on
N times as long, N a number. Health checks are answered at once. GET /lateness: by how many seconds a sleep was too long at worst, which is
what the machine took.
"""

from __future__ import annotations

import asyncio
import random
import sys

from bench.steering.servers import Work

# Long enough for some to be in flight at few requests a second, and as unlike one another as real work is.
WORK = Work(mean_ms=100.0, sigma=1.0)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
HEALTH = "/healthz"
LATENESS = "/lateness"


class Site:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.slowness = 1.0
        self.lateness_s = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection: requests without a body, one after the other."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path, body = head.split(b" ", 2)[1].decode(), b"ok\n"
                if path.startswith("/slowness/"):
                    self.slowness = float(path.rpartition("/")[2])
                elif path == LATENESS:
                    body = b"%f" % self.lateness_s
                elif path != HEALTH:
                    await self.work(WORK.draw_s(self.rng) * self.slowness)
                writer.write(ANSWER % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def work(self, for_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + for_s
        await asyncio.sleep(for_s)
        self.lateness_s = max(self.lateness_s, loop.time() - end)


async def run(port: int, seed: int) -> None:
    server = await asyncio.start_server(Site(random.Random(seed)).serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
