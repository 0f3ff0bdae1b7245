"""Turns an address into a location: MaxMind DB files, the operator's overrides. Knows neither gateway nor k8s."""

from geoip._locator import Found, Locator
from geoip._reader import Database, DatabaseError
from geoip.files import DatabaseFiles, FileStatus
from geoip.overrides import Override, Pin

__all__ = ["Database", "DatabaseError", "DatabaseFiles", "FileStatus", "Found", "Locator", "Override", "Pin"]
