"""Gate: in Cython's annotation every line of a nogil function has score 0 (white), so it touches no Python.

usage: python -m tests.checks.annotate
Only what changed since the last run is annotated again: a page is kept in build/annotated while it is newer than its .pyx
and every .pxd. Line 1 of a file takes the colour of module set-up, one more reason to begin with a docstring.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.checks.pyx import nogil_functions, sources

LINE = re.compile(r'<pre class="cython line score-(\d+)"[^>]*>(?:.*?)<span class="">0*(\d+)</span>')
PAGES = Path("build/annotated")
# As in setup.py: cdivision decides whether a division looks at zero with the GIL.
DIRECTIVES = ["-X", "cdivision=True", "-X", "auto_pickle=False", "-X", "autotestdict=False"]


def scores(path: Path, changed_s: float) -> dict[int, int]:
    """Score of each line of the source, annotated again if it or a .pxd changed since."""
    c_file = PAGES / path.with_suffix(".c")
    page = c_file.with_suffix(".html")
    if not page.exists() or page.stat().st_mtime <= max(changed_s, path.stat().st_mtime):
        c_file.parent.mkdir(parents=True, exist_ok=True)
        page.unlink(missing_ok=True)
        command = [sys.executable, "-m", "cython", "-3", "-a", "-I", ".", *DIRECTIVES, str(path), "-o", str(c_file)]
        subprocess.run(command, check=True, timeout=300)  # Cython 3.3 has been seen in an endless loop
    return {int(number): int(score) for score, number in LINE.findall(page.read_text())}


def faults(path: Path, of_line: dict[int, int]) -> list[str]:
    """What is wrong in one source, a line each."""
    inside = {number: text for function in nogil_functions(path) for number, text in function.lines.items()}
    if not of_line or not set(inside) <= set(of_line):
        return [f"{path}: the annotation's format is not the one known here"]
    return [f"{path}:{number}: score {of_line[number]}: {text.strip()}" for number, text in inside.items() if of_line[number]]


def main() -> int:
    changed_s = max((path.stat().st_mtime for path in sources(".pxd")), default=0.0)
    paths = [path for path in sources(".pyx") if nogil_functions(path)]
    with ThreadPoolExecutor(2) as pool:
        of_lines = pool.map(lambda path: scores(path, changed_s), paths)
        found = [fault for path, of_line in zip(paths, of_lines, strict=True) for fault in faults(path, of_line)]
    print("\n".join(found), end="\n" if found else "")
    print(f"annotate: {len(paths)} files, {len(found)} faults")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
