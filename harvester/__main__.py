"""The `harvester` command, and `python -m harvester`."""

import os
import sys

from harvester.service import signals


def main() -> None:
    """Run the command line and leave with its exit code."""
    signals.listen()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _run() -> int:
    # Imported here so that a signal during the imports ends the program without a traceback.
    try:
        from harvester.cli.loading import loading  # noqa: PLC0415
        from harvester.cli.streams import prepare_streams  # noqa: PLC0415

        messages = prepare_streams()
        try:
            with loading():
                from harvester.cli.main import run  # noqa: PLC0415

            return run(sys.argv[1:])
        finally:
            messages.finish()
    except (MemoryError, OSError, ImportError) as error:
        # Not even the modules can be loaded that say such things well.
        message = f"harvester: this machine does not let the program start: {type(error).__name__}: {error}.\n"
        os.write(2, message.encode("ascii", "backslashreplace"))
        return 4


if __name__ == "__main__":
    main()
