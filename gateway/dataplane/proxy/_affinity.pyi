def client_key(address: bytes) -> int:
    """What affinity by client goes by, from 1: hash of the /24 or /48 of an address of 16 bytes, IPv4 as ::ffff:a.b.c.d."""

def header_key(value: bytes) -> int:
    """What affinity by header goes by: hash of a value as it came; 0 when it is empty."""
