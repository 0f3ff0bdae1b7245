"""The exception tree: what each error tells the one who handles it."""

from gateway.errors import ConfigError, Fault, IsochroneError, StartError


def test_fault_reads_as_file_line_path_text():
    assert str(Fault("a.yaml", 31, "pops.fra.lat", "must be x")) == "a.yaml:31: pops.fra.lat: must be x"
    assert str(Fault("a.yaml", 2, "", "must be YAML")) == "a.yaml:2: must be YAML"
    assert str(Fault("a.yaml", None, "", "can't be read")) == "a.yaml: can't be read"


def test_fault_is_one_line_and_harmless_to_a_terminal():
    assert str(Fault("a.yaml", 1, "a\nb", "got \x1b[31m, \u2028 é")) == "a.yaml:1: a\\nb: got \\x1b[31m, \\u2028 é"


def test_config_error_has_every_fault_in_the_order_of_the_file():
    error = ConfigError([Fault("a", 9, "z", "1"), Fault("a", None, "", "2"), Fault("a", 3, "y", "3"), Fault("a", 3, "x", "4")])
    assert [fault.text for fault in error.faults] == ["2", "3", "4", "1"]
    assert str(error).splitlines() == ["a: 2", "a:3: y: 3", "a:3: x: 4", "a:9: z: 1"]


def test_each_error_knows_side_status_and_retry():
    for kind, status in ((IsochroneError, 500), (ConfigError, 400), (StartError, 503)):
        assert (kind.side, kind.status, kind.is_retry_safe) == ("internal", status, False)
        assert issubclass(kind, IsochroneError)
