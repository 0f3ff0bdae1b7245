"""Gate: each stub says what its extension module is (mypy.stubtest).

usage: python -m tests.checks.stubs   (after `make build`)
"""

import subprocess
import sys
from pathlib import Path

from tests.checks.pyx import sources


def main() -> int:
    stubs = sources(".pyi")
    lonely = [f"{stub}: no .pyx beside it" for stub in stubs if not stub.with_suffix(".pyx").exists()]
    modules = [".".join(stub.with_suffix("").parts) for stub in stubs if stub.with_suffix(".pyx").exists()]
    print("\n".join(lonely), end="\n" if lonely else "")
    allowed = str(Path(__file__).with_name("stubtest.allow"))
    command = [sys.executable, "-m", "mypy.stubtest", "--allowlist", allowed, "--ignore-unused-allowlist", *modules]
    return bool(subprocess.run(command, check=False).returncode) or bool(lonely)


if __name__ == "__main__":
    sys.exit(main())
