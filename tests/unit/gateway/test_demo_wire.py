import asyncio
import os
import socket
import time

import pytest

from gateway.demo.wire import Wire, hand_over

LONG_MS = 60_000.0


@pytest.fixture
def pair():
    """The PoP's end of a connection and the gateway's."""
    pop, gateway = socket.socketpair()
    gateway.settimeout(5)
    yield pop, gateway
    pop.close()
    gateway.close()


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def read(gateway, n):
    return asyncio.to_thread(gateway.recv, n)


def test_an_answer_arrives_after_its_way_and_not_before(pair):
    pop, gateway = pair

    async def main():
        wire = Wire()
        link, _ = wire.link()
        began = time.perf_counter()
        hand_over(link, pop, 40.0, b"body with spaces")
        assert await read(gateway, 100) == b"body with spaces"
        assert 0.039 <= time.perf_counter() - began < 2
        link.close()
        wire.close()

    asyncio.run(main())


def test_what_a_pop_has_sent_arrives_after_its_death_and_then_the_connection_ends(pair):
    pop, gateway = pair

    async def main():
        wire = Wire()
        link, _ = wire.link()
        hand_over(link, pop, 30.0, b"sent in time")
        pop.close()  # as the kernel does when it is killed
        link.close()
        assert await read(gateway, 100) == b"sent in time"
        assert await read(gateway, 100) == b""
        assert wire.n_links == 0
        wire.close()

    asyncio.run(main())


def test_the_first_word_and_the_end_of_a_pop_are_both_heard():
    async def main():
        wire = Wire()
        speaking, first = wire.link()
        dying, end = wire.link()
        speaking.send(b"0 listening")
        dying.close()
        async with asyncio.timeout(5):
            await first.wait()
            await end.wait()
        assert wire.n_links == 1
        speaking.close()
        wire.close()

    asyncio.run(main())


def test_a_client_that_has_hung_up_hurts_nobody(pair):
    pop, gateway = pair

    async def main():
        wire = Wire()
        link, _ = wire.link()
        gateway.close()
        hand_over(link, pop, 1.0, b"to nobody")
        other, reader = socket.socketpair()
        reader.settimeout(5)
        hand_over(link, other, 10.0, b"to somebody")
        assert await read(reader, 100) == b"to somebody"
        for one in (other, reader, link):
            one.close()
        wire.close()

    asyncio.run(main())


def test_close_leaves_no_descriptor(pair):
    pop, _ = pair

    async def main():
        before = open_descriptors()
        wire = Wire()
        link, heard = wire.link()
        hand_over(link, pop, LONG_MS, b"never")
        async with asyncio.timeout(5):
            await heard.wait()
        assert open_descriptors() == before + 3  # both ends of the link, and the connection's duplicate
        link.close()
        wire.close()
        assert open_descriptors() == before

    asyncio.run(main())
