import asyncio

import pytest

from gateway.demo import places
from gateway.demo.traffic import Flow
from tests.unit.gateway.demo_server import GOOD, server

CLIENTS = places.clients()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.slow
def test_each_client_keeps_asking_and_each_fault_is_counted():
    faults = {7: None, 11: GOOD.replace(b"200 OK", b"503 Service Unavailable")}

    async def main():
        async with server(lambda number, head: faults.get(number, GOOD)) as (port, seen, _):
            flow = Flow(port, CLIENTS[:5])
            flow.start()
            await until(lambda: len(flow.samples) >= 20)
            await flow.stop()
            assert len(flow.samples) == len(seen)
            assert sorted(sample.error.split(":")[0] for sample in flow.errors) == ["no_answer", "status 503"]
            assert {sample.client for sample in flow.samples} == set(CLIENTS[:5])
            answered = [sample for sample in flow.samples if sample.error is None]
            assert all((sample.pop, sample.reason) == ("fra", "fastest") and sample.ms > 0 for sample in answered)
            each = [sum(f"x-forwarded-for: {client.address}\r\n" in head for head in seen) for client in CLIENTS[:5]]
            assert max(each) - min(each) <= 1  # the same pace for all

    asyncio.run(main())


@pytest.mark.slow
def test_stop_lets_what_is_under_way_end():
    async def main():
        began, may_end = asyncio.Event(), asyncio.Event()

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            began.set()
            await may_end.wait()
            writer.write(GOOD)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as opened:
            flow = Flow(opened.sockets[0].getsockname()[1], CLIENTS[:1])
            flow.start()
            async with asyncio.timeout(5):
                await began.wait()
            stopping = asyncio.ensure_future(flow.stop())
            await asyncio.sleep(0)
            may_end.set()
            await stopping
            assert flow.samples
            assert not flow.errors

    asyncio.run(main())


def test_a_gateway_that_is_not_there_is_an_error():
    async def main():
        async with server(lambda number, head: GOOD) as (port, _, _):
            pass
        flow = Flow(port, CLIENTS[:1])
        flow.start()
        await until(lambda: flow.samples)
        await flow.stop()
        assert flow.errors == flow.samples

    asyncio.run(main())
