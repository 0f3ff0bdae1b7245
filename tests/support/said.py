"""Parts of the model, from what a file would say of them."""

from typing import Any

from gateway import model
from gateway.config import _limits, _services
from gateway.config._lowering import lower


def health(**said: Any) -> model.Health:
    found: model.Health = lower(_services.Health(**said))
    return found


def drain(**said: Any) -> model.Drain:
    found: model.Drain = lower(_limits.Drain(**said))
    return found
