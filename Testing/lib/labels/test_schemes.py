"""The schemes that come with SemiSeg, their codes, and where they are found."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from SemiSegLib.errors import ConfigError, LabelError
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology
from SemiSegLib.labels.schemes import (
    fitting_scheme,
    read_scheme,
    ready_scheme,
    ready_schemes,
    resource_folder,
    write_scheme,
)
from SemiSegLib.labels.terminology import from_slicer_string, to_slicer_string

ROOT = Path(__file__).resolve().parents[3]
STRUCTURES = [(name, s) for name in ready_schemes() for s in ready_scheme(name).structures]
CODED = [(name, s) for name, s in STRUCTURES if s.terminology is not None]


def test_the_ready_schemes_are_there():
    assert ready_schemes() == ("abdomen", "brain_tumor", "cardiac", "hippocampus", "left_atrium")


LEAVES = {
    "abdomen": (
        *("background", "liver parenchyma", "liver tumor", "hepatic vessel", "hepatic vessel tumor"),
        *("kidney parenchyma", "kidney tumor", "pancreas parenchyma", "pancreas tumor"),
        *("colon tumor", "lung tumor", "spleen"),
    ),
    "brain_tumor": ("background", "edema", "necrotic core", "enhancing tumor"),
    "cardiac": ("background", "RV", "MYO", "LV"),
    "hippocampus": ("background", "anterior", "posterior"),
    "left_atrium": ("background", "left atrium"),
}
SUPERCLASSES = {
    "abdomen": ("background", "liver", "kidney", "pancreas", "colon tumor", "lung tumor", "spleen"),
    "brain_tumor": ("background", "whole tumor"),
    "cardiac": ("background", "heart"),
    "hippocampus": ("background", "hippocampus"),
    "left_atrium": ("background", "left atrium"),
}


@pytest.mark.parametrize("name", LEAVES)
def test_a_ready_scheme_has_its_leaves_and_superclasses(name):
    scheme = ready_scheme(name)
    assert scheme.name == name
    assert scheme.leaf_names == LEAVES[name]
    assert scheme.superclass_names == SUPERCLASSES[name]
    assert scheme.description
    assert scheme.source


def test_the_regions_of_brats_are_nested():
    scheme = ready_scheme("brain_tumor")
    assert scheme.leaves_of("ET") < scheme.leaves_of("TC") < scheme.leaves_of("WT")


# What public files call these structures: MSD, nnU-Net and challenge label lists.
FILE_NAMES = {
    "hippocampus": ["Anterior", "Posterior"],
    "cardiac": ["RV", "MLV", "LVC", "myocardium", "right ventricle"],
    "left_atrium": ["left atrium", "LA"],
    "brain_tumor": ["edema", "non-enhancing tumor", "enhancing tumour", "NCR", "ED", "ET", "WT", "TC", "whole tumor"],
    "abdomen": ["liver", "kidneys", "kidney", "Vessel", "pancreas", "colon cancer primaries", "spleen", "HV tumor"],
}


@pytest.mark.parametrize(("scheme", "name"), [(s, n) for s, names in FILE_NAMES.items() for n in names])
def test_names_of_public_files_are_understood(scheme, name):
    assert ready_scheme(scheme).match(name) is not None


@pytest.mark.parametrize(("scheme", "structure"), CODED, ids=[f"{n}:{s.name}" for n, s in CODED])
def test_the_codes_of_a_structure_lead_back_to_it(scheme, structure):
    read = from_slicer_string(to_slicer_string(structure.terminology))
    assert read == structure.terminology
    # The two tumors of the liver have the same code, so their names decide.
    name = structure.name if structure.name in ("liver tumor", "hepatic vessel tumor") else "named otherwise"
    assert ready_scheme(scheme).match(name, read) == structure


# Type codes as in Slicer's lists and the DICOM context groups 7140 to 7168 and 12305, looked up one by one.
CODES = {
    "hippocampus": "5366008",
    "anterior": "5366008",
    "posterior": "5366008",
    "heart": "80891009",
    "RV": "53085002",
    "MYO": "49848007",
    "LV": "87878005",
    "left atrium": "82471001",
    "edema": "79654002",
    "necrotic core": "6574001",
    "enhancing tumor": "C113842",
    "liver": "10200004",
    "kidney": "64033007",
    "pancreas": "15776009",
    "spleen": "78961009",
    "liver tumor": "108369006",
    "hepatic vessel tumor": "108369006",
    "kidney tumor": "108369006",
    "colon tumor": "108369006",
    "lung tumor": "108369006",
    "pancreas tumor": "4147007",
    "hepatic vessel": "59820001",
}


def test_codes_stay_what_was_looked_up():
    found = {s.name: s.terminology.type.value for _, s in STRUCTURES if s.terminology is not None}
    assert found == CODES


def verhoeff_is_valid(number):
    """SNOMED CT identifiers end in a check digit of the dihedral group D5."""

    def multiply(a, b):
        rotation = (a + b if a < 5 else a - b) % 5
        return rotation + 5 * ((a >= 5) != (b >= 5))

    shuffle = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place):
            value = shuffle[value]
        check = multiply(check, value)
    return check == 0


def test_the_check_digit_rule_tells_right_from_wrong():
    assert verhoeff_is_valid("80891009")
    assert not verhoeff_is_valid("80891008")
    assert not verhoeff_is_valid("80819009")


def test_every_snomed_code_has_a_valid_check_digit():
    codes = [
        code
        for _, s in STRUCTURES
        if s.terminology
        for code in (
            *(s.terminology.category, s.terminology.type, s.terminology.type_modifier),
            *(s.terminology.region, s.terminology.region_modifier),
        )
        if code is not None and code.scheme == "SCT"
    ]
    assert len(codes) > 40
    assert [code for code in codes if not verhoeff_is_valid(code.value)] == []


def test_leaves_of_a_scheme_have_different_colors():
    for name in ready_schemes():
        colors = [leaf.color for leaf in ready_scheme(name).leaves]
        assert len(set(colors)) == len(colors), name


def test_the_terminology_file_offers_every_coded_structure():
    document = json.loads((resource_folder("terminology") / "SemiSeg.term.json").read_text(encoding="utf-8"))
    offered = set()
    for category in document["SegmentationCodes"]["Category"]:
        for kind in category["Type"]:
            for modifier in [None, *kind.get("Modifier", [])]:
                codes = (category, kind, modifier)
                offered.add(tuple(c and (c["CodingSchemeDesignator"], c["CodeValue"], c["CodeMeaning"]) for c in codes))
    for _, structure in STRUCTURES:
        t = structure.terminology
        if t is not None:
            codes = (t.category, t.type, t.type_modifier)
            assert tuple(c and (c.scheme, c.value, c.meaning) for c in codes) in offered, structure.name


def test_an_unknown_ready_scheme_is_answered_with_the_nearest():
    with pytest.raises(LabelError, match="did you mean 'hippocampus'"):
        ready_scheme("hipocampus")


def test_a_scheme_survives_the_way_to_a_file_and_back(tmp_path):
    code = Code(scheme="SCT", value="10200004", meaning="Liver")
    scheme = LabelScheme(
        name="Leber",
        description="größer",
        structures=(
            Structure(name="liver", color=(0.1, 0.0, 1.0), terminology=Terminology(category=code, type=code)),
            Structure(name="vein", parent="liver", aliases=("Vene",)),
        ),
    )
    write_scheme(scheme, tmp_path / "s.json")
    assert read_scheme(tmp_path / "s.json") == scheme
    assert "null" not in (tmp_path / "s.json").read_text(encoding="utf-8")


def test_a_misspelled_key_is_answered_with_the_nearest(tmp_path):
    (tmp_path / "s.json").write_text('{"name": "x", "structures": [{"name": "a", "colour": [0, 0, 0]}]}')
    with pytest.raises(ConfigError, match=r"'colour' is not a setting of Structure[^$]*did you mean 'color'") as caught:
        read_scheme(tmp_path / "s.json")
    assert "s.json.structures[0]" in str(caught.value)


def test_a_copy_of_the_package_finds_its_resources_inside_first(tmp_path):
    package = tmp_path / "site-packages" / "SemiSegLib"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "SemiSegLib" / "labels", package / "labels", ignore=ignore)
    for name in ("__init__.py", "errors.py", "config.py"):
        shutil.copy(ROOT / "SemiSegLib" / name, package / name)
    (tmp_path / "site-packages" / "Resources" / "schemes").mkdir(parents=True)
    code = "from SemiSegLib.labels.schemes import *; print(resource_folder(), ready_schemes())"

    def ask():
        return subprocess.run(
            [sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, check=True
        ).stdout

    assert ask().strip() == f"{package.parent / 'Resources' / 'schemes'} ()"
    shutil.copytree(ROOT / "Resources" / "schemes", package / "Resources" / "schemes")
    assert str(package / "Resources" / "schemes") in ask()
    assert "'cardiac'" in ask()


def test_the_wheel_holds_every_room_and_the_resources():
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    rooms = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "SemiSegLib").rglob("__init__.py")}
    assert set(settings["packages"]) == {"SemiSegLib.Resources"} | rooms
    assert settings["package-dir"] == {"SemiSegLib.Resources": "Resources"}
    patterns = settings["package-data"]["SemiSegLib.Resources"]
    data = [p for p in (ROOT / "Resources").rglob("*.json") if "Documentation" not in p.parts]
    packed = {p for pattern in patterns for p in (ROOT / "Resources").glob(pattern)}
    assert set(data) <= packed


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Anterior", "posterior"), "hippocampus"),
        (("hippocampus", "Posterior"), "hippocampus"),
        # Without a part nothing is to be said of what is part of what.
        (("hippocampus",), None),
        (("anterior", "posterior", "amygdala"), None),
    ],
)
def test_the_ready_scheme_that_fits_is_the_one_with_every_name_and_a_part_among_them(names, expected):
    scheme = LabelScheme(name="scene", structures=tuple(Structure(name=name) for name in names))
    assert fitting_scheme(scheme) == expected


def test_no_ready_scheme_is_offered_in_place_of_one_that_has_parts_already():
    assert fitting_scheme(ready_scheme("hippocampus")) is None
