import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks import annotate, cost, gcov, gil, imports, pythons, pyx

SOURCE = '''"""nogil: in a docstring."""
# cdef int f() noexcept nogil:
cdef extern from "x.h" nogil:
    int foreign()

ctypedef void (*Call)(int) noexcept nogil

cdef int plain(int x) noexcept nogil:
    return x


cdef inline (int, int) wrapped(
    int x,      # a comment with nogil:
    const char *text,
) except? (-1, -1) nogil:
    """It says
    more than one line."""

    if x:
        call(x,
    text)
    return x, 1

cdef int control(int x):
    with nogil:
        plain(x)
    return x


cdef class Worker:
    cdef int turn(self, int now) noexcept nogil:
        return now

    def run(self):
        pass
'''


@pytest.fixture
def functions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("room").mkdir()
    path = Path("room/_x.pyx")
    path.write_text(SOURCE)
    return {function.qualified[-1]: function for function in pyx.nogil_functions(path)}


def test_nogil_functions_are_found_with_their_lines(functions):
    assert list(functions) == ["plain", "wrapped", "turn"]
    assert list(functions["plain"].lines.values()) == ["cdef int plain(int x) noexcept nogil:", "    return x"]
    assert functions["wrapped"].clause == "except? (-1, -1)"
    assert {"    text)", "    return x, 1"} <= set(functions["wrapped"].lines.values())
    assert functions["turn"].symbol == "__pyx_f_4room_2_x_6Worker_turn"


GENERATED = """static int {symbol}(int __pyx_v_x) {{
  int __pyx_r;
  /* PyErr_Occurred in a comment */
  {body}
  return __pyx_r;
}}
"""


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("__pyx_r = __pyx_v_x;", set()),
        ("Py_ssize_t n = 1; f(&n);", set()),
        ("PyGILState_STATE s = __Pyx_PyGILState_Ensure();", {"PyGILState_STATE", "__Pyx_PyGILState_Ensure"}),
        ("goto __pyx_L1_error;", {"__pyx_L1_error"}),
    ],
)
def test_names_of_python_in_generated_c(body, names):
    assert gil.python_names("__pyx_f_x", GENERATED.format(symbol="__pyx_f_x", body=body)) == names


def test_function_that_is_not_generated_is_a_fault(functions):
    generated = {gil.GENERATED / "room/_x.c": ""}
    assert "not in the generated C" in gil.faults_of(functions["plain"], generated)[0]
    assert "without noexcept" in gil.faults_of(functions["wrapped"], generated)[0]


def test_score_in_a_nogil_function_is_a_fault(functions):
    path = functions["plain"].path
    white = dict.fromkeys(range(1, 100), 0)
    assert annotate.faults(path, white) == []
    assert "_x.pyx:9: score 3" in annotate.faults(path, {**white, 9: 3, 25: 7})[0]
    assert "format" in annotate.faults(path, {})[0]


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("routing_core/_x.pyx", "from routing_core._memory cimport take, give\n", None),
        ("routing_core/_x.pyx", "from geoip._reader cimport find\n", "must not know geoip"),
        ("routing_core/_x.pyx", "cimport gateway.dataplane.reactor._worker\n", "must not know gateway"),
        ("routing_core/_x.pyx", "import time\n", "must not know time"),
        ("routing_core/_x.pyx", "from posix.time cimport clock_gettime\n", "must not know posix.time"),
        ("gateway/dataplane/_x.pyx", "from posix.time cimport clock_gettime\n", None),
        ("gateway/dataplane/_x.pyx", "import socket\n", "must not know socket"),
        ("geoip/_x.pxd", "from routing_core cimport (\n    _memory,\n)\n", None),
        ("geoip/_x.pxd", "import k8s\n", "must not know k8s"),
        ("gateway/dataplane/_x.pyx", "from geoip._cache cimport Cache\n", None),
        ("gateway/dataplane/_x.pyx", "from gateway import control\n", "must not know gateway.control"),
        ("gateway/dataplane/_x.pyx", "def f():\n    from gateway.config import Config\n", "must not know gateway.config"),
        ("gateway/dataplane/_x.pyx", "import asyncio\n", "must not know asyncio"),
        ("gateway/dataplane/_x.pyx", "# import asyncio\n'''\nimport k8s\n'''\n", None),
        ("gateway/dataplane/_x.pyx", "from ._head cimport parse\n", "relative"),
        ("gateway/dataplane/proxy/_x.pyx", "from gateway.dataplane.exchange._flow cimport pump\n", None),
        ("gateway/dataplane/proxy/_x.pyx", "from gateway.dataplane.proxy._reply cimport compose_reply\n", None),
        ("gateway/dataplane/exchange/_x.pyx", "from gateway.dataplane._core cimport *\n", None),
        ("gateway/dataplane/exchange/_x.pyx", "from gateway.dataplane.proxy._reply cimport compose_reply\n", "exchange must not know"),
        ("gateway/dataplane/http1/_x.pxd", "from gateway.dataplane.shared._ring cimport Ring\n", "http1 must not know"),
        ("gateway/dataplane/_core.pxd", "from gateway.dataplane.shared._ring cimport Ring\n", None),
        ("gateway/dataplane/_core.pxd", "from gateway.dataplane.upstream._pools cimport adopt\n", "_core.pxd must not know"),
        ("gateway/dataplane/_x.pyx", 'include "head.pxi"\n', "include"),
    ],
)
def test_imports(path, text, fault):
    faults = imports.faults_in(Path(path), text)
    assert (fault in faults[0]) if fault else faults == []


