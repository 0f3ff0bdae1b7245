"""A worker with a fake clock between socket pairs: what arrives and what is sent, turn by turn."""

import socket
import struct

import routing_core
from gateway.dataplane import CompiledSettings, Counters, Settings, Snapshots, Worker
from geoip import Locator, Override
from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec

FRA, NYC = (50.11, 8.68), (40.71, -74.01)
NOWHERE = 9  # a port that refuses


class Bench:
    """Two PoPs with one endpoint each, one service, one route; clients stand in Frankfurt. pops: further fields of their specs; service:
    of the services'. Several workers turn in one thread. A second service has the same endpoints, and pools of its own."""

    def __init__(
        self,
        settings=None,
        routes=None,
        endpoints=((("127.0.0.1", NOWHERE),), (("127.0.0.1", NOWHERE),)),
        location=FRA,
        listeners=(),
        log_bytes=1 << 20,
        pops=({}, {}),
        services=("shop",),
        service=None,
        n_workers=1,
        **pool,
    ):
        self.figures = Figures(n_workers)
        self.counters = Counters(n_workers)
        self.rows = [[self.figures.acquire("endpoint") for _ in pop] for pop in endpoints]
        self.pop_rows = [self.figures.acquire("pop") for _ in endpoints]
        self.services = {name: (self.figures.acquire("service"), [self.figures.acquire("pool") for _ in endpoints]) for name in services}
        self.service_row, self.pool_rows = self.services[services[0]]
        self.pops, self.service, self.pins, self.places = pops, service or {}, (), (FRA, NYC)
        self.now_us = 1_000_000_000
        self.settings = settings or Settings()
        self.endpoints = endpoints
        self.routes = routes or (RouteSpec("all", 0),)
        self.pool = pool
        self.locator = Locator(overrides=[Override("127.0.0.0/8", *location), Override("203.0.113.0/24", *NYC)] if location else [])
        self.compiled = CompiledSettings(self.settings, n_workers)
        self.snapshots = Snapshots(self.table(), self.locator, self.compiled)
        for number, door in enumerate(listeners):
            self.snapshots.order_listener(number, "accept", door.fileno())
        self.workers = [
            Worker(number, self.snapshots, self.figures, self.counters, now_us=self.now_us, log_bytes=log_bytes)
            for number in range(n_workers)
        ]
        self.worker = self.workers[0]
        self.ends = [*listeners]

    def table(self, endpoints=None, generation=1):
        places = zip(("fra", "nyc"), self.places, self.pop_rows, self.pops, strict=True)
        pops = tuple(PopSpec(name, *place, row=row, **more) for name, place, row, more in places)
        services = tuple(
            ServiceSpec(name, row, self.pool_specs(pool_rows, endpoints or self.endpoints), **self.service)
            for name, (row, pool_rows) in self.services.items()
        )
        return Table(TableSpec(generation, pops, services, self.routes, *routing_core.PRIOR, pins=self.pins), self.figures)

    def pool_specs(self, pool_rows, endpoints):
        return tuple(
            PoolSpec(
                number,
                pool_row,
                tuple(EndpointSpec(row, *address) for row, address in zip(endpoint_rows, addresses, strict=True)),
                len(addresses),
                **self.pool,
            )
            for number, (endpoint_rows, pool_row, addresses) in enumerate(zip(self.rows, pool_rows, endpoints, strict=True))
        )

    def pair(self, is_tcp=False):
        """Two ends of a connection; the first is ours."""
        if is_tcp:
            with socket.create_server(("127.0.0.1", 0)) as server:
                ours = socket.create_connection(server.getsockname())
                theirs = server.accept()[0]
            for end in (ours, theirs):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.ends.append(ours)
        return ours, theirs.detach()

    def client(self, address="127.0.0.1", is_tcp=False, worker=0):
        ours, theirs = self.pair(is_tcp)
        self.workers[worker].adopt_downstream(theirs, address)
        return ours

    def upstream(self, pop=0, number=0, is_tcp=False, worker=0):
        """The far end of a pooled connection to an endpoint."""
        ours, theirs = self.pair(is_tcp)
        self.workers[worker].adopt_upstream(theirs, self.rows[pop][number])
        return ours

    def ask(self, client, upstream, request=None):
        """A request goes up; returns what the upstream got."""
        client.send(request or REQUEST)
        self.turn()
        return received(upstream)

    @property
    def causes(self):
        """Refusals so far, those above 0."""
        return {cause: count for cause, count in self.counters.read()["causes"].items() if count}

    @property
    def figures_read(self):
        return self.counters.read()["figures"]

    def assert_at_rest(self):
        """Nothing is under way, and no figure says so."""
        counted = self.counters.read()
        assert sum(counted["active"]) == 0 and counted["figures"]["bad_transitions"] == 0
        endpoints = [self.figures.read_endpoint(row) for rows in self.rows for row in rows]
        assert all(seen["in_flight"] == seen["awaiting"] == 0 for seen in endpoints)
        pools = [self.figures.read_pool(row) for _, rows in self.services.values() for row in rows]
        assert all(seen["in_flight"] == seen["waiting"] == 0 for seen in pools)
        assert all(self.figures.read_pop(row) == 0 for row in self.pop_rows)

    def listen(self, pop=0, number=0):
        """A real listener behind an endpoint: connections made afresh arrive there."""
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(5)
        self.ends.append(server)
        self.endpoints = tuple(
            tuple(server.getsockname() if (p, n) == (pop, number) else address for n, address in enumerate(addresses))
            for p, addresses in enumerate(self.endpoints)
        )
        self.publish()
        return server

    def accepted(self, server):
        connection = server.accept()[0]
        connection.settimeout(5)
        self.ends.append(connection)
        return connection

    def publish(self, **options):
        """A new table, looked at by the worker."""
        self.snapshots.publish(self.table(**options), self.locator, self.compiled)
        self.turn()

    def reload(self, settings):
        """Other settings, looked at by the worker."""
        self.settings, self.compiled = settings, CompiledSettings(settings, len(self.workers))
        self.publish()

    def forgive(self):
        """As control does after a good probe: every gate opens again."""
        for row in (row for rows in self.rows for row in rows):
            self.figures.set_endpoint(row, forgiven=self.figures.read_endpoint(row)["connect_failures"])

    def turn(self, after_ms=0, turns=1, workers=None):
        """All workers one after the other, or those of these numbers."""
        self.now_us += after_ms * 1000
        for _ in range(turns):
            for worker in self.workers if workers is None else (self.workers[number] for number in workers):
                worker.turn(self.now_us)

    def pass_ms(self, ms):
        """Time goes by in steps, as a worker's sleep is bounded."""
        while ms > 0:
            self.turn(min(ms, 100))
            ms -= 100

    def close(self):
        for worker in self.workers:
            worker.close()
        for end in self.ends:
            end.close()
        self.__dict__.clear()  # pytest keeps the bench for a while; its memory must not stay with it


