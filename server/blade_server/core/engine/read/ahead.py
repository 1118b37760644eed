"""What comes next is made in a thread of its own while what is here is used: Arrow lets go of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(elements: Iterator[T], *, name: str) -> Iterator[T]:
    """The same in their order, one of them ahead. The thread ends with the last one, or with the one that it is at
    when nobody wants more; whoever leaves early sees to it that this comes.

    Raises what making the next one raises.
    """
    end = object()
    thread = ThreadPoolExecutor(1, name)
    try:
        making = thread.submit(next, elements, end)
        while (element := making.result()) is not end:
            making = thread.submit(next, elements, end)
            yield element  # type: ignore[misc]
    finally:
        thread.shutdown(wait=False)
