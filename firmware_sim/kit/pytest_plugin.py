"""The kit as a pytest plugin, for drivers in a repository of their own.

Name the drivers in ``pyproject.toml``, and each rule becomes a test of each:

    [tool.pytest.ini_options]
    vitalwire_drivers = ["my-meter"]

``all`` stands for every driver that is installed. A rule that a device is exempt
from is skipped with its reason. Where files are named on the command line, only
these are run.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from firmware_sim.kit.rules import Rule
    from firmware_sim.kit.visits import Case

_INI = "vitalwire_drivers"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Announce the setting."""
    parser.addini(_INI, "drivers to prove by the kit, or 'all'", type="args")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the rules of the named drivers behind all other tests."""
    names: list[str] = config.getini(_INI)
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if not names or named:
        return
    from firmware_sim.kit import check  # noqa: PLC0415 - only where it is asked for
    from firmware_sim.kit.rules import RULES  # noqa: PLC0415

    if names == ["all"]:
        names = check.installed()
    for name in names:
        try:
            case = check.find(name)
        except check.UnknownTarget as error:
            raise pytest.UsageError(f"{_INI}: {error}") from error
        for rule in RULES:
            title = f"{name}::{rule.name}"
            items.append(
                _RuleItem.from_parent(session, name=title, case=case, rule=rule)
            )


class _RuleItem(pytest.Item):
    """One rule of one driver."""

    def __init__(self, *, case: "Case", rule: "Rule", **kwargs: Any) -> None:  # noqa: ANN401 - pytest's own
        super().__init__(**kwargs)
        self._case, self._rule = case, rule

    def runtest(self) -> None:
        """Run the rule; fail with what is wrong."""
        from firmware_sim.kit.check import check_rule  # noqa: PLC0415

        outcome = check_rule(self._case.driver, self._case.trial, self._rule)
        if outcome.exempt:
            pytest.skip(outcome.exempt)
        if outcome.problems:
            problems = "\n".join(f"  {one}" for one in outcome.problems)
            pytest.fail(f"{self._rule.meaning}\n{problems}", pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Tell pytest what to call it."""
        return "kit", None, self.name
