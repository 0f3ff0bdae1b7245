"""A drain begins with the same two PoPs and gateway as the other stories."""

from tests.io.conftest import gateway, pops

__all__ = ["gateway", "pops"]
