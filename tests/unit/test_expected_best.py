import numpy as np
import pandas as pd
import pytest

from analysis.expected_best import COLUMNS, expected_best, tabulate_expected_best

TRIALS = pd.DataFrame(
    [
        ["tversky", 0.4, False, 2.0],
        ["focal", 0.3, True, 0.5],
        ["tversky", 0.6, True, 1.0],
        ["tversky", np.nan, False, 0.25],
        ["focal", 0.5, False, 1.5],
        ["tversky", 0.1, False, 2.0],
        ["iou", np.nan, False, 0.1],
    ],
    columns=["group", "objective", "pruned", "hours"],
)


def test_groups_are_compared_at_equal_effort():
    table = tabulate_expected_best(TRIALS)
    assert table.columns.tolist() == COLUMNS
    assert table["group"].tolist() == ["tversky", "focal", "iou"]
    assert table["trials"].tolist() == [3, 2, 0]
    assert table["pruned"].tolist() == [1, 1, 0]
    assert table["hours"].tolist() == pytest.approx([5.25, 2.0, 0.1])
    assert table["best"].tolist() == pytest.approx([0.6, 0.5, np.nan], nan_ok=True)
    assert table["n_equal"].tolist() == [2, 2, 2]
    tversky = (0.1 * 1 + 0.4 * 3 + 0.6 * 5) / 9
    assert table["expected_best"].tolist() == pytest.approx([tversky, 0.45, np.nan], nan_ok=True)
    of_tversky = np.sqrt((0.1**2 * 1 + 0.4**2 * 3 + 0.6**2 * 5) / 9 - tversky**2)
    of_focal = np.sqrt((0.3**2 + 3 * 0.5**2) / 4 - 0.45**2)
    assert table["expected_best_std"].tolist() == pytest.approx([of_tversky, of_focal, np.nan], nan_ok=True)


def test_lower_may_be_better():
    table = tabulate_expected_best(TRIALS, minimised=True)
    assert table["best"].tolist()[:2] == [0.1, 0.3]
    assert table["expected_best"].tolist()[:2] == pytest.approx([(0.6 * 1 + 0.4 * 3 + 0.1 * 5) / 9, 0.35])


def test_no_trials_make_an_empty_table():
    table = tabulate_expected_best(TRIALS.iloc[:0])
    assert table.columns.tolist() == COLUMNS
    assert table.empty


def test_one_value_is_its_own_best():
    assert expected_best([0.7], 9) == (0.7, 0.0)


@pytest.mark.parametrize(("values", "n"), [([], 1), ([0.5, np.nan], 1), ([0.5], 0), ([np.inf], 2)])
def test_what_has_no_best_is_refused(values, n):
    with pytest.raises(ValueError, match="the best of n needs n >= 1 and finite values"):
        expected_best(values, n)
