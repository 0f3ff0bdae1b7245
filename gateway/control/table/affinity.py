"""Affinity: the key that cookies are signed with, and the value that names a PoP. Made once a table; requests only compare bytes.

A cookie says which PoP, and nothing of the client. The signature keeps clients from naming another PoP than the one they were sent to: a
cookie whose value is not exactly the one made here is as good as none. Must not know requests or tables.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from gateway.control.process import kept
from gateway.errors import StartError
from gateway.model import Config

KEY_BYTES = 32
LEAST_BYTES = 16  # of a key that somebody else made
MAC_BYTES = 16
FILE = "affinity.key"


class KeyUnusable(StartError):
    """The file of the key can't be read, made, or is too short."""


def load_key(config: Config) -> bytes:
    """The configured key, else that of `state_dir`, made when there is none yet; without either one that ends with the process. Makes
    `state_dir` in any case."""
    if config.state_dir is not None:
        try:
            config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeyUnusable(f"state_dir {config.state_dir}: {error.strerror or error}") from error
    if config.affinity_key is not None:
        return _read(config.affinity_key)
    if config.state_dir is None:
        return secrets.token_bytes(KEY_BYTES)
    path = config.state_dir / FILE
    if not os.path.exists(path):  # one that is there is enough: the folder may be read-only by now (pathlib raises where it can't look)
        _make(path)
    return _read(path, is_ours=True)


def cookie_value(key: bytes, pop: str) -> str:
    """What names the PoP: its name, and the first 16 bytes of HMAC-SHA256 over it."""
    mac = hmac.new(key, b"isochrone affinity " + pop.encode(), hashlib.sha256).digest()[:MAC_BYTES]
    return f"{pop}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _make(path: Path) -> None:
    try:
        kept.make(path, secrets.token_bytes(KEY_BYTES))
    except OSError as error:
        raise KeyUnusable(f"affinity key {path}: can't be made: {error.strerror or error}") from error


def _read(path: Path, *, is_ours: bool = False) -> bytes:
    """Of a file that the configuration names its owner decides who else may read it: several gateways have it."""
    try:
        key = kept.read(path, is_secret=True) if is_ours else path.read_bytes()
    except OSError as error:
        raise KeyUnusable(f"affinity key {path}: {error.strerror or error}") from error
    if len(key) < LEAST_BYTES:
        raise KeyUnusable(f"affinity key {path}: must have at least {LEAST_BYTES} bytes, got {len(key)}")
    return key
