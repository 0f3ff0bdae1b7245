"""Configuration: one YAML file becomes the model, whole or not at all.

Sections are in `_places`, `_services`, `_routes` and `_limits`, kinds of values in `_units`, lines in `_tree`, values from outside the
file in `_references`. `_reading` judges by `_checks`, which concerns several sections, in the words of `_faults`, and warns by `_doubts`;
`_lowering` makes the model of it, `_writing` writes it back, `_schema` is for editors.
"""

from gateway.config._reading import load, load_admin, parse
from gateway.config._schema import schema

__all__ = ["load", "load_admin", "parse", "schema"]
