"""The planner against a law whose answer is known."""

import math
from dataclasses import replace

import pytest

from planner import Limits, plan
from planner.candidates import candidates
from support.known_laws import FULL, LORA, PAIR, RATES, TRAINING, crossing_laws, law_book, method_law, write_laws
from sweeps.flops import exact_flops, paper_flops
from sweeps.methods import Full, LoRA
from sweeps.models import GEMMA3, NANO, PYTHIA, SMOLLM2

BUDGETS = [1e12, 1e13, 1e15]


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_answer_spends_the_budget_on_the_lowest_predicted_loss(budget):
    answer = plan(budget, laws=law_book())
    recipe, methods = answer.recipe, [(Full(), FULL), (LoRA(8), LORA)]
    losses = []
    for model in NANO:
        for method, law in methods:
            tokens = budget / exact_flops(model, method, PAIR) * PAIR.tokens
            if tokens >= 50 * PAIR.tokens * PAIR.batch_size:
                losses.append((law.loss(model.params, tokens), model.name, method))
    assert (recipe.trial.model, recipe.trial.method) == min(losses)[1:]
    assert recipe.loss == pytest.approx(min(losses)[0], rel=0.01)
    step = recipe.flops / recipe.trial.steps
    assert abs(recipe.flops - budget) <= step / 2 * 1.0001  # to the nearest whole step
    assert recipe.pairs == recipe.trial.steps * TRAINING.batch_size


def test_more_budget_never_promises_a_higher_loss():
    losses = [plan(10**place, laws=law_book()).recipe.loss for place in (11.5, 12, 13, 14, 16, 19)]
    assert losses == sorted(losses, reverse=True)


def test_paper_count_is_six_flops_a_parameter_and_token():
    recipe = plan(1e13, laws=law_book(), flops="paper", methods=["full"], models=["nano-340k"]).recipe
    assert recipe.tokens == pytest.approx(1e13 / (6 * NANO[3].params), rel=1e-3)
    assert recipe.flops == pytest.approx(paper_flops(NANO[3], Full(), PAIR.times(recipe.pairs)))


def test_probabilities_add_up_and_regret_is_never_negative():
    answer = plan(1e13, laws=law_book(), top=99)
    assert sum(recipe.best for recipe in answer.candidates) == pytest.approx(1)
    assert all(recipe.regret >= 0 for recipe in answer.candidates)
    assert any(warning.code == "not-told-apart" for warning in answer.warnings)


def test_a_law_known_exactly_is_sure_of_itself():
    sure = [method_law(FULL, {"name": "full"}, spread=0), method_law(LORA, {"name": "lora"}, spread=0)]
    answer = plan(1e13, laws=law_book(*sure), top=99)
    assert answer.recipe.best == 1 and answer.recipe.regret == 0
    for recipe in answer.candidates:  # what is left is the noise of one run, 1.645 of its standard deviations
        assert math.log(recipe.high / recipe.loss) == pytest.approx(1.645 * 0.02, rel=1e-6)


def test_without_draws_nothing_is_said_of_certainty():
    answer = plan(1e13, laws=law_book(method_law(FULL, {"name": "full"}, draws=0)))
    assert answer.recipe.best is None and answer.recipe.regret is None
    assert any(warning.code == "no-draws" for warning in answer.warnings)


def test_the_crossover_is_where_the_two_laws_meet():
    book, model, crossing = crossing_laws(spread=0)
    (crossover,) = plan(crossing, laws=book, models=[model]).crossovers
    assert (crossover.below, crossover.above) == ("full", "lora rank 8 alpha 8")
    assert crossover.flops == pytest.approx(crossing, rel=0.002)
    assert crossover.low == pytest.approx(crossing, rel=0.2) and crossover.high == pytest.approx(crossing, rel=0.2)


def test_a_vaguer_law_gives_a_wider_crossover_around_the_same_place():
    widths = []
    for spread in (0.002, 0.01):
        book, model, crossing = crossing_laws(spread)
        (crossover,) = plan(crossing, laws=book, models=[model]).crossovers
        assert crossover.low < crossing < crossover.high
        widths.append(math.log(crossover.high / crossover.low))
    assert widths[1] > 2 * widths[0]


def test_how_far_beyond_the_evidence_is_said():
    answer = plan(1e19, laws=law_book(), suite="pythia")
    assert answer.recipe.extrapolation.flops == pytest.approx(1e19 / 1e13, rel=0.01)
    assert answer.recipe.extrapolation.params == pytest.approx(answer.recipe.params / NANO[-1].params)
    codes = {warning.code for warning in answer.warnings}
    assert {"extrapolated", "other-suite"} <= codes
    assert "1e6x beyond the largest compute measured" in answer.provenance["loss"]


