REASONS: tuple[str, ...]  # "none", "fastest", "window", "affinity", "spill", "failover", "panic", "order", "ramp"
FAILURES: tuple[str | None, ...]  # None, "no_permitted_pop", "no_endpoint"
EVIDENCE: tuple[str, ...]  # "prior", "path"
