"""The demo: six PoPs as local processes, a gateway before them, clients of two dozen countries. `isochrone demo` runs it."""
