"""What the tree must look like: mirrored tests, heads, lengths, no traces of a machine.

Each function returns faults, a line each; tests/unit/test_layout.py asserts that there are none.
Must not know what a module does. Paths are relative to the project.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Collection, Iterable
from itertools import takewhile
from pathlib import Path

ROOMS = ("routing_core", "geoip", "k8s", "gateway")
MAX_LINES = 500  # of tests and benches
MAX_LINES_OF_A_MODULE = 400
# Modules without a unit test of their own, each with what tests it instead.
UNTESTED = {
    "gateway/__main__.py": "two lines; the command line's tests start it",
    "routing_core/spec.py": "declarations only; the table's tests build from them",
    "gateway/control/operator/readings.py": "declarations; the tests of telemetry read them",
}
# Wrappers that make C functions callable: every test of their room goes through them.
WRAPPERS = re.compile(r"_?(?:\w+_)?testing\.pyx")
MARKS = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
TRACES = re.compile(r"(?<![\w./~-])/(?:work|root|home/\w+|tmp/\w+)/|(?<!no-emit-)index-url|pythonhosted|GOPROXY *=|proxy\.golang")
IGNORES = re.compile(r"#\s*(?:noqa\b(?::\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)?|type:\s*ignore\S*|pragma:\s*no\s*cover)(.*)")
SLEEP = re.compile(r"\bsleep\((?!0\))")


def tracked() -> list[Path]:
    """Every file that git knows or would add."""
    ran = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, text=True, check=True)
    return sorted(path for path in map(Path, filter(None, ran.stdout.split("\0"))) if path.is_file())


def modules(paths: Iterable[Path]) -> list[Path]:
    """The modules of the rooms that have a body: .py and .pyx, without the lists of names that __init__ files are."""
    return [path for path in paths if path.parts[0] in ROOMS and path.suffix in (".py", ".pyx") and path.stem != "__init__"]


def test_names(module: Path) -> set[Path]:
    """Where its test may lie: mirrored, also with the last folders joined into the name; or where it needs sockets or a fake API."""
    parts = [part.lstrip("_") for part in module.with_suffix("").parts]
    elsewhere = {Path("tests", kind, f"test_{parts[-1]}.py") for kind in ("io", "drain", "k8s")}
    return elsewhere | {Path("tests/unit", *parts[:i], f"test_{'_'.join(parts[i:])}.py") for i in range(1, len(parts))}


def is_test_of(test: Path, name: Path) -> bool:
    """`test_x.py`, or `test_x_aspect.py` where one file would be too long."""
    return test.parent == name.parent and (test.stem == name.stem or test.stem.startswith(f"{name.stem}_"))


def mirror_faults(paths: Collection[Path]) -> list[str]:
    """Unit tests of no module, modules without a test."""
    tests = [path for path in paths if path.parts[0] == "tests" and path.name.startswith("test_")]
    names = {module: test_names(module) for module in modules(paths)}
    packages = {parent / "x.py" for module in names for parent in module.parents if len(parent.parts) > 1}
    known = set().union(*names.values(), *({Path("tests/unit", p.parent.parent, f"test_{p.parent.name}.py")} for p in packages))
    units = [test for test in tests if test.parts[1] == "unit" and test != Path("tests/unit/test_layout.py")]
    faults = [f"{test}: tests no module" for test in units if not any(is_test_of(test, name) for name in known)]
    for module, own in names.items():
        has_test = any(is_test_of(test, name) for test in tests for name in own)
        is_excused = str(module) in UNTESTED or WRAPPERS.fullmatch(module.name)
        if not has_test and not is_excused:
            faults.append(f"{module}: has no test, e.g. {max(own, key=lambda path: path.parts[1:2] == ('unit',) and len(path.parts))}")
        if has_test and str(module) in UNTESTED:
            faults.append(f"{module}: has a test and an excuse in UNTESTED")
    return faults


def head_of(path: Path) -> str:
    """The docstring a file opens with; empty when there is none."""
    text = path.read_text()
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text)) or ""
    found = re.match(r'"""(.*?)"""', text, re.DOTALL)
    return found[1] if found else ""


def head_faults(paths: Iterable[Path]) -> list[str]:
    """Modules that do not open with a docstring, and those that are too long without saying why."""
    faults = []
    for path in paths:
        text = path.read_text() if path.suffix in (".py", ".pyx", ".pxd") else ""
        is_test = path.name.startswith("test_") or path.name == "conftest.py"
        if text.strip() and not is_test and not head_of(path):
            faults.append(f"{path}: must open with a docstring")
        limit = MAX_LINES_OF_A_MODULE if path.parts[0] in ROOMS else MAX_LINES
        if len(text.splitlines()) > limit and f"Over {limit} lines: " not in head_of(path):
            faults.append(f"{path}: {len(text.splitlines())} lines; split it, or say in its head why: Over {limit} lines: ...")
    return faults


def init_faults(paths: Iterable[Path]) -> list[str]:
    """An __init__.py of a room re-exports names and holds nothing else."""
    faults = []
    for path in paths:
        if path.parts[0] in ROOMS and path.name == "__init__.py":
            for node in ast.parse(path.read_text()).body:
                is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
                is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                if not (is_all or is_docstring or isinstance(node, ast.Import | ast.ImportFrom)):
                    faults.append(f"{path}:{node.lineno}: re-exports only, got {ast.unparse(node).splitlines()[0]}")
    return faults


def package_faults(paths: Iterable[Path]) -> list[str]:
    """A folder with an __init__.py is in the wheel, or an installed `isochrone` lacks it."""
    listed = set(tomllib.loads(Path("pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.parts) for path in paths if path.parts[0] in ROOMS and path.name == "__init__.py"}
    return [f"pyproject.toml: {name}: a package that is not listed" for name in sorted(found - listed)]


def stub_faults(paths: Iterable[Path]) -> list[str]:
    """A .pyx with names for Python has a stub."""
    visible = re.compile(r"^(?:def|cpdef|cdef class|class)\s", re.MULTILINE)
    found = [path for path in paths if path.suffix == ".pyx" and path.parts[0] in ROOMS and visible.search(path.read_text())]
    return [f"{path}: has names for Python and no .pyi" for path in found if not path.with_suffix(".pyi").exists()]


def text_faults(paths: Iterable[Path]) -> list[str]:
    """Marks of unfinished work, paths of one machine, ignores without a reason, sleeping unit tests."""
    faults = []
    own = Path("tests/checks/layout.py")
    for path in paths:
        data = path.read_bytes()
        if path in (own, Path("tests/unit/test_layout.py")) or b"\0" in data or path.suffix in (".lock", ".sum"):
            continue
        is_code = path.suffix in (".py", ".pyx", ".pxd", ".pyi")
        is_quick_test = path.parts[:2] in (("tests", "unit"), ("tests", "oracle"))
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
            if found := MARKS.search(line):
                faults.append(f"{path}:{number}: {found[0]}")
            if found := TRACES.search(line):
                faults.append(f"{path}:{number}: a machine's own: {found[0]}")
            if is_code and (found := IGNORES.search(line)) and not re.search(r"[a-z]{2}", found[1]):
                faults.append(f"{path}:{number}: an ignore without its reason")
            if is_code and is_quick_test and SLEEP.search(line):
                faults.append(f"{path}:{number}: sleeps")
    return faults


def imported_first(text: str) -> str:
    """The lines of a test before its first statement: what would be boilerplate."""
    return "\n".join(takewhile(lambda line: line.startswith("#") or not line.strip(), text.splitlines()))


def boilerplate_faults(paths: Iterable[Path]) -> list[str]:
    """pytest files open with no shebang, coding line or licence block."""
    tests = [path for path in paths if path.parts[0] == "tests" and path.name.startswith("test_") and path.suffix == ".py"]
    return [f"{path}: opens with boilerplate" for path in tests if imported_first(path.read_text()).strip()]
