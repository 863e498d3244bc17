"""A file that is there whole or not at all: the one way in which this package writes one.

It is written beside its place under a hidden name, flushed to the disk, and renamed. Standard library only.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its place at the end of the block, and leaves nothing behind where the block raises.

    Its folder must be there; its mode is that of any new file. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name[:50]}.", suffix=".partial"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(descriptor, 0o666 & ~_umask())  # mkstemp makes what only its owner may read
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def write(path: Path, content: bytes | str) -> None:
    """The file with this content; of a text what is no Unicode becomes question marks. Raises OSError."""
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    with whole(path) as file:
        file.write(content)


def _umask() -> int:
    """The process's umask, which can only be asked by setting one."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
