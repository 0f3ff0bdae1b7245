"""Connections to endpoints: who gets which, and who waits for one."""
