"""What a machine lacks is named before anything is built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("machine.py")
LACKING = {"cc": "a C compiler", "flock": "flock", "git": "git"}


def ran(path: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{before}\nimport runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PATH": str(path)})


@pytest.fixture
def programs(tmp_path):
    """A machine with all of them."""
    for name in LACKING:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_a_whole_machine_lacks_nothing(programs):
    found = ran(programs)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("name", LACKING)
def test_a_program_that_is_not_there_is_named_with_the_way_to_get_it(programs, name):
    (programs / name).unlink()
    found = ran(programs)
    assert found.returncode == 1
    (line,) = found.stdout.splitlines()
    assert line.startswith(f"missing: {LACKING[name]}; to get it: apt-get install ")


def test_a_python_without_venv_is_named(programs):
    hidden = (
        "import importlib.util as util; find = util.find_spec; util.find_spec = lambda name: None if name == 'ensurepip' else find(name)"
    )
    found = ran(programs, hidden)
    assert found.returncode == 1
    assert found.stdout == "missing: Python's venv (ensurepip); to get it: apt-get install python3-venv\n"
