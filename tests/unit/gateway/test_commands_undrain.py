import pytest

from gateway.cli import main
from tests.unit.gateway.admin_api import admin_api


def test_a_pop_and_the_gateway(capsys):
    with admin_api() as api:
        api.answers = [(200, {"gateway": "edge-1", "pop": "fra"}), (200, {"gateway": "edge-1", "state": "serving"})]
        assert main(["undrain", "--admin", api.url, "--pop", "fra"]) == 0
        assert main(["undrain", "--admin", api.url]) == 0
        assert api.asked == [("POST", "/pops/fra/undrain"), ("POST", "/undrain")]
    who = f"gateway edge-1 at {api.url}"
    assert capsys.readouterr().out.splitlines() == [who, "fra: takes traffic", who, "takes traffic: serving"]


@pytest.mark.parametrize("command", ["drain", "undrain"])
def test_a_word_that_the_disk_did_not_take_is_said(capsys, command):
    with admin_api() as api:
        seen = {"gateway": "edge-1", "pop": "fra", "drained": True, "since_s": 0.1, "done": True, "kept": False}
        api.answers = [(200, {**seen, "not_kept": "No space left on device"})]
        assert main([command, "--admin", api.url, "--pop", "fra"]) == 0
    said = "fra: a restart would forget this: No space left on device; written down as soon as that can be\n"
    assert capsys.readouterr().err == said


def test_too_late(capsys):
    with admin_api() as api:
        api.answers = [(409, {"error": "not possible while lameduck: undrain"})]
        assert main(["undrain", "--admin", api.url]) == 1
        assert capsys.readouterr().err == f"isochrone: {api.url} refuses: not possible while lameduck: undrain\n"
