from typing import final

from routing_core._figures import Figures
from routing_core.spec import EndpointSpec

@final
class Members:
    """What is compiled of `PoolSpec.endpoints`, with their names behind them. `before`: compiled of some of these with the same figures."""
    def __new__(cls, spec: tuple[EndpointSpec, ...], figures: Figures, what: str, before: Members | None = None) -> Members: ...
