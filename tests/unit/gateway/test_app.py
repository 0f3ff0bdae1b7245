import asyncio
import socket
from types import SimpleNamespace

import pytest

from gateway.app import Gateway
from gateway.control.health.probes import Result
from gateway.control.life.lifecycle import Phase
from gateway.control.life.listeners import Listeners
from gateway.errors import StartError
from gateway.model import Loaded
from tests.unit.gateway.control.helpers import TWO_POPS, config_of

FAST = {"drain": "{lameduck: 0s, deadline: 5s}", "gateway": "{workers: 1}", "timeouts": "{connect: 50ms}"}


async def fine(target, health):
    return Result(True, "fine", 0.001)


class Part:
    """Something beside the data plane, as the admin API is."""

    def __init__(self, gateway):
        self.gateway, self.seen = gateway, []
        self.fails = False

    async def start(self):
        if self.fails:
            raise StartError("no")
        self.seen.append(("start", self.gateway.lifecycle.state, [one.is_listening for one in self.gateway.listeners.all]))

    async def stop(self):
        self.seen.append(("stop", self.gateway.lifecycle.state, [worker.read_log() for worker in self.gateway.workers.all]))


def gateway_of(config, **more):
    return Gateway(config, lambda: Loaded(config, ()), parts=(Part,), ask=fine, **more)


async def serving(gateway):
    running = asyncio.get_running_loop().create_task(gateway.run())
    async with asyncio.timeout(10):
        while gateway.lifecycle.phase is not Phase.SERVING and not running.done():
            await asyncio.sleep(0)
    return running


def test_from_the_start_to_the_end(nothing_left):
    async def scenario():
        gateway = gateway_of(config_of(**FAST))
        assert gateway.ready.reasons()[0].startswith("geoip: databases not read yet")
        running = await serving(gateway)
        assert gateway.ready.reasons() == []
        assert [pool.total for pool in gateway.publisher.table.spec.services[0].pools] == [1, 2]
        port = gateway.listeners.all[0].address.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 50")  # nobody lives at 192.0.2.0/24
        writer.close()
        assert (await gateway.reload()).is_done
        gateway.drains.drain("fra")
        assert gateway.publisher.table.spec.pops[0].is_drained
        gateway.terminate()
        async with asyncio.timeout(10):
            await running
        gateway.terminate()  # late, and nobody's
        assert gateway.tasks.names == []
        (part,) = gateway.parts
        assert part.seen[0] == ("start", "starting", [False])  # it answers while the gateway starts
        assert part.seen[1][:2] == ("stop", "closing")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(scenario())


def test_who_refuses_a_connect_is_asked_at_once(nothing_left):
    """And not with its next probe, which is ten seconds away."""
    asked = []

    async def well(target, health):
        asked.append(target)
        return Result(True, "fine", 0.001)

    async def scenario():
        with socket.socket() as nobody:  # bound, and not listening
            nobody.bind(("127.0.0.1", 0))
            one = f"127.0.0.1:{nobody.getsockname()[1]}"
            config = config_of(TWO_POPS.replace("192.0.2.1:80", one).replace('"192.0.2.2:80", "192.0.2.3:80"', f'"{one}"'), **FAST)
            gateway = Gateway(config, lambda: Loaded(config, ()), ask=well)
            running = await serving(gateway)
            begun = len(asked)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.listeners.all[0].address.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 502")
            writer.close()
            async with asyncio.timeout(5):
                while len(asked) == begun:
                    await asyncio.sleep(0)
            gateway.terminate()
            await running

    asyncio.run(scenario())


