"""What an identity provider says of a caller: JSON Web Tokens, checked with the keys that it publishes."""

from blade_server.oidc.provider import Identity, Provider

__all__ = ["Identity", "Provider"]
