"""Writing: a configuration as YAML again, every default written out. Must not judge it."""

from __future__ import annotations

from typing import Any

import yaml

from gateway.config._limits import Config
from gateway.config._references import Quoted, write_back


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # equal values are written out, not referred to

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # items of a list are indented under their key


_Dumper.add_representer(Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def effective(config: Config, *, is_ascii: bool = False) -> str:
    """The whole tree as YAML, every default written out, and references as they are written. Reading it again gives an equal one.
    `is_ascii`: what is beyond it is escaped, for where UTF-8 can't be written."""
    dumped: Any = config.model_dump()
    for loc, written in config.written:
        dumped = write_back(dumped, loc, written)
    return str(yaml.dump(dumped, Dumper=_Dumper, sort_keys=False, allow_unicode=not is_ascii, width=120))
