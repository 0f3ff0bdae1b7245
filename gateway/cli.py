"""The command line: finds the command and runs it. Owns names of commands, exit statuses and how an error is said.

Must not know what a command does. Each is a module of `gateway.commands`, imported only when it is asked for: `check` must not
wait for an event loop, a Kubernetes client and a screen library to load. A command's module has

    def register(subparsers) -> None     # one add_parser call with its name, its options
    def run(args) -> int                 # exit status

Exit statuses: 0 done; 1 failed, with one line on standard error; 2 wrong usage or configuration; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, cast

from gateway import commands
from gateway.errors import ConfigError, IsochroneError

SUMMARIES = {
    "serve": "run the gateway",
    "check": "validate a configuration and print it with all defaults",
    "explain": "where one client's request would go, and why",
    "demo": "six PoPs, a gateway and traffic from twenty countries, on this machine",
    "simulate": "how a configuration spreads the world's clients over PoPs",
    "pops": "the PoPs of a running gateway: state, availability, load, latency",
    "reload": "have a running gateway read its configuration again",
    "drain": "take traffic off this gateway or one PoP, wait until it is gone",
    "undrain": "bring traffic back",
}

# What writing there comes to; no descriptor left, say, is somebody else's, where no file is named.
OF_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EAGAIN, errno.EBADF}


class Command(Protocol):
    register: Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], Any]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit status; argparse's own SystemExit (usage, --help, --version) passes through."""
    words = list(sys.argv[1:] if argv is None else argv)
    wanted = next((word for word in words if not word.startswith("-")), None)
    names = _names()
    if wanted is not None and wanted not in names:
        near = difflib.get_close_matches(wanted, names, 1)
        hint = f", did you mean {near[0]}?" if near else "."
        return _say(f"isochrone: unknown command {wanted!r}{hint} Commands: {', '.join(names)}", 2)
    parser = argparse.ArgumentParser("isochrone", description="A traffic-routing edge gateway.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = None
    for name in names:
        if name == wanted:
            command = cast(Command, importlib.import_module(f"gateway.commands.{name}"))
            command.register(subparsers)
        else:
            subparsers.add_parser(name, help=SUMMARIES.get(name, ""))
    args = parser.parse_args(words)
    assert command is not None, "argparse asks for a command"
    return _run(command, args)


class _Version(argparse.Action):
    """Looked up only when asked for: package metadata takes 20 ms to load."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib import metadata

        try:
            version = metadata.version("isochrone")
        except metadata.PackageNotFoundError:
            version = "(run from its sources, not installed)"
        print(f"isochrone {version}")
        parser.exit()


def _names() -> list[str]:
    """Commands that are there, in the order of SUMMARIES."""
    there = {module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_")}
    return [name for name in SUMMARIES if name in there] + sorted(there - SUMMARIES.keys())


def _run(command: Command, args: argparse.Namespace) -> int:
    try:
        status = command.run(args)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        return _say(str(error), 2)
    except IsochroneError as error:
        return _say(f"isochrone: {error}", 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough; Python would complain again at exit
        _close_output()
        return 0
    except OSError as error:
        what = error.filename
        if what is None and error.errno in OF_OUTPUT:  # as it is written out at the end
            _close_output()
            what = "standard output"
        return _say(f"isochrone: {what}: {error.strerror or error}" if what else f"isochrone: {error.strerror or error}", 1)


def _close_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status
