"""Who may do what: tokens and grants, made, listed, taken away, and looked up."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from blade_server.core import paging
from blade_server.core.access.door import Door
from blade_server.core.access.method import Needs, check_method
from blade_server.core.access.tokens import hash_of, new_id, new_token
from blade_server.core.checks import check_length, check_reason, raise_for
from blade_server.core.paging import make_token, read_token
from blade_server.errors import AccessDenied, BladeError, Invalid, check_may
from blade_server.model.access import EVERYTHING, Caller, Grant, Principal, Role, Token
from blade_server.storage.rights import RightsStore
from blade_server.storage.sources import SourceStore

DEFAULT_PAGE_SIZE = 100
DEFAULT_LIFETIME_S = 90 * 86400.0
MIN_LIFETIME_S = 60.0
MAX_LIFETIME_S = 100 * 365 * 86400.0
MAX_DESCRIPTION_CHARACTERS = 200
MAX_NAME_CHARACTERS = 200
MAX_GRANTS = 100
_PRINCIPAL = re.compile(r"[A-Za-z0-9._@:/-]{1,100}", re.ASCII)
_SCOPE = re.compile(r"\*|source:[a-z][a-z0-9-]{0,62}|data_type:[a-z][a-z0-9_-]{0,62}", re.ASCII)
_WHOLE = frozenset((Role.ADMIN, Role.AUDITOR))
"""Roles for the server as a whole: their methods are about no source."""
_WITH_CEILING = frozenset((Role.READER, Role.OPERATOR))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Whether a call would be let through. `refusal`: why not; `grants`: those that allow it."""

    refusal: str = ""
    grants: Sequence[Grant] = ()


