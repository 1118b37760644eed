"""Every method of blade.v1, over gRPC and REST, for callers of every kind: what the contract's option says happens.

One real server over one database, with the right source, one that most callers may not see, and one that there is not.
What is refused must have changed nothing and must have been refused before anything of the request was read.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import grpc
import pytest
import requests
import sqlalchemy
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from tests.support.access import ADMIN_TOKEN, called
from tests.support.databases import own_database
from tests.support.nouns import a_source, a_spec
from tests.support.servers import Served

from blade_server.core.access.door import Door
from blade_server.core.access.rights import Rights
from blade_server.core.access.tokens import new_id, new_token
from blade_server.core.jobs.ids import new_job_id
from blade_server.core.schedule.due_times import first_due
from blade_server.model import JobKind, NewJob, Source
from blade_server.model.access import Role, Scope
from blade_server.model.cost import Cost
from blade_server.model.policy import AccessPolicy
from blade_server.model.sync import Sync, SyncOwner, SyncSpec, SyncTask
from blade_server.rpc.methods import needs_of
from blade_server.rpc.server import _DESCRIPTORS
from blade_server.storage.access import AccessStore
from blade_server.storage.database import Database
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.rights import RightsStore
from blade_server.storage.sources import SourceStore
from blade_server.storage.sync.syncs import SyncStore
from blade_server.web.transcoder.rules import Rule, rules_of

NEEDS = needs_of(_DESCRIPTORS)
METHODS = {f"{service.full_name}/{method.name}": method for service in _DESCRIPTORS for method in service.methods}
RULES = {f"{rule.path[1:]}": rule for rule in reversed(rules_of(_DESCRIPTORS))}
PUBLIC = {method for method, needs in NEEDS.items() if needs.public}
GARBAGE = b"\xff\xfe no message \x00"
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
TIMEOUT_S = 30.0
ORDER = ("UNCLASS", "CUI", "SECRET")


@dataclass(frozen=True, kw_only=True)
class Object:
    """What a call is about."""

    source: str
    data_type: str
    job_id: str
    sync: str
    run_id: str


_NO_JOB = "job-zzzzzzzzzzzzzzzzzzzz"
UNKNOWN = Object(source="nothing", data_type="nothing", job_id=_NO_JOB, sync="nothing", run_id=_NO_JOB)

ABOUT: dict[str, Any] = {
    "ConfigService/AddSource": lambda o: {
        "data_type": o.data_type,
        "source": {"name": "brand-new", "config": {"catalog": "main", "schema": "s", "table": "t", "host": "no.host"}},
    },
    "ConfigService/GetSource": lambda o: {"name": o.source},
    "ConfigService/ListSources": None,
    "ConfigService/ListSourceCosts": None,
    # An etag that is not the stored one: whoever is let through changes nothing.
    "ConfigService/UpdateSource": lambda o: {
        "source": {"name": o.source, "display_name": "Changed", "etag": "no"},
        "update_mask": "displayName",
    },
    "ConfigService/RemoveSource": lambda o: {"name": o.source, "etag": "no"},
    "ConfigService/TestSource": lambda o: {"name": o.source},
    **{
        f"DestinationService/{verb}Destination{'s' if verb == 'List' else ''}": None
        for verb in ("Create", "Get", "List", "Update", "Delete", "Test")
    },
    "QueryService/QueryItems": lambda o: {"data_type": o.data_type, "source": o.source},
    "QueryService/QueryArrow": lambda o: {"data_type": o.data_type, "source": o.source},
    "QueryService/GetItem": lambda o: {"data_type": o.data_type, "source": o.source, "item_id": "P-1"},
    "IngestService/IngestItem": lambda o: {"data_type": o.data_type, "source": o.source, "item_id": "P-1"},
    "JobService/StartQueryJob": lambda o: {"source": o.source},
    "JobService/PreviewItems": lambda o: {"source": o.source},
    "JobService/GetJob": lambda o: {"id": o.job_id},
    "JobService/ListJobs": None,
    "JobService/WatchJob": lambda o: {"job_id": o.job_id},
    "JobService/PauseJob": lambda o: {"job_id": o.job_id},
    "JobService/ResumeJob": lambda o: {"job_id": o.job_id},
    "JobService/CancelJob": lambda o: {"job_id": o.job_id},
    "JobService/UpdateJobLimits": lambda o: {"job_id": o.job_id, "limits": {"items_per_second": 5}},
    "JobService/ListItemErrors": lambda o: {"job_id": o.job_id},
    "JobService/RetryFailedItems": lambda o: {"job_id": o.job_id},
    "SyncService/CreateSync": lambda o: {
        "sync": {"name": "brand-new", "spec": {"source": o.source, "sql": "DELETE FROM parts"}},
    },
    "SyncService/ListSyncs": None,
    "SyncService/UpdateSync": lambda o: {"sync": {"name": o.sync, "etag": "no", "spec": {"batch_size": 7}}},
    "SyncService/DeleteSync": lambda o: {"name": o.sync, "etag": "no"},
    "SyncService/GetSyncReport": lambda o: {"name": o.sync, "job_id": o.run_id},
    "SyncService/GetSyncItem": lambda o: {"name": o.sync, "item_id": "P-1"},
    "SyncService/CloneSync": lambda o: {"name": o.sync, "new_name": "copy", "spec": {"sql": "DELETE FROM parts"}},
    "SyncService/ApplyPlan": lambda o: {"name": o.sync, "job_id": o.run_id},
    "SyncService/AcceptDeletes": lambda o: {"name": o.sync, "job_id": o.run_id, "reason": "gone"},
    **{
        f"SyncService/{method}": lambda o: {"name": o.sync}
        for method in (
            *("GetSync", "RunSync", "PauseSync", "ResumeSync", "OwnSync", "PlanSync", "VerifySync", "ResetSyncState"),
            *("ListSyncRuns", "ListSyncFires"),
        )
    },
    "SyncService/BackfillSync": lambda o: {"name": o.sync, "column": "n", "from": "1"},
    "AccessService/WhoAmI": None,
    "AccessService/CheckAccess": None,
    "AccessService/CreateSignInCode": None,
    "AccessService/CreateToken": None,
    "AccessService/ListTokens": None,
    "AccessService/RevokeToken": None,
    "AccessService/CreateGrant": None,
    "AccessService/ListGrants": None,
    "AccessService/RevokeGrant": None,
    **{
        f"NotificationService/{method}": None
        for method in (
            "CreateNotification",
            "GetNotification",
            "ListNotifications",
            "UpdateNotification",
            "DeleteNotification",
            "TestNotification",
            "ListDeliveries",
        )
    },
    "AuditService/ListAuditEntries": None,
    "AuditService/ExportAuditLog": None,
    "AuditService/VerifyAuditLog": None,
}
"""How a request of each method names what it is about; None: it names no source and no job.

