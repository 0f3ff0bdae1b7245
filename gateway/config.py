"""Configuration: one YAML file becomes one frozen tree, whole or not at all. Owns reading, judging, schema and writing back.

Must not know who uses it: a part gets the sub-tree it needs. The models are in `_config_model`, `_config_services`, `_config_steering` and
`_config_limits`, values in `_config_units`, lines in `_config_tree`, values from outside the file in `_config_references`, the words of
faults in `_config_faults`, what concerns several sections in `_config_checks`, warnings in `_config_doubts`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from gateway._config_checks import judge
from gateway._config_doubts import doubts
from gateway._config_faults import all_sections, came, place, prune, retype, translate
from gateway._config_limits import AccessLog, Admin, Config, Drain, Kubernetes, Limits, Log, PerClient, Requests, Retries, Status, Timeouts
from gateway._config_model import Capacity, ClientIp, Gateway, GeoIp, KubernetesAccess, Listener, Override, Pin, Place, Pop, Section
from gateway._config_references import Quoted, References, write_back, written_in
from gateway._config_services import Backend, Health, KubernetesBackend, Outliers, Penalties, Service
from gateway._config_steering import Affinity, ChangeControl, Clients, Jurisdiction, Match, Redirect, Route, Rule, Steering, Target
from gateway._config_tree import Node, SyntaxFault, read_tree
from gateway._config_units import Address, Duration, Network, Size, Statuses
from gateway.errors import ConfigError, Fault

__all__ = [
    "AccessLog", "Address", "Admin", "Affinity", "Backend", "Capacity", "ChangeControl", "ClientIp", "Clients", "Config", "Drain",
    "Duration", "Gateway", "GeoIp", "Health", "Jurisdiction", "Kubernetes", "KubernetesAccess", "KubernetesBackend", "Limits",
    "Listener", "Loaded", "Log", "Match", "Network", "Outliers", "Override", "Penalties", "PerClient", "Pin", "Place", "Pop",
    "Redirect", "Requests", "Retries", "Route", "Rule", "Section", "Service", "Size", "Status", "Statuses", "Steering", "Target",
    "Timeouts", "defaults", "effective", "load", "load_admin", "parse", "schema",
]  # fmt: skip

MAX_BYTES = 16 << 20  # of a file; a named pipe or a device must not fill the memory
_MAX_ROUNDS = 8  # of taking faulty parts out: what lacks a part that was taken out goes in the next round


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and what in it is doubtful."""

    config: Config
    warnings: tuple[Fault, ...]
    hide: Callable[[str], str] = str  # what is said of it, without what came from outside the file


def load(path: Path) -> Loaded:
    """Reads a file. Relative paths in it start from its folder. ConfigError has every fault."""
    return parse(_text_of(path), str(path), path.absolute().parent)


def load_admin(path: Path) -> Admin:
    """One section of a file, whatever is wrong elsewhere in it or can't be had by this user: to speak to the gateway that runs it.
    ConfigError has the faults of that section, and all of a file that is no configuration."""
    text, file, folder = _text_of(path), str(path), path.absolute().parent
    references = References(folder, os.environ)
    root, wrong = read_tree(text, references.resolve)
    if root is None or not isinstance(root.value, dict) or root.value.keys().isdisjoint(_FILLED):
        return parse(text, file, folder).config.admin
    node = root.at("admin") or Node(root.line, {})
    lone, context = Node(root.line, {"admin": node}), {"folder": folder}
    _settle(lone, context)
    faults = [Fault(file, fault.line, place(root, fault.loc)[1], fault.text) for fault in wrong if fault.loc[:1] == ("admin",)]
    if not faults:
        try:
            return Admin.model_validate(node.plain() or {}, context=context)
        except ValidationError:
            faults = _faults_of_admin(lone, root, file, context)
    raise ConfigError([_hidden(fault, references) for fault in faults])


def _faults_of_admin(lone: Node, root: Node, file: str, context: dict[str, Any]) -> list[Fault]:
    """As they are called within the whole."""
    try:
        Config.model_validate(lone.plain(), context=context)
    except ValidationError as error:
        return [fault for fault in translate(error, root, file) if fault.path.partition(".")[0] == "admin"]
    return []


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Fault(str(path), None, "", f"can't be read: {error.strerror or error}")]) from error
    if len(content) > MAX_BYTES:
        raise ConfigError([Fault(str(path), None, "", f"must be at most {Size(MAX_BYTES)}")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Fault(str(path), line, "", f"must be UTF-8, got the byte 0x{content[error.start]:02x}")]) from error
    return text


