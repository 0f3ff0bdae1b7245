"""The command `isochrone`, also `python -m gateway`. Its first act is to stand up to signals: see gateway.signals."""

import io
import os
import sys

from gateway import signals

STANDARD = 0, 1, 2  # input, output, error


def fill_standard() -> None:
    """Where a standard stream is closed, whatever is opened next has its number, and gets what is written to it."""
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
    # Python has no object then, and what is printed to none goes to standard output.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def escape() -> None:
    """What standard output has no character for (a terminal that is not UTF-8): as standard error does, in the place of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def main() -> int:
    fill_standard()
    escape()
    is_serve = next((word for word in sys.argv[1:] if not word.startswith("-")), None) == "serve"
    if is_serve:
        signals.hold()
    try:
        from gateway.cli import main

        return main()
    finally:
        if is_serve:
            signals.drop()


if __name__ == "__main__":
    sys.exit(main())
