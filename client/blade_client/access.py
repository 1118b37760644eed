"""Who may do what: tokens, grants, and who the caller is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from blade.v1 import access_service_pb2 as pb
from blade.v1.access_pb2 import Grant, Role
from blade_client.calls import Calls, names, pages

EVERYTHING = "*"


class AccessCalls:
    """AccessService; it is `BladeClient.access`. A change holds on every server within 5 seconds."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def who_am_i(self) -> pb.WhoAmIResponse:
        """Who the caller is, how he signed in, and the grants that hold for him. Raises NotSignedIn."""
        return self._calls.unary(lambda s: s.access.WhoAmI, pb.WhoAmIRequest(), repeatable=True)

    def sign_in_options(self) -> pb.GetSignInResponse:
        """How one signs in to the server: its identity provider, if people sign in at one. Needs no token."""
        return self._calls.unary(lambda s: s.access.GetSignIn, pb.GetSignInRequest(), repeatable=True)

    def create_sign_in_code(self) -> pb.CreateSignInCodeResponse:
        """A code by which a browser gets a session of the caller, once, within 60 s; empty where nobody signs in.

        Raises:
            QuotaExceeded: Too many in too short a time.
        """
        return self._calls.unary(lambda s: s.access.CreateSignInCode, pb.CreateSignInCodeRequest(), repeatable=False)

    def check(
        self, method: str, *, source: str = "", principal: str = "", groups: Iterable[str] = ()
    ) -> pb.CheckAccessResponse:
        """Whether a call would be let through; a refusal is no error.

        Args:
            method: Full name of the method, for example `blade.v1.JobService/StartQueryJob`.
            source: Name of the source it would be about. Default: the server as a whole, or any source.
            principal: Whose call. Default: the caller's. Another's needs the role ADMIN.
            groups: The groups that principal would have.
        """
        request = pb.CheckAccessRequest(method=method, source=source, principal=principal, groups=names(groups))
        return self._calls.unary(lambda s: s.access.CheckAccess, request, repeatable=True)

    def create_token(
        self,
        principal: str,
        *,
        description: str = "",
        lifetime: timedelta | None = None,
        grants: Iterable[Grant] = (),
    ) -> pb.CreateTokenResponse:
        """Makes a token; `secret` of the answer is the token itself, which nobody can show again.

        The call is not repeated by itself after a broken connection: revoke what it may have made.

        Args:
            principal: Whom it signs in.
            description: What it is for.
            lifetime: At least a minute; `timedelta(0)`: for ever. Default: 90 days.
            grants: What the principal may do besides what he may already; only `role`, `scope` and `ceiling` count.

        Raises:
            Precondition: The principal has two good tokens already.
            Invalid, NotAllowed.
        """
        lives = None
        if lifetime is not None:
            lives = Duration()
            lives.FromTimedelta(lifetime)
        request = pb.CreateTokenRequest(
            principal=principal, description=description, lifetime=lives, grants=list(grants)
        )
        return self._calls.unary(lambda s: s.access.CreateToken, request, repeatable=False)

    def list_tokens(self, *, principal: str = "", page_size: int | None = None) -> Iterator[pb.Token]:
        """What is kept of the tokens, in the order of their ids, page by page as read."""

        def fetch(page_token: str) -> tuple[Iterable[pb.Token], str]:
            request = pb.ListTokensRequest(page_size=page_size, page_token=page_token, principal=principal)
            page = self._calls.unary(lambda s: s.access.ListTokens, request, repeatable=True)
            return page.tokens, page.next_page_token

        return pages(fetch)

    def revoke_token(self, token_id: str, reason: str = "") -> pb.Token:
        """Makes a token useless for ever. Idempotent.

        Raises:
            NotFound: There is no such token.
            Precondition: Nobody could give access any more.
        """
        request = pb.RevokeTokenRequest(token_id=token_id, reason=reason)
        return self._calls.unary(lambda s: s.access.RevokeToken, request, repeatable=True).token

    def create_grant(
        self,
        role: Role | str,
        *,
        principal: str = "",
        group: str = "",
        scope: str = EVERYTHING,
        ceiling: str = "",
        reason: str = "",
    ) -> Grant:
        """Lets a principal or a group do what a role may; a grant that is there already is answered as it is.

        Args:
            role: `Role.READER` or its name.
            principal: Name of the principal; or
            group: of the group.
            scope: `*`, `data_type:NAME` or `source:NAME`.
            ceiling: The highest classification of rows, for READER and OPERATOR. Default: none. Of several grants the
                highest counts: one with a ceiling takes nothing away from one without.
            reason: Why, for the audit log.

        Raises:
            ValueError: There is no such role.
            NotFound: No such source or data type.
            Invalid: The server does not know that classification, or the role has no ceiling.
        """
        named = role.upper() if isinstance(role, str) else role
        grant = Grant(principal=principal, group=group, role=named, scope=scope, ceiling=ceiling)
        request = pb.CreateGrantRequest(grant=grant, reason=reason)
        return self._calls.unary(lambda s: s.access.CreateGrant, request, repeatable=True).grant

    def list_grants(self, *, principal: str = "", group: str = "", page_size: int | None = None) -> Iterator[Grant]:
        """The grants in the order of their ids, page by page as read."""

        def fetch(page_token: str) -> tuple[Iterable[Grant], str]:
            request = pb.ListGrantsRequest(page_size=page_size, page_token=page_token, principal=principal, group=group)
            page = self._calls.unary(lambda s: s.access.ListGrants, request, repeatable=True)
            return page.grants, page.next_page_token

        return pages(fetch)

    def revoke_grant(self, grant_id: str, reason: str = "") -> None:
        """Takes a grant away. The call is not repeated by itself after a broken connection.

        Raises:
            NotFound: There is none of that id.
            Precondition: Nobody could give access any more.
        """
        request = pb.RevokeGrantRequest(grant_id=grant_id, reason=reason)
        self._calls.unary(lambda s: s.access.RevokeGrant, request, repeatable=False)
