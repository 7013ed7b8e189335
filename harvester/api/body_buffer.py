"""Store the body of an answer while it arrives: a short one as `bytes`, a long one as a file."""

from harvester.ports.spooled_body import IN_MEMORY_BYTES, SpooledBody


class BodyBuffer:
    """Collects the pieces of one body. With `to_file` a long body goes into `file`, which is searched for `secret`."""

    def __init__(self, *, to_file: bool, secret: bytes = b"") -> None:
        self._to_file = to_file
        self._secret = secret
        self._pieces: list[bytes] = []
        self._last = b""
        self.file: SpooledBody | None = None
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Add the next piece. Raises BodyFileError."""
        self.size += len(piece)
        self._pieces.append(piece)
        if self._to_file and self.size > IN_MEMORY_BYTES:
            if self.file is None:
                self.file = SpooledBody()
            self._write(self.file, self.in_memory())
            self._pieces.clear()

    def in_memory(self) -> bytes:
        """Return the bytes that are not in the file."""
        return b"".join(self._pieces)

    def close(self) -> None:
        """Delete the file, if there is one."""
        if self.file is not None:
            self.file.close()

    def _write(self, file: SpooledBody, piece: bytes) -> None:
        file.write(piece)
        if self._secret and not file.holds_secret:
            # The secret may begin in one piece and end in the next.
            searched = self._last + piece
            file.holds_secret = self._secret in searched
            self._last = searched[max(0, len(searched) - len(self._secret) + 1) :]
