"""Requirement files are read as pip reads them, and each line knows where it was written."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import requirements
from gluonts_shell.sagemaker.code.requirements import Requirements
from tests.local_wheels import write


def read(folder: Path, name: str = "requirements.txt") -> Requirements:
    found = Requirements()
    found.read(folder / name, name, folder)
    return found


@pytest.mark.parametrize(
    "data",
    [
        "größe==1\nnumpy\n".encode(),
        codecs.BOM_UTF8 + "größe==1\nnumpy\n".encode(),
        codecs.BOM_UTF16_LE
        + "größe==1\r\nnumpy\r\n".encode("utf-16-le"),  # PowerShell's pip freeze >
        codecs.BOM_UTF16_BE + "größe==1\nnumpy\n".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "größe==1\nnumpy\n".encode("utf-32-le"),
        b"# -*- coding: latin-1 -*-\n" + "größe==1\nnumpy\n".encode("latin-1"),
    ],
)
def test_encodings(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "requirements.txt").write_bytes(data)
    assert read(tmp_path).texts() == ["größe==1", "numpy"]


def test_the_locale_is_the_last_to_be_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_bytes("größe==1\n".encode("cp1252"))
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "cp1252")
    assert read(tmp_path).texts() == ["größe==1"]
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "ascii")
    with pytest.raises(
        CodeChannelError, match=r"'requirements.txt' cannot be read as ascii: .* write it in UTF-8"
    ):
        read(tmp_path)


def test_a_coding_that_nobody_knows(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "# coding: klingon\nx\n"})
    with pytest.raises(CodeChannelError, match="cannot be read as klingon"):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_byte_order_mark_that_is_missing(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "requirements.txt").write_bytes("numpy\n".encode(encoding))
    with pytest.raises(CodeChannelError, match=r"^'requirements.txt' has zero bytes, expected "):
        read(tmp_path)


def test_places_are_those_of_the_first_of_continued_lines(tmp_path: Path) -> None:
    text = "# head\na \\\n  >=1  # why\n\nb; x \\\n# ends it\n-r more/dev.txt\nc#d\n"
    write(
        tmp_path,
        {
            "requirements.txt": text,
            "more/dev.txt": "\ne\n-r ../requirements.txt\n--requirement=deep.txt\n",
        },
    )
    write(tmp_path, {"more/deep.txt": "f"})
    assert [(line.text, line.place) for line in read(tmp_path).lines] == [
        ("a   >=1", "requirements.txt line 2"),
        ("b; x", "requirements.txt line 5"),
        ("e", "more/dev.txt line 2"),
        ("f", "more/deep.txt line 1"),
        ("c#d", "requirements.txt line 8"),
    ]


def test_paths_become_absolute_and_what_lies_in_the_channel_is_left_out(tmp_path: Path) -> None:
    text = "-c c.txt\n-f 'wheels'\n--find-links https://h/x\n-e ./lib\n./x-1.0-py3-none-any.whl\ny\n--pre\n-e git+https://h/z\n"
    write(
        tmp_path,
        {
            "requirements.txt": text,
            "c.txt": "",
            "wheels/a": "",
            "lib/setup.py": "",
            "x-1.0-py3-none-any.whl": "",
        },
    )
    found = read(tmp_path)
    links = f"--find-links {tmp_path}/wheels"
    assert found.texts() == [
        f"-c {tmp_path}/c.txt",
        links,
        "--find-links https://h/x",
        "y",
        "--pre",
        "-e git+https://h/z",
    ]
    assert found.options() == [links, "--find-links https://h/x", "--pre"]


@pytest.mark.parametrize("option", ["-r", "-c", "--constraint="])
def test_a_file_that_is_named_and_not_there(tmp_path: Path, option: str) -> None:
    write(tmp_path, {"requirements.txt": f"x\n{option} none.txt\n"})
    with pytest.raises(
        CodeChannelError, match=r"^requirements.txt line 2 names 'none.txt', which is not there$"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    "path", ["./lib", "../lib[a,b]", "/none/lib", "lib/x", "x-1.0-py3-none-any.whl", "-e ./lib"]
)
def test_a_path_that_is_not_there(tmp_path: Path, path: str) -> None:
    write(tmp_path, {"requirements.txt": f"x\n{path}\n"})
    name = path.removeprefix("-e ").partition("[")[0]
    with pytest.raises(CodeChannelError, match=f"line 2 names '{name}', which is not there$"):
        read(tmp_path)


@pytest.mark.parametrize(
    "text", ["x; os_name == 'a/b'", "git+git@h:x/y.git", "${HERE}/x", "x @ file:///a/b", "x[a/b]"]
)
def test_what_is_no_path_is_left_to_pip(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"requirements.txt": f"{text}\n"})
    assert read(tmp_path).texts() == [text]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Invalid requirement: 'a b' (from line 3 of {asked})",
            "Invalid requirement: 'a b' (from requirements.txt line 4)",
        ),
        ("Collecting x (from -r {asked} (line 2))", "Collecting x (from requirements.txt line 1)"),
        ("Processing x (from -r {given} (line 2))", "Processing x (from the code channel)"),
        ("(from line 7 of {constraint})", "(from c.txt line 7)"),
        ("(from line 7 of /else/where.txt)", "(from line 7 of /else/where.txt)"),
    ],
)
def test_what_pip_says_of_lines_is_said_of_what_a_person_wrote(
    tmp_path: Path, said: str, expected: str
) -> None:
    folder = tmp_path / "a folder"
    write(folder, {"requirements.txt": "-c c.txt\n\n\na b\n", "c.txt": ""})
    asked = tmp_path / "asked.txt"
    found = read(folder)
    assert requirements.written(found.texts()).decode().splitlines()[2] == "a b"
    given = tmp_path / "given.txt"
    text = said.format(asked=asked, given=given, constraint=folder / "c.txt")
    assert found.named(text, asked, given) == expected