What names none and would change something is sent empty, which is wrong for every other reason but access.
"""
CLOSED: dict[str, dict[str, Any]] = {
    "AccessService/RevokeToken": {"token_id": "none"},
    "AccessService/RevokeGrant": {"grant_id": "none"},
    "DestinationService/UpdateDestination": {"destination": {"name": "default"}},
    **{f"DestinationService/{verb}Destination": {"name": "default"} for verb in ("Get", "Delete", "Test")},
    "NotificationService/UpdateNotification": {"notification": {"name": "none", "disabled": True}},
    **{
        f"NotificationService/{method}": {"name": "none"}
        for method in ("GetNotification", "DeleteNotification", "TestNotification", "ListDeliveries")
    },
}
"""Where REST has no path for an empty one. The destination `default` is there, and nobody can change it."""
_GRANT = (
    "INSERT INTO access_grant (grant_id, principal, role, scope, ceiling, create_time) "
    "VALUES (:id, :name, :role, :scope, :ceiling, now())"
)
MASKED = "unseen_column"
BY_DATA_TYPE = {"ConfigService/AddSource"}
"""A new source is allowed on its data type, whether there are others of it or not."""


def short(method: str) -> str:
    return method.removeprefix("blade.v1.")


def request_of(method: str, about: Object) -> dict[str, Any]:
    make = ABOUT[short(method)]
    return dict(CLOSED.get(short(method), {})) if make is None else dict(make(about))


class World:
    """The server, its database, and callers."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, pool_size=4)
        access = AccessStore(self.database)
        self.rights = Rights(
            RightsStore(self.database), SourceStore(self.database), Door(AccessPolicy(), access), ORDER
        )
        self.right, self.wrong = self._object("parts", "part"), self._object("salaries", "salary")
        self.server = Served(
            "--json",
            DATABASE_URL=url,
            BLADE_CATALOG_URL="http://127.0.0.1:9",
            BLADE_MAX_RUNNING_JOBS="0",
            BLADE_RETRY_ATTEMPTS="0",
        )
        said = self.server.said()
        self._pipes = [pipe for pipe in (self.server.process.stdout, self.server.process.stderr) if pipe is not None]
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{said['port']}")
        self.http = f"http://127.0.0.1:{said['http_port']}"
        self.session = requests.Session()
        asked = METHODS.keys() - PUBLIC
        self.served = {method for method in asked if self.code(method, GARBAGE, None) != "UNIMPLEMENTED"}

    def close(self) -> None:
        self.channel.close()
        self.session.close()
        self.database.close()
        self.server.process.terminate()
        self.server.process.wait(TIMEOUT_S)
        self._reader.join()
        for pipe in self._pipes:
            pipe.close()
        assert "Traceback" not in self.log

    def _read_log(self) -> None:
        """A line a call: the pipe would soon be full."""
        self.log = self._pipes[1].read()

    def _object(self, name: str, data_type: str) -> Object:
        config = replace(a_source().config, table=name, host="no.host")  # nobody is asked
        mapping = replace(a_source().mapping, masked_columns=(MASKED,))
        source = replace(a_source(), name=name, data_type=data_type, config=config, mapping=mapping)
        SourceStore(self.database).add(source, by=called())
        spec = SyncSpec(source=name, sql=f"SELECT *, 'classified words' AS word FROM {name}")
        owner = SyncOwner(name="anybody", kind="off")
        sync = Sync(name=f"{name}-sync", spec=spec, data_type=data_type, owner=owner)
        stored = SyncStore(self.database, first_due).add(sync, by=called())
        task = SyncTask(sync=sync.name, kind=JobKind.SYNC, run_number=0, spec=spec, key_hash="", etag=stored.etag)
        job_id, run_id = self.job(source), self.job(source, task)
        return Object(source=name, data_type=data_type, job_id=job_id, sync=sync.name, run_id=run_id)

    def job(self, source: Source, task: SyncTask | None = None) -> str:
        """Of a new job that nobody runs."""
        new = NewJob(
            job_id=new_job_id(),
            spec=a_spec(
                sql="SELECT 'classified words'",
                source=source.name,
                data_type=source.data_type,
                masked_columns=(MASKED,),
            ),
            source=source,
            statement="SELECT 'classified words'",
            request_hash="",
            level=1,
            task=task,
        )
        return NewJobs(self.database, max_open=1000).add(new, by=called()).job_id

    def token(self, *grants: tuple[Role, str], ceiling: str = "") -> str:
        """Of somebody new with these grants; a ceiling is that of those that can have one."""
        self._names = getattr(self, "_names", itertools.count())
        name = f"caller-{next(self._names)}"
        with self.database.begin() as connection:
            for role, scope in grants:  # also those that CreateGrant refuses
                upto = ceiling if role in (Role.READER, Role.OPERATOR) else ""
                values = {"id": new_id(), "name": name, "role": role.name, "scope": scope, "ceiling": upto}
                connection.execute(sqlalchemy.text(_GRANT), values)
        return self.rights.create_token(name, by=called(), lifetime_s=0)[0]

    def bad_identities(self) -> dict[str, str | None]:
        """What is sent as authorization by those who are nobody."""
        everything = ((Role.ADMIN, "*"), (Role.AUDITOR, "*"))
        expired, revoked = (self.token(*everything) for _ in range(2))
        with self.database.begin() as connection:
            for column, token in (("expire_time", expired), ("revoke_time", revoked)):
                change = sqlalchemy.text(f"UPDATE access_token SET {column} = now() WHERE token_id = :id")
                connection.execute(change, {"id": token.split("_")[1]})
        id_, secret = self.token(*everything).removeprefix("blade_").split("_", 1)
        return {
            "none": None,
            "empty": "",
            "malformed": "Bearer let-me-in",
            "another scheme": f"Basic {ADMIN_TOKEN}",
            "expired": f"Bearer {expired}",
            "revoked": f"Bearer {revoked}",
            "foreign": f"Bearer {new_token()[1]}",
            "another's secret": f"Bearer blade_{id_}_{new_token()[1].split('_', 2)[2]}",
            "cut": f"Bearer blade_{id_}_{secret[:-1]}",
        }

    def state(self) -> list[Any]:
        """All that a call may change."""
        queries = (
            "SELECT t::text FROM source t ORDER BY 1",
            "SELECT t::text FROM destination t ORDER BY 1",
            "SELECT job_id, status, revision, spec::text FROM job ORDER BY 1",  # the rest changes by itself
            "SELECT t::text FROM job_event t ORDER BY 1",
            "SELECT t::text FROM sync t ORDER BY 1",
            "SELECT t::text FROM access_grant t ORDER BY 1",
            "SELECT token_id, revoke_time FROM access_token ORDER BY 1",
        )
        with self.database.begin() as connection:
            return [connection.execute(sqlalchemy.text(query)).all() for query in queries]

    # ------------------------------------------------------------------------------------------------ gRPC

    def answer(self, method: str, request: bytes, authorization: str | None) -> tuple[str, str, bytes, bytes]:
        """Status, message, details, and the first answer."""
        metadata = [] if authorization is None else [("authorization", authorization)]
        streaming = METHODS[method].server_streaming
        make = self.channel.unary_stream if streaming else self.channel.unary_unary
        call: Any = make(f"/{method}", lambda raw: raw, lambda raw: raw)
        try:
            got = call(request, metadata=metadata, timeout=TIMEOUT_S)
            return "OK", "", b"", _first(got) if streaming else got
        except grpc.RpcError as exc:
            details = dict(exc.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            return exc.code().name, exc.details() or "", details, b""

    def code(self, method: str, request: bytes, authorization: str | None) -> str:
        return self.answer(method, request, authorization)[0]

    # ------------------------------------------------------------------------------------------------ REST

    def rest(self, method: str, request: dict[str, Any], authorization: str | None) -> str:
        """The status of the call over HTTP; OK for whatever is answered with 200 or 201."""
        verb, path, query, body = rest_form(RULES[method], request)
        return self._rest(verb, path, authorization, params=query, json=body)

    def rest_garbage(self, method: str, authorization: str | None) -> set[str]:
        """The statuses of calls over HTTP that cannot be read: for their body, and for what they want to be sent."""
        verb, path, _, _ = rest_form(RULES[method], request_of(method, self.right))
        return {
            self._rest(verb, path, authorization, data=GARBAGE),
            self._rest(verb, path, authorization, data=GARBAGE, headers={"content-type": "application/json"}),
            self._rest(verb, path, authorization, headers={"accept": "image/png"}),
        }

    def _rest(self, verb: str, path: str, authorization: str | None, **options: Any) -> str:
        headers = options.pop("headers", {}) | ({} if authorization is None else {"authorization": authorization})
        sent = self.session.request(verb, self.http + path, headers=headers, timeout=TIMEOUT_S, stream=True, **options)
        try:
            return "OK" if sent.ok else str(sent.json()["error"]["status"])
        finally:
            sent.close()


def _first(stream: Any) -> bytes:
    """The first answer of a stream, which may go on for ever."""
    try:
        return bytes(next(stream, b""))
    finally:
        stream.cancel()


def rest_form(rule: Rule, request: dict[str, Any]) -> tuple[str, str, dict[str, Any], Any]:
    """Verb, path, query and body of a request."""
    message = json_format.ParseDict(request, rule.request_class())
    left: dict[str, Any] = json_format.MessageToDict(message)
    path = rule.template.text
    for field in rule.template.fields:
        *outer, last = (_json_name(part) for part in field.split("."))
        holder = left
        for name in outer:
            holder = holder[name]
        path = path.replace("{" + field + "}", quote(str(holder.pop(last, "x")), safe=""))
    if rule.body == "*":
        return rule.verb, path, {}, left
    body = left.pop(_json_name(rule.body), {}) if rule.body else None
    return rule.verb, path, left, body


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


@pytest.fixture(scope="module")
def world(_postgres: str, _migrated_template: str) -> Iterator[World]:
    with own_database(_postgres, _migrated_template) as url:
        world = World(url)
        yield world
        world.close()


CALLERS: dict[str, tuple[tuple[Role, str], ...]] = {
    "nothing": (),
    "AUDITOR": ((Role.AUDITOR, "*"),),
    "ADMIN": ((Role.ADMIN, "*"),),
    **{
        f"{role.name} on {scope}": ((role, scope),)
        for role in (Role.VIEWER, Role.READER, Role.OPERATOR, Role.EDITOR)
        for scope in ("*", "source:parts")
    },
    "READER on data_type:part": ((Role.READER, "data_type:part"),),
    "EDITOR on data_type:part": ((Role.EDITOR, "data_type:part"),),
    "OPERATOR on source:salaries": ((Role.OPERATOR, "source:salaries"),),
    "ADMIN on source:parts": ((Role.ADMIN, "source:parts"),),
    "AUDITOR on source:parts": ((Role.AUDITOR, "source:parts"),),
    "VIEWER on all, EDITOR on the other": ((Role.VIEWER, "*"), (Role.EDITOR, "source:salaries")),
    "READER on one, OPERATOR on the other": ((Role.READER, "source:parts"), (Role.OPERATOR, "data_type:salary")),
}


WHOLE = {"SyncService/GetSyncItem"}
"""What would tell of rows above the caller's ceiling."""


def expected(method: str, grants: tuple[tuple[Role, str], ...], about: Object, *, below: bool = False) -> str:
    """What the option of a method means for a caller: OK for whoever is let through, whatever becomes of it then.

    `below`: his grants have a ceiling.
    """
    needs = NEEDS[method]
    scopes = ("*", f"source:{about.source}", f"data_type:{about.data_type}")

    def on(needed: Role) -> bool:
        return any(_holds(role, needed) and scope in scopes for role, scope in grants)

    if needs.role is None:
        return "OK"
    if not any(_holds(role, needs.role) and (needs.anywhere or scope == "*") for role, scope in grants):
        return "PERMISSION_DENIED"
    if ABOUT[short(method)] is None:
        return "OK"
    if short(method) in BY_DATA_TYPE:
        allowed = any(_holds(role, needs.role) and scope in (scopes[0], scopes[2]) for role, scope in grants)
        return "OK" if allowed else "PERMISSION_DENIED"
    if about is UNKNOWN or not on(Role.VIEWER):
        return "NOT_FOUND"
    return "OK" if on(needs.role) and not (below and short(method) in WHOLE) else "PERMISSION_DENIED"


def _holds(role: Role, needed: Role) -> bool:
    """As access.proto says it, and not as the code does."""
    if Role.AUDITOR in (role, needed):
        return role is needed
    return list(Role).index(role) >= list(Role).index(needed)


def let_through(status: str, reason: str = "") -> str:
    """OK for every end of a call that was let through."""
    found_nothing = ("ACCESS_NOT_FOUND", "ITEM_NOT_FOUND", "NOTIFICATION_NOT_FOUND")
    return status if status in (*REFUSED, "NOT_FOUND") and reason not in found_nothing else "OK"


def reason_of(details: bytes) -> str:
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for any_ in status_pb2.Status.FromString(details).details if any_.Unpack(info)), "")


