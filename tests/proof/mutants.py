"""Change the code in one place at a time, and see whether a test notices: ``python -m tests.proof.mutants [--number N]
[fold store writer]``; ``make mutants``.

Of each target's mutants some are tried, which a seed draws: the same ones each time, as long as the code is the same.
One that all of the tests let pass has survived: what it changes is tried by nothing, or is not needed. The outcome is
written into docs/proof-mutants.md; that of some targets is printed, or written where ``--page`` says.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tqdm import tqdm

from tests.proof.__main__ import git, hand_on
from tests.proof.mutated import Run, prepare, run_all
from tests.proof.mutators import ROOT, Mutant, mutants_of

TABLE = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())
EQUIVALENT = {(one["path"], line): one["why"] for one in TABLE.pop("equivalent") for line in one["becomes"]}
TOLD = """# Mutants

Written by `make mutants`, which changes the code in one place at a time and runs the tests that stand nearest to it
(`tests/proof/mutants.toml`): operators, numbers, conditions, loops, and in SQL conditions, locks, orders, conflicts and
assignments (`tests/proof/mutators.py`). {drawn}, commit {commit}, {minutes} minutes on {cores} cores.{broken}

| target | mutants | tried | killed | survived | |
|---|---|---|---|---|---|
"""
# Seconds that tests may take beyond three times of what they take without a mutant.
PATIENCE = 30


@dataclass
class Target:
    """Files with the tests of each, how many mutants they have, which of them are tried, and what came of those."""

    name: str
    tests: dict[str, tuple[str, ...]]
    there: int
    mutants: list[Mutant]
    equivalent: list[Mutant]
    survived: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        return len(self.survived) / len(self.mutants) if self.mutants else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="target", help=f"only these of {', '.join(TABLE)}")
    parser.add_argument("--number", default="100", help="how many of each target, or `all`")
    parser.add_argument("--seed", default="1", help="draws others")
    parser.add_argument("--only", default="", help="those of files whose path holds this")
    parser.add_argument("--page", type=Path, help="where the table goes; that of all targets: docs/proof-mutants.md")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="how many are tried at a time")
    chosen = parser.parse_args()
    os.environ.setdefault("TEST_POSTGRES", "mutants")
    begun = time.monotonic()
    targets = [drawn(name, chosen.number, chosen.seed, chosen.only) for name in chosen.targets or TABLE]
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        seconds, broken = without_mutants(targets, chosen.at_once, Path(folder))
        for target in targets:
            attempt(target, seconds, broken, chosen.at_once, Path(folder))
    about = {
        "drawn": "All of them" if chosen.number == "all" else f"{chosen.number} of each target, seed {chosen.seed}",
        "commit": git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else ""),
        "cores": str(os.cpu_count()),
        "broken": f" Left out, since they failed without a mutant: {', '.join(broken)}." if broken else "",
        "minutes": f"{(time.monotonic() - begun) / 60:.0f}",
    }
    whole = not (chosen.targets or chosen.only)
    hand_on(page(targets, about), chosen.page or (ROOT / "docs" / "proof-mutants.md" if whole else None))
    return 0 if all(target.share < 0.1 for target in targets) else 1


def drawn(name: str, number: str, seed: str, only: str) -> Target:
    """A target with those of its mutants that are to be tried: those whose hashes are the smallest, so that a change of
    the code draws few others.
    """
    tests = {path: tuple(nearest) for path, nearest in TABLE[name].items() if only in path}
    there = [mutant for path in tests for mutant in mutants_of(path)]
    there.sort(key=lambda mutant: sha256(f"{seed} {mutant}".encode()).digest())
    some = [mutant for mutant in (there if number == "all" else there[: int(number)]) if is_python(mutant.source)]
    equivalent = [mutant for mutant in some if (mutant.path, mutant.change[1]) in EQUIVALENT]
    return Target(name, tests, len(there), [mutant for mutant in some if mutant not in equivalent], equivalent)


def is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def without_mutants(targets: Iterable[Target], at_once: int, folder: Path) -> tuple[dict[str, float], list[str]]:
    """The seconds that each file of tests takes, and which tests fail as it is: on a busy machine, those of time."""
    files = {test for target in targets for mutant in target.mutants for test in target.tests[mutant.path]}
    seconds, broken = {}, []
    runs = [Run((test,), limit=1800) for test in sorted(files)]
    for run, ran in tqdm(run_all(runs, at_once, folder), total=len(runs), desc="as it is"):
        seconds[run.tests[0]] = ran.seconds
        if not ran.passed:
            broken += ran.failed
    if broken:
        print("These fail without a mutant, and are left out:", *broken, sep="\n")
    return seconds, broken


def attempt(target: Target, seconds: dict[str, float], broken: list[str], at_once: int, folder: Path) -> None:
    """Try the mutants of a target, and note which survive."""
    runs = []
    for mutant in target.mutants:
        tests = target.tests[mutant.path]
        runs.append(Run(tests, PATIENCE + 3 * sum(seconds[test] for test in tests), mutant, tuple(broken)))
    for run, ran in tqdm(run_all(runs, at_once, folder), total=len(runs), desc=target.name):
        assert run.mutant
        came = "SURVIVED" if ran.passed else f"killed by {ran.failed[0]}"
        tqdm.write(f"{described(run.mutant)}: {came}, {ran.seconds:.0f} s")
        if ran.passed:
            target.survived.append(run.mutant)


def described(mutant: Mutant) -> str:
    before, after = mutant.change
    return f"{mutant.path}:{mutant.line} {mutant.operator}: `{before}` becomes `{after}`"


def page(targets: Sequence[Target], about: dict[str, str]) -> str:
    """The outcome as Markdown. ``about`` is what ``TOLD`` names."""
    lines = [TOLD.format(**about) + "".join(row(target) for target in targets)]
    lines += ["## Survivors", "", "What they change is tried by no test of those that stand nearest.", ""]
    lines += [f"- {described(mutant)}" for target in targets for mutant in target.survived] or ["None."]
    lines += ["", "## Equivalent", "", "No test can tell them from the code; they are not counted.", ""]
    lines += [
        f"- {described(mutant)}: {EQUIVALENT[mutant.path, mutant.change[1]]}"
        for target in targets
        for mutant in target.equivalent
    ] or ["None."]
    return "\n".join(lines) + "\n"


def row(target: Target) -> str:
    tried, survived = len(target.mutants), len(target.survived)
    return f"| {target.name} | {target.there:,} | {tried} | {tried - survived} | {survived} | {target.share:.0%} |\n"


if __name__ == "__main__":
    sys.exit(main())
