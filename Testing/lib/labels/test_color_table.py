"""Color tables: the scheme as Slicer's CSV and back."""

import csv

import pytest

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.color_table import COLUMNS, read_color_table, write_color_table
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.schemes import ready_scheme, ready_schemes

HEADER = ",".join(COLUMNS)
# The header that vtkMRMLColorTableStorageNode of Slicer 5.12 writes; it knows nothing of ours.
SLICER_HEADER = ",".join(f'"{column}"' for column in COLUMNS if not column.startswith("SemiSeg_"))


def write(path, *rows, header="LabelValue,Name,Color_R,Color_G,Color_B"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ready_schemes())
def test_a_ready_scheme_survives_the_way_to_a_color_table_and_back(name, tmp_path):
    scheme = ready_scheme(name)
    write_color_table(scheme, tmp_path / f"{name}.csv")
    read, values = read_color_table(tmp_path / f"{name}.csv")
    assert read.name == name
    assert read.structures == scheme.structures
    assert {value: values[value] for value in range(len(scheme.leaves))} == dict(enumerate(scheme.leaf_names))
    assert sorted(values) == list(range(len(scheme.structures)))
    assert set(values.values()) == {s.name for s in scheme.structures}


def test_commas_accents_and_byte_order_marks_survive(tmp_path):
    structure = Structure(name="foie, côté gauche", color=(0.2, 0.4, 0.6), aliases=("a,b", "c"))
    scheme = LabelScheme(name="t", structures=(structure,))
    write_color_table(scheme, tmp_path / "t.csv")
    assert read_color_table(tmp_path / "t.csv")[0].structures == scheme.structures
    marked = tmp_path / "t2.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "t.csv").read_bytes())
    assert read_color_table(marked)[0].structures == scheme.structures


def test_colors_are_written_as_slicer_counts_them_and_background_is_transparent(tmp_path):
    scheme = LabelScheme(name="t", structures=(Structure(name="a", color=(1.0, 0.5, 0.0)),))
    write_color_table(scheme, tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    assert [rows[1][f"Color_{part}"] for part in "RGBA"] == ["255", "128", "0", "255"]
    assert rows[0]["Color_A"] == "0"


def test_a_table_written_by_slicer_gives_a_scheme_without_a_tree(tmp_path):
    path = write(
        tmp_path / "slicer.csv",
        '0,"Background",0,0,0,0,"","","","","","","","","","","","","","",""',
        '7,"liver",221,130,101,255,"SCT","123037004","Anatomical Structure","SCT","10200004","Liver"'
        + ',"","","","","","","","",""',
        '3,"artery",216,101,79,255,"","","","","","","","","","","","","","",""',
        header=SLICER_HEADER,
    )
    scheme, values = read_color_table(path)
    assert scheme.leaf_names == ("Background", "liver", "artery")
    assert values == {0: "Background", 7: "liver", 3: "artery"}
    assert scheme.find("liver").terminology.type.value == "10200004"
    assert scheme.find("artery").terminology is None


def test_a_table_without_background_takes_zero_for_it(tmp_path):
    assert read_color_table(write(tmp_path / "t.csv", "1,liver,1,2,3"))[1] == {0: "background", 1: "liver"}
    assert read_color_table(write(tmp_path / "u.csv", "0,liver,1,2,3"))[1] == {0: "liver"}


def test_rows_that_nobody_named_are_left_out(tmp_path):
    scheme, values = read_color_table(write(tmp_path / "t.csv", "1,(none),1,2,3", "2,,1,2,3", "3,liver,1,2,3"))
    assert scheme.leaf_names == ("background", "liver")
    assert values == {0: "background", 3: "liver"}


def test_a_table_without_colors_is_gray(tmp_path):
    scheme, _ = read_color_table(write(tmp_path / "t.csv", "1,liver", header="LabelValue,Name"))
    assert scheme.find("liver").color == (0.5, 0.5, 0.5)


DAMAGE = {
    "not a color table": (["1,2"], "a,b", "column LabelValue and the column Name is missing"),
    "a value used twice": (["1,a,0,0,0", "1,b,0,0,0"], None, "value 1 stands for 'a' and 'b'[^$]*t.csv, line 3"),
    "a value that is no number": (["one,a,0,0,0"], None, "LabelValue is 'one'"),
    "half a value": (["1.5,a,0,0,0"], None, "LabelValue is 1.5"),
    "a negative value": (["-1,a,0,0,0"], None, "LabelValue is -1"),
    "a color above its range": (["1,a,0,300,0"], None, "not between 0 and 255"),
    "a color that is no number": (["1,a,0,,0"], None, "Color_G is ''"),
    "a short row": (["1,a,0"], None, "Color_G is ''"),
    "half a code": (
        ["1,a,SCT,,Organ"],
        "LabelValue,Name,Type_CodingScheme,Type_CodeValue,Type_CodeMeaning",
        "Type has no coding scheme or no code value",
    ),
    "a type without a category": (
        ["1,a,SCT,1,Organ"],
        "LabelValue,Name,Type_CodingScheme,Type_CodeValue,Type_CodeMeaning",
        "needs both Category and Type",
    ),
    "an unknown parent": (["1,a,lver", "2,liver,"], "LabelValue,Name,SemiSeg_Parent", "did you mean 'liver'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table_is_refused(damage, tmp_path):
    rows, header, message = DAMAGE[damage]
    path = write(tmp_path / "t.csv", *rows, **({"header": header} if header else {}))
    with pytest.raises(LabelError, match=message):
        read_color_table(path)


def test_a_missing_file_and_a_picture_are_refused(tmp_path):
    with pytest.raises(LabelError, match="does not exist"):
        read_color_table(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(LabelError, match="not text"):
        read_color_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "structure", [Structure(name='the "liver"'), Structure(name="a\nb"), Structure(name="a", aliases=("b|c",))]
)
def test_what_slicer_would_lose_is_not_written(structure, tmp_path):
    with pytest.raises(LabelError, match="color table of Slicer cannot hold"):
        write_color_table(LabelScheme(name="t", structures=(structure,)), tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
