"""Ranking, and what is shown of it."""

import csv
import io

from rich.console import Console

from aerosweep.terminal.leaderboard_table import leaderboard_table
from search.project.leaderboard import leaderboard, minutes_trained, write_csv
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec

MINUTE = 60_000
UNET_DICE = {"model": {"architecture": "unet", "encoder": "resnet18"}, "loss": {"name": "dice"}}


def trial(
    number, objectives, reason="completed", config=UNET_DICE, baseline=False, metrics=None, attempts=None, detail=""
):
    """A trial of one-minute epochs whose running best is `objectives`."""
    epochs = []
    for place, objective in enumerate(objectives, start=1):
        best = objectives.index(objective) + 1
        values = (metrics or {}).get(
            place, {"miou": objective, "thing_miou": objective / 2, "worst_class_iou": objective / 4}
        )
        attempt = attempts[place - 1] if attempts else 1
        epochs.append(EpochRecord(place, MINUTE * place, objective, best, values, attempt=attempt))
    end = EndMarker(reason, detail, 0, 1, tuple(epochs)) if reason else None
    spec = TrialSpec(f"t{number:04d}", number, {}, config, baseline, 0)
    return TrialSnapshot(spec, tuple(epochs), end, 1)


def test_trials_are_ranked_by_their_best_objective():
    rows = leaderboard([trial(0, [0.1, 0.2]), trial(1, [0.3], "pruned"), trial(2, [0.25], reason=None)])
    assert [(row.rank, row.trial, row.state, row.objective) for row in rows] == [
        (1, "t0001", "pruned", 0.3),
        (2, "t0002", "unfinished", 0.25),
        (3, "t0000", "completed", 0.2),
    ]


def test_equals_keep_the_order_of_their_suggestion():
    assert [row.trial for row in leaderboard([trial(2, [0.5]), trial(0, [0.5]), trial(1, [0.5])])] == [
        "t0000",
        "t0001",
        "t0002",
    ]


def test_failed_and_diverged_come_last_without_a_rank():
    rows = leaderboard(
        [
            trial(0, [0.9], "failed"),
            trial(1, [0.8, 0.0], "diverged"),
            trial(2, [0.1]),
            trial(3, [], reason=None),
            trial(4, [], "failed"),
        ]
    )
    assert [(row.rank, row.trial) for row in rows] == [
        (1, "t0002"),
        (None, "t0003"),
        (None, "t0000"),
        (None, "t0001"),
        (None, "t0004"),
    ]


def test_metrics_are_those_of_the_epoch_of_the_best_objective():
    metrics = {
        1: {"miou": 0.5, "thing_miou": 0.1, "worst_class_iou": 0.02},
        2: {"miou": 0.4, "thing_miou": 0.3, "worst_class_iou": 0.01},
        3: {"miou": 0.6, "thing_miou": 0.2, "worst_class_iou": 0.03},
    }
    (row,) = leaderboard([trial(0, [0.1, 0.3, 0.3], metrics=metrics)])
    assert (row.objective, row.miou, row.thing_miou, row.worst_class_iou) == (0.3, 0.4, 0.3, 0.01)


def test_what_was_not_measured_stays_empty():
    (row,) = leaderboard([trial(0, [0.3], metrics={1: {"miou": 0.3}})])
    assert (row.thing_miou, row.worst_class_iou) == (None, None)
    (row,) = leaderboard([trial(0, [], "failed")])
    assert (row.objective, row.miou, row.minutes, row.epochs) == (None, None, None, 0)


def test_a_diverged_trial_has_no_objective():
    (row,) = leaderboard([trial(0, [0.0], "diverged", metrics={1: {}})])
    assert (row.objective, row.miou) == (None, None)


def test_a_measured_zero_is_a_zero():
    (row,) = leaderboard([trial(0, [0.0])])
    assert (row.rank, row.objective, row.miou) == (1, 0.0, 0.0)
    assert (
        write_csv([row]).decode().splitlines()[1]
        == "1,t0000,completed,false,unet,resnet18,dice,1,0.0,0.0,0.0,0.0,,,1.0"
    )


def loss_of(**loss):
    return leaderboard([trial(0, [0.5], config={"model": {}, "loss": loss})])[0].loss