def test_a_key_that_cannot_be_used_is_said_before_anything_is_open(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(StartError, match="must have at least 16 bytes, got 5"):
        gateway_of(config_of(affinity_key=str(tmp_path / "key"), **FAST))


def test_two_gateways_with_one_state_name_pops_alike(tmp_path):
    one, other = (gateway_of(config_of(state_dir=str(tmp_path / "state"), **FAST)) for _ in range(2))
    cookies = [pop.cookie for pop in one.publisher.table.spec.pops]
    assert cookies == [pop.cookie for pop in other.publisher.table.spec.pops]
    assert cookies[0].startswith("fra.")


def test_what_is_given_back_is_forgotten():
    config = config_of(TWO_POPS.replace("country: US", "country: US, capacity: {requests_in_flight: 10}"), **FAST)
    gateway = gateway_of(config)
    gateway.publisher.publish()
    assert list(gateway.refresh.pops) == ["nyc"]
    assert set(gateway.refresh.pools) == {("shop", "fra"), ("shop", "nyc")}
    less = TWO_POPS.replace("  - {name: nyc, lat: 40.71, lon: -74.01, country: US}\n", "")
    less = less.replace('      - {pop: nyc, endpoints: ["192.0.2.2:80", "192.0.2.3:80"]}\n', "")
    gateway.publisher.publish_config(config_of(less, **FAST), gateway.publisher.locator)
    gateway.publisher.collect()
    assert gateway.refresh.pops == {}
    assert set(gateway.refresh.pools) == {("shop", "fra")}


def test_what_cannot_begin_leaves_nothing_open():
    async def scenario():
        gateway = gateway_of(config_of(**FAST))
        gateway.parts[0].fails = True
        with pytest.raises(StartError):
            await gateway.run()
        assert gateway.parts[0].seen == []  # never begun, so never stopped
        assert all(one.socket.fileno() == -1 for one in gateway.listeners.all)
        assert gateway.tasks.names == []

    asyncio.run(scenario())


def test_a_part_that_does_not_stop_holds_nothing_up(caplog):
    class Stuck(Part):
        async def stop(self):
            raise OSError("stuck")

    async def scenario():
        config = config_of(**FAST)
        gateway = Gateway(config, lambda: Loaded(config, ()), parts=(Part, Stuck), ask=fine)
        running = await serving(gateway)
        gateway.terminate()
        async with asyncio.timeout(10):
            await running
        assert gateway.parts[0].seen[-1][0] == "stop"

    asyncio.run(scenario())
    assert "stuck" in caplog.text


def test_sockets_may_come_from_outside():
    async def scenario():
        listeners = Listeners.open([("web", config_of().listeners[0].bind)])
        port = listeners.all[0].address.port
        gateway = gateway_of(config_of(**FAST), listeners=listeners)
        running = await serving(gateway)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        gateway.terminate()
        async with asyncio.timeout(10):
            await running

    asyncio.run(scenario())


def test_sigterm_while_it_starts_is_the_end():
    async def never(target, health):
        await asyncio.Event().wait()

    async def scenario():
        gateway = Gateway(config_of(**FAST), lambda: Loaded(config_of(), ()), ask=never)
        running = asyncio.get_running_loop().create_task(gateway.run())
        async with asyncio.timeout(10):
            while not gateway.prober.unjudged:
                await asyncio.sleep(0)
        assert any("first probe round" in reason for reason in gateway.ready.reasons())
        gateway.terminate()
        async with asyncio.timeout(10):
            await running
        assert not gateway.workers.all

    asyncio.run(scenario())


def test_a_reload_that_has_databases_looked_at_more_often_is_heard_at_once():
    async def scenario():
        clock, looks = [0.0], []
        geoip = SimpleNamespace(check_interval=86_400.0)

        async def look():
            looks.append(clock[0])

        async def pause(seconds):
            assert seconds <= 1.0
            clock[0] += seconds
            if clock[0] == 3.0:
                geo.pause_s = geoip.check_interval = 10.0

        geo = SimpleNamespace(turn=look, pause_s=86_400.0)
        gateway = SimpleNamespace(clock=lambda: clock[0], geo=geo, config=SimpleNamespace(geoip=geoip))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "sleep", pause)
            await Gateway._watch_databases(gateway)
            await Gateway._watch_databases(gateway)
        assert looks == [0.0, 10.0]

    asyncio.run(scenario())
