import bz2
import gzip
import json
import logging
import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.data.files import JSON_LINES, data_files, partition, rows, short
from gluonts_shell.forecasting.data.tables import ARROW, PARQUET

LINE = b'{"start": "2020-01-01", "target": [1, 2]}\n'


@pytest.fixture
def channel(tmp_path):
    """Writes files into the folder of the channel `train`; returns the folder."""
    folder = tmp_path / "input" / "data" / "train"

    def add(name, content=LINE):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    folder.mkdir(parents=True)
    add.folder = folder
    return add


def names(folder, content_type=None):
    return {str(path.relative_to(folder)): kind for path, kind in data_files(folder, content_type)}


@pytest.mark.parametrize(
    "name",
    [
        "data.json",
        "a.jsonl",
        "A.JSONL",
        "a.jsonlines",
        "a.ndjson",
        "train.2020.json",
        "train.2020-01.v2.jsonl",
        "part-00000",
        "data",
        "x.2020",
    ],
)
def test_json_lines_are_known_by_suffix_or_by_their_first_bytes(channel, name):
    channel(name)
    assert names(channel.folder) == {name: JSON_LINES}


@pytest.mark.parametrize(
    "name", ["data.json.gz", "part-00000.gz", "part-00000", "train.2020.jsonl.gz", "data.json"]
)
def test_gzip_is_known_by_what_the_file_is(channel, name):
    path = channel(name, gzip.compress(LINE * 2))
    assert names(channel.folder) == {name: JSON_LINES}
    assert [number for number, _ in rows(path, JSON_LINES)] == [1, 2]


def test_files_lie_at_any_depth_and_come_in_a_fixed_order(channel):
    for name in ("b/c/d/e/f/deep.json", "b/a.json", "z.json", "a.json"):
        channel(name)
    assert list(names(channel.folder)) == ["a.json", "z.json", "b/a.json", "b/c/d/e/f/deep.json"]


def test_a_folder_as_spark_leaves_it_holds_its_parts(channel):
    for name in ("part-00000-c000.json", "part-00001-c000.json"):
        channel(name)
    for name in (
        "_SUCCESS",
        "_committed_123",
        "_started_123",
        "_metadata",
        "_common_metadata",
        "_temporary/0/part-00000.json",
    ):
        channel(name)
    for name in ("._SUCCESS.crc", ".part-00000-c000.json.crc", ".hidden/data.json", ".DS_Store"):
        channel(name)
    assert list(names(channel.folder)) == ["part-00000-c000.json", "part-00001-c000.json"]


def test_links_are_followed_but_not_for_ever(channel):
    channel("a/data.json")
    (channel.folder / "a" / "up").symlink_to(channel.folder)
    (channel.folder / "linked").symlink_to(channel.folder / "a")
    (channel.folder / "copy.json").symlink_to(channel.folder / "a" / "data.json")
    assert list(names(channel.folder)) == ["copy.json", "a/data.json"]


def test_links_that_lead_nowhere_and_pipes_are_told_and_not_waited_for(channel, caplog):
    channel("data.json")
    (channel.folder / "gone.json").symlink_to(channel.folder / "absent")
    os.mkfifo(channel.folder / "train_0")
    assert list(names(channel.folder)) == ["data.json"]
    assert caplog.messages == [
        "channel 'train': 2 files are no JSON Lines, parquet or arrow and are not read: gone.json, train_0"
    ]


def test_empty_files_are_skipped(channel):
    channel("empty.json", b"")
    channel("full.json")
    assert list(names(channel.folder)) == ["full.json"]


def test_what_is_something_else_is_left_out_with_a_warning_that_names_it(channel, caplog):
    caplog.set_level(logging.WARNING)
    channel("data.json")
    channel("read.me", b"# words")
    channel("table.csv", b"{")
    channel("w.bin", b"\x00\x01")
    assert list(names(channel.folder)) == ["data.json"]
    assert caplog.messages == [
        "channel 'train': 3 files are no JSON Lines, parquet or arrow and are not read: read.me, table.csv, w.bin"
    ]


@pytest.mark.parametrize("content_type", ["application/jsonlines", "application/json", "JSON"])
def test_the_content_type_of_the_channel_decides_where_no_suffix_does(channel, content_type):
    channel("data.part", b"  words that a reader shall complain about")
    assert names(channel.folder, content_type) == {"data.part": JSON_LINES}


