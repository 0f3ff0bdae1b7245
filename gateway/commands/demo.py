"""`isochrone demo`: six PoPs, a gateway and traffic from two dozen countries, on this machine. Owns the processes' lives and what
is said around the story; what happens is in gateway.demo.story.

On a terminal it stays up after the story, for curl, until Ctrl-C; elsewhere, or with --once, it ends. Exit: 0; 1 when a request
failed or something else went wrong; 130 and 143 when it was interrupted before the end of the story.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import StartError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gateway.demo.edge import Database, Edge
    from gateway.demo.places import Client
    from gateway.demo.screen import Screen
    from gateway.demo.story import Story

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

LEISURE = 2.5  # where a person looks on


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="six PoPs, a gateway and traffic from two dozen countries, on this machine",
        description="Starts six PoPs and a gateway on this machine, sends requests as clients of two dozen countries do, kills a PoP,"
        " brings it back, drains another, and says what it saw. On a terminal it then stays up until Ctrl-C.",
    )
    parser.add_argument("--once", action="store_true", help="end after the summary, also on a terminal")
    parser.add_argument("--record", metavar="FILE.svg", type=Path, help="save the screen as a picture")


def run(args: argparse.Namespace) -> int:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        caught: list[int] = []

        def stop(number: int) -> None:
            caught.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            return await demonstrate(stays=sys.stdout.isatty() and not args.once, record=args.record)
        except asyncio.CancelledError:
            return 128 + caught[0] if caught else 1

    return asyncio.run(main())


async def demonstrate(stays: bool, record: Path | None) -> int:
    """The whole demo. Nothing of it is left when this returns or raises."""
    from gateway.demo.screen import Screen, console, summary_of

    screen = Screen(console())
    with contextlib.ExitStack() as stack:
        stack.callback(screen.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isochrone-demo-")))
        story, edge = await _set_up(screen, stack, folder, LEISURE if stays else 1.0)
        try:
            summary = await story.run()
        except (TimeoutError, ValueError) as error:
            raise StartError(f"the demo did not go on: {error}") from error
        faults = [f"{one.client.city}: {one.error}" for one in story.flow.errors[:5]]
        screen.say(summary_of(summary, faults))
        if record is not None:
            _save(screen, record)
        status = 0 if story.is_good else 1
        if stays:
            screen.say(_invitation(edge, story.flow.clients[0], story.flow.clients[12]), is_for_copying=True)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return status


def _save(screen: Screen, path: Path) -> None:
    try:
        screen.save(path)
    except OSError as error:
        raise StartError(f"--record {path}: {error.strerror}") from error


async def _set_up(screen: Screen, stack: contextlib.ExitStack, folder: Path, pace: float) -> tuple[Story, Edge]:
    from gateway.demo import children, places
    from gateway.demo.edge import Edge, configuration, find_database
    from gateway.demo.stage import Stage
    from gateway.demo.story import Story
    from gateway.demo.traffic import Flow

    pops, clients = places.pops(), places.clients()
    database = find_database()
    stage = Stage(folder, [pop.name for pop in pops])
    stack.callback(stage.close)
    web, admin = (stack.enter_context(children.reserve()) for _ in range(2))
    text = configuration(pops, clients, stage.ports, children.port_of(web), children.port_of(admin), database)
    edge = Edge(folder, text, children.port_of(web), children.port_of(admin))
    stack.callback(edge.close)
    screen.say(_opening(edge, database, len(pops), len(clients)))
    await stage.start()
    await edge.start()
    is_watched = screen.console.is_terminal
    story = Story(Flow(edge.port, clients), edge, stage, pops, places.round_trips(), screen.begin, screen.end, pace, is_watched)
    return story, edge


def _opening(edge: Edge, database: Database | None, n_pops: int, n_clients: int) -> RenderableType:
    from gateway.demo.edge import SHORTENED
    from gateway.demo.screen import opening_of

    where = (
        f"GeoLite2 City of {database.built:%B %Y}: old, and good enough to find a country"
        if database is not None
        else "no database is installed: overrides of the configuration say where the demo's clients are"
    )
    facts = {
        "gateway": f"{edge.url}, admin {edge.admin_url}",
        "config": f"{edge.config} (as long as the demo runs)",
        "locations": where,
        "distances": "measured round trips between cities (WonderNetwork, November 2018), added by the PoPs",
        "shortened": SHORTENED,
    }
    return opening_of(f"{n_pops} PoPs and a gateway on this machine, clients in {n_clients} countries and regions", facts)


def _invitation(edge: Edge, near: Client, far: Client) -> RenderableType:
    from rich.text import Text

    lines = [
        "\nStill up, until Ctrl-C. To try:",
        f"  curl -H 'x-forwarded-for: {far.address}' -w '%{{time_total}} s\\n' {edge.url}/    # {far.city}",
        f"  curl -i -H 'x-forwarded-for: {near.address}' {edge.url}/    # {near.city}; x-isochrone-reason says why",
        f"  curl '{edge.admin_url}/explain?client={far.address}'",
        f"  curl {edge.admin_url}/pops",
        f"  curl -X POST {edge.admin_url}/pops/sin/drain    # and /undrain",
        f"  curl {edge.admin_url}/metrics",
    ]
    return Text("\n".join(lines))
