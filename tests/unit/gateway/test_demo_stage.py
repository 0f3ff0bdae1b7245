import asyncio

import pytest

from gateway.demo import places
from gateway.demo.client import Client, Fault
from gateway.demo.stage import Stage
from gateway.errors import StartError

pytestmark = pytest.mark.slow
PARIS = next(client for client in places.clients() if client.city == "Paris")


async def ask(port):
    client = Client(port, 5)
    try:
        return (await client.ask("GET", "/", {"x-forwarded-for": PARIS.address})).status
    finally:
        client.close()


def test_a_pop_dies_refuses_and_comes_back_on_its_port(tmp_path):
    async def main():
        stage = Stage(tmp_path, ["fra"])
        try:
            port = stage.ports["fra"]
            await stage.start()
            assert await ask(port) == 200
            stage.kill("fra")
            with pytest.raises(Fault, match="refused"):
                await ask(port)
            await stage.revive("fra")
            assert stage.ports["fra"] == port
            assert await ask(port) == 200
        finally:
            stage.close()
        with pytest.raises(Fault, match="refused"):
            await ask(port)

    asyncio.run(main())


def test_a_pop_that_does_not_come_up_is_said_with_its_log(tmp_path):
    async def main():
        stage = Stage(tmp_path, ["atlantis"])
        try:
            with pytest.raises(StartError, match=r"(?s)PoP atlantis does not start.*StopIteration"):
                await stage.start()
        finally:
            stage.close()

    asyncio.run(main())
