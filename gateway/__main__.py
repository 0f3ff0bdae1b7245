"""The command `isochrone`, also `python -m gateway`. Its first act is to stand up to signals: see gateway.signals."""

import sys

from gateway import signals


def main() -> int:
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
