"""AccessService, as far as a fake has it: everybody is let in and may do everything."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from typing import Any

from blade.v1 import access_service_pb2 as pb
from blade.v1.access_pb2 import ADMIN, AUDITOR, Grant


class Access:
    """As a server with BLADE_AUTH=off."""

    def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        grants = [Grant(role=role, scope="*") for role in (ADMIN, AUDITOR)]
        return pb.WhoAmIResponse(principal="anybody", kind="off", grants=grants)

    def GetSignIn(self, request: pb.GetSignInRequest, context: Any) -> pb.GetSignInResponse:
        return pb.GetSignInResponse()

    def CreateSignInCode(self, request: pb.CreateSignInCodeRequest, context: Any) -> pb.CreateSignInCodeResponse:
        return pb.CreateSignInCodeResponse(http_port=8080)
