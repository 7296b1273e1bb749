"""Part one of the evidence: closed forms and published tables, within stated tolerances."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from lob.errors import InvalidInput
from touchstone.fidelity.evidence import Cell, Check, Evidence, Table
from touchstone.fidelity.reference_cases import CaseResult, evaluate
from touchstone.fidelity.reference_crosschecks import CrossCheck, cross_checks
from touchstone.fidelity.reference_published import PUBLISHED

FILE: Final = "reference_cases.json"
"""The name of the file of reference cases in a data folder."""

_SIZE_MAX: Final = 16 << 20


def measure(data_dir: Path | None, *, progress: Callable[[str], None], seed: int = 0) -> Evidence:
    """Evaluate the published figures, the folder's cases where it has any, and cross-checks.

    Raises:
        InvalidInput: the folder's file of cases cannot be read.
    """
    published = [evaluate(case, data_dir) for case in PUBLISHED]
    given = []
    for case in read_cases(data_dir):
        progress(f"reference case {case.get('id', '?')}")
        given.append(evaluate(case, data_dir))
    progress("closed forms against other ways to compute them")
    crossed = cross_checks(seed)
    checks = [_check(result) for result in (*published, *given)]
    checks += [
        Check(f"two ways: {one.name}", one.difference, f"at most {one.tolerance:g}", one.holds)
        for one in crossed
    ]
    tables = [_table("Published figures that go with the project", published)]
    if given:
        tables.append(_table(f"Cases of the data folder's {FILE}", given))
    tables.append(_crossed(crossed))
    return Evidence(
        "reference",
        "Closed forms and published tables",
        _TEXT,
        tuple(checks),
        tuple(tables),
    )


def read_cases(data_dir: Path | None) -> list[dict[str, Any]]:
    """Return the cases of the folder's file; none where there is no folder or no such file."""
    path = None if data_dir is None else data_dir / FILE
    if path is None or not path.is_file():
        return []
    if path.stat().st_size > _SIZE_MAX:
        raise InvalidInput(f"{FILE}: {path.stat().st_size} bytes; allowed: at most {_SIZE_MAX}")
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{FILE}: cannot be read as reference cases: {error}") from None
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise InvalidInput(f"{FILE}: cases: allowed: a list of objects")
    return cases


def _check(result: CaseResult) -> Check:
    if result.not_evaluated or not result.values:
        why = result.not_evaluated or "it holds no figure"
        return Check(f"case {result.id}", f"not evaluated: {why}", "evaluated", holds=False)
    worst = result.worst
    return Check(
        f"case {result.id}: {len(result.values)} figures",
        worst.measured,
        f"{worst.expected:g} for {worst.name}, within {result.tolerance:g}",
        result.holds,
    )


def _table(title: str, results: Sequence[CaseResult]) -> Table:
    rows = []
    for result in results:
        shown: tuple[Cell, ...] = (result.not_evaluated or "no figure", "-", "-")
        if result.values:
            worst = result.worst
            shown = (worst.name, worst.measured, worst.expected)
        rows.append(
            (
                result.id,
                len(result.values),
                *shown,
                result.tolerance,
                "yes" if result.holds else "no",
                result.source,
            )
        )
    columns = (
        "case",
        "figures",
        "furthest off",
        "measured",
        "expected",
        "tolerance",
        "holds",
        "source",
    )
    return Table(title, columns, tuple(rows))


def _crossed(found: Sequence[CrossCheck]) -> Table:
    return Table(
        "The same figure by two ways",
        ("what", "against", "difference", "tolerance", "holds"),
        tuple(
            (one.name, one.against, one.difference, one.tolerance, "yes" if one.holds else "no")
            for one in found
        ),
    )


_TEXT: Final = (
    "Each case is answered by the public functions of the project and compared with the figure "
    "that the paper prints, or that follows from its formula. The tolerance is absolute; where "
    "a file states rounded figures, half a unit of their last digit comes on top. The figure "
    "furthest off is shown. A case of a family that nothing here evaluates is shown as not "
    "evaluated and does not hold. Limits: a table that agrees says that the formula is computed "
    "correctly, not that markets follow it.\n\nOf Cont, Stoikov and Talreja's tables, 3 and 5 are "
    "reproduced. Table 4 is headed 'probability of executing a bid order before a change in "
    "mid-price', yet what it prints is, in all 25 cells, one less the probability of "
    "Proposition 5 with the sides exchanged: the chance that the b bids are used up before an "
    "order that is last of the a asks trades. It is compared as that; the probability of its "
    "title is `bid_fill_probability`, which the simulation through the book confirms."
)
