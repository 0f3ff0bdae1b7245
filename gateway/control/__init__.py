"""Builds tables and watches the world: sources, probes, gates, drains. Never touches a request's socket."""
