"""Which files there are, how they are cut into chunks, and outputs that are whole or not there."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import DataError
from gluonts_shell.serving.batch import inputs


def touch(path: Path, body: bytes = b"x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def test_a_folder_keeps_its_shape(tmp_path: Path) -> None:
    for name in (
        "b.jsonl",
        "a/b/c.json",
        "a.jsonl",
        ".hidden",
        "a/_SUCCESS",
        ".folder/x.jsonl",
        "a/_part.json",
    ):
        touch(tmp_path / "in" / name)
    found = inputs.find(tmp_path / "in", tmp_path / "out")
    assert [file.name for file in found] == ["a.jsonl", "a/_part.json", "a/b/c.json", "b.jsonl"]
    assert found[2].target == tmp_path / "out" / "a" / "b" / "c.json.out"


def test_outputs_of_an_earlier_run_are_no_inputs(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.out", "results/a.jsonl.out", "results/b.jsonl"):
        touch(tmp_path / name)
    assert [f.name for f in inputs.find(tmp_path, tmp_path)] == ["a.jsonl", "results/b.jsonl"]
    assert [f.name for f in inputs.find(tmp_path, tmp_path / "results")] == [
        "a.jsonl",
        "a.jsonl.out",
        "results/b.jsonl",
    ]


def test_a_link_that_leads_nowhere_is_found_and_fails_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (file,) = inputs.find(tmp_path, tmp_path / "out")
    assert (file.name, file.size) == ("link", 0)
    with pytest.raises(inputs.READ_ERRORS):
        list(inputs.chunks(file.source, 1))


def test_a_single_file(tmp_path: Path) -> None:
    (file,) = inputs.find(touch(tmp_path / "x.jsonl"), tmp_path / "out")
    assert file == inputs.File("x.jsonl", tmp_path / "x.jsonl", tmp_path / "out" / "x.jsonl.out", 2)


def test_no_input_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist, expected a file of JSON Lines"):
        inputs.find(tmp_path / "nothing", tmp_path)
    with pytest.raises(DataError, match="has no files, expected files of JSON Lines"):
        inputs.find(tmp_path, tmp_path / "out")


def test_shards_take_every_nth_file_and_together_all(tmp_path: Path) -> None:
    for number in range(10):
        touch(tmp_path / f"{number}.jsonl")
    found = inputs.find(tmp_path, tmp_path)
    parts = [[f.name[0] for f in inputs.shard(found, f"{i}/3")] for i in (1, 2, 3)]
    assert parts == [["0", "3", "6", "9"], ["1", "4", "7"], ["2", "5", "8"]]
    assert inputs.shard(found[:1], "2/2") == []


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/", "/2", "-1/2", "1/2/3", ""])
def test_a_wrong_shard_is_a_sentence(text: str) -> None:
    with pytest.raises(DataError, match="expected I/N with I from 1 to N, such as 2/8"):
        inputs.shard([], text)


@given(
    st.lists(st.sampled_from([b"\n", b"a\n", b"bb\r\n", b" \n"]), max_size=20),
    st.booleans(),
    st.integers(1, 5),
)
def test_chunks_are_whole_lines_with_their_numbers(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], zipped: bool, size: int
) -> None:
    body = b"".join([*lines, b"end"])
    path = tmp_path_factory.mktemp("chunks") / ("x.jsonl.gz" if zipped else "x.jsonl")
    path.write_bytes(gzip.compress(body) if zipped else body)
    chunks = list(inputs.chunks(path, size))
    assert b"".join(chunk.body for chunk in chunks) == body
    assert [chunk.first_line for chunk in chunks] == list(range(1, len(lines) + 2, size))
    assert all(chunk.body.endswith(b"\n") for chunk in chunks[:-1])
    assert chunks[-1].consumed == path.stat().st_size


def test_long_lines_make_short_chunks(tmp_path: Path) -> None:
    path = touch(tmp_path / "x", b"x" * 600_000 + b"\n" + b"y" * 600_000 + b"\nz\n")
    assert [len(chunk.body) for chunk in inputs.chunks(path, 100)] == [1_200_002, 2]


@pytest.mark.parametrize(("lines", "most"), [(3, 1), (100, 7), (100_000, 64)])
def test_every_worker_has_its_share_of_a_file(tmp_path: Path, lines: int, most: int) -> None:
    path = touch(tmp_path / "x", b"twenty bytes a line\n" * lines)
    (file,) = inputs.find(path, tmp_path)
    found = [chunk.body.count(b"\n") for chunk in inputs.chunks(path, 64, inputs.fair(file, 2))]
    assert (sum(found), max(found)) == (lines, most)


def test_an_empty_file_has_no_chunks(tmp_path: Path) -> None:
    assert list(inputs.chunks(touch(tmp_path / "x", b""), 3)) == []


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(random.Random(1).randbytes(5000))[:-1000],
        gzip.compress(b"x") + b"y",
        gzip.compress(gzip.compress(b"x")),
    ],
    ids=["cut off", "followed by something", "packed twice"],
)
def test_a_damaged_gzip_file_raises_what_the_caller_expects(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(inputs.READ_ERRORS):
        list(inputs.chunks(touch(tmp_path / "x.gz", body), 1))


@pytest.mark.parametrize(
    ("name", "packed"), [("x", True), ("x.jsonl", True), ("x.gz", False), ("x.jsonl.gz", True)]
)
def test_gzip_is_known_by_its_first_bytes(tmp_path: Path, name: str, packed: bool) -> None:
    body = b"1\n2\n"
    path = touch(tmp_path / name, gzip.compress(body) if packed else body)
    assert [chunk.body for chunk in inputs.chunks(path, 10)] == [body]
