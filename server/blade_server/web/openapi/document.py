"""Rules in, OpenAPI 3.1 out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from blade.v1 import access_pb2
from blade_server.web.guard import CSRF_HEADER
from blade_server.web.openapi.bounds import NEEDED_PARAMETERS, REQUIRED, errors_of
from blade_server.web.openapi.comments import comments, first_sentence
from blade_server.web.openapi.examples import EXAMPLES
from blade_server.web.openapi.schemas import Schema, Schemas, bounds_of
from blade_server.web.sender import COOKIE, SECURE_COOKIE
from blade_server.web.transcoder import stream_forms
from blade_server.web.transcoder.conventions import JOINED, SUCCESS_CODES
from blade_server.web.transcoder.parameters import is_map, is_scalar, nested
from blade_server.web.transcoder.rules import WHOLE, Rule

_ERROR: Schema = {
    "type": "object",
    "description": "google.rpc.Status, as Google's REST APIs send it.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP code."},
                "message": {"type": "string", "description": "What is wrong and the way out, for people."},
                "status": {"type": "string", "description": "Name of the google.rpc.Code."},
                "details": {
                    "type": "array",
                    "description": "google.rpc.ErrorInfo with an ErrorReason for machines, and others.",
                    "items": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
                },
            },
        }
    },
}
_SECURITY: Schema = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that an ADMIN made (`blade_ID_SECRET`), or a JWT of the identity provider.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SECURE_COOKIE,
        "description": (
            f'The session of a browser (`{COOKIE}` without TLS): POST /session with `{{"token": "..."}}` opens it, '
            f"DELETE ends it. Whatever is no GET carries the header `{CSRF_HEADER}` besides, with what GET /session "
            "shows as `csrf`."
        ),
    },
}
"""Where authentication is off, neither is needed."""
_LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
_ABOUT = (
    "Rows of a Databricks SQL warehouse as catalog items, and the jobs that move them. The same calls are served as "
    "gRPC (`blade.v1`). JSON is protobuf's: names in lowerCamelCase (snake_case is read as well), unknown fields "
    "refused; but 64-bit integers are numbers (strings are read as well). Query parameters: a repeated field once for "
    "each element, a map as `parameters[name]=value`. Streams are a JSON array, or by the Accept header "
    "`application/x-ndjson` or `text/event-stream` messages as they come; rows of a query as plain JSON are one "
    'object, `{"items": [...], "rejections": [...], "moreRows": false}`. An error in mid-stream is the last element or '
    'member, `"error"`. '
    "Errors have the HTTP codes of google.rpc's standard mapping: FAILED_PRECONDITION is 400, as INVALID_ARGUMENT is. "
    "The headers `blade-actor` (who asks; kept in a job's history) and `x-request-id` are passed on."
)


def document(rules: Iterable[Rule]) -> bytes:
    """The document, JSON."""
    return orjson.dumps(_Document(comments()).of(list(rules)))


class _Document:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._schemas = Schemas(texts)

    def of(self, rules: list[Rule]) -> dict[str, Any]:
        services = {rule.method.containing_service.full_name: rule.method.containing_service for rule in rules}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "BLADE",
                "version": metadata.version("blade"),
                "description": _ABOUT,
                "license": _LICENSE,
            },
            "servers": [{"url": "/"}],
            "security": [{"token": []}, {"session": []}],
            "tags": [
                {"name": service.name, "description": self._texts.get(name, "")} for name, service in services.items()
            ],
            "paths": self._paths(rules),
            "components": {
                "securitySchemes": _SECURITY,
                "schemas": self._schemas.components | {"Error": _ERROR},
            },
        }

    def _paths(self, rules: list[Rule]) -> dict[str, Any]:
        """One entry for each shape: to OpenAPI `/a/{x}` and `/a/{y}` are one path. The GET's names are taken."""
        names: dict[str, Rule] = {}
        for rule in rules:
            if rule.template.shape not in names or rule.verb == "GET":
                names[rule.template.shape] = rule
        paths: dict[str, Any] = {}
        seen: set[str] = set()
        for rule in rules:
            main = names[rule.template.shape].template
            operation = self._operation(rule, dict(zip(rule.template.fields, main.fields, strict=True)))
            if operation["operationId"] in seen:
                operation["operationId"] += "_2"
            seen.add(operation["operationId"])
            paths.setdefault(main.text, {})[rule.verb.lower()] = operation
        return paths

    def _operation(self, rule: Rule, names: Mapping[str, str]) -> dict[str, Any]:
        text = self._texts.get(rule.method.full_name, "").removeprefix(rule.method.name).strip()
        text = f"{text[:1].upper()}{text[1:]}{_needs(rule)}"
        operation: dict[str, Any] = {
            "operationId": f"{rule.method.containing_service.name}_{rule.method.name}",
            "tags": [rule.method.containing_service.name],
            "summary": first_sentence(text),
            "description": text,
            "parameters": [*self._path_parameters(rule, names), *self._query_parameters(rule)],
            "responses": {
                str(SUCCESS_CODES.get(rule.method.full_name, 200)): self._answer(rule),
                **{code: _error(text) for code, text in errors_of(rule.method.name).items()},
                "default": _error("Another error."),
            },
        }
        body = self._body(rule)
        public: dict[str, Any] = {"security": []} if _access(rule).public else {}
        return operation | public | ({"requestBody": body} if body else {})

    def _path_parameters(self, rule: Rule, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        for path, name in names.items():
            field = _field(rule.method.input_type, path)
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": self._texts.get(field.full_name, ""),
                "schema": {"type": "string", "minLength": 1, **bounds_of(field)},
            }

    def _query_parameters(self, rule: Rule) -> Iterator[dict[str, Any]]:
        if rule.body == WHOLE:
            return
        bound = {*rule.template.fields, rule.body}
        for field in rule.method.input_type.fields:
            if field.name in bound or not (is_map(field) or is_scalar(field)):
                continue
            schema = self._schemas.field(field)
            yield {
                "name": field.camelcase_name,
                "in": "query",
                "required": (rule.template.text, field.name) in NEEDED_PARAMETERS,
                "description": schema.pop("description", ""),
                "schema": schema,
                **({"style": "deepObject", "explode": True} if is_map(field) else {}),
            }

    def _body(self, rule: Rule) -> dict[str, Any] | None:
        if not rule.body:
            return None
        if rule.body_field is not None:
            schema = self._schemas.message(nested(rule.body_field))
        else:
            bound = set(rule.template.fields)
            message = rule.method.input_type
            schema = self._schemas.fields(message, [field for field in message.fields if field.name not in bound])
        required = REQUIRED.get(rule.method.name)
        content = _json({"allOf": [schema, required]} if required else schema)
        if rule.method.full_name in EXAMPLES:
            content["application/json"]["example"] = EXAMPLES[rule.method.full_name]
        return {"content": content}

    def _answer(self, rule: Rule) -> dict[str, Any]:
        message = rule.method.output_type
        if rule.response_body:
            message = nested(message.fields_by_name[rule.response_body])
        schema = self._schemas.message(message)
        description = self._texts.get(message.full_name, "")
        if not rule.method.server_streaming:
            return {"description": description, "content": _json(schema)}
        plain = schema if rule.method.full_name in JOINED else {"type": "array", "items": schema}
        forms = {
            stream_forms.Array.content_type: {"schema": plain},
            stream_forms.Lines.content_type: {"schema": {"type": "string", "description": "One JSON document a line."}},
            stream_forms.Events.content_type: {
                "schema": {"type": "string", "description": "Messages, then an event `end`; or an event `failure`."}
            },
        }
        return {"description": f"A stream. {description}", "content": forms}


def _needs(rule: Rule) -> str:
    """Who may call it, as the contract says."""
    access = _access(rule)
    if not access.role:
        return ""
    on = {access_pb2.Access.SOURCE: "the source", access_pb2.Access.JOB: "the job's source"}
    return f" Needs the role {access_pb2.Role.Name(access.role)} on {on.get(access.object, 'the server as a whole')}."


def _access(rule: Rule) -> access_pb2.Access:
    options: Any = rule.method.GetOptions()
    access: access_pb2.Access = options.Extensions[access_pb2.access]
    return access


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": _json({"$ref": "#/components/schemas/Error"})}


def _field(message: Descriptor, path: str) -> FieldDescriptor:
    *steps, last = path.split(".")
    for step in steps:
        message = nested(message.fields_by_name[step])
    return message.fields_by_name[last]
