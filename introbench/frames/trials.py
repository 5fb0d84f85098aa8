"""Trials as a data frame, one row for each trial and arm."""

from typing import TYPE_CHECKING

from introbench.errors import InputError, shown
from introbench.frames.logs import Logs, frame, identity, read_logs
from introbench.frames.trial_rows import ROWS
from introbench.records.scores import score_of
from introbench.report.typed import fitting_together

if TYPE_CHECKING:
    import pandas as pd


def trials(logs: Logs = None, *, each: str = "arm") -> "pd.DataFrame":
    """Every trial of some logs, one row for each trial and arm.

    Every row has `log`, `task`, `model`, `sample` and `epoch` (the sample's id and repetition); what was asked
    (`document`, `family`, `question`, `format`, `answer_kind`, `framing`, `reversed`, `expected`; in location `part`,
    `passage`, `kind`, `wording`, `order`); the `concept`; and the arm: `arm` (its name in the trial), `arm_kind` (sham,
    concept, random, a control vector, finetune, contrast), `arm_number`, `steering` (cache or active), `matched` (a
    random or control vector has the concept's norm, or its impact, which is the dose), `place` (where or how strongly
    it is injected, if arms differ in that), `vector` (which one), `norm` (of what is added at each layer), `dose` (nats
    on neutral text) and `live`. Then come its numbers, missing where the model's are not finite:

    * introspection, model_swap: `log_odds` of yes, `shift` toward yes and `noticed` (the shift, turned on reversed
      questions), in nats; `p_yes` and `p_no`, probabilities of all forms together.
    * logit_lens: `p_yes`, `log_odds` and `noticed` by the logit lens after the last block; with `each="layer"` after
      every block, `layer`, counted from 0. So has model_swap where the lens was read (`noticed` and `p_yes`, with
      random vectors averaged as arm `random`).
    * sweep: `layers` and `strength` of the arm's cell, `log_odds`, `shift` and `noticed` in nats.
    * identification: `p` of the injected concept among the options, `rank` (1 is first), `p_nothing`, and `answer` (the
      likeliest option); with `each="option"` the probability `p` of every `option` (empty for "nothing").
    * location: `right` (1 if the place where the thought was gained most; ties are shared), `nats` (by how much more
      it gained than the others), `answer` (the place that gained most), `mass` (probability of all labels); with
      `each="option"` the probability `p` of every place, `option`, among the places, and its `change` against the sham
      in nats.
    * probe: a row for each document and vector: `report` and `probe` (after the last block), AUROC against the sham of
      the same question, 0.5 is chance; `report_any` and `probe_any` against those of all questions; with
      `each="layer"` the probe after every block.
    * top_of_mind, calibrate: `strength`, `gain` of the concept's word over the sham in nats; of the texts
      `concept_words` and `repetition` (shares), `words`, and `logprob` per token to the model as it is, in nats.
    * sampled_detection: `protocol` (prior or onwards), `half` (of the concepts: choose or report), `block`,
      `layer_fraction` and `strength` of the arm's cell; `graded` answers, and the shares of them that are `coherent`,
      that `claims` a detection, that `names` the concept, that `claims_first`, and that `refused`; with `each="text"`
      every answer: its `number`, its `text`, which of the concepts it names (`guesses`), and 0 or 1 for each of these.

    Args:
        logs: A log file, a folder (all of its logs), a log that Inspect has read, or several; by default the folder in
            which Inspect writes logs.
        each: What has a row of its own: `arm`, or in every arm each `layer`, `option` or `text`, where tasks have them.

    Raises:
        InputError: A log cannot be read, or has no such rows; or pandas is not installed.
    """
    rows = []
    for log in read_logs(logs, with_arms=True):
        make = ROWS.get((log.scorer, each))
        if make is None:
            known = [name for scorer, name in ROWS if scorer == log.scorer]
            raise InputError(
                f"each={shown(each)}: a log of {identity(log)['task']} has rows for each of {', '.join(known)}; "
                f"expected one of these; pass e.g. each={known[0]!r}"
            )
        with fitting_together(f"log {shown(log.location)}"):
            for trial in log.scored:
                score = score_of(trial.scores, log.scorer)
                exact = (score.metadata or {}) if score else {}
                of_trial = {**identity(log), "sample": trial.id, "epoch": trial.epoch}
                rows += [of_trial | row for row in make(trial, exact)]
    return frame(rows)
