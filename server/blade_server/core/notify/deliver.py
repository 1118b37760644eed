"""One attempt to bring a message to its receiver."""

from __future__ import annotations

import time
from dataclasses import dataclass

from blade_server.core.notify.messages import body_of, signed
from blade_server.core.notify.receiver import receiver
from blade_server.errors import Invalid
from blade_server.model.notification import Message, Notification
from blade_server.model.policy import NotifyPolicy
from blade_server.webhook import NotReached, post

GONE = 410


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What became of it. `status` 0: there was no answer; `final`: the receiver wants no more of it."""

    done: bool
    status: int = 0
    detail: str = ""
    retry_after_s: float = 0.0
    final: bool = False


def deliver(policy: NotifyPolicy, to: Notification, message: Message) -> Attempt:
    """Sends it, once. Never raises for what an operator or a receiver can do."""
    try:
        place = receiver(policy, to)
    except Invalid as exc:
        return Attempt(done=False, detail=exc.message)
    body = body_of(message, to.format)
    headers = {"Content-Type": body.content_type}
    if place.key is not None:
        headers |= signed(message.message_id, int(time.time()), body.content, place.key)
    try:
        answer = post(place.url, body.content, headers, timeout_s=policy.timeout_s)
    except NotReached as exc:
        return Attempt(done=False, detail=str(exc))
    if 200 <= answer.status < 300:
        return Attempt(done=True, status=answer.status)
    return Attempt(
        done=False,
        status=answer.status,
        detail=_words(answer.status),
        retry_after_s=answer.retry_after_s or 0.0,
        final=answer.status == GONE,
    )


def _words(status: int) -> str:
    if status == GONE:
        return "the receiver says that it is gone for good (410)"
    if 300 <= status < 400:
        return (
            f"the receiver sent us elsewhere ({status}), and no redirect is followed: write the address that it means"
        )
    return f"the receiver answered with {status}"