def serialised(method: str, request: dict[str, Any]) -> bytes:
    message: Message = json_format.ParseDict(request, message_factory.GetMessageClass(METHODS[method].input_type)())
    return message.SerializeToString()


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    assert {short(method) for method in METHODS.keys() - PUBLIC} == set(ABOUT)


def test_what_names_an_object_says_so_in_its_option() -> None:
    """A request with the name of a source or a job in it is about one, so a grant on one must be enough for it."""
    names = {"job_id", "source", "name", "data_type", "sync"}

    def is_named(method: MethodDescriptor) -> bool:
        fields: list[FieldDescriptor] = list(method.input_type.fields)
        return any(field.name in names for field in fields) or method.name == "GetJob"

    of_the_server = ("DestinationService/", "NotificationService/")
    others = {"AccessService/CheckAccess", "ConfigService/ListSourceCosts"} | {
        name for name in ABOUT if name.startswith(of_the_server)
    }
    named = {name for name, method in METHODS.items() if is_named(method) and short(name) not in others}
    assert named == {name for name, needs in NEEDS.items() if needs.anywhere and short(name) not in others}


def test_a_destination_is_seen_with_a_role_on_any_source_and_changed_with_one_on_all() -> None:
    anywhere = {
        name.partition("/")[2] for name, needs in NEEDS.items() if "DestinationService/" in name and needs.anywhere
    }
    assert anywhere == {"GetDestination", "ListDestinations", "TestDestination"}


