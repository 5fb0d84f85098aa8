"""From conversations and arms to samples: which concepts are injected under which documents."""

from collections import defaultdict

from transformers import PreTrainedTokenizerFast

from introbench.prompts.battery import battery
from introbench.records.factors import TrialFactors
from introbench.steering.arms import ArmBatch, ArmPlan
from introbench.steering.injection import VectorRecipe, parse_strength
from introbench.tasks.trials import Trials, concept_trials, plan_of

WORDS = ("cats", "bread", "love", "fear")


def trials_of(tokenizer: PreTrainedTokenizerFast, fewer: int) -> Trials:
    arms = ArmPlan(tuple(VectorRecipe("pca_center", word) for word in WORDS), (1, 3), parse_strength(3.0), 2, 0)
    conversations = list(
        battery(
            tokenizer,
            documents=["none", "info", "lorem"],
            families=["introspection"],
            formats=["yes-no"],
            system="",
        )
    )
    return concept_trials("trials", conversations, arms, plan_of(conversations), elsewhere=arms.of_fewer(fewer))


def test_fewer_concepts_are_injected_under_documents_other_than_the_reference(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    trials = trials_of(tokenizer, 2)
    assert len(trials.arm_batches) == 2
    concepts: dict[str, set[str]] = defaultdict(set)
    for sample in trials.dataset:
        factors = TrialFactors.from_json(sample.metadata or {})
        concepts[factors.question.document].add(factors.concept)
        batch = ArmBatch.from_text(trials.arm_batches[factors.arm_batch])
        vector = batch[factors.arms["concept"].row].vector
        assert vector is not None
        assert vector.concept == factors.concept
    assert concepts == {"none": {"cats", "love"}, "info": set(WORDS), "lorem": {"cats", "love"}}


def test_all_concepts_share_one_batch_where_they_are_injected_under_every_document(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    trials = trials_of(tokenizer, len(WORDS))
    assert len(trials.arm_batches) == 1
    assert len({sample.id for sample in trials.dataset}) == len(trials.dataset) == 3 * len(WORDS) * 24
