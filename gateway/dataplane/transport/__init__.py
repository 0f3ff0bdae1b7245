"""Sockets, buffers and timers of a connection."""
