"""Schema: what is legal, for editors, and the defaults as they would be written. Must not read a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from gateway.config._faults import all_sections
from gateway.config._limits import Config
from gateway.config._places import Section


def defaults(section: type[Section]) -> dict[str, Any]:
    """Of the keys that have one, as it would be written. A route's name has one only in its company."""
    return {key: value for key, value in section.model_construct().model_dump(warnings=False).items() if value != ""}


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return None  # `schema` puts them in: pydantic would write a duration as a number


_SINGLES = (("GeoIp", "city"), ("GeoIp", "asn"), ("Health", "expect"), ("Route", "match"))  # one value where a list is legal too
FILLED = ("listeners", "pops", "services", "routes")  # must be there, with something in them


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
    for key in FILLED:
        whole["properties"][key]["minItems"] = 1
        del whole["properties"][key]["default"]
    whole["required"] = list(FILLED)
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
