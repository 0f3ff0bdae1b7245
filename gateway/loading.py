"""Loading: a configuration that is read, judged, and built once. What passes here can be served; `check` and `serve` come in by it.

The judge of `gateway.config` names what it finds with its line. What only the compiled form refuses would come up at the start or at
a reload else; it comes up here, without a line. Must not contact anything, and reads no database.
"""

from __future__ import annotations

from pathlib import Path

from gateway import config as configured
from gateway.control.operator.offline import table_of
from gateway.control.sources.geo import home_of, overrides_of, pins_of
from gateway.control.table.settings import settings_of
from gateway.dataplane import CompiledSettings
from gateway.errors import ConfigError, Fault
from gateway.model import Config, Loaded
from geoip import Locator


def load(path: Path) -> Loaded:
    """ConfigError has every fault."""
    loaded = configured.load(path)
    if fault := fault_of(loaded.config):
        raise ConfigError([Fault(str(path), None, "", loaded.hide(fault))])
    return loaded


def fault_of(config: Config) -> str | None:
    """Why a gateway can't be made of it, all being well around it."""
    try:
        CompiledSettings(settings_of(config), 1)
        Locator((), (), overrides_of(config), home_of(config), pins_of(config))
        table_of(config)
    except ValueError as error:
        return str(error)
    return None
