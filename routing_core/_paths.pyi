from typing import final

@final
class Landmarks:
    """Round trips between PoPs, compiled; made by tables alone."""
