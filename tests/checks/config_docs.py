"""docs/config.md, written from the models: run `python -m tests.checks.config_docs` when they changed; a test compares.

Owns the page's form and what it says beside the keys. What is said about a key is its docstring, what is legal is its type's.
"""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from gateway.config._faults import sections
from gateway.config._leaves import Leaf
from gateway.config._limits import Config
from gateway.config._places import Section
from gateway.config._schema import defaults

PAGE = Path("docs/config.md")
SINGLES = {"city", "asn", "expect", "match"}  # one value is legal where a list is

HEAD = """\
# Configuration

<!-- Written by `python -m tests.checks.config_docs` from the models in gateway/config/. -->

One YAML file. `isochrone check -c FILE` validates it and prints it with every default written out; `isochrone check --schema` prints a
JSON Schema, with which an editor completes and explains keys. `docs/examples/` has files to begin with:
[two PoPs by their addresses](examples/two-pops.yaml), [two Kubernetes clusters](examples/kubernetes.yaml),
[capacity, law by client, affinity, a canary, a redirect](examples/steering.yaml).

- **Faults** come all at once, a line each, in the order of the file, on standard error; the exit status is then 2:
  `isochrone.yaml:31: pops.fra.lat: must be a number from -90 to 90 degrees, got 'x'`. Unknown and doubled keys are faults.
- **Warnings** name what is legal and yet hardly meant: a database that is not there now, a service that no route leads to, a key that
  has no effect beside the others.
- **Durations** are written `250ms`, `10s`, `2m`, `1h`; **sizes** `512B`, `64KiB`, `8MiB`; **shares** `20%` or `0.2`.
- **Addresses** are written `host:port`, `[v6]:port` or `unix:/path`, in quotes; **paths** of files start from the folder of the
  configuration, and `~` is the home folder.
- **What differs by machine, or is secret**, stays out of the file: `${NAME}` is an environment variable, `${NAME:-default}` one that may
  be absent or empty, `${file:PATH}` the content of a file without its last line break; `file:PATH` as a whole value is the same, and
  `$$` is a dollar sign. It is put in at each load, so a reload reads files anew, after the YAML was read: a value, never structure.
  What is missing is a fault with its line. Faults, warnings, `check` and `/config` say the reference and never what came; a name or an
  address that comes so is still said where the gateway speaks of what it does. It is a text or a number, whichever is
  legal there; within `{}` and `[]` YAML wants quotes around it.
- A key with an empty value is a key left out. Anchors and aliases (`&a`, `*a`) may be used, tags and merge keys (`<<`) not. `NO` is
  Norway: only `true` and `false` are truth values.
- **Reload** (SIGHUP, `POST /reload`) takes a new file whole or not at all. A change of `listeners`, `admin`, `status` or
  `gateway.workers` is refused with a line that says that a restart is needed.
- `listeners[].tls` is not in this version, and a fault that says so.
"""


def leaf_of(annotation: Any, metadata: typing.Iterable[Any]) -> Leaf | None:
    """The kind of value of a field, a list's item or an alternative to None."""
    for mark in (*metadata, *getattr(annotation, "__metadata__", ())):
        if isinstance(mark, Leaf):
            return mark
    found = (leaf_of(argument, ()) for argument in typing.get_args(annotation))
    return next((leaf for leaf in found if leaf is not None), None)


def is_list(annotation: Any) -> bool:
    if typing.get_origin(annotation) is typing.Annotated:
        return False
    return typing.get_origin(annotation) is tuple or any(is_list(argument) for argument in typing.get_args(annotation))


def legal(key: str, known: FieldInfo, path: str) -> str:
    inner = [f"[`{at}`](#{anchor(at)})" for _, at in within(path, known)]
    if inner:
        ways = [f"a list, each {link}" if is_item else link for link, (_, is_item) in zip(inner, sections(known.annotation), strict=True)]
        return f"{inner[0]}, or a list of such" if key in SINGLES else ", or ".join(ways)
    leaf = leaf_of(known.annotation, known.metadata)
    assert leaf is not None, f"{path}: neither a section nor a kind of value"
    what = re.sub(r", such as 250ms.*|, such as 512B, 64KiB or 8MiB", "", leaf.legal)  # the page's head says it once
    if not is_list(known.annotation) or any(isinstance(mark, Leaf) for mark in known.metadata):
        return what
    return f"{what}, or a list of such" if key in SINGLES else f"a list, each {what}"


def within(path: str, known: FieldInfo) -> Iterator[tuple[type[Section], str]]:
    """The sections of a field and the paths they are described under."""
    for section, is_item in sections(known.annotation):
        yield section, f"{path}[]" if is_item else path


def anchor(path: str) -> str:
    """As GitHub makes it of a heading. A list's that shares its field with one mapping comes second, and GitHub counts."""
    made = re.sub(r"[^a-z0-9_-]", "", path.lower())
    return f"{made}-1" if path.endswith("[]") and path.removesuffix("[]") in PATHS else made


def default(key: str, known: FieldInfo, section: type[Section]) -> str:
    if section is Config and key in ("listeners", "pops", "services", "routes"):
        return "**required**"
    if known.is_required():
        return "**required**"
    if next(sections(known.annotation), None) is not None:
        return "none" if known.default in (None, ()) else "its own"
    value = defaults(section).get(key)
    if value is None or value in ((), {}):
        return "none"
    value = value[0] if isinstance(value, tuple) else value
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*.", "\\*.")


def walk(section: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    yield path, section
    for key, known in section.model_fields.items():
        for inner, at in within(joined(path, key), known):
            yield from walk(inner, at)


def joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


PATHS = {path for path, _ in walk(Config, "")}


def row(path: str, section: type[Section], key: str, known: FieldInfo) -> str:
    what = cell(legal(key, known, joined(path, key)))
    return f"| `{key}` | {what} | {default(key, known, section)} | {cell(known.description or '')} |"


def page() -> str:
    parts = [HEAD]
    for path, section in walk(Config, ""):
        about = " ".join((section.__doc__ or "").split()) if path else "Its sections, and the keys beside them."
        rows = [row(path, section, key, known) for key, known in section.model_fields.items()]
        table = ["| key | what is legal | default | meaning |", "| --- | --- | --- | --- |", *rows]
        parts.append("\n".join([f"## {path or 'The whole file'}", "", about, "", *table, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
