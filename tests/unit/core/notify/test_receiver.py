"""Where a notification may lead, and that nobody learns what a reference holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.webhooks import KEY, SECRET

from blade_server.core.notify.receiver import receiver
from blade_server.errors import Invalid
from blade_server.model.notification import Notification, NotificationFormat
from blade_server.model.policy import NotifyPolicy

HOST = "hooks.example.com"
POLICY = NotifyPolicy(
    allowed_hosts={
        HOST: frozenset(
            {"env:BLADE_SECRET_A", "env:BLADE_SECRET_SHORT", "env:DATABRICKS_TOKEN", "env:BLADE_SECRET_URL"}
        ),
        "localhost:8000": frozenset({"env:BLADE_SECRET_A"}),
        "other.example.com": frozenset({"env:BLADE_SECRET_B"}),
    }
)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "BLADE_SECRET_A": SECRET,
        "BLADE_SECRET_B": SECRET,
        "BLADE_SECRET_SHORT": "whsec_c2hvcnQ=",
        "DATABRICKS_TOKEN": SECRET,
        "BLADE_SECRET_URL": f"https://{HOST}/T/B/secret?x=1",
        "BLADE_SECRET_ELSEWHERE": "https://evil.example.com/secret",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def to(**fields: Any) -> Any:
    return receiver(
        POLICY, Notification(**{"name": "n", "url": f"https://{HOST}/x", "secret": "env:BLADE_SECRET_A"} | fields)
    )


def test_an_allowed_host_with_a_bound_secret_is_one() -> None:
    found = to()
    assert (found.url.geturl(), found.key) == (f"https://{HOST}/x", KEY)
    assert repr(KEY) not in repr(found)
    assert to(url="http://localhost:8000/x").key == KEY
    assert to(url=f"https://{HOST.upper()}:443/x").key == KEY
    assert to(url="env:BLADE_SECRET_URL").url.path == "/T/B/secret"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://evil.example.com/x", "BLADE_ALLOWED_WEBHOOK_HOSTS"),
        (f"https://{HOST}:8443/x", "is not allowed"),
        (f"http://{HOST}/x", "https://"),
        (f"https://user:word@{HOST}/x", "a user"),
        (f"https://{HOST}/x?token=word", "a user, a ?"),
        (f"https://{HOST}/x#word", "a user"),
        ("ftp://x", "must begin with"),
        (f"https://{HOST}/\u00fc", "characters"),
        ("", "must begin with"),
        ("env:BLADE_SECRET_ELSEWHERE", "no address of a host that it is bound to"),
        ("env:BLADE_SECRET_A", "no address of a host that it is bound to"),
        ("env:HOME", "no address of a host that it is bound to"),
    ],
)
def test_others_are_refused_in_words_that_show_no_secret(url: str, words: str) -> None:
    with pytest.raises(Invalid, match=r"notification\.url") as caught:
        to(url=url)
    assert words in caught.value.message
    for secret in ("evil.example.com/secret", SECRET, ":word"):
        assert secret not in caught.value.message


@pytest.mark.parametrize(
    "secret",
    [
        "env:BLADE_SECRET_B",
        "env:BLADE_SECRET_NONE",
        "env:BLADE_SECRET_SHORT",
        "env:DATABRICKS_TOKEN",
        "env:BLADE_SECRET_URL",
    ],
)
def test_all_that_is_wrong_with_a_secret_has_one_answer(secret: str) -> None:
    with pytest.raises(Invalid) as caught:
        to(secret=secret)
    expected = f"notification.secret: {secret!r} leads to no secret that may be used for {HOST!r}"
    assert caught.value.message.startswith(expected)


def test_a_secret_itself_is_not_shown() -> None:
    with pytest.raises(Invalid) as caught:
        to(secret=SECRET)
    assert SECRET not in caught.value.message
    with pytest.raises(Invalid, match="is required"):
        to(secret="")


def test_slack_takes_a_reference_and_no_secret() -> None:
    assert to(url="env:BLADE_SECRET_URL", secret="", format=NotificationFormat.SLACK).key is None
    with pytest.raises(Invalid, match="must be a reference"):
        to(secret="", format=NotificationFormat.SLACK)
    with pytest.raises(Invalid, match="no signature"):
        to(url="env:BLADE_SECRET_URL", format=NotificationFormat.SLACK)


def test_a_file_lies_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(f"{SECRET}\n")
    policy = NotifyPolicy(allowed_hosts={HOST: frozenset({"file:hook", "file:../hook"})}, secret_dir=tmp_path)
    wanted = Notification(name="n", url=f"https://{HOST}/x", secret="file:hook")
    assert receiver(policy, wanted).key == KEY
    with pytest.raises(Invalid):
        receiver(policy, Notification(name="n", url=f"https://{HOST}/x", secret="file:../hook"))
