"""Line and branch coverage of nogil functions from a gcov build: in any thread, at nearly full speed.

usage: python -m tests.checks.gcov   (after the tests have run on build/gcov, see `make coverage`)
The #line marks of emit_linenums make gcov speak of .pyx lines; generated code after the last function is counted into
lines that do not exist, so only lines of nogil functions are taken. A line that no test can reach stands in gcov.allow
with its reason; a line there that was reached, or is no more, is a fault as well.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from tests.checks.pyx import nogil_functions, sources

OBJECTS = Path("build/tmp-gcov")
ALLOWED = Path(__file__).with_name("gcov.allow")


def allowed_lines(text: str) -> set[tuple[str, str]]:
    """(path, code) of each entry `path | code | reason`."""
    entries = [line.split(" | ") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    wrong = [entry for entry in entries if len(entry) < 3 or not entry[-1].strip()]
    if wrong:
        raise SystemExit(f"{ALLOWED}: must be `path | code | reason`, got {wrong[0]}")
    return {(entry[0].strip(), " | ".join(entry[1:-1]).strip()) for entry in entries}


def counts() -> tuple[dict[str, Counter[int]], dict[str, Counter[tuple[int, int]]]]:
    """How often each line and each branch of each source ran, summed over all objects that contain it."""
    lines: dict[str, Counter[int]] = defaultdict(Counter)
    branches: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    data = sorted(str(path) for path in OBJECTS.rglob("*.gcda"))
    if not data:
        raise SystemExit(f"{OBJECTS}: no .gcda; run the tests on the gcov build first (make coverage)")
    ran = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *data], capture_output=True, text=True, check=True)
    for report in map(json.loads, ran.stdout.splitlines()):
        for file in report["files"]:
            for line in file["lines"]:
                lines[file["file"]][line["line_number"]] += line["count"]
                for i, branch in enumerate(line["branches"]):
                    branches[file["file"]][line["line_number"], i] += branch["count"]
    return lines, branches


def main() -> int:
    lines, branches = counts()
    allowed = allowed_lines(ALLOWED.read_text())
    used: set[tuple[str, str]] = set()
    faults = []
    for path in sources(".pyx", ".pxd"):
        name = str(path)
        code = {number: text.strip() for function in nogil_functions(path) for number, text in function.lines.items()}
        counted = {number: lines[name][number] for number in code if number in lines[name]}
        missed = [number for number, count in counted.items() if not count]
        taken = [count > 0 for (number, _), count in branches[name].items() if number in counted]
        if code:
            print(f"{name}: {len(counted) - len(missed)}/{len(counted)} lines, {sum(taken)}/{len(taken)} branches")
        if code and not counted:
            faults.append(f"{name}: not in the report")
        used |= {(name, code[number]) for number in missed}
        faults += [f"{name}:{number}: never ran: {code[number]}" for number in missed if (name, code[number]) not in allowed]
    faults += [f"{ALLOWED.name}: reached, or no more there: {name} | {text}" for name, text in sorted(allowed - used)]
    print("\n".join(faults), end="\n" if faults else "")
    print(f"coverage: {len(faults)} faults, {len(used & allowed)} lines allowed")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
