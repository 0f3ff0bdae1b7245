from typing import Any, final

class DatabaseError(ValueError):
    """What is wrong with a database, in one line that begins with its name."""

@final
class Database:
    """A MaxMind DB file in memory the process owns. DatabaseError when it is not whole, or no location or ASN is in it.

    The search tree is checked whole (20 ms for a city file), some 4,000 records by sample; the rest when looked up.
    """
    def __new__(cls, content: bytes, name: str = "database") -> Database: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...  # "city", "country", "asn"
    @property
    def ip_version(self) -> int: ...
    @property
    def build_epoch(self) -> int: ...  # seconds since 1970, as the file says
    @property
    def metadata(self) -> dict[str, Any]: ...
