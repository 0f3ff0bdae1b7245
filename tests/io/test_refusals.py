"""Where a slice or a name may not lead a request: tried on a gateway that runs, with its own admin API as the bait."""

import contextlib
import json
import signal
import urllib.request

import pytest

from tests.io.clustered import KUBECONFIG, Api
from tests.io.serving import CONFIG, DEADLINE_S, GERMAN, eventually, free_port, served

pytestmark = pytest.mark.slow

# fra is a tenant's Service, the first of nyc's endpoints a name that means loopback; the status listener is bound to a wildcard.
TEXT = (
    CONFIG.replace("country: DE", "country: DE, kubernetes: {{kubeconfig: kubeconfig}}")
    .replace('endpoints: ["{fra}"]', "kubernetes: {{namespace: shop, service: web, port: http}}{allow}")
    .replace('endpoints: ["{nyc}"]', 'endpoints: ["0x7f000001:{bait}", "{nyc}"]')
) + "status: {{bind: '0.0.0.0:{status}'}}\n"


def pool_of(gateway, pop):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/pops/{pop}", timeout=DEADLINE_S) as answer:
        return json.load(answer)["services"][0]


def test_nobody_who_writes_slices_or_names_leads_a_request_to_this_machine(tmp_path, pops):
    fra, nyc = pops
    status = free_port()
    with contextlib.closing(Api()) as api:
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        with served(tmp_path, TEXT, bait=str(fra.port), nyc=nyc.address, status=str(status), allow="") as gateway:
            api.say("own", ["127.0.0.1", "169.254.169.254", "0.0.0.0"], gateway.admin_port)
            api.say("wrapped", ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "::1"], gateway.admin_port, "IPv6")
            api.say("mine", ["127.0.0.1"], fra.port)
            eventually(lambda: pool_of(gateway, "fra")["endpoints"]["refused"] == 7, "seven refused")
            shown = {one["endpoint"]: one["cause"] for one in pool_of(gateway, "fra")["refused"]}
            assert shown == {
                f"127.0.0.1:{gateway.admin_port}": "loopback",
                f"169.254.169.254:{gateway.admin_port}": "link-local",
                f"0.0.0.0:{gateway.admin_port}": "unspecified",
                f"[::ffff:127.0.0.1]:{gateway.admin_port}": "loopback",
                f"[64:ff9b::7f00:1]:{gateway.admin_port}": "loopback",
                f"[::1]:{gateway.admin_port}": "loopback",
                f"127.0.0.1:{fra.port}": "loopback",
            }
            assert pool_of(gateway, "nyc")["refused"] == [{"endpoint": f"127.0.0.1:{fra.port}", "cause": "loopback"}]
            assert pool_of(gateway, "nyc")["endpoints"]["admitting"] == 1  # the other one's good address stays
            assert {gateway.get("/pops", GERMAN) for _ in range(20)} == {(200, "nyc")}  # never the admin API's answer
            assert "endpoints refused" in gateway.log

            api.say("own", ["127.0.0.1"], status)
            text = gateway.config.read_text().replace("port: http}", "port: http}, allow: [loopback]")
            gateway.config.write_text(text)
            gateway.signal(signal.SIGHUP)
            eventually(lambda: gateway.get("/", GERMAN) == (200, "fra"), "what the operator allowed serves")
            refused = {one["endpoint"]: one["cause"] for one in pool_of(gateway, "fra")["refused"]}
            # Loopback is allowed now; this gateway's own listeners are not, by the address they are bound to or by a wildcard.
            assert refused == {
                f"127.0.0.1:{status}": "own-listeners",
                f"[::ffff:127.0.0.1]:{gateway.admin_port}": "own-listeners",
                f"[64:ff9b::7f00:1]:{gateway.admin_port}": "own-listeners",
            }
