"""Leaves: what a value of the configuration is made by: a text, a number, a duration, a size, one of some words. Knows no key and no unit.

A `Leaf` is one kind of value: how it is read, what is legal in words (the same words in faults, in the JSON Schema and in
docs/config.md), how it is written back. `parse` raises ValueError: without a text the legal words say it all, with one that
text replaces them. Writing and reading again gives an equal value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from gateway.model import Duration, Size, read_duration
from gateway.model._values import DURATION, UNITS_BYTES

ILLEGAL = "illegal"  # type of a fault that ends in what came
FAULT = "fault"  # type of a fault whose text is whole
PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"  # YAML has two line breaks more than others: no value of ours holds one

_SIZE = r"(0|[1-9][0-9]{0,13})(B|KiB|MiB|GiB)"
_REFERENCE = {"type": "string", "pattern": r"\$\{|^file:"}  # what is legal is judged once it is put in
_MAX_PAIRS = 64  # of one match, as the core holds them


@dataclass(frozen=True, eq=False)  # compared by identity: typing must hash it, and no two are alike
class Leaf:
    """One kind of value, as pydantic metadata: `Annotated[Duration, duration("1ms", "1h")]`."""

    parse: Callable[[Any, Path], Any]  # the raw value, the folder that relative paths start from
    legal: str  # completes "must be ..."
    schema: Mapping[str, Any]  # JSON Schema
    show: Callable[[Any], Any] = field(default=str)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, info: ValidationInfo) -> Any:
            try:
                return self.parse(raw, (info.context or {}).get("folder", Path()))
            except ValueError as error:
                raise PydanticCustomError(ILLEGAL, "{text}", {"text": str(error) or f"must be {self.legal}"}) from None

        return core_schema.with_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(self.show)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [dict(self.schema), _REFERENCE]}


def as_is(value: Any) -> Any:
    return value


def matched(pattern: str, raw: Any) -> re.Match[str]:
    """The whole of a text, or ValueError: also for what is no text."""
    found = re.fullmatch(pattern, raw) if isinstance(raw, str) else None
    if found is None:
        raise ValueError
    return found


def text(legal: str, pattern: str, **schema: Any) -> Leaf:
    return Leaf(lambda raw, _: matched(pattern, raw)[0], legal, {"type": "string", "pattern": f"^(?:{pattern})$", **schema}, as_is)


def choice(*values: str | int) -> Leaf:
    """One of a few words, numbers or truth values."""

    def parse(raw: Any, _: Path) -> str | int:
        found: str | int | None = next((value for value in values if type(value) is type(raw) and value == raw), None)
        if found is None:
            raise ValueError
        return found

    words = [str(value).lower() if type(value) is bool else str(value) for value in values]
    legal = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return Leaf(parse, legal, {"enum": list(values)}, as_is)


def whole(low: int, high: int, unit: str = "") -> Leaf:
    def parse(raw: Any, _: Path) -> int:
        if type(raw) is not int or not low <= raw <= high:
            raise ValueError
        return raw

    return Leaf(parse, f"a whole number from {low} to {high}{unit}", {"type": "integer", "minimum": low, "maximum": high}, as_is)


def number(low: float, high: float, unit: str = "") -> Leaf:
    def parse(raw: Any, _: Path) -> float:
        if type(raw) not in (int, float) or not math.isfinite(raw) or not low <= raw <= high:
            raise ValueError
        return float(raw)

    return Leaf(parse, f"a number from {low:g} to {high:g}{unit}", {"type": "number", "minimum": low, "maximum": high}, as_is)


def duration(low: str, high: str) -> Leaf:
    first, last = read_duration(low), read_duration(high)

    def parse(raw: Any, _: Path) -> Duration:
        value = read_duration(raw)
        if not first <= value <= last:
            raise ValueError
        return value

    return Leaf(parse, f"a duration from {low} to {high}, such as 250ms, 10s, 2m or 1h", {"type": "string", "pattern": f"^(?:{DURATION})$"})


def size(low: str, high: str, *, or_none: bool = False, or_auto: bool = False) -> Leaf:
    """`or_none`: 0 is legal beside the range, and means no limit. `or_auto`: so is that word."""
    first, last = (int(matched(_SIZE, bound)[1]) * UNITS_BYTES[matched(_SIZE, bound)[2]] for bound in (low, high))

    def parse(raw: Any, _: Path) -> Size | str:
        if or_auto and raw == "auto":
            return "auto"
        if type(raw) is int:
            value = raw
        else:
            found = matched(_SIZE, raw)
            value = int(found[1]) * UNITS_BYTES[found[2]]
        if not first <= value <= last and not (or_none and value == 0):
            raise ValueError
        return Size(value)

    legal = f"a size from {low} to {high}, such as 512B, 64KiB or 8MiB" + (", or 0 for no limit" if or_none else "")
    schema: list[dict[str, Any]] = [{"type": "string", "pattern": f"^(?:{_SIZE})$"}, {"type": "integer", "minimum": 0}]
    return Leaf(parse, "auto, or " + legal if or_auto else legal, {"anyOf": [{"const": "auto"}, *schema] if or_auto else schema})


def share(low: float, high: float, legal: str = "") -> Leaf:
    def parse(raw: Any, _: Path) -> float:
        found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%", raw) if isinstance(raw, str) else None
        value = float(Decimal(found[1]) / 100) if found else raw
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError
        return float(value)

    schema = {"anyOf": [{"type": "string", "pattern": "%$"}, {"type": "number", "minimum": low, "maximum": high}]}
    return Leaf(parse, legal or f"a share from {low * 100:g}% to {high * 100:g}%, such as 10% or 0.1", schema, as_is)


def pairs(name: str, name_pattern: str, forbidden: Mapping[str, str]) -> Leaf:
    """A mapping of names to exact values, kept as sorted pairs: those can be compared and hashed."""

    def parse(raw: Any, _: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(raw, dict):
            raise ValueError
        if len(raw) > _MAX_PAIRS:
            raise ValueError(f"must have at most {_MAX_PAIRS} names, got {len(raw)}")
        for key, value in raw.items():
            if not re.fullmatch(name_pattern, key):
                raise ValueError(f"must have {name} names as keys, got {key!r}")
            if key.lower() in forbidden:
                raise ValueError(f"must not have {key!r}: {forbidden[key.lower()]}")
            if not isinstance(value, str):
                came = str(value).lower() if isinstance(value, bool) else value if isinstance(value, int | float) else "no text"
                raise ValueError(f"must have a text at {key!r}, got {came}; what looks like something else wants quotes")
            if not re.fullmatch(f"{PRINTABLE}*", value):
                raise ValueError(f"must have a text without control characters at {key!r}, got one with some")
        return tuple(sorted(raw.items()))

    legal = f"a mapping of {name} names to exact values"
    return Leaf(parse, legal, {"type": "object", "additionalProperties": {"type": "string"}}, dict)
