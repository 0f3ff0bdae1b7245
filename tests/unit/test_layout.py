"""The tree keeps the house's rules; and each rule can fail."""

from pathlib import Path

import pytest

from tests.checks import layout

CHECKS = [
    layout.mirror_faults,
    layout.head_faults,
    layout.init_faults,
    layout.package_faults,
    layout.stub_faults,
    layout.text_faults,
    layout.boilerplate_faults,
]
SELF = "tests/unit/test_layout.py"


@pytest.mark.parametrize("check", CHECKS)
def test_tree_keeps_the_rule(check):
    faults = check(layout.tracked())
    assert not faults, "\n" + "\n".join(faults)


def mirrored(*paths):
    return layout.mirror_faults([Path(path) for path in (*paths, SELF)])


def test_mirror_finds_what_is_missing():
    assert mirrored("geoip/_reader.pyx", "tests/unit/geoip/test_reader.py") == []
    assert mirrored("geoip/_reader.pyx", "tests/unit/geoip/test_reader_hostile.py") == []
    assert mirrored("gateway/config/units.py", "tests/unit/gateway/config/test_units.py") == []
    assert mirrored("k8s/reflector.py", "tests/k8s/test_reflector.py") == []
    assert mirrored("geoip/_testing.pyx", "routing_core/spec.py") == []
    assert "has no test" in mirrored("geoip/_reader.pyx")[0]
    assert "tests no module" in mirrored("tests/unit/geoip/test_reader.py")[0]
    assert "excuse" in mirrored("routing_core/spec.py", "tests/unit/routing_core/test_spec.py")[0]


def test_a_package_outside_the_wheel_is_found():
    assert layout.package_faults([Path("gateway/unheard_of/__init__.py")]) == [
        "pyproject.toml: gateway.unheard_of: a package that is not listed"
    ]


@pytest.mark.parametrize(
    ("check", "name", "text", "fault"),
    [
        (layout.head_faults, "geoip/_x.pyx", "cdef int x\n", "docstring"),
        (layout.head_faults, "geoip/_x.pyx", '"""X."""\n' + "x = 1\n" * 400, "401 lines"),
        (layout.head_faults, "geoip/_x.pyx", '"""X. Over 400 lines: a table."""\n' + "x = 1\n" * 400, None),
        (layout.init_faults, "geoip/__init__.py", '"""X."""\nfrom a import b\n\n__all__ = ["b"]\n', None),
        (layout.init_faults, "geoip/__init__.py", "def f():\n    pass\n", "re-exports only"),
        (layout.stub_faults, "geoip/_x.pyx", "def f():\n    pass\n", "no .pyi"),
        (layout.stub_faults, "geoip/_x.pyx", "cdef int f() noexcept nogil:\n    return 1\n", None),
        (layout.text_faults, "docs/x.md", "see /home/me/x\n", "/home/me/"),
        (layout.text_faults, "docs/x.md", "see ~/.cache/x and https://h/work/x\n", None),
        (layout.text_faults, "geoip/x.py", "import a  # noqa: F401\n", "reason"),
        (layout.text_faults, "geoip/x.py", "import a  # noqa: F401  its side effect registers it\n", None),
        (layout.text_faults, "geoip/x.py", "x = 1  # TODO: y\n", "TODO"),
        (layout.text_faults, "tests/unit/geoip/test_x.py", "time.sleep(0.1)\n", "sleeps"),
        (layout.text_faults, "tests/unit/geoip/test_x.py", "await asyncio.sleep(0)\n", None),
        (layout.boilerplate_faults, "tests/io/test_x.py", "#!/usr/bin/env python\nimport os\n", "boilerplate"),
    ],
)
def test_rule_finds_its_fault(check, name, text, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text(text)
    faults = check([Path(name)])
    assert (fault in faults[0]) if fault else faults == []