def test_an_allowed_line_has_a_reason():
    assert gcov.allowed_lines("# head\n\na.pyx | return a | b | the call fails only when memory is out\n") == {("a.pyx", "return a | b")}
    with pytest.raises(SystemExit, match="reason"):
        gcov.allowed_lines("a.pyx | return 1\n")


PLANTED = {
    "asserts": "cdef int asserts(int x) noexcept nogil:\n    assert x\n    return x",
    "prints": "cdef int prints(int x) noexcept nogil:\n    with gil:\n        print(x)\n    return x",
    "lets_go": "cdef int lets_go(int x) noexcept nogil:\n    with nogil:\n        x += 1\n    return x",
    "indexes": "cdef int indexes(const char[::1] x) noexcept nogil:\n    return x[0]",
    "sound": "cdef int sound(int x) noexcept nogil:\n    return x // 3",
}
SEEN_BY_GIL_ALONE = {"lets_go"}


@pytest.mark.slow
def test_planted_faults_are_found_in_what_cython_really_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("room/_planted.pyx")
    path.parent.mkdir()
    Path("room/__init__.py").touch()
    callers = "def f(int x, const char[::1] v):\n    return asserts(x) + prints(x) + lets_go(x) + indexes(v) + sound(x)\n"
    path.write_text("\n\n".join(['"""Faults on purpose."""', *PLANTED.values(), callers]))
    of_lines = annotate.scores(path, 0)
    functions = pyx.nogil_functions(path)
    assert [function.qualified[0] for function in functions] == list(PLANTED)
    generated = {gil.GENERATED / "room/_planted.c": (annotate.PAGES / "room/_planted.c").read_text()}
    named = {function.qualified[0] for function in functions if gil.faults_of(function, generated)}
    assert named == set(PLANTED) - {"sound"}
    coloured = {function.qualified[0] for function in functions if any(of_lines[number] for number in function.lines)}
    assert coloured >= named - SEEN_BY_GIL_ALONE
    assert "sound" not in coloured


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "import pytest\n\n@pytest.mark.skip(reason='no database')\ndef test_x():\n    pass\n",
        "import pytest\n\ndef test_x():\n    pytest.skip('no database')\n",
        "import pytest\n\npytest.skip('no database', allow_module_level=True)\n",
    ],
    ids=["mark", "call", "module"],
)
def test_a_skip_is_named_and_fails_in_ci(text, tmp_path):
    (tmp_path / "test_x.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", "--rootdir", str(tmp_path), str(tmp_path)]
    root = str(Path(__file__).parents[2])
    for in_ci in (False, True):
        environment = {**os.environ, "PYTHONPATH": root, "CI": str(in_ci).lower()}
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
        assert "no database" in ran.stdout
        assert (ran.returncode not in (0, 5)) == in_ci, ran.stdout