def parse(text: str, file: str = "isochrone.yaml", folder: Path | None = None) -> Loaded:
    """Reads a text. `file` is for faults; `folder` is where relative paths start, the working directory when absent."""
    folder = folder or Path.cwd()
    references = References(folder, os.environ)
    root, wrong = read_tree(text, references.resolve)
    context = {"folder": folder}
    if root is not None and references.is_used:
        _settle(root, context)
    try:
        config = _judged(root, wrong, file, context)
    except ConfigError as error:
        raise ConfigError([_hidden(fault, references) for fault in error.faults]) from None
    assert root is not None
    if references.is_used:
        config.remember(written_in(root))
    return Loaded(config, tuple(_hidden(doubt, references) for doubt in doubts(config, root, file)), references.hide)


def _hidden(fault: Fault, references: References) -> Fault:
    return replace(fault, text=references.hide(fault.text))


def _judged(root: Node | None, wrong: Sequence[SyntaxFault], file: str, context: dict[str, Any]) -> Config:
    faults = [Fault(file, fault.line, place(root, fault.loc)[1] if root else _path(fault.loc), fault.text) for fault in wrong]
    if root is None:
        raise ConfigError(faults)
    if not isinstance(root.value, dict):
        raise ConfigError(
            [*faults, Fault(file, root.line, "", f"must be a mapping with keys among {', '.join(Config.model_fields)}, got {came(root)}")]
        )
    lost = {str(fault.loc[0]) for fault in wrong if fault.loc}
    left = root
    config: Config | None = None
    for turn in range(_MAX_ROUNDS):
        try:
            config = Config.model_validate(left.plain(), context=context)
            break
        except ValidationError as error:
            if turn == 0:
                # What lacks its value is not called absent besides, and what holds it is not called wrong for that.
                known = {place(root, loc) for fault in wrong for loc in (fault.loc, fault.loc[:-1])}
                faults += [fault for fault in translate(error, root, file) if (fault.line, fault.path) not in known]
                lost |= {str(detail["loc"][0]) for detail in error.errors(include_url=False) if detail["loc"]}
                left = copy.deepcopy(root)
            prune(left, error)
    if config is not None:
        faults += judge(config, left, root, file, lost)
    if faults or config is None:
        raise ConfigError(faults)
    return config


def _settle(root: Node, context: dict[str, Any]) -> None:
    """What came from outside the file is of the type that is legal where it stands, if it can be. What is faulty either way is put back."""
    for _ in range(2):
        try:
            Config.model_validate(root.plain(), context=context)
        except ValidationError as error:
            if retype(root, error):
                continue
        return


def _path(loc: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).removeprefix(".")


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


def defaults(section: type[Section]) -> dict[str, Any]:
    """Of the keys that have one, as it would be written. A route's name has one only in its company."""
    return {key: value for key, value in section.model_construct().model_dump(warnings=False).items() if value != ""}


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return None  # `schema` puts them in: pydantic would write a duration as a number


_SINGLES = (("GeoIp", "city"), ("GeoIp", "asn"), ("Health", "expect"), ("Route", "match"))  # one value where a list is legal too
_FILLED = ("listeners", "pops", "services", "routes")


def schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) for editors. It knows keys, types, ranges and meanings; what spans sections only `parse` knows."""
    whole = Config.model_json_schema(schema_generator=_Schema)
    for name, key in _SINGLES:
        known = whole["$defs"][name]["properties"]
        kept = {word: value for word, value in known[key].items() if word in ("description", "default", "title")}
        many = {word: value for word, value in known[key].items() if word not in kept}
        known[key] = {**kept, "anyOf": [many["items"], many]}
    for section in all_sections():
        known = whole if section is Config else whole["$defs"][section.__name__]
        written = defaults(section)
        for key, value in known["properties"].items():
            value.pop("default", None)
            if key in written and written[key] is not None:
                value["default"] = _lists(written[key])
    for key in _FILLED:
        whole["properties"][key]["minItems"] = 1
        del whole["properties"][key]["default"]
    whole["required"] = list(_FILLED)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_one_line(whole), "title": "Isochrone configuration"}


def _lists(value: Any) -> Any:
    """Tuples as lists, as JSON has them; without the keys that have no value."""
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items() if inner is not None}
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value


def _one_line(value: Any) -> Any:
    """Descriptions without the line breaks of the source, and no titles: they only repeat the keys."""
    if isinstance(value, Mapping):
        return {
            key: " ".join(inner.split()) if key == "description" and isinstance(inner, str) else _one_line(inner)
            for key, inner in value.items()
            if not (key == "title" and isinstance(inner, str))
        }
    return [_one_line(item) for item in value] if isinstance(value, list) else value
