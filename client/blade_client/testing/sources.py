"""ConfigService over a dictionary."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from blade.v1 import config_service_pb2 as pb
from blade.v1.source_pb2 import ItemIdCount, Source, TestStep
from blade_client import errors
from blade_client.testing.checks import raise_for
from blade_client.testing.pages import page_of
from blade_client.testing.replays import Replays
from blade_client.testing.statuses import invalid

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DATA_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_STEPS = [name for name, number in TestStep.Kind.items() if number not in {0, TestStep.CAPABILITIES}]
_UNTESTED = {"display_name", "enabled"}


class Sources:
    """Sources by name. `broken` says which step of a source's connection test fails, and why."""

    def __init__(self) -> None:
        self.stored: dict[str, Source] = {}
        self.broken: dict[str, tuple[str, str]] = {}
        self.in_use: Callable[[str], bool] = lambda name: False
        self.count_ids: Callable[[str], ItemIdCount] = lambda name: ItemIdCount(row_count=0)
        self._changes = 0
        self._replays = Replays()

    def keep(self, source: Source) -> Source:
        """Stores it as it is, with its defaults."""
        kept = Source()
        kept.CopyFrom(source)
        kept.display_name = source.display_name or source.name
        kept.enabled = source.enabled if source.HasField("enabled") else True
        kept.update_time.GetCurrentTime()
        if not kept.HasField("create_time"):
            kept.create_time.CopyFrom(kept.update_time)
        self._changes += 1
        kept.etag = f"etag-{self._changes}"
        self.stored[kept.name] = kept
        return kept

    def named(self, name: str) -> Source:
        """Raises NotFound, Invalid."""
        if not name:
            raise invalid("name", "is required")
        if name not in self.stored:
            raise errors.NotFound(f"there is no source {name!r}", reason="SOURCE_NOT_FOUND")
        return self.stored[name]

    def find(self, data_type: str, name: str = "") -> Source:
        """The source a call means: by its name, else the one source of the data type."""
        if name:
            source = self.named(name)
            if data_type not in ("", source.data_type):
                raise invalid("data_type", f"{data_type!r} is not the data type of source {name!r}")
            return _enabled(source)
        if not data_type:
            raise invalid("data_type", "is required unless `source` is set")
        found = [source for source in self.stored.values() if source.data_type == data_type]
        if not found:
            raise errors.NotFound(f"no source has the data type {data_type!r}", reason="SOURCE_NOT_FOUND")
        candidates = [source for source in found if source.enabled] or found
        if len(candidates) > 1:
            names = ", ".join(source.name for source in candidates)
            raise invalid("source", f"several sources: name one of {names}", reason="SOURCE_AMBIGUOUS")
        return _enabled(candidates[0])

    def AddSource(self, request: pb.AddSourceRequest, context: Any) -> pb.AddSourceResponse:
        stored = self._replays.answer(request.request_id, request)
        if stored is not None:
            return pb.AddSourceResponse(source=stored)
        source = Source()
        source.CopyFrom(request.source)
        source.data_type = request.data_type or source.data_type
        _check(source)
        if source.name in self.stored:
            raise errors.AlreadyExists(f"a source named {source.name!r} exists", reason="SOURCE_EXISTS")
        steps = self._passed(source.name)
        if request.validate_only:
            return pb.AddSourceResponse(source=source, steps=steps, item_ids=self.count_ids(source.name))
        kept = self._replays.remember(request.request_id, request, self.keep(source))
        return pb.AddSourceResponse(source=kept, steps=steps, item_ids=self.count_ids(source.name))

    def GetSource(self, request: pb.GetSourceRequest, context: Any) -> pb.GetSourceResponse:
        return pb.GetSourceResponse(source=self.named(request.name))

    def ListSources(self, request: pb.ListSourcesRequest, context: Any) -> pb.ListSourcesResponse:
        found = [
            self.stored[name] for name in sorted(self.stored) if request.data_type in ("", self.stored[name].data_type)
        ]
        sources, token = page_of(found, request, default=100)
        return pb.ListSourcesResponse(sources=sources, next_page_token=token)

    def UpdateSource(self, request: pb.UpdateSourceRequest, context: Any) -> pb.UpdateSourceResponse:
        current = self.named(request.source.name)
        _check_etag(current, request.source.etag)
        changed = Source()
        changed.CopyFrom(current)
        paths = list(request.update_mask.paths) or _set_paths(request.source)
        for path in paths:
            _take(changed, request.source, path)
        _check(changed)
        item_ids = None
        if set(paths) - _UNTESTED:
            self._passed(changed.name)
            item_ids = self.count_ids(changed.name)
        return pb.UpdateSourceResponse(source=self.keep(changed), item_ids=item_ids)

    def RemoveSource(self, request: pb.RemoveSourceRequest, context: Any) -> pb.RemoveSourceResponse:
        _check_etag(self.named(request.name), request.etag)
        if self.in_use(request.name):
            raise errors.Precondition(f"source {request.name!r} has jobs that are not final", reason="SOURCE_IN_USE")
        del self.stored[request.name]
        return pb.RemoveSourceResponse()

    def TestSource(self, request: pb.TestSourceRequest, context: Any) -> pb.TestSourceResponse:
        steps = self._steps(self.named(request.name).name)
        passed = all(step.outcome == TestStep.PASSED for step in steps)
        item_ids = self.count_ids(request.name) if passed else None
        return pb.TestSourceResponse(passed=passed, steps=steps, item_ids=item_ids)

    def _passed(self, name: str) -> list[TestStep]:
        steps = self._steps(name)
        for step in steps:
            if step.outcome == TestStep.FAILED:
                kind = TestStep.Kind.Name(step.kind)
                failed = errors.ConnectionTestFailed(
                    f"the connection test failed at {kind}: {step.message}",
                    reason="CONNECTION_TEST_FAILED",
                    metadata={"step": kind},
                )
                failed.steps = steps
                raise failed
        return steps

    def _steps(self, name: str) -> list[TestStep]:
        at, message = self.broken.get(name, ("", ""))
        steps, outcome = [], TestStep.PASSED
        for kind in _STEPS:
            if kind == at:
                outcome = TestStep.FAILED
            steps.append(TestStep(kind=kind, outcome=outcome, message=message if kind == at else "", duration_ms=1.0))
            outcome = TestStep.PASSED if outcome == TestStep.PASSED else TestStep.NOT_RUN
        return steps


