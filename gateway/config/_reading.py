"""Reading: a file or a text becomes a configuration, or all of its faults. Must not know a key, nor who uses it."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway import model
from gateway.config._checks import judge
from gateway.config._doubts import doubts
from gateway.config._faults import came, place, prune, retype, translate
from gateway.config._limits import Admin, Config
from gateway.config._lowering import lower, lowered
from gateway.config._references import References, written_in
from gateway.config._schema import FILLED
from gateway.config._tree import Node, SyntaxFault, read_tree
from gateway.errors import ConfigError, Fault
from gateway.model import Loaded, Size

MAX_BYTES = 16 << 20  # of a file; a named pipe or a device must not fill the memory
_MAX_ROUNDS = 8  # of taking faulty parts out: what lacks a part that was taken out goes in the next round


def load(path: Path) -> Loaded:
    """Reads a file. Relative paths in it start from its folder. ConfigError has every fault."""
    return parse(_text_of(path), str(path), path.absolute().parent)


def load_admin(path: Path) -> model.Admin:
    """One section of a file, whatever is wrong elsewhere in it or can't be had by this user: to speak to the gateway that runs it.
    ConfigError has the faults of that section, and all of a file that is no configuration."""
    text, file, folder = _text_of(path), str(path), path.absolute().parent
    references = References(folder, os.environ)
    root, wrong = read_tree(text, references.resolve)
    if root is None or not isinstance(root.value, dict) or root.value.keys().isdisjoint(FILLED):
        return parse(text, file, folder).config.admin
    node = root.at("admin") or Node(root.line, {})
    lone, context = Node(root.line, {"admin": node}), {"folder": folder}
    _settle(lone, context)
    faults = [Fault(file, fault.line, place(root, fault.loc)[1], fault.text) for fault in wrong if fault.loc[:1] == ("admin",)]
    if not faults:
        try:
            admin: model.Admin = lower(Admin.model_validate(node.plain() or {}, context=context))
            return admin
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
    whole = model.merged(*lowered(config))
    assert not whole.refused, whole.refused  # of a file all serves or nothing: the judge has named them, each with its line
    return Loaded(whole, tuple(_hidden(doubt, references) for doubt in doubts(config, root, file)), references.hide)


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