def test_a_notification_is_seen_with_a_role_on_any_source_and_changed_with_one_on_all() -> None:
    methods = {name.partition("/")[2]: needs for name, needs in NEEDS.items() if "NotificationService/" in name}
    seen = {"GetNotification", "ListNotifications"}
    assert {name for name, needs in methods.items() if needs.anywhere} == seen
    reading = {name for name, needs in methods.items() if needs.role is Role.VIEWER}
    assert reading == {*seen, "ListDeliveries"}
    assert all(needs.role is Role.EDITOR for name, needs in methods.items() if name not in reading)


def test_all_is_served_and_two_methods_alone_are_for_everybody(world: World) -> None:
    for_everybody = {"AccessService/ProveServer", "AccessService/GetSignIn"}
    assert {short(method) for method in METHODS.keys() - world.served} == for_everybody
    assert {short(method) for method in PUBLIC} == for_everybody


@pytest.mark.slow
def test_nobody_gets_in_whatever_he_sends(world: World) -> None:
    identities = world.bad_identities()
    before = world.state()
    for what, authorization in identities.items():
        for method in sorted(world.served):
            request = request_of(method, world.right)
            got = {
                world.code(method, GARBAGE, authorization),
                world.code(method, serialised(method, request), authorization),
            }
            if method in RULES:
                got.add(world.rest(method, request, authorization))
                got |= world.rest_garbage(method, authorization)
            assert got == {"UNAUTHENTICATED"}, (what, method)
    assert world.state() == before