def test_a_loss_is_named_with_its_parameters():
    assert loss_of(name="tversky", alpha=0.7, beta=0.3, gamma=None) == "tversky a=.70 b=.30 g=1.00"
    assert (
        loss_of(name="tversky", alpha=1.0, beta=0.0, gamma=0.5, gamma_on="mean") == "tversky a=1.00 b=.00 g=.50 on mean"
    )
    assert loss_of(name="focal", focal_gamma=2.25, alpha=None) == "focal g=2.25"
    assert loss_of(name="cross_entropy") == "cross_entropy"
    assert loss_of(name="iou", alpha=None) == "iou"


def test_minutes_leave_out_the_time_between_launches():
    assert minutes_trained(trial(0, [0.1, 0.2, 0.3])) == 3.0
    spec = trial(0, []).spec
    day = 24 * 60 * MINUTE
    epochs = (
        EpochRecord(1, 2 * MINUTE, 0.1, 1, {}),
        EpochRecord(2, 4 * MINUTE, 0.1, 1, {}),
        EpochRecord(3, day, 0.1, 1, {}, attempt=2),
        EpochRecord(4, day + 2 * MINUTE, 0.1, 1, {}, attempt=2),
    )
    assert minutes_trained(TrialSnapshot(spec, epochs)) == 8.0
    assert minutes_trained(TrialSnapshot(spec, (EpochRecord(1, day, 0.1, 1, {}, attempt=3),))) is None


def test_the_csv_has_a_row_a_trial_and_empty_cells_for_what_is_missing():
    rows = leaderboard([trial(0, [0.123456789], baseline=True), trial(1, [], "failed")])
    table = list(csv.DictReader(io.StringIO(write_csv(rows).decode())))
    assert list(table[0]) == [
        *("rank", "trial", "state", "baseline", "architecture", "encoder", "loss", "epochs"),
        *("objective", "miou", "thing_miou", "worst_class_iou", "miss_rate", "false_alarms", "minutes"),
    ]
    assert table[0]["objective"] == "0.123457"
    assert table[0]["baseline"] == "true"
    assert (table[1]["rank"], table[1]["objective"], table[1]["miou"], table[1]["minutes"]) == ("", "", "", "")
    assert table[1]["epochs"] == "0"


def test_an_empty_leaderboard_is_a_header():
    assert write_csv(leaderboard([])).decode().count("\n") == 1


