"""Gate: the generated C of a nogil function names nothing of Python: no exception check, no GIL, no object.

usage: python -m tests.checks.gil   (after `make build`, which leaves the generated C in build/c-normal)
Stricter than the annotation, which gives score 0 to a `with nogil` inside a nogil function. Also: every nogil function is
`noexcept`, since without it each caller looks for an exception by taking the GIL.
"""

import re
import sys
from pathlib import Path

from tests.checks.pyx import Function, code_only, nogil_functions, sources

GENERATED = Path("build/c-normal")
PYTHON = re.compile(r"\b(?:Py[A-Z_]\w*|__Pyx_\w+|__pyx_L\d+_error)\b")
# A type of C's own; a hint to the compiler on an unused label or a branch.
HARMLESS = {"Py_ssize_t"}
COMMENT = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def python_names(symbol: str, generated: str) -> set[str] | None:
    """What of Python's the C function names; None when the text does not define it in the form known here."""
    body = re.search(rf"^[^\n;]*\b{symbol}\([^;{{]*\) \{{\n(.*?)^\}}", generated, re.DOTALL | re.MULTILINE)
    return None if body is None else set(PYTHON.findall(COMMENT.sub("", body[1]))) - HARMLESS


def faults_of(function: Function, generated: dict[Path, str]) -> list[str]:
    """What is wrong with one function, a line each."""
    place = f"{function.path}:{function.number}: {'.'.join(function.qualified)}"
    faults = [] if "noexcept" in function.clause.split() else [f"{place}: nogil without noexcept"]
    # An inline function of a .pxd is generated into each module that calls it.
    own = GENERATED / function.path.with_suffix(".c")
    texts = [generated[own]] if function.path.suffix == ".pyx" else [t for t in generated.values() if f"{function.symbol}(" in t]
    found = [names for text in texts if (names := python_names(function.symbol, text)) is not None]
    if not found:
        return [*faults, f"{place}: not in the generated C (nobody calls it, or its form is not the one known here)"]
    return faults + [f"{place}: {', '.join(sorted(names))}" for names in found[:1] if names]


def main() -> int:
    faults = []
    functions = [function for path in sources(".pyx", ".pxd") for function in nogil_functions(path)]
    for path in sources(".pyx", ".pxd"):
        for number, line in enumerate(code_only(path.read_text()).splitlines(), 1):
            if re.search(r"\bwith\s+gil\b", line):
                faults.append(f"{path}:{number}: with gil")
    paths = {GENERATED / path.with_suffix(".c"): path for path in sources(".pyx")}
    for c_file, path in paths.items():
        if not c_file.exists() or c_file.stat().st_mtime < path.stat().st_mtime:
            raise SystemExit(f"{path}: {c_file} is missing or older; run make build")
    generated = {c_file: c_file.read_text() for c_file in paths}
    for function in functions:
        faults += faults_of(function, generated)
    print("\n".join(faults), end="\n" if faults else "")
    print(f"gil: {len(functions)} nogil functions, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
