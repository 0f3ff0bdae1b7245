"""A cluster's API beside a real gateway, in a thread of its own, filled by the test."""

import asyncio
import threading

from tests.io.serving import DEADLINE_S
from tests.k8s.fake_api import SERVICES, SLICES, FakeApi, piece, service

KUBECONFIG = (
    "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}],"
    " clusters: [{{name: a, cluster: {{server: '{}'}}}}], users: [{{name: a, user: {{token: t}}}}]}}"
)


class Api:
    """As whoever may write slices fills it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._fake = FakeApi()
        self._do(self._fake.__aenter__())
        self._do(self._fake.put(SERVICES.format("shop"), service("web", [{"name": "http", "port": 80}])))

    @property
    def url(self) -> str:
        return self._fake.url

    @property
    def watching(self) -> int:
        return self._fake.watching

    def say(self, name, addresses, port, family="IPv4", **more):
        self.put(piece(name, addresses, port=port, family=family, **more))

    def put(self, piece_):
        self._do(self._fake.put(SLICES.format("shop"), piece_))

    def stop(self):
        """Nobody listens there any more."""
        self._do(self._fake.stop_listening())

    def close(self):
        self._do(self._fake.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def _do(self, work):
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)
