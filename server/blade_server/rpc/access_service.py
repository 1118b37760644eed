"""blade.v1.AccessService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from blade.v1 import access_service_pb2 as pb
from blade.v1.access_service_pb2_grpc import AccessServiceServicer
from blade_server.core.access.server_identity import ServerIdentity
from blade_server.errors import Invalid
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.access import grant_message, set_time

_MIN_NONCE_CHARS, _MAX_NONCE_CHARS = 32, 200


class AccessService(AccessServiceServicer):
    """Converts, calls `core.access`, converts back."""

    def __init__(self, server: ServerIdentity) -> None:
        self._server = server

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
        raise NotImplementedError

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        raise NotImplementedError

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        raise NotImplementedError

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        raise NotImplementedError

    async def CreateGrant(self, request: pb.CreateGrantRequest, context: Context) -> pb.CreateGrantResponse:
        raise NotImplementedError

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        raise NotImplementedError

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        raise NotImplementedError

    async def ProveServer(self, request: pb.ProveServerRequest, context: Context) -> pb.ProveServerResponse:
        if not _MIN_NONCE_CHARS <= len(request.nonce) <= _MAX_NONCE_CHARS:
            wrong = f"it has {len(request.nonce)} characters; send {_MIN_NONCE_CHARS} to {_MAX_NONCE_CHARS} random ones"
            raise Invalid.field("nonce", wrong)
        return pb.ProveServerResponse(server_id=self._server.server_id, proof=self._server.proof(request.nonce))
