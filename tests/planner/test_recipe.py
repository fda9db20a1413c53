"""The planner against a law whose answer is known."""

import itertools
import math
from dataclasses import replace

import pytest

from planner import Limits, plan
from planner.candidates import candidates
from planner.discrepancy import LEVEL_SPREAD, METHOD_SPREAD
from planner.learning_rates import learning_rate
from planner.report import explanation, text
from support.known_laws import (
    EVERYWHERE,
    FULL,
    LORA,
    PAIR,
    RATES,
    TRAINING,
    crossing_laws,
    law_book,
    method_law,
    weighted_book,
    write_laws,
)
from support.ladder import NANO
from sweeps.flops import exact_flops, paper_flops
from sweeps.methods import Full, LoRA, QLoRA
from sweeps.models import GEMMA3, PYTHIA, QWEN3, SMOLLM2, find_model

BUDGETS = [1e12, 1e13, 1e15]
# Data that are not here, told in numbers: as many as wanted, as long as those of the laws.
ELSEWHERE = {"data": "mine.jsonl", "tokens_per_pair": PAIR.tokens, "limits": Limits(max_pairs=1e12)}


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_answer_spends_the_budget_on_the_lowest_predicted_loss(budget):
    answer = plan(budget, laws=law_book(), models=[model.name for model in NANO])
    recipe, methods = answer.recipe, [(Full(), FULL), (LoRA(8), LORA)]
    losses = []
    for model in NANO:
        for method, law in methods:
            tokens = budget / exact_flops(model, method, PAIR) * PAIR.tokens
            if tokens >= 50 * PAIR.tokens * PAIR.batch_size:
                losses.append((law.loss(model.params, tokens), model.name, method))
    assert (recipe.trial.model, recipe.trial.method) == min(losses)[1:]
    assert recipe.loss == pytest.approx(min(losses)[0], rel=0.02)  # a mean over draws that scatter
    step = recipe.flops / recipe.trial.steps
    assert abs(recipe.flops - budget) <= step / 2 * 1.0001  # to the nearest whole step
    assert recipe.pairs == recipe.trial.steps * TRAINING.batch_size


def test_more_budget_never_promises_a_higher_loss():
    long = Limits(max_steps=10**12)
    losses = [plan(10**place, laws=law_book(), limits=long).recipe.loss for place in (11.5, 12, 13, 14, 15, 15.9)]
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
    laws = [method_law(FULL, {"name": "full"}, spread=0), method_law(LORA, {"name": "lora"}, spread=0)]
    sure = [replace(law, measured=EVERYWHERE) for law in laws]
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
    answer = plan(8e15, laws=law_book(), models=["pythia-160m", "pythia-410m"])
    assert answer.recipe.extrapolation.flops == pytest.approx(8e15 / 1e13, rel=0.01)
    assert answer.recipe.extrapolation.params == pytest.approx(answer.recipe.params / NANO[-1].params)
    assert answer.recipe.extrapolation.unseen == ("pythia",)
    codes = {warning.code for warning in answer.warnings}
    assert {"extrapolated", "other-suite"} <= codes
    assert "800x beyond the largest compute measured" in answer.provenance["loss"]


def test_the_families_of_a_law_their_weights_and_its_model_error_are_said():
    answer = plan(8e15, laws=weighted_book(), models=["pythia-160m"])
    assert "law: weighted mean of chinchilla 0.62, tied 0.25, rectified 0.13" in explanation(answer)
    texts = {warning.code: warning.text for warning in answer.warnings}
    assert "2.0% per decade (from the backtest)" in texts["extrapolated"]
    laws = answer.to_json()["laws"]
    assert laws["weights"]["full"] == {"chinchilla": 0.62, "tied": 0.25, "rectified": 0.13}
    assert laws["drift"] == {"full": 0.02, "lora rank 8 alpha 8": 0.02}
    plain = plan(8e15, laws=law_book(), models=["pythia-160m"])
    assert plain.provenance["law"] == "chinchilla" and plain.to_json()["laws"]["drift"]["full"] is None
    assert "3.0% per decade (assumed)" in {w.code: w.text for w in plain.warnings}["extrapolated"]


def test_distance_widens_the_interval_and_lowers_the_probability():
    near = law_book(*(replace(law, measured=EVERYWHERE) for law in law_book().laws))
    sure, far = (plan(8e15, laws=book, limits=Limits(max_steps=10**9)).recipe for book in (near, law_book()))
    assert far.loss == pytest.approx(sure.loss, rel=0.01)
    assert far.low < sure.low and far.high > sure.high and far.best < 1


