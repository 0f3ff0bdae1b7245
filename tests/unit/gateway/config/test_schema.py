import json
import re

import pytest
import yaml

from gateway.config import parse, schema
from tests.unit.gateway.config.test_reading import EXAMPLES, FULL

# A validator of what `schema` uses of JSON Schema, and of nothing else: an unknown word is an error, so that none goes unjudged.
IGNORED = {"description", "default", "$defs", "$schema", "title"}


def is_legal(value, known, defs):
    def holds(word, rule):
        match word:
            case "$ref":
                return is_legal(value, defs[rule.removeprefix("#/$defs/")], defs)
            case "anyOf":
                return any(is_legal(value, one, defs) for one in rule)
            case "type":
                kinds = {
                    "object": dict,
                    "array": list,
                    "string": str,
                    "integer": int,
                    "number": (int, float),
                    "boolean": bool,
                    "null": type(None),
                }
                return isinstance(value, kinds[rule]) and (rule == "boolean" or not isinstance(value, bool))
            case "enum":
                return value in rule
            case "const":
                return value == rule
            case "pattern":
                return not isinstance(value, str) or re.search(rule, value) is not None
            case "minimum":
                return not isinstance(value, int | float) or value >= rule
            case "maximum":
                return not isinstance(value, int | float) or value <= rule
            case "minItems":
                return not isinstance(value, list) or len(value) >= rule
            case "maxItems":
                return not isinstance(value, list) or len(value) <= rule
            case "minLength":
                return not isinstance(value, str) or len(value) >= rule
            case "items":
                return not isinstance(value, list) or all(is_legal(item, rule, defs) for item in value)
            case "required":
                return not isinstance(value, dict) or all(key in value for key in rule)
            case "properties":
                return not isinstance(value, dict) or all(is_legal(value[key], inner, defs) for key, inner in rule.items() if key in value)
            case "additionalProperties":
                extra = value.keys() - known.get("properties", {}).keys() if isinstance(value, dict) else ()
                return not extra if rule is False else all(is_legal(value[key], rule, defs) for key in extra)
        raise AssertionError(f"the schema uses {word}, which this test does not know")

    return all(holds(word, rule) for word, rule in known.items() if word not in IGNORED)


def accepts(document):
    whole = schema()
    return is_legal(document, whole, whole["$defs"])


@pytest.mark.parametrize("text", [FULL, *(path.read_text() for path in EXAMPLES)], ids=["full", *(path.stem for path in EXAMPLES)])
def test_schema_accepts_what_is_legal(text):
    assert accepts(yaml.safe_load(text))
    assert accepts(yaml.safe_load(parse(text).config.written(False)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("connect: 1500ms", "connect: 5"),
        ("lat: 50.11", "lat: 91"),
        ("port: http", "porrt: http"),
        ("routes:", "rotes:"),
        ("header: forwarded", "header: x"),
        ("16KiB", "16KB"),
        ("workers: 2", "workers: many"),
        ("debug_headers: true", "debug_headers: 1"),
        ("service: web, ", ""),
        ("continents: [EU, NA]", "continents: []"),
        ("mode: proxy", "mode: rewrite"),
        ("status: 308", "status: 302"),
        ("pace: 20%", "pace: 0"),
        ("affinity: {client: true}", "affinity: true"),
        ("- {pops: {}}", "- {}"),
        ("- {pops: {}}", "- {pops: {}, clients: {contries: [DE]}}"),
        ("  - {service: shop}", "  - {name: x}"),
        ("requests_in_flight: 2000, low: 70%", "low: 70%"),
        ("weight: 5}", "weight: -5}"),
        ("country: US", "country: us"),
        ("200, 300-399", "99"),
    ],
)
def test_schema_refuses_what_is_not_legal(before, after):
    assert before in FULL
    assert not accepts(yaml.safe_load(FULL.replace(before, after)))


def test_schema_is_json_that_an_editor_can_show():
    whole = json.loads(json.dumps(schema()))
    assert whole["$schema"].endswith("2020-12/schema")
    assert whole["required"] == ["listeners", "pops", "services", "routes"]
    assert whole["$defs"]["Timeouts"]["properties"]["connect"]["default"] == "2s"
    assert whole["$defs"]["Match"]["properties"]["headers"]["default"] == {}
    assert all("\n" not in prop["description"] for known in (whole, *whole["$defs"].values()) for prop in known["properties"].values())
    assert all(
        is_legal(prop["default"], prop, whole["$defs"])
        for known in (whole, *whole["$defs"].values())
        for prop in known["properties"].values()
        if "default" in prop
    )
