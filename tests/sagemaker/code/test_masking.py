import pytest

from gluonts_shell.sagemaker.code.masking import masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "see https://user:pass@host:8080/simple/ for it",
            "see https://****@host:8080/simple/ for it",
        ),
        ("'git+ssh://git@host/x.git@v1'", "'git+ssh://****@host/x.git@v1'"),
        ("git+https://host/x.git@v1#egg=x", "git+https://host/x.git@v1#egg=x"),
        ("https://token@host https://u:p@other", "https://****@host https://****@other"),
        ("https://user:pa/ss@host/simple", "https://****@host/simple"),
        ("https://user:p%40ss@host/x?sig=abc&e=1#sha256=ff", "https://****@host/x?****#sha256=ff"),
        (
            "Max retries exceeded with url: /x.whl?token=abc (Caused by",
            "Max retries exceeded with url: /x.whl?**** (Caused by",
        ),
        ("https://host/a1B2c3D4e5F6g7H8i9J0k/simple/x/", "https://host/****/simple/x/"),
        ("https://host:8080/a/b@c", "https://host:8080/a/b@c"),
        (
            "what? a = b, user@host, /usr/lib/python3.11/x.py",
            "what? a = b, user@host, /usr/lib/python3.11/x.py",
        ),
        ("Location 'user:pass@host/simple/x/' is", "Location '****@host/simple/x/' is"),
        ("indexes: user:pass@host, https://h", "indexes: ****@host, https://h"),
        (
            "svn --username me --password '****' https://h",
            "svn --username **** --password **** https://h",
        ),
        ("git+git@host:me/x.git, 12:30 a@b", "git+git@host:me/x.git, 12:30 a@b"),
    ],
)
def test_secrets_of_addresses_are_taken_out_and_nothing_else(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_a_secret_that_is_known_is_taken_out_wherever_it_stands() -> None:
    assert masked("https://h/hush/x.whl, hush", ["hush"]) == "https://h/****/x.whl, ****"
