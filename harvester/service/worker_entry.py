"""Where a worker process begins: it ignores the signals of the terminal before it imports anything heavy.

A Ctrl-C that hits the import of numpy leaves a worker that lives on and can never import it again.
"""

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.api.decode.result import Decoded
    from harvester.service.decode_worker import Exchanged


def decode_in_worker(path: str, encoding: str | None, max_body_bytes: int) -> "Decoded | Exchanged":
    """Return the meaning of the body in the file; the vectors of a result are left in its place.

    Raises OSError and MemoryError.
    """
    # A Ctrl-C in the terminal reaches the whole process group; the parent drains, and needs its workers for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The same holds when the terminal closes.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from harvester.service.decode_worker import decode_and_leave  # noqa: PLC0415  # see above

    return decode_and_leave(path, encoding, max_body_bytes)
