"""`isochrone check`: what is printed where, and the exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config import load, parse, schema

EXAMPLE = "docs/examples/two-pops.yaml"


def test_a_good_file_is_printed_whole(capsys):
    assert main(["check", "-c", EXAMPLE]) == 0
    out, err = capsys.readouterr()
    whole, _, rest = out.partition("# limits.buffers: auto is ")
    assert whole == load(Path(EXAMPLE)).config.written(False)
    assert rest.endswith("iB here\n") and err == ""


def test_what_is_said_of_a_bound_that_is_set_is_the_bound(capsys, tmp_path):
    (tmp_path / "isochrone.yaml").write_text(Path(EXAMPLE).read_text() + "limits: {buffers: 32MiB}\n")
    assert main(["check", "-c", str(tmp_path / "isochrone.yaml")]) == 0
    out = capsys.readouterr().out
    assert "buffers: 32MiB" in out and "#" not in out


def test_what_is_printed_is_a_configuration(capsys, tmp_path):
    main(["check", "--config", EXAMPLE])
    (tmp_path / "out.yaml").write_text(capsys.readouterr().out)
    assert load(tmp_path / "out.yaml").config == load(Path(EXAMPLE)).config


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_what_is_printed_is_that_configuration_wherever_it_goes(tmp_path, encoding):
    """YAML's own escapes, where the output is of another encoding than files are."""
    path = tmp_path / "isochrone.yaml"
    health = 'health: {path: /, headers: {x-who: "Gr\u00fc\u00dfe \u4e16"}}'
    path.write_text(Path(EXAMPLE).read_text().replace("health: {path: /}", health), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "-c", str(path)],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert parse(ran.stdout.decode(), folder=tmp_path).config == load(path).config
    assert ("Gr\u00fc\u00dfe \u4e16".encode() in ran.stdout) == (encoding == "utf-8")


def test_warnings_are_no_faults(capsys):
    assert main(["check", "-c", "docs/examples/kubernetes.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("gateway:")
    assert all(line.startswith("warning: docs/examples/kubernetes.yaml:") for line in err.splitlines())
    assert len(err.splitlines()) == 2


def test_each_fault_has_a_line_and_nothing_is_printed_as_good(capsys, tmp_path, monkeypatch):
    (tmp_path / "isochrone.yaml").write_text("pops: [{name: fra, lat: 91, lon: 1}]\nnonsense: 1\n")
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "isochrone.yaml:1: pops.fra.lat: must be a number from -90 to 90 degrees, got 91" in err.splitlines()
    assert len(err.splitlines()) == 5  # listeners, services and routes are missing besides


@pytest.mark.parametrize("words", [[], ["-c", "/nowhere"]])
def test_schema_needs_no_file(capsys, words):
    assert main(["check", "--schema", *words]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
