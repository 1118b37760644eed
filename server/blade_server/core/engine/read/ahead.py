"""What comes next is made in a thread of its own while what is here is used: Arrow lets go of the interpreter."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


def one_ahead(elements: Iterator[T], *, name: str) -> Generator[T]:
    """The same in their order, one of them ahead. The thread ends with the last one, or with the one that it is at
    when nobody wants more; whoever leaves early closes this and sees to it that that one comes.

    Raises what making the next one raises.
    """
    end = object()
    context = copy_context()  # what the log and traces say of the work
    thread = ThreadPoolExecutor(1, name)

    def following() -> Any:
        return context.run(next, elements, end)

    try:
        making = thread.submit(following)
        while (element := making.result()) is not end:
            making = thread.submit(following)
            yield element
    finally:
        thread.shutdown(wait=False)