def test_other_data_and_another_suite_widen_the_interval_by_what_they_are_worth():
    here = plan(1e13, laws=law_book(), models=["nano-1.2m"], methods=["full"]).recipe
    there = plan(1e13, laws=law_book(), models=["nano-1.2m"], methods=["full"], **ELSEWHERE).recipe
    widths = [math.log(recipe.high / recipe.low) for recipe in (here, there)]
    assert there.loss == pytest.approx(here.loss, rel=0.03) and there.extrapolation.unseen == ("mine.jsonl",)
    shares = [FULL.E, FULL.A / here.params**FULL.alpha, FULL.B / here.tokens**FULL.beta]  # of the loss, nats
    spread = math.hypot(LEVEL_SPREAD, METHOD_SPREAD * math.hypot(*shares) / here.loss)
    assert widths[1] / (2 * 1.645) == pytest.approx(math.hypot(spread, widths[0] / (2 * 1.645)), rel=0.2)


def test_too_far_away_there_is_no_loss_and_no_probability_and_farther_still_no_answer():
    answer = plan(2e16, laws=law_book(), suite="pythia")
    recipe = answer.recipe
    assert (recipe.loss, recipe.low, recipe.high, recipe.best, recipe.regret) == (None,) * 5
    assert "too-far" in {warning.code for warning in answer.warnings} and answer.method_chances == {}
    with pytest.raises(ValueError, match=r"17 decades beyond the nearest law book \(known, up to 1e\+13 FLOP\)"):
        plan(1e30, laws=law_book())


def test_more_than_a_million_steps_are_refused_with_what_to_do_instead():
    with pytest.raises(
        ValueError, match=r"over the maximum of 1,000,000; choose from larger models .* `batch_size` to"
    ):
        plan(1e18, laws=law_book())
    larger = plan(1e18, laws=law_book(), conditions={"batch_size": 4096}).recipe
    assert 50 <= larger.trial.steps <= 1_000_000 and larger.trial.training.batch_size == 4096


def test_published_findings_stand_beside_suites_the_law_has_not_seen_and_nowhere_else():
    assert plan(1e13, laws=law_book(), models=[model.name for model in NANO]).facts == ()
    facts = plan(1e18, laws=law_book(), suite="pythia", methods=["full"]).facts
    assert all("arXiv" in fact.citation for fact in facts)
    assert [fact.agrees for fact in facts if "9.06e+16" in fact.text] == [False]  # the paper takes LoRA up there


def test_rates_are_measured_then_interpolated_then_carried_on():
    def rate(model, method="full", **other):
        long = Limits(min_steps=1, max_steps=10**12)
        recipe = plan(1e16, laws=law_book(), models=[model], methods=[method], limits=long, **other).recipe
        return recipe.trial.lr, recipe.lr_source

    assert rate("nano-340k") == (RATES["nano-340k"], "measured: the best of the rates tried for this model")
    between = replace(NANO[3], name="between", mlp_width=3 * NANO[3].width)
    lr, source = rate(between)
    assert lr == pytest.approx(
        5e-3 * (between.params / NANO[0].params) ** -0.25
    )  # RATES is a power law: so is its middle
    assert source == "interpolated in N between nano-100k and nano-340k"
    lr, source = rate("pythia-410m")
    carried = RATES["nano-4.7m"] * (PYTHIA[4].params / NANO[-1].params) ** -0.22  # between -0.25, tried, and -0.18
    assert lr == pytest.approx(carried, rel=0.06) and "extrapolated from nano-4.7m as N^-0.22" in source


