from collections.abc import Sequence
from typing import NamedTuple, final

from geoip._reader import Database
from geoip.overrides import Override, Pin

class Found(NamedTuple):
    lat: float | None
    lon: float | None
    country: str | None  # may be known without coordinates, as may continent and asn
    continent: str | None
    asn: int | None
    accuracy_km: float | None
    source: str  # of the coordinates: "database", "override", "unknown"
    pin: int = 0  # of the longest pinned prefix; 0: none

@final
class Locator:
    """Immutable: databases, overrides and pins as of one moment. ValueError names a bad override or pin."""
    def __new__(
        cls,
        cities: Sequence[Database] = (),  # searched in order: the first that can place an address wins; city or country files
        asns: Sequence[Database] = (),
        overrides: Sequence[Override] = (),
        home: tuple[float, float] | None = None,  # where private clients stand: gateway.location
        pins: Sequence[Pin] = (),
    ) -> Locator: ...
    def locate(self, address: str) -> Found:
        """ValueError when it is no IP address."""

def packed_address(address: str) -> bytes:
    """16 bytes, IPv4 as ::ffff:a.b.c.d: what locate() of the data plane takes. ValueError when it is no IP address."""