def _enabled(source: Source) -> Source:
    if not source.enabled:
        raise errors.Precondition(f"source {source.name!r} is switched off", reason="SOURCE_DISABLED")
    return source


def _check(source: Source) -> None:
    raise_for(
        [
            *([("source.name", f"{source.name!r} is not a name")] if not _NAME.fullmatch(source.name) else []),
            *(
                [("source.data_type", f"{source.data_type!r} is none")]
                if not _DATA_TYPE.fullmatch(source.data_type)
                else []
            ),
            *(
                (f"source.config.{each}", "is required")
                for each in ("catalog", "schema", "table")
                if not _given(source, each)
            ),
        ]
    )


def _given(source: Source, name: str) -> bool:
    return bool(getattr(source.config, name).strip())


def _check_etag(current: Source, etag: str) -> None:
    if etag not in ("", current.etag):
        raise errors.Conflict(f"source {current.name!r} was changed by somebody else", reason="ETAG_MISMATCH")


def _set_paths(source: Source) -> list[str]:
    whole = [name for name in ("display_name", "data_type") if getattr(source, name)]
    inner = [f"config.{field.name}" for field, _ in source.config.ListFields()]
    inner += [f"mapping.{field.name}" for field, _ in source.mapping.ListFields()]
    return [*whole, *(["enabled"] if source.HasField("enabled") else []), *inner]


def _take(changed: Any, new: Any, path: str) -> None:
    first, _, rest = path.partition(".")
    known: Iterable[str] = new.DESCRIPTOR.fields_by_name
    if first not in known or (first in ("name", "stats", "etag") and changed.DESCRIPTOR.name == "Source"):
        raise invalid("update_mask", f"{path!r} is not a field that can change")
    if rest:
        _take(getattr(changed, first), getattr(new, first), rest)
    elif new.DESCRIPTOR.fields_by_name[first].message_type is None:
        setattr(changed, first, getattr(new, first))
    else:
        changed.ClearField(first)
        getattr(changed, first).MergeFrom(getattr(new, first))
