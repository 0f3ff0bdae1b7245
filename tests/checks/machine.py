"""What the machine must bring: each thing that is missing is named in one line, with the way to get it."""

import importlib.util
import os
import shutil
import sys
import sysconfig

wanted = [
    (sys.platform == "linux", "Linux (epoll, EPOLLEXCLUSIVE, eventfd)", "run it on Linux"),
    (sys.version_info >= (3, 11), "Python >= 3.11", "apt-get install python3, or make PYTHON=/path/to/python3.11"),
    (
        os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
        "Python's headers (Python.h)",
        "apt-get install python3-dev",
    ),
    (importlib.util.find_spec("ensurepip"), "Python's venv (ensurepip)", "apt-get install python3-venv"),
    (shutil.which("cc") or shutil.which("gcc"), "a C compiler", "apt-get install gcc"),
    (shutil.which("flock"), "flock", "apt-get install util-linux"),
    (shutil.which("git"), "git", "apt-get install git"),
]
missing = [f"missing: {what}; to get it: {how}" for found, what, how in wanted if not found]
print("\n".join(missing), end="\n" if missing else "")
sys.exit(bool(missing))
