"""Native threads are limited before numpy is there, and what the user set stays."""

from gluonts_shell.serving.processes import native


def test_what_the_user_set_stays():
    environ = {"OMP_NUM_THREADS": "7"}
    native.limit_threads(2, environ)
    assert environ == {
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
