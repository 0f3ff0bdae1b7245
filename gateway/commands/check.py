"""`isochrone check`: is this file a configuration? Owns what is printed; must not start or contact anything."""

from __future__ import annotations

import argparse
import codecs
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config import schema

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "check",
        help="validate a configuration and print it with all defaults",
        description="Validates a configuration. Prints the effective one, every default written out, and exits 0; or prints one line"
        " for each fault (file, line, path, what is legal, what came) on standard error and exits 2. Warnings go to standard error too.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, default=Path("isochrone.yaml"), help="default: %(default)s")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of configurations instead, for editors")


def run(args: argparse.Namespace) -> int:
    """ConfigError, with every fault, becomes exit status 2 in `gateway.cli`."""
    if args.schema:
        print(json.dumps(schema(), indent=2))
        return 0
    from gateway.control.table.settings import buffer_bytes
    from gateway.loading import load

    loaded = load(args.config)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    # Files are UTF-8, and so must be what is read again.
    is_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    print(loaded.config.written(not is_utf8), end="")
    if loaded.config.limits.buffers == "auto":
        print(f"# limits.buffers: auto is {buffer_bytes(loaded.config)} here")
    return 0