def test_the_suffix_wins_over_the_content_type(channel):
    channel("data.json")
    channel("data.parquet", b"PAR1")
    assert names(channel.folder, "application/x-parquet") == {
        "data.json": JSON_LINES,
        "data.parquet": PARQUET,
    }


def test_parquet_and_arrow_are_known_by_their_first_bytes(channel):
    channel("part-0", b"PAR1....")
    channel("part-1", b"ARROW1..")
    assert names(channel.folder) == {"part-0": PARQUET, "part-1": ARROW}


@pytest.mark.parametrize("content", [None, b""])
def test_a_channel_without_data_says_what_it_looked_for(channel, content):
    if content is not None:
        channel("data.json", content)
    with pytest.raises(DataError) as caught:
        data_files(channel.folder)
    assert str(caught.value) == (
        "channel 'train' holds no data: no .json, .jsonl (or .gz of them), .parquet or .arrow file "
        f"in {str(channel.folder)!r}, or only empty ones"
    )


def test_a_channel_may_be_one_file(channel):
    path = channel("data")
    assert data_files(path) == [(path, JSON_LINES)]


def test_rows_are_numbered_like_the_lines_of_an_editor_and_blank_ones_are_skipped(channel):
    path = channel(
        "data.json",
        b"\xef\xbb\xbf\n" + LINE + b"\n   \r\n" + LINE.strip() + b"\r\n\n\n" + LINE.strip(),
    )
    assert [number for number, _ in rows(path, JSON_LINES)] == [2, 5, 8]
    assert [row for _, row in rows(path, JSON_LINES)] == [json.loads(LINE)] * 3


