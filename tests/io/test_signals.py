"""Signals to a gateway that has only just been started, also as PID 1: they end it in order or do nothing, and are never lost."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.io.serving import CONFIG, backends, eventually, served

pytestmark = pytest.mark.slow

UNSHARE = [shutil.which("unshare") or "unshare", *(() if os.geteuid() == 0 else ("-Ur",)), "-pf", "--kill-child"]
PLACES = {"fra": "127.0.0.1:9", "nyc": "127.0.0.1:9"}
# Of the time that a start takes, from the moment at which Python has handlers; some lie in imports, some after.
DELAYS_S = [0.0, 0.05, 0.15, 0.3, 0.5, 0.8]


def catches(pid, number):
    """Whether the process has a handler: before that no program can do anything about a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(mask >> (number - 1) & 1)


def child_of(pid):
    return next(iter(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()), None)


def wait_handlers(process, pid):
    eventually(lambda: catches(pid, signal.SIGTERM) or process.poll() is not None, "handlers")


def after(process, delay_s):
    """So long after now, or until the process ends, which it must not."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(delay_s or 0.001)


@pytest.mark.parametrize("delay_s", DELAYS_S)
def test_sigterm_in_the_first_second_ends_in_order(tmp_path, delay_s):
    with served(tmp_path, CONFIG.replace("lameduck: 1s", "lameduck: 0s"), wait=False, is_fresh=True, **PLACES) as gateway:
        wait_handlers(gateway.process, gateway.process.pid)
        after(gateway.process, delay_s)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit() == 0


def test_sighup_never_ends_a_start(tmp_path):
    with backends("fra", "nyc") as (fra, nyc), served(tmp_path, wait=False, is_fresh=True, fra=fra.address, nyc=nyc.address) as gateway:
        wait_handlers(gateway.process, gateway.process.pid)
        while not gateway.is_listening():
            gateway.signal(signal.SIGHUP)
            assert gateway.process.poll() is None
            after(gateway.process, 0.01)
        gateway.signal(signal.SIGHUP)
        gateway.wait_log('"reloaded"')
        gateway.signal(signal.SIGTERM)
        for _ in range(2000):  # to the last moment of its end
            gateway.signal(signal.SIGHUP)
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert gateway.process.wait(0.02) == 0
                break
        assert gateway.wait_exit() == 0


@pytest.fixture
def pid_1():
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no PID namespace on this machine: {done.stderr.decode().strip()}")
    return UNSHARE


@pytest.mark.parametrize("delay_s", [0.0, 0.3, None])
def test_as_the_first_process_of_a_container(tmp_path, pid_1, delay_s):
    """Where a signal without a handler is lost: None is a gateway that serves already."""
    config = CONFIG.replace("lameduck: 1s", "lameduck: 0s")
    with (
        backends("fra", "nyc") as (fra, nyc),
        served(tmp_path, config, wait=delay_s is None, under=pid_1, fra=fra.address, nyc=nyc.address) as gateway,
    ):
        pid = int(eventually(lambda: child_of(gateway.process.pid), "the first process"))
        wait_handlers(gateway.process, pid)
        if delay_s is not None:
            after(gateway.process, delay_s)
        os.kill(pid, signal.SIGHUP)
        assert catches(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)
        assert gateway.wait_exit() == 0


def test_signals_that_upgrade_other_servers_end_nothing(tmp_path):
    with backends("fra", "nyc") as (fra, nyc), served(tmp_path, fra=fra.address, nyc=nyc.address) as gateway:
        for name in ("SIGUSR1", "SIGUSR2"):
            gateway.signal(signal.Signals[name])
            gateway.wait_log(f"{name} does nothing")
        assert gateway.get("/")[0] == 200