def test_rates_of_neighbouring_sizes_never_jump():
    """Also beyond a sweep of two sizes close to one another, whose rates happen to differ, and for two settings."""
    two = method_law(FULL, {"name": "full"}, learning_rates={"nano-100k": 9e-3, "nano-340k": 1e-3})
    thirds = [
        method_law(FULL, {"name": "freeze", "share": share}, learning_rates={"nano-340k": rate, "nano-1.2m": rate})
        for share, rate in ((0.25, 1e-3), (0.5, 3e-3))
    ]
    book = law_book(two, *thirds)
    for models in (PYTHIA[1:], QWEN3):  # the first of Pythia lies between the sizes with a rate
        considered = candidates(book, models, (), Limits())[0]
        rates = {(one.method.label, one.model.name): learning_rate(one).rate for one in considered}
        for label in {label for label, _ in rates}:
            along = [rates[label, model.name] for model in models]
            assert along == sorted(along, reverse=True)
            for (one, first), (other, second) in itertools.pairwise(zip(models, along, strict=True)):
                assert first / second < 1.05 * (other.params / one.params) ** 0.7
        for model in models:
            assert rates["freeze share 0.25", model.name] == rates["freeze share 0.5", model.name]
    assert rates["full", "qwen3-14b"] > 2e-5  # the two rates alone would say 1e-6


def test_laws_without_a_usable_rate_say_so_and_lost_models_are_named():
    none = method_law(LORA, {"name": "lora"}, learning_rates={})
    with pytest.raises(ValueError, match="no learning rate for lora"):
        plan(1e13, laws=law_book(none))
    lost = method_law(LORA, {"name": "lora"}, learning_rates={"gone/model": 1e-3, "nano-25k": 2e-3})
    source = plan(1e13, laws=law_book(lost), models=["nano-340k"]).recipe.lr_source
    assert "extrapolated from" in source and "gone/model" in source


def test_rates_never_rise_with_size():
    rising = {model.name: 1e-3 * (model.params / NANO[0].params) ** 0.5 for model in NANO}
    book = law_book(method_law(LORA, {"name": "lora"}, learning_rates=rising))
    assert plan(1e16, laws=book, models=["pythia-1b"]).recipe.trial.lr == pytest.approx(max(rising.values()))


def test_a_method_that_cannot_tune_a_model_is_listed_with_the_reason():
    book = law_book(method_law(FULL, {"name": "full"}), method_law(LORA, {"name": "bias"}))
    answer = plan(1e17, laws=book, suite="smollm2")
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
    answer = plan(1e15, laws=law_book(), limits=Limits(max_params=400e3, max_dim=64, max_steps=10**9), top=99)
    assert {recipe.trial.model for recipe in answer.candidates} == {
        "nano-7k",
        "nano-14k",
        "nano-25k",
        "nano-57k",
        "nano-100k",
    }
    reasons = {refusal.model: refusal.reason for refusal in answer.refused}
    assert "dimensions" in reasons["nano-340k"] and "N is" in reasons["nano-1.2m"]


def test_serving_is_paid_from_the_same_budget_and_favours_small_models():
    free = plan(1e16, laws=law_book(), limits=Limits(max_steps=10**9))
    paid = plan(1e16, laws=law_book(), limits=Limits(serve_tokens=4e8, max_steps=10**9))
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
        told = [warning.text for warning in warnings if warning.code == "pairs-unknown"]
        assert [text for text in told if "2 passes" in text] == told and bool(told) == warned


def test_a_loss_above_chance_is_said_to_be_none():
    answers = {budget: plan(budget, laws=law_book()) for budget in (2e10, 1e13)}
    book = law_book()
    chance = math.log(max(book.training.batch_size, book.training.pool_size))
    for answer in answers.values():
        assert any(each.code == "above-chance" for each in answer.warnings) == (answer.recipe.loss > chance)
    few = plan(1e17, laws="ziarko2024", limits=Limits(max_pairs=100), conditions={"batch_size": 8})
    assert any(each.code == "above-chance" for each in few.warnings) and few.recipe.loss > math.log(1024)


def test_a_slash_behind_a_folder_changes_nothing(tmp_path):
    folder = find_model("nano-340k").source
    one, two = (plan(1e13, models=[str(folder) + end]).recipe for end in ("", "/"))
    assert one == two


def test_budgets_that_train_nothing_are_in_the_curve(capsys):
    answer = plan(1e15, laws="ziarko2024", curve=(1e13, 1e15))
    none = [f"{budget:.2g}" for budget, recipe in answer.curve if recipe is None]
    assert none and answer.to_json()["curve"][0]["recipe"] is None
    assert f"no candidate can be trained at {', '.join(none)} FLOP" in text(answer)


