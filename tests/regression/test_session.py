"""Evaluations that were not finished are run again, and are never served as results."""

from pathlib import Path

import pytest

from introbench.regression import session

pytest_plugins = ["pytester"]


def test_what_was_ended_half_way_is_run_again(
    pytester: pytest.Pytester, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        import pytest

        SMALL = dict(concepts=["cats", "bread"], documents="info", formats="yes-no", families="introspection", limit=4,
                     layers="1:3", strength=3, random_vectors=1)

        @pytest.mark.parametrize("number", range(2))
        def test_it(evaluate, number):
            assert evaluate("introbench/introspection", **SMALL).log.status == "success"
        """
    )

    def breaks(*_: object, log_dir: str, **__: object) -> None:
        (Path(log_dir) / "half.eval").write_text("half")
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(session, "eval", breaks)
        broken = pytester.runpytest_inprocess("--introbench-model", model)
    broken.assert_outcomes(failed=2)
    assert str(broken.stdout).count("the disk is full") == 2, "what failed once is not served as a result"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, "eval", interrupted)
        stopped = pytester.runpytest_inprocess("--introbench-model", model, no_reraise_ctrlc=True)
    assert stopped.ret == pytest.ExitCode.INTERRUPTED


def test_a_log_that_was_left_half_written_is_no_evaluation(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {
        "concepts": ["cats"],
        "documents": "info",
        "formats": "yes-no",
        "families": "introspection",
        "layers": "1:3",
        "strength": 3,
    }
    asked = (model, "introbench/introspection", 2, few)

    def killed(*_: object, log_dir: str, **__: object) -> None:
        (Path(log_dir) / "half.eval").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, "eval", killed)
        with pytest.raises(KeyboardInterrupt):
            session.Session(tmp_path, {}).evaluate(*asked)
    assert session.Session(tmp_path, {}).evaluate(*asked).log.status == "success"
