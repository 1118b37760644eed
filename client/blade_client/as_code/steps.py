"""What has to be done so that a server has what documents say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from blade_client.as_code.documents import Document
from blade_client.as_code.fields import differences, said
from blade_client.as_code.kinds import KINDS, Kind, check_shown
from blade_client.client import BladeClient


class Action(Enum):
    """What is done with one thing."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do. `fields`: of an update, each with the value before and after; None: unset."""

    action: Action
    kind: Kind
    name: str
    stored: Any = None
    spec: Message | None = None
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def take(self, blade: BladeClient, *, keep_old: bool = False) -> None:
        """Does it. What somebody else changed since it was read is not touched: Conflict.

        Args:
            blade: the server.
            keep_old: a sync may change its destination; items in the old one stay there and are forgotten.
        """
        if self.action is Action.REMOVE:
            self.kind.calls.remove(blade, self.stored)
            return
        assert self.spec is not None
        spec = type(self.spec)()
        spec.CopyFrom(self.spec)
        if self.action is Action.CREATE:
            self.kind.calls.create(blade, self.name, spec)
        else:
            self.kind.calls.update(blade, self.stored, spec, list(self.fields), keep_old=keep_old)


def steps(blade: BladeClient, documents: Sequence[Document], *, prune: bool) -> list[Step]:
    """What is to be done, in the order in which it can be: what others name first, and removed last.

    Args:
        blade: the server.
        documents: what it should have.
        prune: remove what no document says.

    Raises:
        BladeClientError: The server cannot be asked, or does not show all of what is to be compared.
    """
    changes: list[Step] = []
    removals: list[Step] = []
    for kind in KINDS.values():
        wanted = {each.name: each for each in documents if each.kind is kind}
        if not wanted and not prune:
            continue
        stored = {each.name: each for each in kind.calls.all(blade)}
        for name, document in wanted.items():
            step = _step(document, stored.get(name))
            changes += [step] if step is not None else []
        if prune:
            gone = (Step(action=Action.REMOVE, kind=kind, name=name, stored=stored[name]) for name in stored)
            removals = [*(each for each in gone if each.name not in wanted), *removals]
    return changes + removals


def _step(document: Document, stored: Any) -> Step | None:
    kind, name, spec = document.kind, document.name, document.spec
    if stored is None:
        return Step(action=Action.CREATE, kind=kind, name=name, spec=spec)
    check_shown(kind, stored)
    now = said(kind.spec_of(stored), kind.hidden)
    defaults = {**kind.defaults, **({"display_name": name} if "display_name" in spec.DESCRIPTOR.fields_by_name else {})}
    fields = differences(said(spec, kind.hidden), now, defaults, kind.chosen)
    if not fields:
        return None
    return Step(action=Action.UPDATE, kind=kind, name=name, stored=stored, spec=spec, fields=fields)
