"""Commands of the command line, one module each: `register(subparsers)` and `run(args) -> int`. Imported by name, when asked for."""
