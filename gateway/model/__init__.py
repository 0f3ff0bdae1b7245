"""The model: what is to be served, from whatever source it is said: plain frozen objects."""

from gateway.model._loaded import Loaded
from gateway.model._merging import Objects, merged, refused_route
from gateway.model._objects import (
    AccessLog,
    Admin,
    Affinity,
    Backend,
    Capacity,
    ChangeControl,
    ClientIp,
    Clients,
    Config,
    Drain,
    Gateway,
    GeoIp,
    Health,
    Identity,
    Jurisdiction,
    Kubernetes,
    KubernetesAccess,
    KubernetesBackend,
    Limits,
    Listener,
    Log,
    Match,
    Named,
    Outliers,
    Override,
    Penalties,
    PerClient,
    Pin,
    Place,
    Pop,
    Redirect,
    Refused,
    Requests,
    Retries,
    Route,
    Rule,
    Service,
    Status,
    Steering,
    Target,
    Timeouts,
)
from gateway.model._reach import permits, reachable_services
from gateway.model._values import Address, Duration, Network, Size, Statuses, address_text, read_duration

__all__ = [
    "AccessLog", "Address", "Admin", "Affinity", "Backend", "Capacity", "ChangeControl", "ClientIp", "Clients", "Config", "Drain",
    "Duration", "Gateway", "GeoIp", "Health", "Identity", "Jurisdiction", "Kubernetes", "KubernetesAccess", "KubernetesBackend",
    "Limits", "Listener", "Loaded", "Log", "Match", "Named", "Network", "Objects", "Outliers", "Override", "Penalties", "PerClient",
    "Pin", "Place", "Pop", "Redirect", "Refused", "Requests", "Retries", "Route", "Rule", "Service", "Size", "Status", "Statuses",
    "Steering", "Target", "Timeouts", "address_text", "merged", "permits", "reachable_services", "read_duration", "refused_route",
]  # fmt: skip