@pytest.mark.parametrize("caller", [*CALLERS, "READER on source:parts below", "OPERATOR on * below"])
def test_a_caller_may_what_the_option_says(world: World, caller: str) -> None:
    """A ceiling takes rows away, and no call but those of WHOLE."""
    grants = CALLERS[caller.removesuffix(" below")]
    authorization = f"Bearer {world.token(*grants, ceiling='UNCLASS' if caller.endswith(' below') else '')}"
    calls = [
        (expected(method, grants, about, below=caller.endswith(" below")), method, about)
        for method in sorted(world.served)
        for about in (world.right, world.wrong, UNKNOWN)
    ]
    calls.sort(key=lambda call: call[0] == "OK")  # first all that is refused
    before = world.state()
    for wanted, group in itertools.groupby(calls, key=lambda call: call[0]):
        for _, method, about in group:
            request = request_of(method, about)
            status, _, details, _ = world.answer(method, serialised(method, request), authorization)
            assert let_through(status, reason_of(details)) == wanted, (caller, method, about)
            if method in RULES and about is not UNKNOWN:
                over_http = let_through(world.rest(method, request, authorization), reason_of(details))
                assert over_http == wanted, (caller, method, about, "REST")
        if wanted != "OK":
            assert world.state() == before, f"a refusal changed something: {caller}"