def test_published_findings_stand_beside_suites_the_law_has_not_seen_and_nowhere_else():
    assert plan(1e13, laws=law_book()).facts == ()
    facts = plan(1e19, laws=law_book(), suite="pythia", methods=["full"]).facts
    assert all("arXiv" in fact.citation for fact in facts)
    assert [fact.agrees for fact in facts if "9.06e+16" in fact.text] == [False]  # the paper takes LoRA up there


def test_rates_are_measured_then_interpolated_then_published_then_extrapolated():
    def rate(model, method="full", **other):
        recipe = plan(1e20, laws=law_book(), models=[model], methods=[method], **other).recipe
        return recipe.trial.lr, recipe.lr_source

    assert rate("nano-340k") == (
        RATES["nano-340k"],
        "measured here: the best of the tried rates for this model and method",
    )
    between = replace(NANO[3], name="between", mlp_width=3 * NANO[3].width)
    lr, source = rate(between)
    assert lr == pytest.approx(
        5e-3 * (between.params / NANO[0].params) ** -0.25
    )  # RATES is a power law: so is its middle
    assert source == "interpolated in N between nano-100k and nano-340k"
    assert rate("pythia-410m")[0] == pytest.approx(3e-5) and "published" in rate("pythia-410m")[1]
    lr, source = rate("pythia-410m", "lora")
    assert lr == pytest.approx(5e-3 * (PYTHIA[4].params / NANO[0].params) ** -0.25) and "extrapolated" in source


def test_laws_without_a_usable_rate_say_so_and_lost_models_are_named():
    none = method_law(LORA, {"name": "lora"}, learning_rates={})
    with pytest.raises(ValueError, match="no learning rate for lora"):
        plan(1e13, laws=law_book(none))
    lost = method_law(LORA, {"name": "lora"}, learning_rates={"gone/model": 1e-3, "nano-25k": 2e-3})
    source = plan(1e13, laws=law_book(lost), models=["nano-340k"]).recipe.lr_source
    assert "extrapolated" in source and "gone/model" in source


def test_rates_never_rise_with_size():
    rising = {model.name: 1e-3 * (model.params / NANO[0].params) ** 0.5 for model in NANO}
    book = law_book(method_law(LORA, {"name": "lora"}, learning_rates=rising))
    assert plan(1e20, laws=book, models=["pythia-1b"]).recipe.trial.lr == pytest.approx(max(rising.values()))


def test_a_method_that_cannot_tune_a_model_is_listed_with_the_reason():
    book = law_book(method_law(FULL, {"name": "full"}), method_law(LORA, {"name": "bias"}))
    answer = plan(1e19, laws=book, suite="smollm2")
    refused = {(refusal.model, refusal.method): refusal.reason for refusal in answer.refused}
    assert all("no bias vectors" in refused[model.name, "bias"] for model in SMOLLM2)
    assert answer.recipe.trial.method == Full()


def test_models_by_folder_keep_the_name_that_finds_them_again(tmp_path):
    import json

    shape = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2}
    shape |= {"intermediate_size": 128, "vocab_size": 512, "max_position_embeddings": 128}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(shape))
    recipe = plan(1e13, laws=law_book(), models=[str(tmp_path / "mine")]).recipe
    assert recipe.trial.model == str(tmp_path / "mine")


# Limits


def test_size_and_dimension_limits_leave_only_what_they_allow():
    answer = plan(1e15, laws=law_book(), limits=Limits(max_params=400e3, max_dim=64), top=99)
    assert {recipe.trial.model for recipe in answer.candidates} == {"nano-7k", "nano-25k", "nano-100k"}
    reasons = {refusal.model: refusal.reason for refusal in answer.refused}
    assert "dimensions" in reasons["nano-340k"] and "N is" in reasons["nano-1.2m"]


def test_serving_is_paid_from_the_same_budget_and_favours_small_models():
    free = plan(1e16, laws=law_book())
    paid = plan(1e16, laws=law_book(), limits=Limits(serve_tokens=4e8))
    assert paid.recipe.flops + paid.recipe.serving_flops == pytest.approx(1e16, rel=0.01)
    assert paid.recipe.params <= free.recipe.params
    # Two FLOPs a matrix entry and token, and attention scores on top.
    blocks = {model.name: model.layers * model.block_weights for model in NANO}
    assert 2 * blocks[paid.recipe.trial.model] <= paid.recipe.serving_flops / 4e8 < 3 * blocks[paid.recipe.trial.model]