class Rights:
    """Thread-safe; each call is one or two short transactions. Raises what the storage raises.

    A change holds on this server at once, and on the others once they ask again.
    """

    def __init__(self, store: RightsStore, sources: SourceStore, door: Door, classifications: Sequence[str]) -> None:
        """`classifications`: the known ones, which ceilings may be."""
        self._store = store
        self._sources = sources
        self._door = door
        self._classifications = classifications

    def create_token(
        self,
        principal: str,
        *,
        by: Caller,
        description: str = "",
        lifetime_s: float | None = None,
        grants: Sequence[Grant] = (),
    ) -> tuple[str, Token]:
        """The token itself, which nobody can show again, and what is kept of it.

        `lifetime_s` None: 90 days, 0: for ever. Of `grants` role, scope and ceiling count. Raises Invalid; NotFound for
        a scope; Precondition if the principal has two good ones.
        """
        lasts_s = DEFAULT_LIFETIME_S if lifetime_s is None else lifetime_s
        wrong = [
            *_check_principal("principal", principal),
            *check_length("description", description, MAX_DESCRIPTION_CHARACTERS),
            *_check_lifetime(lasts_s),
        ]
        if len(grants) > MAX_GRANTS:
            wrong.append(("grants", f"has {len(grants)} entries; at most {MAX_GRANTS} are allowed"))
        for place, grant in enumerate(grants):
            wrong.extend(self._check_grant(f"grants[{place}].", grant))
        raise_for(wrong)
        token_id, secret = new_token()
        expire_time = datetime.now(UTC) + timedelta(seconds=lasts_s) if lasts_s else None
        token = Token(token_id=token_id, principal=principal, description=description, expire_time=expire_time)
        his = [replace(grant, grant_id=new_id(), principal=principal, group="") for grant in grants]
        stored = self._store.add_token(token, hash_of(secret), his, by=by)
        self._door.forget()
        return secret, stored

    def tokens(
        self, *, by: Caller, page_size: int | None = None, page_token: str = "", principal: str = ""
    ) -> tuple[builtins.list[Token], str]:
        """A page of tokens in the order of their ids, and the token of the next page. Raises Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"tokens\0{principal}{by.bound}"
        found = self._store.tokens(after=read_token(page_token, scope=scope), limit=size + 1, principal=principal)
        return found[:size], make_token(found[size - 1].token_id, scope=scope) if len(found) > size else ""

    def revoke_token(self, token_id: str, *, by: Caller, reason: str = "") -> Token:
        """Idempotent. Raises Invalid, NotFound; Precondition if nobody could give access any more."""
        raise_for([*_check_given("token_id", token_id), *check_reason(reason)])
        token = self._store.revoke_token(token_id, by=by, reason=reason, needs_admin=self._door.admins_are_in_the_table)
        self._door.forget()
        return token

    def create_grant(self, grant: Grant, *, by: Caller, reason: str = "") -> Grant:
        """The grant as stored; the same again is the stored one. Raises Invalid; NotFound for its scope."""
        if bool(grant.principal) == bool(grant.group):
            raise Invalid.field("grant", "names a principal or a group, one of the two")
        named = _check_name("principal" if grant.principal else "group", grant.principal or grant.group)
        raise_for([*named, *self._check_grant("grant.", grant), *check_reason(reason)])
        stored = self._store.add_grant(replace(grant, grant_id=new_id()), by=by, reason=reason)
        self._door.forget()
        return stored

    def grants(
        self, *, by: Caller, page_size: int | None = None, page_token: str = "", principal: str = "", group: str = ""
    ) -> tuple[builtins.list[Grant], str]:
        """A page of grants in the order of their ids, and the token of the next page. Raises Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"grants\0{principal}\0{group}{by.bound}"
        after = read_token(page_token, scope=scope)
        found = self._store.grants(after=after, limit=size + 1, principal=principal, group=group)
        return found[:size], make_token(found[size - 1].grant_id, scope=scope) if len(found) > size else ""

    def revoke_grant(self, grant_id: str, *, by: Caller, reason: str = "") -> None:
        """Raises Invalid, NotFound; Precondition if nobody could give access any more."""
        raise_for([*_check_given("grant_id", grant_id), *check_reason(reason)])
        self._store.revoke_grant(grant_id, by=by, reason=reason, needs_admin=self._door.admins_are_in_the_table)
        self._door.forget()

    def check(
        self, needs: Needs, *, by: Caller, source: str = "", principal: str = "", groups: Collection[str] = ()
    ) -> Checked:
        """Whether a method that needs this would be let through. Raises AccessDenied for somebody else's rights."""
        who = by.principal
        if groups or principal not in ("", who.name):
            if not who.everywhere(Role.ADMIN):
                raise AccessDenied.of(by, Role.ADMIN, "the server as a whole")
            who = self._door.principal(principal or who.name, groups)
        try:
            check_method(who, needs)
            if needs.role is None:
                return Checked()
            return Checked(grants=self._allowing(who, needs, needs.role, source))
        except BladeError as exc:
            if exc.transient:
                raise
            return Checked(refusal=exc.message)

    def _check_grant(self, prefix: str, grant: Grant) -> Iterator[tuple[str, str]]:
        yield from _check_scope(prefix, grant)
        field, ceiling = f"{prefix}ceiling", grant.ceiling
        if ceiling and ceiling not in self._classifications:
            known = ", ".join(self._classifications)
            yield field, f"{ceiling[:80]!r} is not one of this server's BLADE_CLASSIFICATIONS: {known}"
        elif ceiling and grant.role not in _WITH_CEILING:
            why = "a VIEWER gets no rows, and who edits a source says himself how they are classified"
            yield field, f"is for READER and OPERATOR, not for {grant.role.name}: {why}"

    def _allowing(self, who: Principal, needs: Needs, role: Role, source: str) -> Sequence[Grant]:
        holding = [grant for grant in who.grants if grant.role.holds(role)]
        if not needs.anywhere:
            return [grant for grant in holding if grant.scope == EVERYTHING]
        if not source:
            return holding
        caller = Caller(principal=who, needs=role)
        found = self._sources.get(source, caller.sees)
        check_may(caller, found.name, found.data_type, f"source {found.name!r}")
        return [grant for grant in holding if grant.covers(found.name, found.data_type)]


def _check_given(field: str, value: str) -> Iterator[tuple[str, str]]:
    if not value:
        yield field, "is required"


def _check_principal(field: str, name: str) -> Iterator[tuple[str, str]]:
    if not _PRINCIPAL.fullmatch(name):
        yield field, f"{name[:100]!r} is not 1 to 100 characters of A-Z a-z 0-9 . _ @ : / -"


def _check_name(field: str, name: str) -> Iterator[tuple[str, str]]:
    """Of somebody who signs in elsewhere, where names may look otherwise than here."""
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        yield f"grant.{field}", f"{name[:100]!r} is not 1 to {MAX_NAME_CHARACTERS} printable characters"


def _check_lifetime(lifetime_s: float) -> Iterator[tuple[str, str]]:
    if lifetime_s and not MIN_LIFETIME_S <= lifetime_s <= MAX_LIFETIME_S:
        yield "lifetime", f"{lifetime_s:g} s is not between a minute and 100 years; 0 is for ever"


def _check_scope(prefix: str, grant: Grant) -> Iterator[tuple[str, str]]:
    if not _SCOPE.fullmatch(grant.scope):
        yield f"{prefix}scope", f"{grant.scope[:100]!r} is none of '*', 'data_type:NAME' and 'source:NAME'"
    elif grant.role in _WHOLE and grant.scope != EVERYTHING:
        yield f"{prefix}scope", f"{grant.role.name} is for the server as a whole: '*', not {grant.scope!r}"
