"""The pages about methods say what the cards say: every method, option, default, range and preset, and no other."""

import re
from pathlib import Path

import pytest

from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.recommend import FEW_CASES, MOST_PER_OTHER, RULES

ROOT = Path(__file__).resolve().parents[3]
INDEX = ROOT / "Resources" / "Documentation" / "methods.md"
PAGES = sorted((INDEX.parent / "methods").glob("*.md"))
TITLE = re.compile(r"^## .*`(\w+)`$")
NAMES = {card.name for card in CARDS}
every_card = pytest.mark.parametrize("card", CARDS, ids=[card.name for card in CARDS])


def sections(path):
    """Name of a method to the lines of its section; the rest of the page under ""."""
    found, name = {"": []}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            title = TITLE.match(line)
            name = title[1] if title else ""
            found.setdefault(name, [])
        found[name].append(line)
    return found


SECTIONS = {path.stem: sections(path) for path in PAGES}
SHARED = sections(INDEX)[""]


def section_of(name):
    return next(page[name] for page in SECTIONS.values() if name in page)


def first_cells(lines):
    """The first cell of every table row that begins with a name, to the row."""
    rows = (re.match(r"\| `(\w+)` \|", line) for line in lines)
    return {row[1]: row.string for row in rows if row}


def shown(value):
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def row_of(option):
    if option.choices:
        values = ", ".join(f"`{choice}`" for choice in option.choices)
    elif isinstance(option.default, bool):
        values = "`true`, `false`"
    else:
        values = f"{shown(option.low)} to {shown(option.high)}"
    return f"| `{option.name}` | `{shown(option.default)}` | {values} | {option.text} |"


def test_every_method_has_one_section_and_every_section_a_method():
    described = [name for page in SECTIONS.values() for name in page if name]
    assert sorted(described) == sorted(NAMES)


def test_the_index_sends_each_method_to_its_page_and_the_front_page_to_the_index():
    text = INDEX.read_text(encoding="utf-8")
    for path in PAGES:
        line = next(line for line in text.splitlines() if f"(methods/{path.name})" in line)
        assert re.findall(r"`(\w+)`", line) == [name for name in SECTIONS[path.stem] if name]
    assert "(Resources/Documentation/methods.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@every_card
def test_every_option_stands_on_the_page_as_the_card_has_it(card):
    own = section_of(card.name)
    rows = first_cells(SHARED)
    for base in re.findall(r"those of `(\w+)`", "\n".join(own)):
        rows |= first_cells(section_of(base))
    rows |= first_cells(own)
    for option in card.options:
        assert rows.get(option.name) == row_of(option)


@every_card
def test_a_section_names_no_option_or_preset_that_the_method_lacks(card):
    known = {option.name for option in card.options} | set(card.presets)
    assert set(first_cells(section_of(card.name))) - NAMES <= known


@every_card
def test_every_preset_is_explained(card):
    rows = first_cells(section_of(card.name))
    for preset in card.presets:
        assert len(rows[preset].split("|")[2].split()) > 3, preset


@every_card
def test_a_section_has_an_equation_a_use_a_limit_and_a_cost(card):
    text = "\n".join(section_of(card.name))
    assert text.count("```math") == 1
    for words in ("**Options:**", "**Use it**", "**It cannot**", "**A step**"):
        assert words in text


def test_the_index_tells_the_rules_of_the_recommendation_in_their_order():
    lines = INDEX.read_text(encoding="utf-8").splitlines()
    start = lines.index("| training cases | recommended | alternatives |") + 2
    told = [re.findall(r"`(\w+)`", line) for line in lines[start : start + len(RULES)]]
    assert told == [[rule.method, *rule.alternatives] for rule in RULES]
    assert not lines[start + len(RULES)]
    assert f"more than {MOST_PER_OTHER} complete ones" in "\n".join(lines)
    assert f"fewer than {FEW_CASES} complete" in "\n".join(lines)


@pytest.mark.parametrize("path", [INDEX, *PAGES], ids=lambda path: path.stem)
def test_links_lead_to_files_that_exist(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_every_page_tells_what_was_measured(path):
    text = path.read_text(encoding="utf-8")
    assert "\n## Measured\n" in text or re.search(r"what was measured\]\(\.\./\w+\.md\)", text)
