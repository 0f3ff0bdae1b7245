FAILURES: tuple[str | None, ...]  # None, "no_permitted_pop", "no_endpoint"
EVIDENCE: tuple[str, ...]  # "prior", "path"
