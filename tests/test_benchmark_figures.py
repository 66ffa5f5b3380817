"""The tables: every figure that was asked for stands beside its target, bounds count cases, and a
probability that is wrong shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.calibration import at_most, bounds, reliability
from benchmarks.history import Plan
from benchmarks.metrics import Counts, Measures, Named
from benchmarks.report import report
from benchmarks.results import Line, append, read
from benchmarks.score import Repair, Score
from benchmarks.speed import read_speed, write_speed
from benchmarks.suites import WEBSHOP
from benchmarks.targets import targets


def line(
    seed: int = 102, *stated: tuple[float, bool], rank: int = 1, seconds: float = 9.0,
    wrong_safe: int = 0, said: str = "right", size: str = "XS",
) -> Line:  # fmt: skip
    named = Named("missing-where", rank, True, True, False, said)
    measures = Measures(
        "damaged", (named,), len(stated), stated, cells={"": Counts(4, 4, 3)},
        classes=("missing-where",) * len(stated),
    )  # fmt: skip
    repair = Repair(4, 0, 0, 3, 4, exact=3)
    score = Score(
        "damaged", True, True, repair, wrong_safe, 4, seconds, measures=measures, actual_share=0.75
    )
    plan = Plan(WEBSHOP, "missing-where", 0.0, seed, 100, size)
    return Line(plan, "add", 4, score, ("missing-where",), 0, "no")


def cells(rows: list[str], name: str) -> list[str]:
    (found,) = [row for row in rows if row.startswith(f"| {name} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_a_log_that_lacks_steps_is_no_exact_log() -> None:
    lacking = line(103, rank=2)
    rows = targets([line(), replace(lacking, plan=replace(lacking.plan, missing=0.3))], {})
    found = cells(rows, "step first, identifiable, as intended")
    assert (found[1], found[9], found[10]) == ("1.000", "0.000", "NOT RUN")


def test_every_figure_that_was_asked_for_stands_beside_its_target() -> None:
    rows = targets([line(), line(103, rank=2, said="wrong")], {})
    assert cells(rows, "step first, identifiable, as intended")[1:5] == [
        "0.500", "0.98", "0.95", "BELOW",
    ]  # fmt: skip
    assert cells(rows, "step among the first three")[1:5] == ["1.000", "0.995", "0.98", "target"]
    assert cells(rows, "step among the first three")[5] == "NOT RUN"
    assert cells(rows, "parameters right where they are said")[1] == "0.500"
    assert cells(rows, "safe cells that are exact")[1:5] == ["1.000", "1", "1", "target"]
    for name in (
        "what-if against restore and replay, one step left out, geometric mean",
        "later steps run again, one step left out, median",
        "base replay over plain, by decoding",
        "hypotheses a minute",
        "whole case of M, with restoring, median",
        "version store against WAL of the replay",
    ):
        assert cells(rows, name)[1] == "NOT RUN"


def test_what_other_commands_measured_is_read_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    assert read_speed(file) == {}
    setting = {"geometric mean": 41.0, "least": 6.0, "a minute": 1200.0, "run again, median": 0.012}
    figures = {
        "one step": setting, "capture overhead": 0.4, "version store bytes": 30, "log bytes": 20,
    }  # fmt: skip
    write_speed(file, "case-M", "the run", {"median seconds": 300.0})
    write_speed(file, "what-if", "the other", figures)
    rows = targets([line()], read_speed(file))
    start = "what-if against restore and replay, one step left out"
    assert cells(rows, f"{start}, geometric mean")[1:] == ["41.0x", "100x", "30x", "floor"]
    assert cells(rows, "later steps run again, one step left out, median")[1] == "1.200 %"
    assert cells(rows, "base replay over plain, by decoding")[1:] == [
        "40.0 %", "15 %", "30 %", "BELOW",
    ]  # fmt: skip
    assert cells(rows, "hypotheses a minute")[4] == "target"
    assert cells(rows, "version store against WAL of the replay")[1] == "1.500x"
    assert cells(rows, "whole case of M, with restoring, median")[1] == "5.000 min"
    assert any("`the other`" in row for row in rows)
    over = {"small steps": {"on the wall": 50.0, "in processor time": 12.0}}
    write_speed(file, "capture", "the third", {"percent over": over})
    rows = targets([line()], read_speed(file))
    start = "base replay over plain, by decoding, small steps"
    assert cells(rows, f"{start}, in processor time")[1:] == ["12.0 %", "15 %", "30 %", "target"]
    assert cells(rows, f"{start}, on the wall")[4] == "BELOW"
    own = targets([line(seconds=1200.0, size="M")], read_speed(file))
    assert cells(own, "whole case of M, with restoring, median")[1] == "20.0 min"


@pytest.mark.parametrize(
    ("wrong", "cases", "share"),
    ((0, 100, 0.03), (0, 2, 1.0), (0, 0, 1.0), (1, 100, 0.0466), (5, 100, 0.1023), (3, 3, 1.0)),
)
def test_bounds_are_those_of_the_binomial(wrong: int, cases: int, share: float) -> None:
    assert at_most(wrong, cases) == pytest.approx(share, abs=1e-4)


def test_bounds_count_cases_in_which_a_promise_could_be_broken() -> None:
    silent = line(104)
    score = replace(silent.score, safe=0, repair=Repair(0, 0, 0, 0, 4))
    rows = bounds([*(line(seed) for seed in range(10, 19)), line(103, wrong_safe=2),
                   replace(silent, score=score)])  # fmt: skip
    assert cells(rows, "no cell graded proven or consistent is wrong")[1:3] == ["1", "10"]
    assert cells(rows, "no cell is harmed by the script")[1:3] == ["0", "10"]
    assert cells(rows, "no cell is harmed by the script")[3] == "30.0%"
    assert cells(rows, "any of these")[1:3] == ["1", "11"]


def test_probabilities_are_held_against_what_is_true() -> None:
    right = [line(seed, (0.95, True)) for seed in range(1, 10)]
    rows = reliability([*right, line(10, (0.95, False), (0.95, False))])
    assert "expected calibration error 0.132" in rows[0]  # 11 faults: 0.95 against 9/11
    assert "0.050 with each case weighing the same" in rows[0]
    assert "| 0.9-1.0 | 11 | 10 | 0.950 | 0.818 | 1 | 39.4% |" in rows
    assert "| missing-where | 0.90-0.99 | 11 | 10 | 0.950 | 0.818 | 1 | 39.4% |" in rows


def test_a_line_of_results_keeps_what_the_tables_need(tmp_path: Path) -> None:
    one = line(102, (0.95, True))
    append(tmp_path / "lines.jsonl", one)
    assert read(tmp_path / "lines.jsonl") == [one]
    assert "| missing-where | 1 | 0 | 0 | 1 of 1 | 1 | 1 | 1 of 1 | 0.750 | 0 | 0 |" in report(
        [one], "Made by hand."
    )
