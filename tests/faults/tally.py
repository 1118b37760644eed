"""What the run did and what it found, for the table at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Losses:
    """How many items are not as they must be after a scenario; all zero, or the scenario has failed."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(lost=self.lost + other.lost, doubled=self.doubled + other.doubled, wrong=self.wrong + other.wrong)


@dataclass(kw_only=True)
class Scenario:
    """One test: the faults it injected, the items it checked, what was not right with them."""

    faults: Counter[str] = field(default_factory=Counter)
    items: int = 0
    losses: Losses = field(default_factory=Losses)
    notes: list[str] = field(default_factory=list)


class Tally:
    """All scenarios of this run, in order."""

    def __init__(self) -> None:
        self.scenarios: dict[str, Scenario] = {}

    def scenario(self, name: str) -> Scenario:
        return self.scenarios.setdefault(name, Scenario())

    def plain(self) -> dict[str, Any]:
        """All of it as plain data, for another process."""
        return {
            name: {**asdict(scenario), "faults": dict(scenario.faults)} for name, scenario in self.scenarios.items()
        }

    def add(self, plain: dict[str, Any]) -> None:
        """Takes over what another process did."""
        for name, told in plain.items():
            told = {**told, "faults": Counter(told["faults"]), "losses": Losses(**told["losses"])}
            self.scenarios[name] = Scenario(**told)

    def lines(self) -> list[str]:
        """The table: one line a scenario, then every kind of fault, then the sums."""
        width = max((len(name) for name in self.scenarios), default=8)
        lines = [f"{'scenario':<{width}}  faults   items    lost doubled   wrong"]
        total = Scenario()
        for name, scenario in self.scenarios.items():
            lines.append(f"{name:<{width}}  {_figures(scenario)}")
            lines += [f"{'':<{width}}    {note}" for note in scenario.notes]
            total.faults += scenario.faults
            total.items += scenario.items
            total.losses += scenario.losses
        lines += [f"{'all':<{width}}  {_figures(total)}", "", "faults injected:"]
        lines += [f"  {count:>6}  {fault}" for fault, count in total.faults.most_common()]
        return lines


def _figures(scenario: Scenario) -> str:
    losses = scenario.losses
    return f"{scenario.faults.total():>6} {scenario.items:>7} {losses.lost:>7} {losses.doubled:>7} {losses.wrong:>7}"
