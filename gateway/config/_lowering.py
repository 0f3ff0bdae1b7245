"""Lowering: what was read becomes the model. Each section has its like there, by its name; what a file may say in two ways is said in one.
Must not judge.
"""

from __future__ import annotations

from typing import Any

from gateway import model
from gateway.config._limits import Config
from gateway.config._places import Section
from gateway.config._routes import Route, Steering
from gateway.config._writing import effective

OBJECTS = ("listeners", "pops", "services", "routes")


def lowered(config: Config) -> tuple[model.Config, list[model.Objects]]:
    """What holds for the whole gateway, and the objects of its one source, as `model.merged` takes them."""
    fields = _fields(config)
    objects = model.Objects(**{key: fields.pop(key) for key in OBJECTS})
    return model.Config(**fields, written=lambda is_ascii: effective(config, is_ascii=is_ascii)), [objects]


def _fields(section: Section) -> dict[str, Any]:
    return {key: lower(getattr(section, key)) for key in type(section).model_fields}


def lower(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(lower, value))
    if not isinstance(value, Section):
        return value
    fields = _fields(value)
    if isinstance(value, Route):
        del fields["service"], fields["split"]
        fields["targets"] = tuple(model.Target(*target) for target in value.targets)
    elif isinstance(value, Steering):
        del fields["jurisdiction"]
        fields["rules"] = lower(value.rules)
    return getattr(model, type(value).__name__)(**fields)
