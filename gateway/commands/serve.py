"""`isochrone serve`: runs the gateway. Owns signals, the event loop and exit statuses; must not know how anything is done.

SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads. Exit: 0 drained, 1 can't begin, 2 wrong configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.app import Gateway, NewPart

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


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
    from gateway.control.logs import set_up
    from gateway.loading import load

    loaded = load(args.config)
    set_up(loaded.config.log)
    for warning in loaded.warnings:
        logging.getLogger("isochrone.config").warning("%s", warning)
    raise_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        gateway = Gateway(loaded.config, lambda: load(args.config).config, parts=parts())
        runner.run(serve(gateway))
    return 0


def parts() -> tuple[NewPart, ...]:
    """What stands beside the data plane in every gateway; ended in the opposite order."""
    from gateway.control.access_log import AccessLog
    from gateway.control.admin import Admin
    from gateway.control.logs import Logs
    from gateway.control.status import Status

    return (Logs, AccessLog, Status, Admin)


async def serve(gateway: Gateway) -> None:
    """The gateway under this process's signals."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.terminate)
    loop.add_signal_handler(signal.SIGHUP, lambda: gateway.tasks.start("reload", gateway.reload()))
    await gateway.run()


def raise_descriptors() -> None:
    """As many descriptors as the system lets this process have: the usual soft limit of 1024 is there for select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
