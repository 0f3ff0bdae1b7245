from types import SimpleNamespace

import pytest

from gateway.control.life.lifecycle import Phase
from gateway.control.life.ready import Ready
from gateway.control.life.start import Start
from gateway.control.sources.resolver import Answer
from tests.unit.gateway.control.helpers import Clock, identity


@pytest.fixture
def scene():
    """Everything that is asked, as it is at the start of a gateway that has much to wait for."""
    parts = SimpleNamespace(
        lifecycle=SimpleNamespace(phase=Phase.STARTING, state="starting"),
        geo=SimpleNamespace(missing=["city.mmdb: not loaded yet"], has_looked=False),
        sources=SimpleNamespace(waiting=["fra"], asked=[], resolver=SimpleNamespace(answers={"web": Answer()})),
        publisher=SimpleNamespace(is_due=False),
        workers=SimpleNamespace(silent=[]),
        merge=SimpleNamespace(silent=["folder"]),
        prober=SimpleNamespace(unjudged=[identity(), identity("192.0.2.2")]),
        clock=Clock(),
    )
    parts.sources.unsynced = lambda deadline: parts.sources.asked.append(deadline) or parts.sources.waiting
    others = {name: part for name, part in vars(parts).items() if name not in ("lifecycle", "workers")}
    start = Start(**others, sync_deadline_s=lambda: 30.0)
    return Ready(lifecycle=parts.lifecycle, workers=parts.workers, start=start), parts
