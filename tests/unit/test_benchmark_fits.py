"""The figures of the benchmarks' pages: lines through points, and what is put between the markers of a page."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.curves import curves
from benchmarks.scaling import Costs, fit, most, write
from benchmarks.scaling_sweeps import Found, Length, Log, Point
from benchmarks.soak_watch import halves, slope

ROOT = Path(__file__).resolve().parents[2]
MEASURED = "<!-- measured: "


def point(size: float, cores: float, *, keeps_up: bool = True) -> Point:
    return Point(
        size=size,
        server=cores,
        postgres=cores / 2,
        tokens=size * 50,
        p50=5,
        p99=9,
        memory=90 + size,
        wal=100,
        keeps_up=keeps_up,
    )


def found() -> Found:
    """Costs that are lines; the last turns did not fit into the machine."""
    line = [point(size, 0.1 + 0.01 * size) for size in (1, 10, 20)]
    return Found(
        turns=[*line, point(100, 0.5, keeps_up=False)],
        rates=[point(rate, 0.004 * rate) for rate in (20, 50, 100)],
        readers=line,
        processes=line,
        threads=[Length(size, 10, 5, 1, 3) for size in (2, 100, 200, 1000)],
        chats=[Length(size, 10, 5, 1, 3 + 2 * size) for size in (2, 100, 200, 1000)],
        idle=20_480,
        log=Log(turns=10, tokens=1000, rows=500, bytes=102_400, prune=0.5),
    )


def test_a_line_is_found_again() -> None:
    line = fit([(size, 3 + 0.5 * size) for size in (0, 1, 5, 9)])
    assert (line.fixed, line.each, line.explained) == pytest.approx((3, 0.5, 1))
    assert most(13, line) == pytest.approx(20)
    assert math.isnan(most(13, fit([(0, 1), (1, 1)])))


def test_a_size_that_the_machine_did_not_bear_is_not_fitted() -> None:
    costs = Costs(found())
    assert costs.server.each == pytest.approx(0.01)
    assert costs.turns_a_core(50) == 20, "the most that were borne: the line would say 60"
    assert costs.turns_a_core(100) == pytest.approx(10)
    assert costs.postgres_of_a_process() == pytest.approx(0.2)  # at the highest rate; with a hundred turns it was full
    assert costs.turns_a_postgres(2, 50) == pytest.approx(1.4 // 0.2 * 20)  # so many processes, each with its twenty


def test_a_core_is_full_where_its_line_says_so() -> None:
    costs = Costs(replace(found(), turns=[point(size, 0.1 + 0.01 * size) for size in (1, 10, 80)]))
    assert costs.turns_a_core(50) == pytest.approx(60)  # 0.7 of a core, 0.1 of it fixed


def test_what_no_line_explains_is_told_as_an_average() -> None:
    level = fit([(1, 0.2), (2, 0.1), (3, 0.2), (4, 0.1), (5, 0.2)])
    assert level.explained < 0.1
    assert [figure for _, figure in level.line([5])] == pytest.approx([0.16, 0.16])


def test_a_leak_is_a_slope_and_noise_is_its_error() -> None:
    leak = slope([(second, 100 + second / 360) for second in range(0, 3600, 10)])
    assert leak.per_hour == pytest.approx(10)
    assert leak.error < 0.01
    noise = slope([(second, 100 + (second // 300 % 2)) for second in range(0, 3600, 10)])
    assert abs(noise.per_hour) < 2 * noise.error
    assert slope([(0, 1), (1, 5)]).error == math.inf
    assert halves([1, 1, 9, 2, 2, 2]) == (1, 2)


def test_a_page_keeps_its_words_and_gets_its_figures(tmp_path: Path) -> None:
    page = tmp_path / "scaling.md"
    page.write_text((ROOT / "docs" / "scaling.md").read_text())
    costs = Costs(found())
    write(page, costs, "on a machine")
    once = page.read_text()
    assert "on a machine" in once
    assert "| 100 | 5,000 (full) | 0.500 |" in once
    assert "**Partition the log**" in once
    write(page, costs, "on a machine")
    assert page.read_text() == once
    for name in ("turns", "rates", "readers", "history", "processes"):
        assert f"(scaling/{name}.svg)" in once
        ElementTree.fromstring((tmp_path / "scaling" / f"{name}.svg").read_text())
    page.write_text(once.replace(MEASURED + "log", MEASURED + "nothing"))
    with pytest.raises(ValueError, match="no marker for log"):
        write(page, costs, "on a machine")


def test_a_picture_holds_what_it_is_given() -> None:
    told = curves("A & B", "turns", {"server": [(0, 0), (10, 4.2)]}, dots={"server": [(10, 4)]}, marks=[5])
    picture = ElementTree.fromstring(told)
    words = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A & B", "turns", "server", "10", "5"} <= set(words)
    (dot,) = picture.iter("{http://www.w3.org/2000/svg}circle")
    assert float(dot.attrib["cx"]) == pytest.approx(740)
