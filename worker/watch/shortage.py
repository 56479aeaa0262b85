"""What this machine lacks for the moment, descriptors or memory: never the fault of a message."""

import errno
import socket
from collections.abc import Iterator

_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
_RESOLVER_LACKS = frozenset({socket.EAI_MEMORY, socket.EAI_SYSTEM})  # getaddrinfo(3): EAI_SYSTEM stands for any errno


def is_shortage(fault: BaseException) -> bool:
    """Whether a fault, or one that led to it, is a want of descriptors or memory."""
    return any(map(_is_one, _chain(fault)))


def _is_one(fault: BaseException) -> bool:
    if isinstance(fault, socket.gaierror):
        return fault.errno in _RESOLVER_LACKS
    return isinstance(fault, MemoryError) or (isinstance(fault, OSError) and fault.errno in _LACKS)


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting = [fault]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
