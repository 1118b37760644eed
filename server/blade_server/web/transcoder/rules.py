"""The HTTP rules of a contract, read off its descriptors, and the look-up from a request line to a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from google.api import annotations_pb2, http_pb2  # type: ignore[import-untyped]
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from blade_server.web.transcoder.problem import Problem
from blade_server.web.transcoder.template import Template

WHOLE = "*"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One HTTP binding of one method. `body` is `*`, a field or empty; `response_body` a field or empty."""

    method: MethodDescriptor
    verb: str
    template: Template
    body: str
    response_body: str

    @cached_property
    def path(self) -> str:
        """The gRPC path, `/blade.v1.JobService/GetJob`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @cached_property
    def request_class(self) -> type[Message]:
        """The generated class of the request."""
        return message_factory.GetMessageClass(self.method.input_type)

    @cached_property
    def response_class(self) -> type[Message]:
        """The generated class of the answer."""
        return message_factory.GetMessageClass(self.method.output_type)

    @cached_property
    def body_field(self) -> FieldDescriptor | None:
        """The field the body is, None if it is the whole request or if there is none."""
        return self.method.input_type.fields_by_name[self.body] if self.body not in ("", WHOLE) else None


def rules_of(services: Iterable[ServiceDescriptor]) -> list[Rule]:
    """Every binding of every method, additional ones behind their main one. Without an option there is no REST form."""
    return [rule for service in services for method in service.methods for rule in _rules(method)]


def _rules(method: MethodDescriptor) -> Iterator[Rule]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    main = options.Extensions[annotations_pb2.http]
    for binding in (main, *main.additional_bindings):
        verb, path = _line(binding)
        yield Rule(
            method=method,
            verb=verb,
            template=Template(text=path),
            body=binding.body,
            response_body=binding.response_body,
        )


def _line(binding: http_pb2.HttpRule) -> tuple[str, str]:
    kind = binding.WhichOneof("pattern")
    if kind == "custom":
        return binding.custom.kind, binding.custom.path
    return kind.upper(), getattr(binding, kind)


class Rules:
    """Finds the rule of a request line."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.template.rank, reverse=True)

    def find(self, verb: str, raw_path: str) -> tuple[Rule, dict[str, str]]:
        """The rule and the values of its path fields.

        The most specific template that matches decides; `GET /jobs/x:pause` is a wrong verb, not the job `x:pause`.

        Raises Problem 404, 405 (naming the verbs there are) or 400 (an encoding that is not UTF-8).
        """
        refuse_climbing(raw_path)
        shape, verbs = None, []
        for rule in self._rules:
            if shape not in (None, rule.template.shape):
                continue
            try:
                values = rule.template.match(raw_path)
            except UnicodeDecodeError as exc:
                raise Problem.invalid("path", "has an encoding that is not UTF-8") from exc
            if values is None:
                continue
            if rule.verb == verb or (verb == "HEAD" and rule.verb == "GET" and not rule.method.server_streaming):
                return rule, values
            shape = rule.template.shape
            verbs.append(rule.verb)
        if shape is None:
            raise Problem.no_page(raw_path)
        allowed = ", ".join(sorted(set(verbs)))
        raise Problem(
            405, "UNIMPLEMENTED", f"{verb} is not for this path; it takes {allowed}", headers={"allow": allowed}
        )


def refuse_climbing(raw_path: str) -> None:
    """Raises Problem 404 for `..` and `.` segments. Encoded ones are an item id; nothing here reads files by path."""
    segments = raw_path.replace("\\", "/").split("/")
    if ".." in segments or "." in segments:
        raise Problem.no_page(raw_path)
