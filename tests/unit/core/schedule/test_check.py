"""What a schedule may say, and in which words it is refused."""

from __future__ import annotations

import pytest

from blade_server.core.schedule.check import check
from blade_server.model.sync import Schedule


def wrong(**fields: object) -> dict[str, str]:
    return dict(check(Schedule(**fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cron",
    ["30 2 * * *", "*/5 * * * *", "0 0 29 2 *", "0 9 * * MON-FRI", "0 0 L * *", "0 0 * * MON#5", "0 0 31 2 MON"],
)
def test_five_fields_are_read(cron: str) -> None:
    assert wrong(cron=cron) == {}


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 30 2 * * *", "6 fields, not 5"),
        ("30 2 * *", "4 fields, not 5"),
        ("@daily", "'0 0 * * *'"),
        ("@reboot", "1 fields"),
        ("61 2 * * *", "'61' as its minute"),
        ("0 24 * * *", "'24' as its hour"),
        ("0 0 * * FOO", "'FOO' as its day of week"),
        ("0 0 31 2 *", "never due"),
        ("0 0 30 2 *", "never due"),
        ("0 0 31 4,6 *", "never due"),
        ("5-1 0 * * *", "minute"),
        ("* " * 200, "at most 200"),
        ("0 0 ² * *", "day of month"),
    ],
)
def test_all_else_is_refused_in_words(cron: str, words: str) -> None:
    assert words in wrong(cron=cron)["cron"]


def test_one_of_the_two_is_set() -> None:
    assert "both" in wrong(cron="* * * * *", every_s=60.0)["cron"]
    assert "none" in wrong()["cron"]


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("localtime", ""),
        ("../../etc/passwd", ""),
    ],
)
def test_an_unknown_zone_is_refused_with_what_was_meant(zone: str, meant: str) -> None:
    text = wrong(cron="0 0 * * *", time_zone=zone)["time_zone"]
    assert "no IANA time zone" in text
    assert f"did you mean {meant!r}?" in text if meant else True


@pytest.mark.parametrize("every_s", [9.0, -1.0, 10.5, float("inf"), float("nan"), 1e12])
def test_every_is_ten_seconds_at_least_and_whole(every_s: float) -> None:
    assert "every" in wrong(every_s=every_s)


def test_spans_have_bounds() -> None:
    assert "jitter" in wrong(every_s=10.0, jitter_s=11.0)
    assert "jitter" in wrong(cron="0 0 * * *", jitter_s=-1.0)
    assert "catch_up_window" in wrong(every_s=10.0, catch_up_window_s=1e9)
    assert "time_zone" in wrong(every_s=10.0, time_zone="Europe/Berlin")