@pytest.mark.slow
def test_the_method_is_refused_before_its_request_is_read(world: World) -> None:
    for caller, grants in CALLERS.items():
        authorization = f"Bearer {world.token(*grants)}"
        for method in sorted(world.served):
            needs = NEEDS[method]
            holds = needs.role is None or any(
                _holds(role, needs.role) and (needs.anywhere or scope == "*") for role, scope in grants
            )
            wanted = "INVALID_ARGUMENT" if holds else "PERMISSION_DENIED"
            assert world.code(method, GARBAGE, authorization) == wanted, (caller, method)
            if method in RULES:
                assert world.rest_garbage(method, authorization) == {wanted}, (caller, method)


def test_what_one_may_not_see_is_as_unknown_as_what_is_not(world: World) -> None:
    """Everything that is answered is the same, but for the name that was asked for."""
    authorization = f"Bearer {world.token((Role.EDITOR, 'source:parts'))}"
    unknown = Object(source="zalaries", data_type="zalary", job_id=_NO_JOB, sync="zalaries-sync", run_id=_NO_JOB)

    def words(method: str, about: Object) -> tuple[str, str, bytes, bytes]:
        status, message, details, got = world.answer(
            method, serialised(method, request_of(method, about)), authorization
        )
        for value in (about.run_id, about.job_id, about.sync, about.source, about.data_type):
            message = message.replace(value, "NAME")
            details = details.replace(value.encode(), b"NAME")
        return status, message, details, got

    for method in sorted(world.served):
        if ABOUT[short(method)] is not None and short(method) not in BY_DATA_TYPE:
            unseen = words(method, world.wrong)
            assert unseen == words(method, unknown), method
            assert unseen[0] == "NOT_FOUND", method


