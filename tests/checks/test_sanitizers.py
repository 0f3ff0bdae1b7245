"""The sanitizer of this build must report what is planted, at its line in the .pyx, and fail the process."""

import os
import subprocess
import sys

import pytest

VARIANT = os.environ["VARIANT"]
RACE = """
import planted, threading
threads = [threading.Thread(target=planted.race) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
"""
PLANTED = {
    "tsan": [(RACE, "data race")],
    "asan": [
        ("import planted; planted.use_after_free()", "heap-use-after-free"),
        ("import planted; planted.overflow()", "signed integer overflow"),
        ("import planted; planted.leak()", "12352 byte(s)"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "report"), PLANTED[VARIANT])
def test_planted_fault_is_reported(code, report):
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert report in ran.stderr, ran.stderr
    assert "planted.pyx" in ran.stderr  # a line of the source, not of the generated C
    assert ran.returncode != 0


@pytest.mark.parametrize("module", ["routing_core._memory", "planted"])
def test_the_instrumented_modules_are_the_ones_under_test(module):
    # The plain build lies beside the sources; if it were found first, every test here would pass and mean nothing.
    code = f"import {module} as module; print(module.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f"/build/{VARIANT}/" in ran.stdout, ran
    assert f"/build/{VARIANT}/" in __import__("importlib").import_module(module).__file__
