"""What docs/examples has beside configurations: by the tools that will read it, and against what the gateway really says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.gateway.control.operating import gateway_of, serve_some
from tests.unit.gateway.control.operator.test_telemetry import Served, samples, scrape

ALERTS, UNIT = Path("docs/examples/alerts.yml"), Path("docs/examples/isochrone.service")
OPERATIONS = Path("docs/operations.md")
# Series that a gateway has only with a capacity, a cluster, a database.
CONDITIONAL = {"isochrone_pop_headroom": {"service", "pop"}, "isochrone_source_age_seconds": {"service", "pop"},
               "isochrone_geoip_age_seconds": {"database"}, "isochrone_geoip_refused": {"database"}}  # fmt: skip
OF_PROMETHEUS = {"instance", "job"}
IN_CI = os.environ.get("CI") == "true"  # where a skip is an error


def needed(program, package):
    found = shutil.which(program)
    said = f"{program} is not on this machine (apt-get install {package}): docs/examples is not read by it"
    if found is None and IN_CI:
        pytest.fail(said)
    if found is None:
        pytest.skip(said)
    return found


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def said_by_a_gateway():
    """Names of series, and the labels of each."""
    gateway = gateway_of()
    gateway.publisher.figures = Served(gateway.figures)
    serve_some(gateway, code=200, reason=1)
    found = {}
    for name, *labels in samples(scrape(gateway)):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found | {name: labels | found.get(name, set()) for name, labels in CONDITIONAL.items()}


def test_alerts_are_of_metrics_and_labels_that_are_there():
    known = said_by_a_gateway()
    for rule in rules():
        names = re.findall(r"\b((?:isochrone|process)_[a-z_]+)", rule["expr"])
        assert names and set(names) <= known.keys(), rule["alert"]
        labels = {label for name in names for label in known[name]} | OF_PROMETHEUS
        asked = re.findall(r"([a-z_]+)(?:=~|!=|=)\"", rule["expr"]) + re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"]))
        for words in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"]):
            asked += words.replace(" ", "").split(",")
        assert set(asked) <= labels, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"]


def test_every_label_an_alert_shows_is_left_by_its_query():
    """What `sum by` drops is empty in the text."""
    for rule in rules():
        by = re.findall(r"sum by \(([^)]*)\)", rule["expr"])
        if by:
            left = set(by[0].replace(" ", "").split(","))
            assert set(re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"]))) <= left, rule["alert"]


def test_prometheus_takes_the_alerts():
    ran = subprocess.run([needed("promtool", "prometheus"), "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert f"{len(rules())} rules found" in ran.stdout


def test_prometheus_fires_what_is_meant(tmp_path):
    """A PoP that is down, and one that was drained first; a database and a file that was refused after it was put in use."""
    series = {
        'isochrone_pop_availability{instance="a",service="shop",pop="fra"}': "0x10",
        'isochrone_pop_availability{instance="a",service="shop",pop="nyc"}': "0x10",
        'isochrone_pop_drained{instance="a",pop="fra"}': "0x10",
        'isochrone_pop_drained{instance="a",pop="nyc"}': "1x10",
        'isochrone_config_reload_timestamp_seconds{instance="a",result="refused"}': "20x10",
        'isochrone_config_reload_timestamp_seconds{instance="a",result="applied"}': "10x10",
        'isochrone_config_reload_timestamp_seconds{instance="b",result="refused"}': "0x10",
        'isochrone_config_reload_timestamp_seconds{instance="b",result="applied"}': "10x10",
    }
    fired = {"IsochronePopDown": {"instance": "a", "service": "shop", "pop": "fra", "severity": "page"},
             "IsochroneReloadRefused": {"instance": "a", "severity": "ticket"}}  # fmt: skip
    tests = [
        {"eval_time": "8m", "alertname": name, "exp_alerts": [{"exp_labels": labels, "exp_annotations": shown(name, labels)}]}
        for name, labels in fired.items()
    ]
    tests.append({"eval_time": "8m", "alertname": "IsochroneDatabaseOld", "exp_alerts": []})
    text = {
        "rule_files": [str(ALERTS.absolute())],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in series.items()],
                "alert_rule_test": tests,
            }
        ],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(text))
    ran = subprocess.run(
        [needed("promtool", "prometheus"), "test", "rules", str(tmp_path / "tests.yml")], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def shown(name, labels):
    (annotations,) = (rule["annotations"] for rule in rules() if rule["alert"] == name)
    return {key: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text) for key, text in annotations.items()}


def test_systemd_takes_the_unit(tmp_path):
    text = UNIT.read_text()
    assert "StateDirectory=isochrone" in text and "RuntimeDirectory=isochrone" in text
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/isochrone/bin/isochrone", "/bin/true"))  # what it starts must be there
    ran = subprocess.run([needed("systemd-analyze", "systemd"), "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, [line for line in ran.stderr.splitlines() if UNIT.name in line]) == (0, []), ran.stderr


def test_the_page_of_operations_has_the_unit_and_the_alerts():
    page = OPERATIONS.read_text()
    assert "examples/alerts.yml" in page and "examples/isochrone.service" in page
