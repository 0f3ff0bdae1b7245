"""How the gateway begins, changes and ends: listeners, workers, reloads, drains, and the beat of its judgement."""
