"""Services: the kind of a probe, what a backend, the rules for outliers and a service refuse."""

import pytest
from pydantic import ValidationError

from gateway.config._services import Backend, Health, Outliers, Penalties, Service
from gateway.model import Statuses

AT_X = ({"pop": "x", "endpoints": ("a:1",)},)


def test_a_list_may_be_one_value():
    assert Health.model_validate({"expect": 204}).expect == (Statuses(204, 204),)


def test_an_empty_value_is_a_key_left_out():
    assert Health.model_validate({"path": None, "type": None, "expect": None}) == Health()


@pytest.mark.parametrize(
    ("data", "kind", "path"),
    [
        ({}, "tcp", None),
        ({"path": "/healthz"}, "http", "/healthz"),
        ({"host": "a.b"}, "http", "/"),
        ({"headers": {"x": "y"}}, "http", "/"),
        ({"port": 81}, "tcp", None),
        ({"expect": ("200",)}, "http", "/"),
        ({"type": "http"}, "http", "/"),
        ({"type": "tcp", "interval": "5s"}, "tcp", None),
    ],
)
def test_kind_of_probe_follows_from_what_is_said(data, kind, path):
    health = Health.model_validate(data)
    assert (health.type, health.path) == (kind, path)


@pytest.mark.parametrize(
    ("section", "data", "words"),
    [
        (Health, {"type": "tcp", "path": "/x"}, "no path when the type is tcp"),
        (Health, {"type": "tcp", "headers": {"a": "b"}}, "no headers when the type is tcp"),
        (Health, {"type": "tcp", "host": "a.example"}, "no host when the type is tcp"),
        (Health, {"type": "tcp", "expect": 204}, "no expect when the type is tcp"),
        (Health, {"headers": {"Connection": "b"}}, "must not have 'Connection': the probe says it"),
        (Health, {"headers": {"host": "b"}}, "use `host`"),
        (Health, {"timeout": "11s"}, "a timeout of at most its interval 10s, got 11s"),
        (Health, {"interval": "1s", "timeout": "1s", "confirm_interval": "2s"}, "confirm_interval of at most"),
        (Backend, {"pop": "x"}, "got neither"),
        (Backend, {"pop": "x", "endpoints": ("a:1",), "kubernetes": {"service": "s", "port": 1}}, "got both"),
        (Backend, {"pop": "x", "endpoints": ("a:1", "b:1", "A:1")}, "must name each endpoint once, got a:1 more"),
        (Backend, {"pop": "x", "endpoints": ("a:1",), "weight": 0}, "a whole number from 1 to 1000"),
        (Health, {"interval": "500ms", "timeout": "2s"}, "a timeout of at most its interval 500ms, got 2s"),
        (Health, {"interval": "soon"}, "must be a duration"),
        (Outliers, {"eject": "10m", "eject_max": "5m"}, "an eject_max of at least its eject 10m, got 5m"),
        (Outliers, {"consecutive_errors": -1}, "0 for off"),
        (Penalties, {"failure": "6m"}, "from 0s to 5m"),
        (Service, {"name": "a", "backends": AT_X, "on_unavailable": ("a",)}, "other services in on_unavailable, got a itself"),
        (Service, {"name": "a", "backends": AT_X, "on_unavailable": ("b", "b")}, "each service in on_unavailable once, got b more"),
    ],
)
def test_a_section_is_refused_as_a_whole(section, data, words):
    with pytest.raises(ValidationError) as caught:
        section.model_validate(data)
    (text,) = [error["msg"] for error in caught.value.errors()]
    assert words in text


def test_what_nobody_wrote_fits_what_was_written():
    quick, slow, ejecting = Health.model_validate({"interval": "500ms"}), Health.model_validate({"interval": "1h"}), Outliers(eject="10m")
    assert (quick.timeout, quick.confirm_interval) == (0.5, 0.5)
    assert (slow.timeout, slow.confirm_interval) == (2, 1)
    assert ejecting.eject_max == 600
    assert Outliers().eject_max == 300


def test_each_rule_for_outliers_can_be_switched_off():
    data = {"consecutive_errors": 0, "success_rate": False, "latency": False, "max_share": 0}
    assert Outliers.model_validate(data).model_dump(exclude_unset=True) == data


def test_what_a_service_is_given_unasked():
    service = Service.model_validate({"name": "a", "backends": AT_X})
    outliers, penalties = service.outliers, service.penalties
    assert (outliers.consecutive_errors, outliers.interval, outliers.eject, outliers.eject_max) == (5, 10, 30, 300)
    assert (outliers.max_share, outliers.success_rate, outliers.latency) == (0.5, True, True)
    assert (penalties.failure.ms, penalties.server_errors, penalties.rate_limited) == (5000, False, True)
    assert (service.pop_ramp, service.prefer_zone, service.on_unavailable, service.long_lived) == (60, False, (), False)
    assert (service.backends[0].weight, service.backends[0].capacity) == (1, None)
