"""The settings of the identity provider as a policy: what is missing or makes no sense is said at the start."""

from __future__ import annotations

from urllib.parse import urlsplit

from blade_server.addresses import checked_url, is_loopback, without_user
from blade_server.model.policy import CALLBACK_PATH, OidcCli, OidcClient, OidcPolicy
from blade_server.settings import Settings


def oidc_policy(settings: Settings) -> OidcPolicy | None:
    """None: there is no provider. Raises ValueError."""
    issuer, audience = settings.oidc_issuer, settings.oidc_audience
    if not issuer and not audience:
        _check_nothing_else(settings)
        return None
    if not issuer or not audience:
        raise ValueError(
            "BLADE_OIDC_ISSUER and BLADE_OIDC_AUDIENCE belong together: without the audience, tokens for any other "
            "service of that provider would be good here"
        )
    _check_issuer(issuer)
    return OidcPolicy(
        issuer=issuer,
        audience=audience,
        subject_claim=settings.oidc_subject_claim,
        groups_claim=settings.oidc_groups_claim,
        ca_file=settings.oidc_ca_file,
        name=settings.oidc_name or urlsplit(issuer).hostname or "",
        page=_page(settings),
        cli=_cli(settings),
    )


def public_url(settings: Settings) -> str:
    """BLADE_PUBLIC_URL without a slash at its end; "": it is not set. Raises ValueError."""
    url = settings.public_url
    if not url:
        return ""
    parts = checked_url("BLADE_PUBLIC_URL", url)
    if parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"BLADE_PUBLIC_URL is {without_user(url)!r}: write the scheme and the host, with :port if need be, and "
            "nothing else, as https://blade.example.com"
        )
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"BLADE_PUBLIC_URL is {url!r}: off this machine it must begin with https://")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _check_nothing_else(settings: Settings) -> None:
    given = {
        "BLADE_OIDC_CLIENT_ID": settings.oidc_client_id,
        "BLADE_OIDC_CLIENT_SECRET": settings.oidc_client_secret,
        "BLADE_OIDC_CLI_CLIENT_ID": settings.oidc_cli_client_id,
    }
    for variable, value in given.items():
        if value:
            raise ValueError(f"{variable} is set, and of which provider is not: set BLADE_OIDC_ISSUER, too")


def _check_issuer(issuer: str) -> None:
    parts = checked_url("BLADE_OIDC_ISSUER", issuer)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"BLADE_OIDC_ISSUER is {without_user(issuer)!r}: it must begin with https://")
    if parts.username or parts.query or parts.fragment:
        raise ValueError(f"BLADE_OIDC_ISSUER is {without_user(issuer)!r}: it has a user, a ? or a # in it")


def _page(settings: Settings) -> OidcClient | None:
    client_id, public = settings.oidc_client_id, public_url(settings)
    if not client_id:
        if settings.oidc_client_secret is not None:
            raise ValueError("BLADE_OIDC_CLIENT_SECRET is set, and BLADE_OIDC_CLIENT_ID, whose it is, is not")
        return None
    if not public:
        raise ValueError(
            "BLADE_OIDC_CLIENT_ID lets people sign in from the page, and BLADE_PUBLIC_URL, to which the provider sends "
            "them back, is not set: set it to the page's address, as https://blade.example.com"
        )
    _check_scopes("BLADE_OIDC_SCOPES", settings.oidc_scopes)
    return OidcClient(
        client_id=client_id,
        client_secret=settings.oidc_client_secret,
        redirect_uri=public + CALLBACK_PATH,
        scopes=settings.oidc_scopes,
    )


def _cli(settings: Settings) -> OidcCli | None:
    if not settings.oidc_cli_client_id:
        return None
    _check_scopes("BLADE_OIDC_CLI_SCOPES", settings.oidc_cli_scopes)
    return OidcCli(client_id=settings.oidc_cli_client_id, scopes=settings.oidc_cli_scopes)


def _check_scopes(variable: str, scopes: tuple[str, ...]) -> None:
    if "openid" not in scopes:
        raise ValueError(f"{variable} is {','.join(scopes)!r}: without openid the provider does not say who signs in")