def reset(end):
    """Closes a TCP connection so that the peer sees a reset."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def chunked(body, size=1000):
    """A body in chunks of that size."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def received(end) -> bytes | None:
    """What has come; b"" at the end, None when nothing has."""
    try:
        return end.recv(1 << 20)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b""


REQUEST = b"GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def head_and_body(message: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Start line, fields by lower-case name, the rest."""
    head, _, body = message.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    fields = dict(line.decode().split(": ", 1) for line in lines)
    return start, {name.lower(): value for name, value in fields.items()}, body


PATTERN = bytes(range(256)) * 2000


def pour(bench, source, sink, data, step=1 << 20, turns=2000):
    """Sends data into one end while reading the other, as much at a time as the sockets take; returns what came out."""
    got = b""
    for _ in range(turns):
        if data:
            try:
                data = data[source.send(data[:step]) :]
            except BlockingIOError:
                pass
        bench.turn()
        piece = received(sink)
        got += piece or b""
        if not data and piece in (None, b""):
            break
    return got


UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nconnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def open_tunnel(bench, is_tcp=False):
    """Both ends of what was an exchange and is a tunnel now."""
    client, upstream = bench.client(is_tcp=is_tcp), bench.upstream(is_tcp=is_tcp)
    sent = bench.ask(client, upstream, UPGRADE)
    assert b"connection: upgrade\r\nUpgrade: websocket\r\n" in sent and b"keep-alive" not in sent
    upstream.send(SWITCH)
    bench.turn()
    assert received(client) == SWITCHED
    return client, upstream


def to_and_fro(bench, client, upstream):
    """Four bytes up a tunnel, five down."""
    client.send(b"ping")
    bench.turn()
    assert received(upstream) == b"ping"
    upstream.send(b"pong!")
    bench.turn()
    assert received(client) == b"pong!"
