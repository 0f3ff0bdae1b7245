from typing import final

from routing_core._figures import Figures
from routing_core.spec import TableSpec

MAX_POPS: int
LEGS: tuple[str, ...]  # "client-pop", "gateway-pop": index is Leg
AFFINITIES: tuple[str | None, ...]  # None, "cookie", "header", "client": index is AffinityKind
CONTINENTS: tuple[str, ...]
REDIRECTS: tuple[int, ...]  # 0, 307, 308

@final
class Table:
    """Immutable. ValueError names what is wrong in the spec (index out of range, doubled name, bad address, too many PoPs).

    `before`: a table of the same figures. A tuple of endpoints that it has too (the same object) is not compiled again.
    """
    def __new__(cls, spec: TableSpec, figures: Figures, before: Table | None = None) -> Table: ...
    @property
    def spec(self) -> TableSpec: ...
