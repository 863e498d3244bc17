import pytest

from gluonts_shell.errors import ConfigurationError, DataError, counted, known_as, redacted, some


@pytest.mark.parametrize(
    ("count", "nouns", "text"),
    [
        (0, "values", "0 values"),
        (1, "values", "1 value"),
        (1, "categories", "1 category"),
        (2, "categories", "2 categories"),
    ],
)
def test_a_count_is_told_with_the_noun_in_its_number(count, nouns, text):
    assert counted(count, nouns) == text


def test_of_a_long_list_the_first_are_named_and_the_others_counted():
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcde")) == "a, b, c, d, e"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert some(list("abc"), 1) == "a and 2 more"


def test_a_sentence_says_what_was_found_and_what_was_expected():
    DataError.expect([1], "nothing", "something")
    with pytest.raises(ConfigurationError, match=r"^--port is 'x', expected a number$"):
        ConfigurationError.expect(False, "--port is 'x'", "a number")


def test_the_name_of_a_series_is_for_its_sender_and_not_for_the_log():
    assert known_as(None) == ""
    assert redacted(f"instance 3{known_as('SKU-7')}: it is null") == "instance 3...: it is null"
