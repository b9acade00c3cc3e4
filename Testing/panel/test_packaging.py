"""What a built extension holds: every file of the module and the library, found by CMake, and a valid catalog entry."""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from SemiSegModule import dependencies

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "SemiSegExtension"
# What slicerMacroBuildScriptedModule and ctkMacroCompilePythonScript do with their lists, without Slicer: a file
# that is listed and not there stops the configuration, the others are installed below the module folder.
STAND_IN = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Nothing.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
"""
USE_FILE = """
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(MY "NO_INSTALL_SUBDIR" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR"
    "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown arguments: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${MY_SOURCE_DIR}/${file})
      message(FATAL_ERROR "listed and not there: ${file}")
    endif()
    get_filename_component(folder ${file} DIRECTORY)
    install(FILES ${MY_SOURCE_DIR}/${file} DESTINATION ${MY_INSTALL_DIR}/${folder})
  endforeach()
endfunction()
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  ctkMacroCompilePythonScript(TARGET_NAME ${MY_NAME} SCRIPTS ${MY_SCRIPTS} RESOURCES ${MY_RESOURCES}
    SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR} INSTALL_DIR ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR} NO_INSTALL_SUBDIR)
endfunction()
function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "test not there: ${MY_SCRIPT}")
  endif()
endfunction()
"""


def listed(variable):
    text = (EXTENSION / "CMakeLists.txt").read_text(encoding="utf-8")
    body = re.search(rf"set\({variable}\n(.*?)\n  \)", text, re.DOTALL).group(1)
    return {line.strip().replace("${MODULE_NAME}", "SemiSeg") for line in body.splitlines()}


def files(folder, *endings):
    found = {path.relative_to(folder).as_posix() for ending in endings for path in folder.rglob(f"*{ending}")}
    return {name for name in found if "__pycache__" not in name}


def test_every_script_of_the_module_is_listed_and_no_other():
    assert listed("MODULE_PYTHON_SCRIPTS") == files(EXTENSION, ".py")


def test_every_resource_of_the_module_is_listed_and_no_other():
    there = {path.relative_to(EXTENSION).as_posix() for path in (EXTENSION / "Resources").rglob("*") if path.is_file()}
    assert listed("MODULE_PYTHON_RESOURCES") == there


def packaged_resources():
    """What the library reads: what pip packages of Resources, and all of it but the documentation."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    patterns = re.findall(
        r'"([^"]+)"', re.search(r'^"SemiSegLib.Resources" = \[(.*)\]', project, re.MULTILINE).group(1)
    )
    found = {
        path.relative_to(ROOT / "Resources").as_posix() for each in patterns for path in (ROOT / "Resources").glob(each)
    }
    everything = files(ROOT / "Resources", ".json")
    assert found == {name for name in everything if not name.startswith("Documentation/")}
    return found


def test_every_pattern_of_resources_finds_a_file_and_none_the_documentation():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    patterns = re.findall(r"^  Resources/(\S+)$", cmake, re.MULTILINE)
    found = [
        {path.relative_to(ROOT / "Resources").as_posix() for path in (ROOT / "Resources").glob(p)} for p in patterns
    ]
    assert all(found)
    assert set().union(*found) == packaged_resources()
    assert "GLOB SEMISEGLIB_RESOURCES" in cmake, "GLOB_RECURSE takes the documentation too"


@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="cmake or a compiler is not installed"
)
def test_the_installed_extension_holds_module_library_and_schemes(tmp_path):
    (tmp_path / "slicer").mkdir()
    (tmp_path / "slicer/SlicerConfig.cmake").write_text(STAND_IN)
    (tmp_path / "slicer/UseSlicer.cmake").write_text(USE_FILE)
    (tmp_path / "slicer/Nothing.cmake").write_text("")
    build, installed = tmp_path / "build", tmp_path / "installed"
    configure = ["cmake", "-S", ROOT, "-B", build, f"-DSlicer_DIR={tmp_path / 'slicer'}", "-DBUILD_TESTING=ON"]
    for command in (configure, ["cmake", "--install", build, "--prefix", installed]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    modules = installed / "lib/Slicer-5.12/qt-scripted-modules"
    assert files(modules / "SemiSegLib", ".py") == files(ROOT / "SemiSegLib", ".py")
    assert files(modules / "SemiSegModule", ".py") == files(EXTENSION / "SemiSegModule", ".py")
    assert (modules / "SemiSeg.py").is_file()
    assert (modules / "Resources/UI/SemiSeg.ui").is_file()
    assert (modules / "Resources/Icons/SemiSeg.png").is_file()
    assert files(modules / "Resources", ".json") == packaged_resources()
    assert not (modules / "Resources/Documentation").exists()


def test_files_named_in_the_catalog_have_unix_line_ends():
    for name in ("SemiSeg.json", "CMakeLists.txt", "SemiSegExtension/CMakeLists.txt"):
        assert b"\r" not in (ROOT / name).read_bytes()


def test_the_icon_is_a_png_of_128_pixels():
    header = (EXTENSION / "Resources/Icons/SemiSeg.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (128, 128)


def test_what_the_module_installs_for_texts_is_the_extra_of_the_library():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^text = \[(.*)\]", project, re.MULTILINE).group(1)
    assert dependencies.textRequirements() == re.findall(r'"([^"]+)"', listed)


def test_what_the_module_installs_is_what_the_library_needs_besides_torch_and_numpy():
    wanted = set(dependencies.requirements())
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.DOTALL | re.MULTILINE).group(1)
    needed = set(re.findall(r'"([^"]+)"', block))
    names = {re.split(r"[><=]", requirement)[0] for requirement in needed - wanted}
    assert names == {"torch", "numpy"}
