# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a name to addresses, as this host's resolver knows them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Dict, Iterable, Optional, Sequence, Union

_AT_ONCE = 16

_Answer = Union[Sequence[Any], Exception]


class NotResolved(Exception):
    """No address was found; the text says why, without the name."""


def resolve(address: str, port: int, waited: float) -> Sequence[Any]:
    """What getaddrinfo says, but not later than after ``waited`` seconds: it has no time-out of its own.

    :raises NotResolved: no address, in time.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found = _ask([address], port, waited).get(address)
    if found is None or isinstance(found, Exception):
        raise NotResolved(_why(found, waited))
    return found


def unresolved(addresses: Iterable[str], waited: float) -> Dict[str, str]:
    """Which of these names this host cannot resolve, and why.

    :param waited: seconds for all of them together.
    """
    asked = list(addresses)
    answers = _ask(asked, 0, waited)
    found = {address: answers.get(address) for address in asked}
    return {
        address: _why(answer, waited)
        for address, answer in found.items()
        if answer is None or isinstance(answer, Exception)
    }


def _ask(addresses: Iterable[str], port: int, waited: float) -> Dict[str, _Answer]:
    """The answers that came in time."""
    waiting = list(addresses)
    answers: Dict[str, _Answer] = {}

    def ask() -> None:
        with contextlib.suppress(IndexError):
            while True:
                address = waiting.pop()
                try:
                    answers[address] = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
                except (OSError, UnicodeError) as error:
                    answers[address] = error

    # Daemons, so that a resolver that hangs does not keep the process; and few, because many questions at the same
    # moment are what resolvers drop.
    asking = [threading.Thread(target=ask, daemon=True) for _address in waiting[:_AT_ONCE]]
    for one in asking:
        one.start()
    end = time.monotonic() + waited
    for one in asking:
        one.join(max(0.0, end - time.monotonic()))
    return dict(answers)


def _why(error: Optional[Exception], waited: float) -> str:
    if error is None:
        return f"the resolver did not answer within {waited:g} s"
    if isinstance(error, socket.gaierror) and error.strerror:
        return str(error.strerror)
    return "it is neither a valid host name nor an address"