def test_memory_limits_split_the_batch_and_the_second_forward_is_paid():
    roomy = plan(8e18, laws=law_book(), models=["pythia-410m"], methods=["full"]).recipe
    tight = plan(8e18, laws=law_book(), models=["pythia-410m"], methods=["full"], limits=Limits(memory=8e9)).recipe
    assert tight.memory <= 8e9 < roomy.memory and roomy.second_forward == 0 < tight.second_forward
    assert tight.trial.steps < roomy.trial.steps  # the same budget, a costlier step
    assert tight.flops == pytest.approx(roomy.flops, rel=1e-3)


def test_a_model_that_no_memory_holds_is_refused():
    with pytest.raises(ValueError, match=r"pythia-12b with full: a single text does not fit in 24 GB"):
        plan(1e18, laws=law_book(), models=["pythia-12b"], methods=["full"], limits=Limits(memory=24e9))


def test_a_backbone_in_4_bits_is_offered_by_loras_law_where_lora_has_no_room():
    asked = {"laws": law_book(), "suite": "pythia", "limits": Limits(memory=8e9), "hardware": "l4", "top": 99}
    made = plan("24h", **asked)
    tuned = {
        recipe.trial.model: recipe.trial.method for recipe in made.candidates if recipe.trial.method.name != "full"
    }
    assert {method.name for method in tuned.values()} == {"lora", "qlora"}
    largest_lora = max(find_model(name).params for name, method in tuned.items() if method.name == "lora")
    for name, method in tuned.items():
        assert method.name == ("lora" if find_model(name).params <= largest_lora else "qlora")
        assert method.options == {"rank": 8, "alpha": 8.0}
    roomless = {refusal.model for refusal in made.refused if "does not fit" in refusal.reason}
    assert roomless > {name for name, method in tuned.items() if method.name == "qlora"}
    for recipe in made.candidates:
        assert recipe.memory <= 8e9 and recipe.hours <= 24


def test_where_four_bits_win_their_law_is_said_to_be_anothers_and_their_cost_is_their_own():
    asked = {"laws": law_book(), "models": ["pythia-2.8b"]}
    small = plan(1e17, **asked, methods=["qlora"])
    assert small.recipe.trial.method == QLoRA(8)
    assert "borrowed-law" in [warning.code for warning in small.warnings]
    assert "lora rank 8" in small.provenance["method"] and "not measured here" in small.provenance["method"]
    large = plan(1e17, **asked, methods=["lora"])
    assert "method" not in large.provenance and large.recipe.memory > small.recipe.memory
    assert large.recipe.lr_source == small.recipe.lr_source and large.recipe.trial.lr == small.recipe.trial.lr
    assert large.recipe.trial.steps != small.recipe.trial.steps  # it counts its own products
    with pytest.raises(ValueError, match=r"`methods` has 'qlora'; .* know only full$"):
        plan(1e17, laws=law_book(method_law(FULL, {"name": "full"})), methods=["qlora"])


def test_ten_minutes_are_never_longer_than_that():
    for hardware in ("8xh100", "64xa100", "l4", "cpu"):
        made = plan(
            "10min", laws=law_book(), suite="pythia", hardware=hardware, limits=Limits(max_steps=10**12), top=99
        )
        for recipe in made.candidates:
            assert recipe.hours == pytest.approx(recipe.trial.steps * recipe.step_seconds / 3600)
            assert 60 * recipe.hours <= 10 < 60 * recipe.hours + recipe.step_seconds / 60 * 1.001
            assert 0 < recipe.utilisation < 0.8


def test_a_recipe_says_how_so_many_chips_are_started():
    asked = {"laws": law_book(), "limits": Limits(max_steps=10**12)}
    alone = plan("1h", hardware="h100", models=["pythia-410m"], **asked).recipe
    assert alone.train_command("r.toml") == "embed train r.toml" and not alone.sharded
    eight = plan("5min", hardware="8xh100", models=["pythia-12b"], methods=["lora"], **asked).recipe
    assert eight.train_command("r.toml") == "torchrun --nproc-per-node 8 -m runner.cli train r.toml --shard"
    assert (eight.to_json()["chips"], eight.to_json()["sharded"]) == (8, True)
    tight = asked | {"limits": Limits(max_steps=10**12, memory=42e9)}
    large = plan("5min", hardware="8xh100", models=["qwen3-14b"], methods=["full"], **tight).recipe
    assert large.recompute and large.train_command("r.toml").endswith(" train r.toml --shard --recompute")
    many = plan("3min", hardware="32xh100", models=["pythia-12b"], methods=["lora"], **asked).recipe
    assert many.train_command("r.toml").startswith("torchrun --nnodes 4 --nproc-per-node 8 ")
    cores = plan("1h", hardware="4xcpu", models=[NANO[0]], **asked).recipe
    assert cores.chips == 1


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
    answer = plan(1e13, laws=law_book(), **ELSEWHERE)
    assert answer.recipe.trial.training == replace(TRAINING, data="mine.jsonl", data_hash="")
    assert "other-data" in {warning.code for warning in answer.warnings}


