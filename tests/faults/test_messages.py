"""How values and messages are shown, and that the shared check of this folder sees what it has to see."""

import pickle

import pytest

from introbench.errors import LONGEST, SHOWN, InputError, first_line, one_line, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("3", "'3'"),
        (3, "3"),
        (None, "None"),
        (["a", 1.5], "['a', 1.5]"),
        ("தமிழ்", "'தமிழ்'"),
        ("a\x1b[31m\nb", r"'a\x1b[31m\nb'"),
        ("\u202etac", r"'\u202etac'"),
        ("\udc80", r"'\udc80'"),
        ("x" * 1000, "'" + "x" * (SHOWN - 4) + "..."),
    ],
)
def test_a_value_is_shown_by_its_first_characters(value: object, text: str) -> None:
    assert shown(value) == text
    assert len(text) <= SHOWN


def test_a_value_that_cannot_be_written_is_shown() -> None:
    assert shown(10**5000) == "<integer of 16610 bits>"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(shown(deep)) <= SHOWN
    circle: dict[str, object] = {}
    circle["self"] = circle
    assert len(shown(circle)) <= SHOWN


def test_a_message_is_one_line_whose_end_stays() -> None:
    error = InputError(f"file {'x' * 500}\n\x1b[2J: damaged; get it again")
    assert str(error).startswith("file xxx")
    assert str(error).endswith(r"x \x1b[2J: damaged; get it again")
    assert len(str(error)) == LONGEST
    assert str(InputError("short; do this")) == "short; do this"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_first_line_of_another_library_is_short() -> None:
    assert first_line(OSError("a" * 1000)) == one_line("a" * 1000, most=LONGEST // 2)
    assert first_line(OSError("\n\n one \n two")) == "one"


def refuses(message: str) -> None:
    error = InputError("")
    error.args = (message,)
    raise error


def test_the_check_sees_what_is_wrong(border) -> None:
    assert border.tries(1, lambda: None)
    assert not border.tries(2, lambda: refuses("x: expected y; do z"))
    assert not border.failures
    for message in ("", "two\nlines", "an \x1b escape", "long" * 100):
        border.tries(message, lambda message=message: refuses(message))
    assert len(border.failures) == 4 - 1  # two of them do not print
    border.tries(3, lambda: 1 / 0)
    assert len(border.failures) == 4
    border.failures.clear()


def test_an_input_that_takes_too_long_fails(border, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> None:
        while True:
            pass

    monkeypatch.setitem(border.tries.__globals__, "SECONDS", 1)
    border.tries("endless", endless)
    assert [kind.partition(" ")[0] for kind in border.failures] == ["TimeoutError"]
    border.failures.clear()
