"""The command line: which command runs, what is said, with which exit status."""

import errno
import subprocess
import sys
import types

import pytest

from gateway import cli
from gateway.errors import ConfigError, Fault, StartError


@pytest.fixture
def command(monkeypatch):
    """A command `check` whose `run` does what the test says."""
    module = types.SimpleNamespace(
        register=lambda subparsers: subparsers.add_parser("check").add_argument("--to"),
        run=lambda args: 0 if args.to is None else int(args.to),
    )
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)
    return module


def test_a_command_runs_and_gives_its_status(command):
    assert cli.main(["check"]) == 0
    assert cli.main(["check", "--to", "3"]) == 3


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError([Fault("a.yaml", 3, "x", "must"), Fault("a.yaml", 1, "y", "must")]), 2, "a.yaml:1: y: must\na.yaml:3: x: must\n"),
        (StartError("127.0.0.1:80 is in use"), 1, "isochrone: 127.0.0.1:80 is in use\n"),
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/a/key"), 1, "isochrone: /a/key: Permission denied\n"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "isochrone: Too many open files\n"),
    ],
)
def test_an_error_is_said_once_and_has_its_status(command, capsys, error, status, said):
    def run(args):
        raise error

    command.run = run
    assert cli.main(["check"]) == status
    assert capsys.readouterr() == ("", said)


def test_a_defect_is_not_hidden(command):
    command.run = lambda args: 1 // 0
    with pytest.raises(ZeroDivisionError):
        cli.main(["check"])


def test_an_unknown_command_is_said_clearly(capsys):
    assert cli.main(["chekc"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("isochrone: unknown command 'chekc', did you mean check? Commands: ")
    assert cli.main(["zzz"]) == 2
    assert "unknown command 'zzz'. Commands: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status"), [([], 2), (["--nonsense"], 2), (["check", "--nonsense"], 2), (["--help"], 0), (["check", "--help"], 0)]
)
def test_usage(words, status, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == status
    said = capsys.readouterr()
    assert "usage: isochrone" in (said.out if status == 0 else said.err)


def test_help_lists_every_command_with_what_it_does(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    for name in cli._names():
        assert cli.SUMMARIES[name].split()[0] in said, name
        assert f"    {name} " in said


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("isochrone ")


def test_check_loads_nothing_that_serving_needs():
    """Modules are what makes a command slow to start; a time would fail on a busy machine."""
    program = "import sys; from gateway.cli import main; main(['check', '--schema']); print(*sorted(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert {"asyncio", "aiohttp", "uvloop", "kubernetes", "rich", "msgspec", "prometheus_client"}.isdisjoint(ran.stderr.split())


def test_module_is_the_command_and_a_closed_pipe_is_no_error():
    whole = subprocess.run([sys.executable, "-m", "gateway", "check", "--schema"], capture_output=True, text=True, timeout=60)
    assert (whole.returncode, whole.stdout[:1]) == (0, "{")
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "check", "--schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_full_disk_under_the_output_is_said():
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "gateway", "check", "--schema"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.stderr.startswith("isochrone: standard output: No space left")
    assert ran.returncode == 1
