"""blade.v1.AccessService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from collections.abc import Mapping

from blade.v1 import access_service_pb2 as pb
from blade.v1.access_service_pb2_grpc import AccessServiceServicer
from blade_server.core.access.codes import Codes
from blade_server.core.access.door import Door
from blade_server.core.access.method import Needs
from blade_server.core.access.rights import Rights
from blade_server.errors import Invalid, meant
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.access import grant_from, grant_message, provider_message, set_time, token_message
from blade_server.rpc.convert.fields import optional, seconds
from blade_server.rpc.threads import Threads

_MIN_NONCE_CHARS, _MAX_NONCE_CHARS = 32, 200


class AccessService(AccessServiceServicer):
    """Converts, calls `core.access`, converts back."""

    def __init__(self, rights: Rights, door: Door, codes: Codes, needs: Mapping[str, Needs], threads: Threads) -> None:
        """`needs`: of every method of `blade.v1`."""
        self._rights = rights
        self._door = door
        self._codes = codes
        self._needs = needs
        self._threads = threads

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        principal = current().principal
        answer = pb.WhoAmIResponse(
            principal=principal.name,
            kind=principal.kind,
            groups=sorted(principal.groups),
            grants=[grant_message(grant) for grant in principal.grants],
        )
        set_time(answer.expire_time, principal.expire_time)
        return answer

    async def CheckAccess(self, request: pb.CheckAccessRequest, context: Context) -> pb.CheckAccessResponse:
        needs = self._needs.get(request.method)
        if needs is None:
            raise Invalid.field("method", f"{request.method!r} is no method{meant(request.method, self._needs)}")
        checked = await self._threads.stored(
            self._rights.check,
            needs,
            by=current(),
            source=request.source,
            principal=request.principal,
            groups=list(request.groups),
        )
        return pb.CheckAccessResponse(
            allowed=not checked.refusal,
            refusal=checked.refusal,
            grants=[grant_message(grant) for grant in checked.grants],
        )

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        grants = [grant_from(grant, f"grants[{place}]") for place, grant in enumerate(request.grants)]
        secret, token = await self._threads.stored(
            self._rights.create_token,
            request.principal,
            by=current(),
            description=request.description,
            lifetime_s=seconds(request, "lifetime"),
            grants=grants,
        )
        return pb.CreateTokenResponse(secret=secret, token=token_message(token))

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        tokens, next_page_token = await self._threads.stored(
            self._rights.tokens,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            principal=request.principal,
        )
        return pb.ListTokensResponse(tokens=map(token_message, tokens), next_page_token=next_page_token)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        revoke = self._rights.revoke_token
        token = await self._threads.stored(revoke, request.token_id, by=current(), reason=request.reason)
        return pb.RevokeTokenResponse(token=token_message(token))

    async def CreateGrant(self, request: pb.CreateGrantRequest, context: Context) -> pb.CreateGrantResponse:
        asked = grant_from(request.grant, "grant")
        grant = await self._threads.stored(self._rights.create_grant, asked, by=current(), reason=request.reason)
        return pb.CreateGrantResponse(grant=grant_message(grant))

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        grants, next_page_token = await self._threads.stored(
            self._rights.grants,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            principal=request.principal,
            group=request.group,
        )
        return pb.ListGrantsResponse(grants=map(grant_message, grants), next_page_token=next_page_token)

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        revoke = self._rights.revoke_grant
        await self._threads.stored(revoke, request.grant_id, by=current(), reason=request.reason)
        return pb.RevokeGrantResponse()

    async def ProveServer(self, request: pb.ProveServerRequest, context: Context) -> pb.ProveServerResponse:
        if not _MIN_NONCE_CHARS <= len(request.nonce) <= _MAX_NONCE_CHARS:
            wrong = f"it has {len(request.nonce)} characters; send {_MIN_NONCE_CHARS} to {_MAX_NONCE_CHARS} random ones"
            raise Invalid.field("nonce", wrong)
        server = self._door.server
        return pb.ProveServerResponse(server_id=server.server_id, proof=server.proof(request.nonce))

    async def GetSignIn(self, request: pb.GetSignInRequest, context: Context) -> pb.GetSignInResponse:
        oidc = self._door.oidc
        return pb.GetSignInResponse(provider=None if oidc is None else provider_message(oidc, self._codes.page.url))

    async def CreateSignInCode(
        self, request: pb.CreateSignInCodeRequest, context: Context
    ) -> pb.CreateSignInCodeResponse:
        code, page = await self._threads.stored(self._codes.create, by=current()), self._codes.page
        answer = pb.CreateSignInCodeResponse(
            code=code.text, page_url=page.url, http_port=page.port, http_tls=page.secure
        )
        set_time(answer.expire_time, code.expire_time)
        return answer
