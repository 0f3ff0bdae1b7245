from typing import final

from gateway.dataplane.shared.settings import Settings

@final
class CompiledSettings:
    """The C form of Settings for one of n_workers: limits of the whole gateway are split over the workers."""
    def __new__(cls, settings: Settings, n_workers: int) -> CompiledSettings: ...
