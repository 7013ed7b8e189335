"""The `harvester` command, and `python -m harvester`."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        # Imported here so that Ctrl-C during start-up ends like Ctrl-C at any other time.
        from harvester.cli.main import run  # noqa: PLC0415

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
