"""Whether a method is for a caller at all, before anybody knows what it would be about."""

from __future__ import annotations

from dataclasses import dataclass

from blade_server.errors import AccessDenied
from blade_server.model.access import Principal, Role


@dataclass(frozen=True, kw_only=True)
class Needs:
    """`role` None: to be signed in. `anywhere`: a grant on one source is enough, and the method looks which it is."""

    role: Role | None
    anywhere: bool


def check_method(principal: Principal, needs: Needs) -> None:
    """Raises AccessDenied if he holds the role that the method needs on nothing at all."""
    if needs.role is None:
        return
    if not (principal.anywhere(needs.role) if needs.anywhere else principal.everywhere(needs.role)):
        on = "at least one source" if needs.anywhere else "the server as a whole"
        message = f"{principal.name!r} needs the role {needs.role.name} on {on}; an ADMIN can grant it"
        raise AccessDenied(message, metadata={"role": needs.role.name, "principal": principal.name})
