import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# A process that inherits orphans, as PID 1 does, with one child of its own that another thread waits for.
INHERITING = """
import asyncio, ctypes, os, subprocess, sys, time
from gateway.control.process.reaper import Reaper
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
ours = subprocess.Popen(["sleep", "60"])
for _ in range(3):
    subprocess.run(["sh", "-c", "sleep 0.05 & exec true"], check=True)

def children():
    return open(f"/proc/self/task/{os.getpid()}/children").read().split()

async def main():
    reaper, deadline = Reaper(), time.monotonic() + 30
    while children() != [str(ours.pid)] and time.monotonic() < deadline:
        await reaper.turn()
        assert ours.returncode is None
        await asyncio.sleep(0)
    assert children() == [str(ours.pid)], children()
    await reaper.turn()
    ours.kill()
    assert ours.wait() == -9
    await reaper.turn()

asyncio.run(main())
"""


def test_orphans_are_reaped_and_children_of_our_own_are_left_to_who_waits_for_them():
    done = subprocess.run([sys.executable, "-c", INHERITING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
