# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file outside of the folders of ours, read by its path: never anything but a file, never more than expected."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import BinaryIO, Iterator


def read_beginning(path: str, limit: int) -> bytes:
    """The content of a regular file, of a larger one the beginning; links are followed.

    :param limit: bytes; of a larger file one more is returned.
    :raises OSError: it cannot be read; EINVAL for what is no regular file.
    """
    with _opened(path) as stream:
        return stream.read(limit + 1)


def read_end(path: str, limit: int) -> bytes:
    """The same of a larger one's end.

    :param limit: bytes.
    :raises OSError: as above.
    """
    with _opened(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - limit))
        return stream.read(limit)


def read_file(path: str, limit: int) -> bytes:
    """The content of a regular file; links are followed.

    :param limit: bytes.
    :raises OSError: it cannot be read; EINVAL for what is no regular file, EFBIG for what is larger.
    """
    data = read_beginning(path, limit)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    # Looked at before it is opened: opening a device can have effects, opening a FIFO can block.
    _demand_regular(os.stat(path), path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        _demand_regular(os.fstat(stream.fileno()), path)
        yield stream


def _demand_regular(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
