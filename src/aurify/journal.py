"""A file that grows by whole records. What the disk refuses waits in memory and goes with the next record: a full disk
leaves no half of one, and none is lost once there is room again."""

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from aurify.atomic import explained
from aurify.errors import UserError


class Journal:
    """Opened for appending, by one process at a time.

    Raises, here and in every method but `close`:
        UserError: the disk is full, or refuses otherwise; what is in the file is whole.
    """

    def __init__(self, path: Path):
        self.path, self.waiting = path, b""
        with self._explained():
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self.end = os.fstat(self.file).st_size

    def append(self, record: bytes = b"") -> None:
        """What waits, then this record; handed to the system, not yet `sync`ed."""
        retry, self.waiting = bool(self.waiting), self.waiting + record
        with self._explained():
            try:
                if retry:
                    os.ftruncate(self.file, self.end)  # in case the cut below was refused too
                rest = memoryview(self.waiting)
                while rest:
                    rest = rest[os.write(self.file, rest) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self.file, self.end)
                raise
        self.end, self.waiting = self.end + len(self.waiting), b""

    def sync(self) -> int:
        """Bytes in the file, all of them on the disk."""
        with self._explained():
            os.fsync(self.file)
        return self.end

    def cut(self, size: int) -> bool:
        """Forgets what follows the first `size` bytes, and the half of a line that is left before that place, if one
        is. Whether all `size` bytes were there."""
        with self._explained():
            self.end = os.pread(self.file, size, 0).rfind(b"\n") + 1
            os.ftruncate(self.file, self.end)
        return self.end == size

    def close(self) -> None:
        """One last try for what waits."""
        with suppress(UserError):
            self.append()
        os.close(self.file)

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.path.parent, f"write {self.path.name}", len(self.waiting))
