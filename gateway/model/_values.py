"""Values: durations, sizes, addresses and statuses as types that say what they are. Must not know where they are written."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from decimal import Decimal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNITS_S = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
UNITS_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}

DURATION = r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?(ms|s|m|h)"


class Duration(float):
    """Seconds, as every wait of the control plane takes them."""

    __slots__ = ()

    @property
    def ms(self) -> int:
        """Whole milliseconds, as the data plane takes them."""
        return round(self * 1000)

    def __str__(self) -> str:
        exact = Decimal(float.__repr__(self))
        if not exact:
            return "0s"
        unit = next((unit for unit, seconds in UNITS_S.items() if exact % seconds == 0), "ms")
        number = f"{exact / UNITS_S[unit]:f}"
        return (number.rstrip("0").rstrip(".") if "." in number else number) + unit

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"


def read_duration(raw: object) -> Duration:
    """Of a text such as 250ms, 10s, 2m or 1h; ValueError for anything else."""
    found = re.fullmatch(DURATION, raw) if isinstance(raw, str) else None
    if found is None:
        raise ValueError
    return Duration(Decimal(found[1] + (found[2] or "")) * UNITS_S[found[3]])


class Size(int):
    """Bytes."""

    __slots__ = ()

    def __str__(self) -> str:
        number = int(self)
        unit = next(unit for unit, size in UNITS_BYTES.items() if number % size == 0 and (number or unit == "B"))
        return f"{number // UNITS_BYTES[unit]}{unit}"

    def __repr__(self) -> str:
        return f"Size({str(self)!r})"


def address_text(host: str, port: int) -> str:
    """An address as people and files write it."""
    if host.startswith("/"):
        return f"unix:{host}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where one connects to or listens."""

    host: str  # an IP address without brackets, a DNS name in lower case, or the "/path" of a unix socket
    port: int  # 0 for a unix socket, and for "any free port" of a listener

    @property
    def is_unix(self) -> bool:
        return self.host.startswith("/")

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """None for a name that is still to be resolved, and for a unix socket."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return address_text(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Statuses:
    """A set of HTTP statuses, as written: `200` or `200-399`."""

    first: int
    last: int

    def __contains__(self, status: object) -> bool:
        return isinstance(status, int) and self.first <= status <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
