"""The page of a benchmark on a published data set: tables with spread, and differences with intervals."""

from collections.abc import Mapping
from typing import Any

from published import REDUCED, Benchmark, Part
from reporting import table

from SemiSegLib.comparison import DICE, HD95, ArmResult, Comparison, p_value_words
from SemiSegLib.evaluation.table import Column, Row, Table


def page(benchmark: Benchmark, found: Comparison, *, command: str, machine: Mapping[str, Any]) -> str:
    """Return the Markdown page."""
    settings = found.settings
    training = settings.training
    budget = f"{training.seconds:g} s" if training.steps is None else f"{training.steps} steps"
    seeds = "seed 0" if settings.seeds == 1 else f"seeds 0 to {settings.seeds - 1}"
    facts = {**benchmark.facts, "a training": f"{budget}, {seeds}"}
    packages = ", ".join(f"{package} {version}" for package, version in machine["packages"].items())
    parts = [f"# {benchmark.title}"]
    if benchmark.size:
        parts.append(f"**{REDUCED}**" if benchmark.size == "reduced" else "Published size.")
    parts.append("\n".join(f"- {name}: {words}" for name, words in facts.items()))
    for part in benchmark.parts:
        for largest in (False, True):
            results = _results_of(part, found, largest=largest)
            if results:
                parts.append(f"## {part.heading}{', largest piece of each structure' if largest else ''}")
                parts += [_table(part, results, found).to_markdown().strip(), *_gains(part, results, found)]
    stated = "; 'published' stands in the paper for its own test cases"
    parts.append(
        "Dice is the mean over the test cases, then mean ± standard deviation over seeds"
        f"{stated if any(_states_published(part) for part in benchmark.parts) else ''}. HD95 is in mm of the grid that "
        "the files state. Differences are those of the mean Dice, seeds averaged, with the 95 % interval of a paired "
        "bootstrap over the patients of the test side and the p-value of Wilcoxon's signed-rank test over them; behind "
        "them the difference of each seed."
    )
    parts.append(
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['system']}; Python "
        f"{machine['python']}, {packages}; commit {machine['commit']}."
    )
    parts.append(f"To repeat it: `{command}`. Runs that are finished are kept, others resumed.")
    return "\n\n".join(parts) + "\n"


def _results_of(part: Part, found: Comparison, *, largest: bool) -> dict[str, ArmResult]:
    """Return by key the results of a table's lines that are there."""
    known = {result.arm.name: result for result in found.results if result.largest_component is largest}
    names = {line.key: line.arm(fine).name for line, fine in part.lines}
    return {key: known[name] for key, name in names.items() if name in known}


def _states_published(part: Part) -> bool:
    return any(value is not None for line, _ in part.lines for value in (line.published, line.published_largest))


def _table(part: Part, results: Mapping[str, ArmResult], found: Comparison) -> Table:
    names = found.structures
    each = names if len(names) > 1 else ()
    columns = (
        *(Column(name=f"{name} Dice", best="high") for name in each),
        Column(name="Dice", best="high"),
        *((Column(name="published"),) if _states_published(part) else ()),
        Column(name="HD95", unit="mm", digits=2, best="low"),
        Column(name="steps", digits=0),
        Column(name="run", unit="s", digits=0),
    )
    rows = []
    for line, _ in part.lines:
        result = results.get(line.key)
        if result is not None:
            published = line.published_largest if result.largest_component else line.published
            cells = {
                **{f"{name} Dice": result.seed_means((name,), DICE) for name in each},
                "Dice": result.seed_means(names, DICE),
                **({} if published is None else {"published": [published]}),
                "HD95": result.seed_means(names, HD95),
                "steps": list(result.steps),
                "run": list(result.seconds),
            }
            rows.append(Row(line.title, cells))
    return Table("line", columns, tuple(rows))


def _gains(part: Part, results: Mapping[str, ArmResult], found: Comparison) -> list[str]:
    titles = {line.key: line.title for line, _ in part.lines}
    rows = [
        (
            titles[pair["line"]],
            titles[pair["rival"]],
            f"{pair['mean']:+.4f}",
            f"{pair['low']:+.4f} to {pair['high']:+.4f}",
            p_value_words(pair["p_value"]),
            ", ".join(f"{value:+.4f}" for value in pair["seeds"]),
        )
        for pair in _pairs(part, results, found)
    ]
    return [table(("line", "against", "difference", "95 % interval", "Wilcoxon p", "each seed"), rows)] if rows else []


def _pairs(part: Part, results: Mapping[str, ArmResult], found: Comparison) -> list[dict[str, Any]]:
    """Return each line against the lower bound, then each named pair, as numbers."""
    lower = part.lines[0][0].key
    keys = [(line.key, lower) for line, _ in part.lines if line.key != lower]
    pairs = []
    for key, rival in (*keys, *(pair for pair in part.pairs if pair not in keys)):
        if key in results and rival in results:
            gain = found.gain(results[key], results[rival])
            both = (results[name].seed_means(found.structures, DICE) for name in (key, rival))
            seeds = [own - other for own, other in zip(*both, strict=True)]
            pairs.append(
                {
                    "line": key,
                    "rival": rival,
                    "mean": gain.mean,
                    "low": gain.low,
                    "high": gain.high,
                    "patients": gain.count,
                    "p_value": found.test(results[key], results[rival]).p_value,
                    "seeds": seeds,
                }
            )
    return pairs


def numbers(part: Part, found: Comparison) -> dict[str, Any]:
    """Return tables and differences as numbers, by way of scoring."""
    data: dict[str, Any] = {"heading": part.heading}
    for name, largest in (("as_predicted", False), ("largest_piece", True)):
        results = _results_of(part, found, largest=largest)
        if results:
            shown = _table(part, results, found).to_json()
            data[name] = {"table": shown, "differences": _pairs(part, results, found)}
    return data
