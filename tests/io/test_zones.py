"""A pool in two zones of a cluster, as a running gateway sees it: what is left of its own zone bears its part, and no more."""

import contextlib
import http.server
import threading
from collections import Counter

import pytest

from tests.io.clustered import KUBECONFIG, Api
from tests.io.serving import CONFIG, GERMAN, Client, eventually, free_port, served
from tests.k8s.fake_api import piece

pytestmark = pytest.mark.slow

PODS = [(f"127.0.7.{n + 1}", "a" if n < 4 else "b") for n in range(8)]
TEXT = (
    CONFIG.replace("country: DE", "country: DE, kubernetes: {{kubeconfig: kubeconfig}}")
    .replace('endpoints: ["{fra}"]', "kubernetes: {{namespace: shop, service: web, port: http}}, allow: [loopback]")
    .replace('      - {{pop: nyc, endpoints: ["{nyc}"]}}\n', "")
    .replace("slow_start: 200ms", "slow_start: 0s\n    prefer_zone: true")
    .replace("gateway: {{workers: 2}}", "gateway: {{workers: 2, zone: a}}")
)


class Pod(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = str(self.connection.getsockname()[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def end(self) -> None:
        self.shutdown()
        self.server_close()


def test_the_last_of_the_own_zone_is_not_given_all(tmp_path):
    """Three of four there refuse, while the API server calls them ready."""
    port = free_port()
    slice_ = piece("web-1", [address for address, _ in PODS], port=port)
    for endpoint, (_, zone) in zip(slice_["endpoints"], PODS, strict=True):
        endpoint["zone"] = zone
    with contextlib.ExitStack() as stack:
        pods = {address: Server((address, port), Pod) for address, _ in PODS}
        for pod in pods.values():
            threading.Thread(target=pod.serve_forever, daemon=True).start()
            stack.callback(pod.end)
        api = Api()
        stack.callback(api.close)
        api.put(slice_)
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        gateway = stack.enter_context(served(tmp_path, TEXT))
        client = stack.enter_context(contextlib.closing(Client(gateway.port)))

        def shares() -> Counter[str]:
            answers = [client.ask("/", GERMAN) for _ in range(200)]
            assert {answer.status for answer in answers} == {200}
            return Counter(answer.text for answer in answers)

        ours = [address for address, zone in PODS if zone == "a"]
        eventually(lambda: set(shares()) == set(ours), "the own zone serves alone")
        for address in ours[:3]:
            pods[address].end()
        eventually(lambda: 30 < shares()[ours[3]] < 150, "what is left of it serves with the other zone")
