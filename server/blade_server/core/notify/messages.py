"""A message as its receiver reads it: CloudEvents 1.0 as JSON, signed as Standard Webhooks has it, or Slack's form."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from blade_server.model.notification import Message, NotificationEvent, NotificationFormat

TYPE = "blade.sync."
"""Before the event in small letters: the `type` of a CloudEvent."""

_SAID = {
    NotificationEvent.RUN_FAILED: "a run failed",
    NotificationEvent.COMPLETED_WITH_ERRORS: "a run completed, and some of its rows failed",
    NotificationEvent.DELETES_WITHHELD: "a run completed, and its deletes were withheld",
    NotificationEvent.LATE: "the last success is older than it should be",
    NotificationEvent.SELF_PAUSED: "it paused itself",
    NotificationEvent.BLOCKED: "a due time started nothing",
    NotificationEvent.RECOVERED: "it works again",
    NotificationEvent.TEST: "this is a test",
}


@dataclass(frozen=True, kw_only=True)
class Body:
    """What is sent, and its content type."""

    content: bytes
    content_type: str


def body_of(message: Message, format_: NotificationFormat) -> Body:
    """The body of a message; the same at each attempt."""
    if format_ is NotificationFormat.SLACK:
        return Body(content=_json({"text": _text(message)}), content_type="application/json")
    event = {
        "specversion": "1.0",
        "id": message.message_id,
        "source": f"/syncs/{message.sync}" if message.sync else f"/notifications/{message.notification}",
        "type": f"{TYPE}{message.event.lower()}",
        "subject": message.sync or message.notification,
        "time": message.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {"event": message.event.value, "text": _SAID[message.event], **message.data},
    }
    return Body(content=_json(event), content_type="application/cloudevents+json")


def signed(message_id: str, timestamp: int, content: bytes, key: bytes) -> dict[str, str]:
    """The headers by which a receiver knows who sends; `timestamp` in seconds since 1970."""
    told = f"{message_id}.{timestamp}.".encode() + content
    signature = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def _text(message: Message) -> str:
    about = f"sync {message.sync}" if message.sync else f"notification {message.notification}"
    told = [f"{name}: {_plain(message.data[name])}" for name in sorted(message.data) if name != "sync"]
    text = f"BLADE, {about}: {_SAID[message.event]}" + "".join(f"\n{line}" for line in told)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(value[name])}" for name in value)
    return str(value)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()