def test_how_the_runs_of_the_laws_were_watched_is_not_carried_to_other_data():
    book = replace(law_book(), training=replace(TRAINING, evaluate_every=100, score=True, patience=3))
    assert plan(1e13, laws=book).recipe.trial.training.evaluate_every == 100
    given = {"limits": Limits(max_pairs=1e7), "tokens_per_pair": PAIR.tokens}  # so that no file is read
    other = plan(1e13, laws=book, data="mine.jsonl", **given).recipe.trial.training
    assert (other.evaluate_every, other.score, other.patience) == (0, False, 0)


def test_no_batch_buys_a_lower_loss_than_that_of_the_laws():
    asked = {"laws": law_book(), "models": ["nano-340k"], "methods": ["full"], "limits": Limits(max_steps=10**9)}
    small, same, large = [
        plan(1e13, conditions={"batch_size": size}, **asked).recipe for size in (4, TRAINING.batch_size, 512)
    ]
    assert small.trial.steps > 15 * same.trial.steps
    assert small.loss == pytest.approx(same.loss, rel=1e-3) and large.loss > 1.02 * same.loss


def told(**asked):
    return {warning.code: warning.text for warning in plan(1e13, laws=law_book(), **asked).warnings}


def test_what_the_laws_cannot_know_of_the_conditions_is_said():
    assert "a step counts as 0.25 of a measured step" in told(conditions={"batch_size": 16})["other-conditions"]
    longer = told(conditions={"context": TRAINING.context + 100})["other-conditions"]
    assert f"pairs are assumed to have {PAIR.tokens:g} tokens" in longer
    known = told(conditions={"context": TRAINING.context + 100}, tokens_per_pair=90.0)["other-conditions"]
    assert "assumed to have" not in known
    assert "other-rate" in told(lr=10.0) and "other-rate" not in told(lr=2e-3)
    assert "suites-unknown" in told(suite=["nano", "pythia"]) and "suites-unknown" not in told(suite="pythia")


def test_another_schedule_warms_up_over_a_share_of_the_steps():
    """Warm-up in steps is of trials that share a trunk, which only the schedule wsd has."""
    usual = plan(2e13, laws="reference").recipe.trial.training
    cosine = plan(2e13, laws="reference", conditions={"schedule": "cosine"}).recipe.trial.training
    assert usual.schedule == "wsd" and usual.warmup_steps > 0
    assert cosine.schedule == "cosine" and cosine.warmup_steps == 0


def test_too_few_pairs_are_told_and_far_smaller_models_do_not_answer_in_their_place():
    few = Limits(max_pairs=1e4)
    with pytest.raises(ValueError, match=r"39 steps of 1,024 pairs.*`batch_size` to 800.*12,800 pairs.*reference"):
        plan(1e19, limits=few)
    assert plan(1e19, limits=few, conditions={"batch_size": 800}).evidence.book == "ziarko2024"
    assert plan(1e15, limits=few, suite="nano").evidence.book == "reference"


def test_a_refusal_of_every_candidate_names_a_few():
    with pytest.raises(ValueError, match="over the limit of 1; and 6 more") as caught:
        plan(1e13, laws=law_book(), limits=Limits(max_dim=1))
    assert len(str(caught.value)) < 300


def test_the_edge_of_the_menu_is_named():
    codes = {warning.code for warning in plan(1e16, laws=law_book()).warnings}
    assert "edge-of-menu" in codes  # nano at 1e16: nothing larger to choose


def test_laws_from_elsewhere_have_no_conditions_to_train_under(tmp_path):
    path = write_laws(tmp_path / "laws.json", replace(law_book(), training=None, pair=None))
    with pytest.raises(ValueError, match="training conditions"):
        plan(1e13, laws=path)


def test_gemma_is_planned_for_from_its_shape():
    assert plan(1e18, laws=law_book(), suite="gemma3").recipe.trial.model in {model.name for model in GEMMA3}
