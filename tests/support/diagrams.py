"""State diagrams of the documentation, as what they claim: which state follows which, by which events."""

import re
from collections.abc import Iterable
from pathlib import Path


def followers_in(page: Path, state: str) -> dict[tuple[str, str], set[str]]:
    """Of the page's diagram that has that state: (from, to) and the words at the arrow; without where it begins."""
    [diagram] = [found for found in re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", page.read_text(), re.DOTALL) if state in found]
    arrows = re.findall(r"^ +(\w+) --> (\w+)(?:: (.*))?$", diagram, re.MULTILINE)
    assert len(arrows) == len({arrow[:2] for arrow in arrows}), "each arrow is drawn once"
    return {(before, after): set(words.split(", ")) for before, after, words in arrows}


def followers_by(moves: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], set[str]]:
    """The same of a table: from, to, event."""
    found: dict[tuple[str, str], set[str]] = {}
    for before, after, event in moves:
        if before != after:
            found.setdefault((before, after), set()).update(event.split(", "))
    return found
