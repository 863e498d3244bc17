import errno
import logging
import os
import stat

import pytest

from gluonts_shell.errors import ConfigurationError, ModelError
from gluonts_shell.sagemaker import failure


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigurationError("freq is 'xyz', expected 'D'"), "freq is 'xyz', expected 'D'"),
        (ModelError("it failed\n  in training"), "it failed in training"),
        (KeyError("freq"), "KeyError: 'freq'"),
        (AssertionError(), "AssertionError, without a message"),
        (ValueError("  a\n\nb "), "ValueError: a b"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/opt/ml/model/x"),
            "OSError: No space left on device: '/opt/ml/model/x'",
        ),
        (OSError(errno.EIO, "Input/output error"), "OSError: Input/output error"),
    ],
)
def test_an_error_becomes_one_sentence_that_is_never_empty(error, sentence):
    assert failure.sentence(error) == sentence


def test_a_sentence_fits_what_sagemaker_shows():
    text = failure.sentence(ValueError("x" * 5000))
    assert len(text) == 1024
    assert text.endswith("x ...")


def test_the_file_begins_with_the_sentence_and_the_traceback_follows(tmp_path, caplog):
    path = tmp_path / "output" / "failure"
    assert failure.report(raised(ModelError("the net is broken")), path) == 1
    sentence, _, trace = path.read_text().partition("\n\n")
    assert sentence == "the net is broken"
    assert trace.startswith("Traceback (most recent call last):")
    assert trace.rstrip().endswith("ModelError: the net is broken")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["failure"]
    assert "Traceback" in caplog.text


def test_the_users_own_mistakes_show_no_traceback_in_the_log(tmp_path, caplog):
    assert failure.report(raised(ConfigurationError("freq is missing")), tmp_path / "failure") == 1
    assert caplog.messages == ["freq is missing"]
    assert "Traceback" in (tmp_path / "failure").read_text()


def test_a_failure_file_that_cannot_be_written_does_not_hide_the_failure(tmp_path, caplog):
    (tmp_path / "output").write_text("a file where the folder should be")
    assert (
        failure.report(
            raised(ConfigurationError("freq is missing")), tmp_path / "output" / "failure"
        )
        == 1
    )
    assert caplog.messages[0] == "freq is missing"
    assert "cannot be written" in caplog.messages[1]


def test_text_that_is_no_unicode_is_written_all_the_same(tmp_path):
    failure.report(raised(ConfigurationError("file '\udcff' is wrong")), tmp_path / "failure")
    assert (tmp_path / "failure").read_text().startswith("file '\\udcff' is wrong\n")


def test_a_job_that_succeeds_has_no_failure_file(tmp_path):
    path = tmp_path / "failure"
    path.write_text("of the run before")
    failure.clear(path)
    assert not path.exists()
    failure.clear(path)


def test_a_failure_file_that_cannot_be_removed_is_no_failure(tmp_path, caplog):
    (tmp_path / "failure").mkdir()
    caplog.set_level(logging.WARNING)
    failure.clear(tmp_path / "failure")
    assert f"{tmp_path / 'failure'} cannot be removed" in caplog.text
    assert os.listdir(tmp_path) == ["failure"]