def test_lists_show_what_the_caller_may_see_and_nothing_of_the_rest(world: World) -> None:
    authorization = f"Bearer {world.token((Role.VIEWER, 'data_type:part'))}"
    for source in ("parts", "salaries"):
        SourceStore(world.database).costs.add(source, Cost(statements=1))
    lists = {
        "ListSources": "ConfigService",
        "ListSourceCosts": "ConfigService",
        "ListJobs": "JobService",
        "ListSyncs": "SyncService",
        "WhoAmI": "AccessService",
    }
    for name, service in lists.items():
        _, _, _, got = world.answer(f"blade.v1.{service}/{name}", b"", authorization)
        assert b"salar" not in got, name
        assert b"part" in got, name


def test_sql_and_words_of_the_warehouse_are_for_readers(world: World) -> None:
    viewer, reader, editor = (
        f"Bearer {world.token((role, 'source:parts'))}" for role in (Role.VIEWER, Role.READER, Role.EDITOR)
    )
    request = {"JobService/GetJob": {"id": world.right.job_id}, "JobService/WatchJob": {"job_id": world.right.job_id}}
    of_syncs = {"SyncService/GetSync": {"name": world.right.sync}, "SyncService/ListSyncs": {"source": "parts"}}
    for name, fields in {**request, **of_syncs, "JobService/ListJobs": {"source": "parts"}}.items():
        method = f"blade.v1.{name}"
        sent = serialised(method, fields)
        reads = name not in of_syncs  # a sync reads the masked column, too
        for authorization, whole in ((viewer, False), (reader, reads), (editor, True), (viewer, False)):
            got = world.answer(method, sent, authorization)[3]
            assert (b"classified words" in got) is whole, name


@pytest.mark.parametrize("role", [Role.VIEWER, Role.READER, Role.OPERATOR, Role.EDITOR])
def test_a_masked_column_is_named_to_editors_alone(world: World, role: Role) -> None:
    authorization = f"Bearer {world.token((role, '*'))}"
    named = set()
    for method in sorted(world.served):
        for about in (world.right, UNKNOWN):
            got = world.answer(method, serialised(method, request_of(method, about)), authorization)
            if MASKED in repr(got):
                named.add(short(method))
    assert named == ({"ConfigService/GetSource", "ConfigService/ListSources"} if role is Role.EDITOR else set())


def test_failed_rows_are_for_those_for_whom_all_is_there_that_the_job_read(world: World) -> None:
    """The job of this world was started without a ceiling."""
    job_id = world.job(SourceStore(world.database).get("parts", Scope(all=True)))
    whole, below = (world.token((Role.OPERATOR, "source:parts"), ceiling=ceiling) for ceiling in ("", "SECRET"))
    for method, fields in (
        ("JobService/GetJob", {"id": job_id}),
        ("JobService/WatchJob", {"job_id": job_id}),
        ("JobService/ListJobs", {"source": "parts"}),
        ("JobService/UpdateJobLimits", {"job_id": job_id, "limits": {"items_per_second": 5}}),
        ("JobService/CancelJob", {"job_id": job_id}),
    ):
        sent = serialised(f"blade.v1.{method}", fields)
        for token, shown in ((below, False), (whole, True), (below, False)):
            got = world.answer(f"blade.v1.{method}", sent, f"Bearer {token}")
            assert got[0] == "OK", method
            assert (b"classified words" in got[3]) is shown, method
