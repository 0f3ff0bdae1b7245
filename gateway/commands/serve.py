"""`isochrone serve`: runs the gateway. Owns signals, the event loop and exit statuses; must not know how anything is done.

SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads. Exit: 0 drained, 1 can't begin, 2 wrong configuration.
Handlers are Python's own, not the loop's, which would give them back when it closes: a late SIGHUP would then kill.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.app import Gateway, NewPart
    from gateway.model import Loaded

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

logger = logging.getLogger("isochrone.signals")


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="run the gateway",
        description="Runs the gateway until it is drained. SIGTERM drains (a second one ends at once), SIGHUP reloads the configuration.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, default=Path("isochrone.yaml"), help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """ConfigError becomes exit status 2 in `gateway.cli`, StartError 1."""
    import uvloop

    from gateway.app import Gateway
    from gateway.control.life.inherited import Inherited
    from gateway.control.operator.logs import set_up
    from gateway.control.sources.sharing import shared
    from gateway.loading import load

    def read() -> Loaded:
        loaded = load(args.config)
        return replace(loaded, config=shared(loaded.config))

    hangups: list[int] = []  # since the file was read, until the loop runs
    signal.signal(signal.SIGHUP, lambda number, _: hangups.append(number))
    inherited = Inherited.of(os.environ)
    loaded = read()
    set_up(loaded.config.log)
    for warning in loaded.warnings:
        logging.getLogger("isochrone.config").warning("%s", warning)
    raise_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        gateway = Gateway(loaded.config, read, parts=parts(), inherited=inherited)
        runner.run(serve(gateway, hangups))
    return 0


def parts() -> tuple[NewPart, ...]:
    """What stands beside the data plane in every gateway; ended in the opposite order."""
    from gateway.parts import access_log, admin, logs, status

    return (logs, access_log, status, admin)


async def serve(gateway: Gateway, hangups: Sequence[int] = ()) -> None:
    """The gateway under this process's signals. `hangups`: those that came already."""
    loop = asyncio.get_running_loop()

    def reload() -> None:
        gateway.tasks.start("reload", gateway.reload())

    actions: dict[int, Callable[[], object]] = {
        signal.SIGTERM: gateway.terminate,
        signal.SIGINT: gateway.terminate,
        signal.SIGHUP: reload,
        signal.SIGUSR1: partial(say_nothing_done, "SIGUSR1"),
        signal.SIGUSR2: partial(say_nothing_done, "SIGUSR2"),
    }

    def handle(number: int, _: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(actions[number])

    for number in actions:
        signal.signal(number, handle)
    if hangups:
        loop.call_soon(reload)
    await gateway.run()


def say_nothing_done(name: str) -> None:
    """What nginx and HAProxy are upgraded or asked to reopen their logs with."""
    logger.warning("%s does nothing: SIGHUP reloads, SIGTERM drains; to upgrade, start a second gateway, then drain this one", name)


def raise_descriptors() -> None:
    """As many descriptors as the system lets this process have: the usual soft limit of 1024 is there for select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
