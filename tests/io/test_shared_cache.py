"""A shared cache before the gateway: what one client is told must not be told to all."""

import contextlib
import http.client
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.serving import DEADLINE_S, backends, eventually, free_port, served

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(HAPROXY is None, reason="LOUD: no HAProxy on this machine")]

CACHE = """
cache shared
  total-max-size 4
  max-age 60
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend all
  bind 127.0.0.1:{port}
  http-request cache-use shared
  http-response cache-store shared
  default_backend gateway
backend gateway
  server gateway 127.0.0.1:{gateway}
"""
GATEWAY = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: fra, lat: 50.11, lon: 8.68}}]
services: [{{name: shop, health: {{path: /healthz}}, backends: [{{pop: fra, endpoints: ["{fra}"]}}]}}]
routes:
  - {{name: kept, match: {{path_prefix: /kept}}, service: shop, steering: {{affinity: {{cookie: pop}}}}}}
  - {{service: shop}}
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
"""


@contextlib.contextmanager
def cache_before(folder: Path, gateway_port: int) -> Iterator[int]:
    """HAProxy, which keeps what it may, cookies and all; its port."""
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(CACHE.format(port=port, gateway=gateway_port))
    process = subprocess.Popen([str(HAPROXY), "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: get(port, "/ready") is not None, "the cache serves")
        yield port
    finally:
        process.kill()
        process.wait()


def get(port: int, path: str) -> http.client.HTTPMessage | None:
    """The fields of the answer to a client that has no cookie yet; None: nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.headers
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize(
    "said", [{"cache-control": "public, max-age=60"}, {"cache-control": "public", "expires": "Tue, 19 Jan 2038 03:14:07 GMT"}]
)
def test_a_cookie_goes_to_its_client_alone(tmp_path, said):
    with (
        backends("fra") as (fra,),
        served(tmp_path, GATEWAY, fra=fra.address) as gateway,
        cache_before(tmp_path, gateway.port) as port,
    ):
        fra.refusal = (200, said)
        for path, n_asked in (("/plain", 1), ("/kept", 3)):
            answers = [get(port, path) for _ in range(3)]
            assert fra.seen[f"GET {path}"] == n_asked, path
            assert all(("set-cookie" in answer) == (path == "/kept") for answer in answers)