@pytest.fixture
def fake_pythons(tmp_path, monkeypatch):
    """pyenv's home with a 3.12 that is one, a 3.13 without headers, and shims on the path that answer to every name."""
    (tmp_path / "include").mkdir()
    (tmp_path / "include/Python.h").touch()
    said = {
        "versions/3.12.1/bin/python3.12": f"echo '(3, 12) {tmp_path}/include'",
        "versions/3.13.0/bin/python3.13": f"echo '(3, 13) {tmp_path}/nowhere'",
        "shims/python3.12": "exit 127",
        "shims/python3.14": f"echo '(3, 11) {tmp_path}/include'",
    }
    for name, line in said.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    return tmp_path


def test_a_python_is_one_that_starts_and_has_its_headers(fake_pythons):
    assert pythons.interpreter("3.12") == fake_pythons / "versions/3.12.1/bin/python3.12"
    assert pythons.interpreter("3.13") is None
    assert pythons.interpreter("3.14") is None


def test_a_python_that_is_not_here_is_named_and_one_that_fails_is_a_fault(fake_pythons, monkeypatch, capsys):
    monkeypatch.setattr(pythons, "check", lambda version, python: True)
    assert pythons.main(["3.12", "3.14"]) == 0
    assert "Python 3.12: ok\nPython 3.14: SKIPPED, not on this machine" in capsys.readouterr().out
    monkeypatch.setattr(pythons, "check", lambda version, python: False)
    assert pythons.main(["3.12"]) == 1
    assert "Python 3.12: FAILED" in capsys.readouterr().out


TRACE = """recvfrom(7, "x", 1, 0, NULL, NULL) = 1
write(-1, "last", 4)                    = -1 EBADF (Bad file descriptor)
write(-1, "turn", 4)                    = -1 EBADF (Bad file descriptor)
epoll_wait(5, [{events=EPOLLIN, data={u32=2}}], 256, 0) = 1
accept4(4, NULL, NULL, SOCK_NONBLOCK)   = 9
epoll_ctl(5, EPOLL_CTL_ADD, 9, {events=EPOLLIN, data={u32=3}}) = 0
write(-1, "turned", 6)                  = -1 EBADF (Bad file descriptor)
sendto(8, "GET / HTTP/1.1", 14, 0, NULL, 0) = 14
write(-1, "turn", 4)                    = -1 EBADF (Bad file descriptor)
write(-1, "turned", 6)                  = -1 EBADF (Bad file descriptor)
write(-1, "end", 3)                     = -1 EBADF (Bad file descriptor)
close(5)                                = 0
"""


def test_calls_of_the_last_exchange_inside_turns():
    assert cost.calls_of(TRACE) == ["epoll_wait", "accept4", "epoll_ctl EPOLL_CTL_ADD"]


@pytest.mark.parametrize(
    ("instructions", "calls", "faults"),
    [
        (1030, ["recvfrom"], 0),
        (900, ["recvfrom"], 0),
        (1031, ["recvfrom"], 1),
        (1000, [], 1),
        (1031, ["recvfrom", "close"], 2),
    ],
)
def test_an_exchange_that_costs_more_is_a_fault(instructions, calls, faults):
    now, before = {"instructions": instructions, "calls": calls}, {"instructions": 1000, "calls": ["recvfrom"]}
    assert len(cost.faults_of("keep-alive", now, before)) == faults


@pytest.mark.parametrize(("many", "faults"), [(4000, 0), (4400, 0), (4401, 1), (16_000, 1)])
def test_a_crowd_of_which_each_costs_more_than_one_of_few_is_a_fault(many, faults):
    assert len(cost.faults_of_growth("a pool that dies", 1000, many)) == faults


@pytest.mark.parametrize("name", [*cost.SCRIPTS, *cost.CROWDS])
def test_each_script_of_the_cost_ends(name):
    cost.play(name, 2)
