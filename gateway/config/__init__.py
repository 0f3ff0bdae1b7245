"""Configuration: one YAML file becomes one frozen tree, whole or not at all. Who uses it: a part gets the sub-tree it needs.

The models are in `_places`, `_services`, `_routes` and `_limits`, values in `_units`, lines in `_tree`, values from outside the file in
`_references`. `_reading` judges by `_checks`, which concerns several sections, in the words of `_faults`, and warns by `_doubts`;
`_writing` writes back, `_schema` is for editors.
"""

from gateway.config._limits import AccessLog, Admin, Config, Drain, Kubernetes, Limits, Log, PerClient, Requests, Retries, Status, Timeouts
from gateway.config._places import Capacity, ClientIp, Gateway, GeoIp, KubernetesAccess, Listener, Override, Pin, Place, Pop, Section
from gateway.config._reading import Loaded, load, load_admin, parse
from gateway.config._routes import Affinity, ChangeControl, Clients, Jurisdiction, Match, Redirect, Route, Rule, Steering, Target
from gateway.config._schema import defaults, schema
from gateway.config._services import Backend, Health, KubernetesBackend, Outliers, Penalties, Service
from gateway.config._units import Address, Duration, Network, Size, Statuses
from gateway.config._writing import effective

__all__ = [
    "AccessLog", "Address", "Admin", "Affinity", "Backend", "Capacity", "ChangeControl", "ClientIp", "Clients", "Config", "Drain",
    "Duration", "Gateway", "GeoIp", "Health", "Jurisdiction", "Kubernetes", "KubernetesAccess", "KubernetesBackend", "Limits",
    "Listener", "Loaded", "Log", "Match", "Network", "Outliers", "Override", "Penalties", "PerClient", "Pin", "Place", "Pop",
    "Redirect", "Requests", "Retries", "Route", "Rule", "Section", "Service", "Size", "Status", "Statuses", "Steering", "Target",
    "Timeouts", "defaults", "effective", "load", "load_admin", "parse", "schema",
]  # fmt: skip
