"""How a call is made: deadline, metadata, retries, and errors of our own in place of gRPC's."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from blade_client import errors
from blade_client.connection import Connection, Stubs
from blade_client.retrying import Deadline, Retry
from blade_client.status import error_of

if TYPE_CHECKING:
    from grpc import UnaryStreamMultiCallable, UnaryUnaryMultiCallable

Request = TypeVar("Request")
Response = TypeVar("Response")
T = TypeVar("T")


class Calls:
    """Makes calls over a connection.

    Args:
        connection: Where to.
        timeout_s: Longest time of one unary call with all its retries.
        attempts: Attempts of a call that may be repeated, at least 1.
    """

    def __init__(self, connection: Connection, *, timeout_s: float, attempts: int) -> None:
        if not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}; it must be above 0.")
        if attempts < 1:
            raise ValueError(f"attempts is {attempts}; it must be at least 1.")
        self.connection = connection
        self.attempts = attempts
        self.timeout_s = timeout_s

    def unary(
        self,
        pick: Callable[[Stubs], UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        repeatable: bool,
    ) -> Response:
        """Makes a call with one answer; a repeatable one is tried again while the server is away."""
        deadline = Deadline(self.timeout_s)
        retry = Retry(attempts=self.attempts if repeatable else 1, deadline=deadline)
        while True:
            method = pick(self.connection.stubs())
            shown = self.connection.metadata(deadline.remaining_s())
            try:
                return method(request, timeout=deadline.remaining_s(), metadata=shown)
            except grpc.RpcError as failure:
                error = error_of(failure, target=self.connection.target)
                if self.connection.knows_better(error, shown):
                    continue
                wait_s = retry.wait_s(error)
                if wait_s is None:
                    raise self.connection.explained(error) from failure
            time.sleep(wait_s)

    def stream(
        self,
        pick: Callable[[Stubs], UnaryStreamMultiCallable[Request, Response]],
        request: Request,
        *,
        timeout_s: float | None,
    ) -> Generator[Response, None, None]:
        """Makes a reading call with many answers; it is tried again only until the first has come."""
        deadline = Deadline(timeout_s)
        retry = Retry(attempts=self.attempts, deadline=deadline)
        while True:
            begun = False
            try:
                with closing(self.stream_once(pick, request, timeout_s=deadline.remaining_s())) as answers:
                    for answer in answers:
                        begun = True
                        yield answer
                return
            except errors.BladeClientError as error:
                wait_s = None if begun else retry.wait_s(error)
                if wait_s is None:
                    raise self.connection.explained(error) from error.__cause__
            time.sleep(wait_s)

    def stream_once(
        self,
        pick: Callable[[Stubs], UnaryStreamMultiCallable[Request, Response]],
        request: Request,
        *,
        timeout_s: float | None,
    ) -> Generator[Response, None, None]:
        """One attempt of a stream. Leaving it early cancels the call, so the server stops working for it."""
        begun, again = False, True
        while again:
            again = False
            shown = self.connection.metadata(timeout_s)
            call = pick(self.connection.stubs())(request, timeout=timeout_s, metadata=shown)
            try:
                for answer in call:
                    begun = True
                    yield answer
            except grpc.RpcError as failure:
                error = error_of(failure, target=self.connection.target)
                better = self.connection.knows_better(error, shown)
                again = better and not begun
                if not again:
                    if better and isinstance(error, errors.NotSignedIn):
                        error.retry_after_s = 0.0  # whoever can begin anew may: with what is known now
                    raise error from failure
            finally:
                call.cancel()


def new_request_id() -> str:
    """A fresh id that makes a creating call repeatable."""
    return str(uuid.uuid4())


def names(given: Iterable[T]) -> list[T]:
    """A list, for a parameter that takes several; one string is one of them, not its letters."""
    return cast("list[T]", [given]) if isinstance(given, str) else list(given)


def timestamp(time: datetime | None) -> Timestamp | None:
    """An aware time as the contract has it. Raises ValueError if it has no zone."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no time zone; write for example datetime.now(UTC).")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def pages(fetch: Callable[[str], tuple[Iterable[T], str]]) -> Iterator[T]:
    """All entries of all pages; `fetch` takes a page token and returns the entries and the next token."""
    token = ""
    while True:
        entries, token = fetch(token)
        yield from entries
        if not token:
            return
