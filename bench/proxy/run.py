"""Starts the bench from the project's folder: `python bench/proxy/run.py ARGUMENTS` is `python -m bench.proxy ARGUMENTS`."""

import os
import sys
from pathlib import Path

# The file's own folder comes first on the path of a script; the bench needs the project's.
os.chdir(Path(__file__).resolve().parents[2])
os.execv(sys.executable, [sys.executable, "-m", "bench.proxy", *sys.argv[1:]])
