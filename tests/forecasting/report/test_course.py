"""A course has the times of a job's steps and the warnings of its log."""

from __future__ import annotations

import logging

import pytest

from gluonts_shell.forecasting.report.course import MOST_WARNINGS, Course

log = logging.getLogger("gluonts_shell.somewhere")


def test_warnings_of_ours_are_kept_once():
    with Course().listening() as course:
        log.warning("%s is odd", "this")
        log.warning("%s is odd", "this")
        log.info("not this")
        logging.getLogger("gluonts_shellfish").warning("nor this")
        logging.getLogger("lightning").warning("nor this")
    log.warning("nor this, later")
    assert course.warnings == ["this is odd"]


def test_of_many_warnings_the_rest_are_counted():
    with Course().listening() as course:
        for number in range(MOST_WARNINGS + 7):
            log.warning("warning %d", number)
    assert (len(course.warnings), course.unnamed) == (MOST_WARNINGS, 7)


def test_a_step_that_raises_has_its_time_too():
    course = Course()
    with course.step("first"):
        pass
    with pytest.raises(ValueError, match="no"), course.step("second"):
        raise ValueError("no")
    assert list(course.seconds) == ["first", "second"]
    assert all(seconds >= 0 for seconds in course.seconds.values())
