"""Bytes in, meaning out: RFC 9112."""