def test_epochs_cap_the_training_and_the_rest_of_the_budget_is_said_to_be_left():
    answer = plan(1e15, laws=law_book(), limits=Limits(max_pairs=50_000, max_epochs=2))
    assert answer.recipe.pairs <= 100_000 and answer.recipe.epochs <= 2
    assert answer.recipe.flops < 1e15
    assert {"data-limited", "repeated-data"} <= {warning.code for warning in answer.warnings}
    assert "Muennighoff" in answer.provenance["repeated data"]


def test_repeated_pairs_promise_less_than_fresh_ones_but_more_than_none():
    fresh = plan(1e13, laws=law_book(), models=["nano-100k"]).recipe
    repeated = plan(1e13, laws=law_book(), models=["nano-100k"], limits=Limits(max_pairs=fresh.pairs / 8)).recipe
    once = plan(1e13, laws=law_book(), models=["nano-100k"], limits=Limits(max_pairs=fresh.pairs / 8, max_epochs=1))
    assert fresh.loss < repeated.loss < once.recipe.loss


def test_more_tokens_than_the_law_had_to_draw_from_are_warned_of():
    tokens = plan(1e13, laws=law_book()).recipe.tokens
    for unique, warned in ((tokens / 2, True), (tokens * 2, False), (None, False)):
        book = replace(law_book(), source={"name": "known", "unique_tokens": unique})
        warnings = plan(1e13, laws=book).warnings
        assert [
            warning.text for warning in warnings if warning.code == "repeated-data" and "2 passes" in warning.text
        ] == [warning.text for warning in warnings if warning.code == "repeated-data"]
        assert any(warning.code == "repeated-data" for warning in warnings) == warned


def test_memory_limits_split_the_batch_and_the_second_forward_is_paid():
    roomy = plan(1e19, laws=law_book(), models=["pythia-410m"], methods=["full"]).recipe
    tight = plan(1e19, laws=law_book(), models=["pythia-410m"], methods=["full"], limits=Limits(memory=8e9)).recipe
    assert tight.memory <= 8e9 < roomy.memory and roomy.second_forward == 0 < tight.second_forward
    assert tight.trial.steps < roomy.trial.steps  # the same budget, a costlier step
    assert tight.flops == pytest.approx(roomy.flops, rel=1e-3)


def test_a_model_that_no_memory_holds_is_refused():
    with pytest.raises(ValueError, match=r"pythia-12b with full: one text at a time does not fit in 24 GB"):
        plan(1e22, laws=law_book(), models=["pythia-12b"], methods=["full"], limits=Limits(memory=24e9))


def test_texts_longer_than_a_model_reads_refuse_it():
    short = replace(NANO[0], context=32)
    possible, refused = candidates(law_book(), [short], ["full"], Limits())
    assert possible == [] and "32 tokens" in refused[0].reason


def test_too_small_a_budget_names_the_nearest_candidate_and_its_need():
    with pytest.raises(ValueError, match="nearest") as caught:
        plan(1e8, laws=law_book())
    need = float(str(caught.value).split()[-2])
    with pytest.raises(ValueError, match="nearest"):
        plan(need * 0.98, laws=law_book())
    assert plan(need * 1.01, laws=law_book()).recipe.trial.steps >= 50


def test_curve_is_the_answer_at_each_budget():
    answer = plan(1e13, laws=law_book(), curve=(1e12, 1e14))
    assert [budget for budget, _ in answer.curve] == pytest.approx([10 ** (12 + place / 4) for place in range(9)])
    assert answer.curve[4][1].trial == answer.recipe.trial
    assert answer.curve[4][1].best == answer.recipe.best


def test_other_data_are_named_in_the_recipe_and_warned_of():
    answer = plan(1e13, laws=law_book(), data="mine.jsonl")
    assert answer.recipe.trial.training == replace(TRAINING, data="mine.jsonl", data_hash="")
    assert "other-data" in {warning.code for warning in answer.warnings}


def test_the_edge_of_the_menu_is_named():
    codes = {warning.code for warning in plan(1e19, laws=law_book()).warnings}
    assert "edge-of-menu" in codes  # nano at 1e19: nothing larger to choose


def test_laws_from_elsewhere_have_no_conditions_to_train_under(tmp_path):
    path = write_laws(tmp_path / "laws.json", replace(law_book(), training=None, pair=None))
    with pytest.raises(ValueError, match="training conditions"):
        plan(1e13, laws=path)


def test_gemma_is_planned_for_from_its_shape():
    assert plan(1e20, laws=law_book(), suite="gemma3").recipe.trial.model in {model.name for model in GEMMA3}
