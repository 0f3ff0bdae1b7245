"""A server that answers as it is told, for tests of those who ask."""

import asyncio
import contextlib

GOOD = b"HTTP/1.1 200 OK\r\nX-Isochrone-Pop: fra\r\nx-isochrone-reason: fastest\r\ncontent-length: 3\r\n\r\nfra"


@contextlib.asynccontextmanager
async def server(answer):
    """`answer(number, head)` gives bytes; None cuts the connection. Counts connections."""
    seen = []
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                seen.append(head.decode())
                if (said := answer(len(seen), seen[-1])) is None:
                    break
                writer.write(said)
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    opened = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with opened:
        yield opened.sockets[0].getsockname()[1], seen, connections
        for writer in connections:
            writer.close()