def printed(rows, limit=15, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(leaderboard_table(rows, limit))
    return console.file.getvalue()


def test_the_table_shows_the_first_rows_and_how_many_more_there_are():
    text = printed(leaderboard([trial(n, [0.01 * n], baseline=n == 1) for n in range(20)]), limit=3)
    assert "t0019" in text
    assert "t0017" in text
    assert "t0016" not in text
    assert "17 more in leaderboard.csv" in " ".join(text.split())
    assert "encoder resnet18" in text


def test_the_table_marks_baselines_and_hides_what_says_nothing():
    text = printed(leaderboard([trial(0, [0.5], baseline=True), trial(1, [0.4])]))
    assert "t0000*" in text
    assert "* baseline, never stopped early" in " ".join(text.split())
    assert "objective" not in text
    metrics = {1: {"miou": 0.4}}
    assert "objective" in printed(leaderboard([trial(0, [0.5], metrics=metrics)]))


def test_the_table_can_be_read_on_eighty_columns():
    tversky = {
        "model": {"architecture": "deeplabv3plus", "encoder": "resnet34"},
        "loss": {"name": "tversky", "alpha": 0.7, "beta": 0.3, "gamma": 1.5},
    }
    ended = [trial(0, [0.5], config=tversky, baseline=True), trial(1, [0.4], "pruned", config=tversky)]
    rows = leaderboard([*ended, trial(2, [0.3], "failed", config=tversky)])
    lines = printed(rows, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for part in (
        "t0000*",
        "deeplabv3plus",
        "tversky a=.70",
        "b=.30 g=1.50",
        "0.500",
        "0.250",
        "0.125",
        "done",
        "pruned",
    ):
        assert part in text
    assert "…" not in text


def test_names_with_brackets_are_no_markup():
    config = {"model": {"architecture": "[red]x", "encoder": "[bold]e"}, "loss": {"name": "dice"}}
    text = printed(leaderboard([trial(0, [0.5], config=config)]))
    assert "[red]x" in text
    assert "[bold]e" in text


DEEP = {
    "model": {"architecture": "deeplabv3plus", "encoder": "resnet34"},
    "loss": {"name": "compound", "pixel": "focal", "focal_gamma": 2.0, "region": "tversky", "alpha": 0.7, "beta": 0.3},
}
THREE = ("miou", "thing_miss_rate", "recall/construction_vehicle")


def trial_of_three(number, miou, missed, recall, reason="completed", **changes):
    metrics = {
        "miou": miou,
        "thing_miou": 0.11,
        "worst_class_iou": 0.01,
        "thing_miss_rate": missed,
        "thing_false_alarms_per_image": 12.345678901,
        "recall/construction_vehicle": recall,
    }
    return trial(number, [miou], reason, config=DEEP, metrics={1: metrics}, **changes)


SEVERAL = leaderboard(
    [
        trial_of_three(0, 0.5, 0.4, 0.2, baseline=True),
        trial_of_three(1, 0.4, 0.3, 0.1),
        trial_of_three(2, 0.3, 0.45, 0.15),
        trial_of_three(3, 0.2, 0.1, 0.9, "pruned"),
        trial_of_three(4, 0.9, 0.0, 0.9, "diverged"),
    ],
    THREE,
)


def test_with_several_objectives_the_first_ranks_and_the_front_is_marked():
    assert [(row.rank, row.trial, row.pareto) for row in SEVERAL] == [
        (1, "t0000", True),
        (2, "t0001", True),
        (3, "t0002", False),
        (4, "t0003", False),
        (None, "t0004", False),
    ]
    assert dict(SEVERAL[1].objectives) == dict(zip(THREE, (0.4, 0.3, 0.1), strict=True))
    assert dict(SEVERAL[4].objectives) == dict.fromkeys(THREE)


def test_with_one_objective_there_is_no_front():
    (row,) = leaderboard([trial_of_three(0, 0.5, 0.4, 0.2)])
    assert (row.pareto, row.miss_rate) == (False, 0.4)
    assert "◆" not in printed([row])
    assert write_csv([row]).decode().splitlines()[1].endswith("0.5,0.5,0.11,0.01,0.4,12.345679,1.0")


def test_the_csv_has_the_objectives_that_have_no_column_yet_and_the_front():
    table = list(csv.DictReader(io.StringIO(write_csv(SEVERAL).decode())))
    assert list(table[0])[-3:] == ["minutes", "recall/construction_vehicle", "pareto"]
    assert [row["recall/construction_vehicle"] for row in table] == ["0.2", "0.1", "0.15", "0.9", ""]
    assert [row["pareto"] for row in table] == ["true", "true", "false", "false", "false"]
    assert table[0]["miss_rate"] == "0.4"


def test_the_table_of_several_objectives_can_be_read_on_eighty_columns():
    lines = printed(SEVERAL, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for part in (
        "t0000*◆",
        "t0001◆",
        "deeplabv3plus",
        "diverged",
        "t0002 ",
        "mIoU",
        "missed",
        "recall",
        "focal(g=2.00)",
        "0.400",
        "0.150",
        "pruned",
    ):
        assert part in text
    assert "◆ on the front of the best trade-offs" in text
    assert "…" not in text


def test_the_table_shows_miou_beside_objectives_that_are_others():
    rows = leaderboard(
        [trial_of_three(0, 0.5, 0.4, 0.2)], ("recall/construction_vehicle", "false_alarms_per_image/car")
    )
    text = printed(rows, width=120)
    assert [title in text for title in ("mIoU", "car", "objective", "things")] == [True, True, False, False]


def test_four_objectives_still_fit_on_eighty_columns():
    objectives = ("thing_miou", "thing_miss_rate", "thing_false_alarms_per_image", "recall/construction_vehicle")
    text = printed(leaderboard([trial_of_three(0, 0.5, 0.4, 0.2)], objectives), width=80)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("0.500", "0.400", "12.35", "0.200", "done"):
        assert part in text
