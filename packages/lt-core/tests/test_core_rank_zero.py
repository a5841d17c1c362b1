"""Rank-zero utilities: what runs and prints in the first process only."""

import logging
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import (
    LightningDeprecationWarning,
    PossibleUserWarning,
    WarningCache,
    disable_possible_user_warnings,
    rank_prefixed_message,
    rank_zero_debug,
    rank_zero_deprecation,
    rank_zero_info,
    rank_zero_only,
    rank_zero_warn,
)

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@pytest.fixture(autouse=True)
def unset_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No rank is assigned, by code or by environment."""
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    del rank_zero_only.rank
    yield
    del rank_zero_only.rank


def test_guarded_function_runs_on_rank_zero_only_and_gives_the_default_elsewhere():
    """The decorated function keeps its name and is asked for the rank at each call."""

    def double(number: int) -> int:
        """Twice."""
        return 2 * number

    guarded = rank_zero_only(double)
    with_default = rank_zero_only(double, default=-1)

    assert guarded(2) == 4
    assert guarded.__name__ == "double"
    rank_zero_only.rank = 3
    assert guarded(2) is None
    assert with_default(2) == -1


@pytest.mark.parametrize("name", RANK_VARIABLES)
def test_rank_is_read_from_the_environment_when_it_is_asked_for(monkeypatch, name):
    """A variable that is set after the import counts."""
    assert rank_zero_only.rank == 0

    monkeypatch.setenv(name, "5")

    assert rank_zero_only.rank == 5


def test_earlier_variables_come_first_and_an_assigned_rank_before_all(monkeypatch):
    """SLURM_PROCID may be set where SLURM starts nothing, so the launcher's own variables win."""
    monkeypatch.setenv("SLURM_PROCID", "7")
    monkeypatch.setenv("LOCAL_RANK", "1")

    assert rank_zero_only.rank == 1
    rank_zero_only.rank = 0
    assert rank_zero_only.rank == 0


def test_rank_that_is_no_number_is_an_error_with_the_variable_and_the_fix(monkeypatch):
    """An empty variable counts as unset, any other text must be a number."""
    monkeypatch.setenv("RANK", "")
    assert rank_zero_only.rank == 0

    monkeypatch.setenv("RANK", "first")

    with pytest.raises(MisconfigurationValueError, match=r"RANK is 'first'.*whole number.*unset it"):
        _ = rank_zero_only.rank


def test_decorator_object_is_one_per_process():
    """A pickled copy is the same object, so its rank does not travel."""
    assert pickle.loads(pickle.dumps(rank_zero_only)) is rank_zero_only


def test_warning_is_attributed_to_the_caller_and_silent_on_other_ranks():
    """The default stack level names this file."""
    with pytest.warns(UserWarning, match="watch out") as caught:
        rank_zero_warn("watch out")
    assert caught[0].filename == __file__

    rank_zero_only.rank = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank_zero_warn("watch out")


def test_deprecation_has_its_own_category_and_names_the_caller():
    """Users can filter what lt deprecates apart from other libraries."""
    with pytest.warns(LightningDeprecationWarning, match="write the new form") as caught:
        rank_zero_deprecation("write the new form")

    assert caught[0].filename == __file__


def test_stack_level_counts_one_more_frame_as_in_lightning():
    """Level 5 is the caller of the function that warns."""

    def helper() -> None:
        rank_zero_warn("seen from outside", stacklevel=5)

    with pytest.warns(UserWarning, match="seen from outside") as caught:
        helper()

    assert caught[0].lineno == sys._getframe().f_lineno - 2


def test_log_lines_carry_the_callers_place_and_are_silent_on_other_ranks(caplog):
    """The logger is called lt, so one line of configuration governs all packages."""
    with caplog.at_level(logging.DEBUG, logger="lt"):
        rank_zero_info("seed %d", 3)
        rank_zero_debug("details")
        rank_zero_only.rank = 1
        rank_zero_info("not seen")

    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("lt", "INFO", "seed 3"),
        ("lt", "DEBUG", "details"),
    ]
    assert {record.pathname for record in caplog.records} == {__file__}


@pytest.mark.parametrize(
    ("configured", "expected"), [("", ["hello"]), ("logging.basicConfig(format='app: %(message)s');", ["app: hello"])]
)
def test_info_is_printed_once_with_or_without_logging_configured(configured, expected):
    """An application that configures logging sees the line in its own format, and only there."""
    code = f"import logging; {configured} from lt_core.rank_zero import rank_zero_info; rank_zero_info('hello')"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout == ""
    assert [line for line in result.stderr.splitlines() if "hello" in line] == expected


@pytest.mark.parametrize(("flags", "shown"), [([], True), (["-W", "ignore"], False)])
def test_deprecations_are_shown_by_default_and_follow_the_command_line(flags, shown):
    """Python hides deprecations of imported modules; ours are for the user, who can still switch them off."""
    code = (
        "import types; from lt_core import rank_zero;"
        "m = types.ModuleType('users_module'); m.f = rank_zero.rank_zero_deprecation;"
        "exec(\"f('write the new form')\", m.__dict__)"
    )

    result = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True)

    assert ("write the new form" in result.stderr) is shown


def test_cache_says_each_message_once():
    """Warnings, deprecations and log lines share the set of what was said."""
    cache = WarningCache()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            cache.warn("first")
            cache.deprecation("second")

    assert [str(warning.message) for warning in caught] == ["first", "second"]
    assert caught[1].category is LightningDeprecationWarning
    assert {warning.filename for warning in caught} == {__file__}
    assert cache == {"first", "second"}


def test_cached_info_is_logged_once(caplog):
    """The second call with the same text logs nothing."""
    cache = WarningCache()

    with caplog.at_level(logging.INFO, logger="lt"):
        cache.info("only once")
        cache.info("only once")

    assert [record.getMessage() for record in caplog.records] == ["only once"]


def test_possible_user_warnings_can_be_switched_off():
    """Advice is hidden, other warnings are not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        disable_possible_user_warnings()
        rank_zero_warn("advice", category=PossibleUserWarning)
        rank_zero_warn("warning")

    assert [str(warning.message) for warning in caught] == ["warning"]


def test_prefix_is_put_only_where_a_rank_is_known():
    """None means that there is one process."""
    assert rank_prefixed_message("text", 0) == "[rank: 0] text"
    assert rank_prefixed_message("text", None) == "text"