def test_a_byte_order_mark_before_the_first_row_is_no_fault(channel):
    path = channel("part-0", b"\xef\xbb\xbf" + LINE)
    assert names(channel.folder) == {"part-0": JSON_LINES}
    assert list(rows(path, JSON_LINES)) == [(1, json.loads(LINE))]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            LINE * 7 + b'{"start": \n',
            "train/data.json line 8: this is not JSON: Expecting value at column 10",
        ),
        (LINE + b"\n{}}\n", "train/data.json line 3: this is not JSON: Extra data at column 3"),
        (b'{"a": ' + b"[" * 200_000, "train/data.json line 1: "),
        (
            LINE + b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
            "train/data.json line 2: its lists and objects are nested too deeply",
        ),
        (
            LINE.decode().encode("utf-16-le") * 2,
            "train/data.json line 2: it has zero bytes, expected JSON in UTF-8",
        ),
        (LINE + b"\0\0\0\0\n", "train/data.json line 2: it has zero bytes, expected JSON"),
        (b"PAR1\x15\x04", "train/data.json: expected JSON Lines, but the file is parquet"),
        (b"PK\x03\x04\x14", "train/data.json: expected JSON Lines, but the file is a zip archive"),
        (
            b"\x93NUMPY\x01",
            "train/data.json: expected JSON Lines, but the file is an array of numpy",
        ),
        (b"\x0a\x23\xd7\xce\x05", "train/data.json: expected JSON Lines, but the file is RecordIO"),
        (
            gzip.compress(b"x.jsonl".ljust(257, b"\0") + b"ustar\x0000", mtime=0),
            "train/data.json: expected JSON Lines, but the file is a tar archive; unpack it",
        ),
        (
            gzip.compress(gzip.compress(LINE, mtime=0), mtime=0),
            "train/data.json: expected JSON Lines, but the file is gzip in gzip",
        ),
        (bz2.compress(LINE), "train/data.json: expected JSON Lines, but the file is bzip2"),
        (
            gzip.compress(b"PAR1\x15\x04", mtime=0),
            "train/data.json: expected JSON Lines, but the file is parquet",
        ),
        (
            LINE + b'{"start": "\xff"}',
            "train/data.json line 2: this is not JSON in UTF-8: 'utf-8' codec can't decode byte 0xff",
        ),
        (
            LINE + b'{"target": [' + b"9" * 5000 + b"]}",
            "train/data.json line 2: this is not JSON in UTF-8: Exceeds the limit",
        ),
        (gzip.compress(LINE * 100, mtime=0)[:-20], "train/data.json cannot be read after line "),
        (
            gzip.compress(LINE * 100, mtime=0)[:40] + b"x" * 60,
            "train/data.json cannot be read after line ",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named(channel, content, sentence):
    path = channel("data.json", content)
    with pytest.raises(DataError) as caught:
        list(rows(path, JSON_LINES))
    assert str(caught.value).startswith(sentence)


def test_a_file_is_named_from_its_channel_on(channel):
    assert short(channel("sub/part-0003.jsonl")) == "train/sub/part-0003.jsonl"


def test_a_file_elsewhere_is_named_by_its_last_two_parts(tmp_path):
    assert short(tmp_path / "x" / "y" / "z.json") == "y/z.json"


ROWS = [
    {"item_id": "a", "start": datetime(2020, 1, 1), "target": [1.0, None, 3.0], "cat": [0, 1]},
    {"item_id": "b", "start": datetime(2020, 2, 1), "target": [4.0], "cat": None},
]
EXPECTED = [
    (
        1,
        {"item_id": "a", "start": "2020-01-01 00:00:00", "target": [1.0, None, 3.0], "cat": [0, 1]},
    ),
    (2, {"item_id": "b", "start": "2020-02-01 00:00:00", "target": [4.0]}),
]


@pytest.mark.parametrize("name", ["data.parquet", "part-00000"])
def test_parquet_has_the_rows_that_json_has(channel, name):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = channel(name, b"")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert names(channel.folder) == {name: PARQUET}
    assert list(rows(path, PARQUET)) == EXPECTED


def test_dates_in_parquet_are_text_as_in_json(channel):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = channel("data.parquet", b"")
    parquet.write_table(
        pyarrow.Table.from_pylist([{"start": date(2020, 1, 31), "target": [1]}]), path
    )
    assert list(rows(path, PARQUET)) == [(1, {"start": "2020-01-31", "target": [1]})]


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_has_the_rows_that_json_has_as_file_and_as_stream(channel, stream):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc

    path = channel("data.arrow", b"")
    table = pyarrow.Table.from_pylist(ROWS)
    with (ipc.new_stream if stream else ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table)
    assert list(rows(path, ARROW)) == EXPECTED


@pytest.mark.parametrize(("name", "kind"), [("data.parquet", PARQUET), ("data.arrow", ARROW)])
def test_a_damaged_file_is_named(channel, name, kind):
    pytest.importorskip("pyarrow")
    path = channel(name, b"PAR1 and not much more")
    with pytest.raises(DataError, match=rf"^train/{name} cannot be read as {kind} after row 0: "):
        list(rows(path, kind))


def test_without_pyarrow_parquet_says_what_to_install(channel, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = channel("data.parquet", b"PAR1")
    with pytest.raises(
        DataError,
        match=r"^train/data.parquet is parquet, which needs pyarrow: install gluonts-shell\[arrow\]$",
    ):
        list(rows(path, PARQUET))


ENTRIES = [
    {
        "item_id": name,
        "start": pd.Period("2020-01-05", "W"),
        "target": np.array([1.5, np.nan, 3.0], dtype=np.float32),
        "feat_static_cat": np.array([1, 0]),
        "feat_dynamic_real": np.arange(6, dtype=np.float32).reshape(2, 3),
    }
    for name in ("a", "b")
]


def gluonts_writers():
    arrow = pytest.importorskip("gluonts.dataset.arrow")
    return {
        "data.feather": arrow.ArrowWriter(),
        "data.arrow": arrow.ArrowWriter(compression="lz4"),
        "stream.arrow": arrow.ArrowWriter(stream=True, compression="lz4"),
        "stream": arrow.ArrowWriter(stream=True),
        "nested.arrow": arrow.ArrowWriter(flatten_arrays=False),
        "data.parquet": arrow.ParquetWriter(),
        "nested.parquet": arrow.ParquetWriter(flatten_arrays=False),
    }


@pytest.mark.parametrize(
    "name",
    [
        "data.feather",
        "data.arrow",
        "stream.arrow",
        "stream",
        "nested.arrow",
        "data.parquet",
        "nested.parquet",
    ],
)
def test_what_gluonts_writers_of_tables_leave_is_read(channel, name):
    path = channel(name, b"")
    gluonts_writers()[name].write_to_file(ENTRIES, path)
    ((_, kind),) = data_files(channel.folder)
    for (_, row), entry in zip(rows(path, kind), ENTRIES, strict=True):
        assert (row["item_id"], row["start"][:10]) == (entry["item_id"], "2019-12-30")
        np.testing.assert_array_equal(np.array(row["target"], dtype=float), entry["target"])
        assert row["feat_dynamic_real"] == [[0, 1, 2], [3, 4, 5]]
        assert set(row) == set(entry)


def test_what_gluonts_writer_of_json_lines_leaves_is_read(channel):
    from gluonts.dataset.jsonl import JsonLinesWriter

    JsonLinesWriter().write_to_folder(ENTRIES, channel.folder)
    ((path, kind),) = data_files(channel.folder)
    (_, row), _ = rows(path, kind)
    assert row["start"] == "2019-12-30/2020-01-05"
    assert row["target"] == [1.5, "Nan", 3.0]


def test_an_array_that_is_not_as_long_as_its_shape_is_named(channel):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = channel("data.parquet", b"")
    parquet.write_table(pyarrow.Table.from_pylist([{"x": [1, 2, 3], "x._np_shape": [2, 2]}]), path)
    with pytest.raises(
        DataError,
        match=r"after row 1: x has 3 values, expected those of an array of shape \[2, 2\]$",
    ):
        list(rows(path, PARQUET))


def test_decimals_are_numbers(channel):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = channel("data.parquet", b"")
    row = {
        "target": [Decimal("1.50"), None],
        "cat": Decimal("2"),
        "dynamic_feat": [[Decimal("0.25")]],
    }
    parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    assert list(rows(path, PARQUET)) == [
        (1, {"target": [1.5, None], "cat": 2.0, "dynamic_feat": [[0.25]]})
    ]


@pytest.mark.parametrize(
    ("folders", "fields"),
    [
        ("", {}),
        ("2020/plain", {}),
        ("cat=0", {"cat": 0}),
        ("cat=north", {"cat": "north"}),
        ("item_id=007/cat=007", {"item_id": "007", "cat": 7}),
        ("item_id=a%2Fb c/start=2020", {"item_id": "a/b c", "start": "2020"}),
        ("cat=__HIVE_DEFAULT_PARTITION__", {}),
        ("=x", {}),
    ],
)
def test_folders_of_a_partitioned_table_are_fields(channel, folders, fields):
    file = channel(Path(folders) / "part.parquet")
    assert partition(file, channel.folder) == fields
    assert partition(file, file) == {}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["data.json", "data", "data.json.gz"])
def test_utf_16_and_32_are_known_by_their_byte_order_marks(channel, encoding, name):
    text = "\ufeff" + '{"item_id": "caf\u00e9 \u2028", "target": [1]}\r\n\r\n{"target": [2]}\r\n'
    content = text.encode(encoding)
    path = channel(name, gzip.compress(content) if name.endswith("gz") else content)
    assert names(channel.folder) == {name: JSON_LINES}
    assert list(rows(path, JSON_LINES)) == [
        (1, {"item_id": "caf\u00e9 \u2028", "target": [1]}),
        (3, {"target": [2]}),
    ]


def test_notebooks_and_documents_beside_the_data_are_skipped_with_a_line(channel, caplog):
    channel("data.json")
    channel("explore.ipynb", b'{\n "cells": []}')
    channel("report.doc", b'{\r\n "words": []}')
    assert names(channel.folder, "application/json") == {
        "data.json": JSON_LINES,
        "report.doc": JSON_LINES,
    }
    assert names(channel.folder) == {"data.json": JSON_LINES}
    assert (
        "2 files are no JSON Lines, parquet or arrow and are not read: explore.ipynb, report.doc"
        in caplog.text
    )


def test_a_channel_of_strangers_alone_names_them_and_what_is_read(channel):
    channel("train.csv", b"date,value\n")
    with pytest.raises(DataError) as caught:
        data_files(channel.folder)
    assert str(caught.value) == (
        "channel 'train' holds only train.csv, which is not read; "
        "expected a .json, .jsonl (or .gz of them), .parquet or .arrow file"
    )
