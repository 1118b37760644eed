"""What an identity provider says of a caller: JSON Web Tokens, checked with the keys that it publishes."""

from blade_server.oidc.code_flow import Answer, Begun, CodeFlow
from blade_server.oidc.identity import Identity
from blade_server.oidc.provider import Provider

__all__ = ["Answer", "Begun", "CodeFlow", "Identity", "Provider"]
