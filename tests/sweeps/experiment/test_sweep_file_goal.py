"""A goal in place of budgets: what the sweep file may say, and what it may not."""

from __future__ import annotations

import pytest

from sweeps.experiment.sweep import Goal
from sweeps.experiment.sweep_file import read_sweep

FILE = """
models = ["nano-25k"]
{top}
[goal]
{goal}
[training]
{training}
[[methods]]
name = "full"
{method}
"""


def read(tmp_path, top="", goal='budget = "1e13"', training="", method=""):
    path = tmp_path / "goal.toml"
    path.write_text(FILE.format(top=top, goal=goal, training=training, method=method))
    return read_sweep(path)


def test_a_goal_is_read_and_its_rates_may_be_left_to_the_laws(tmp_path):
    sweep = read(tmp_path)
    assert sweep.goal == Goal(budget="1e13") and sweep.budgets == () and sweep.proposed == ()
    assert not sweep.entries[0].rates and not sweep.entries[0].search
    told = 'budget = " 24h "\nspend = "5%"\nregret = 0.02\nlaws = "reference"\n'
    told += 'together = 2\nhardware = "8xh100"\nprice = 2'
    assert read(tmp_path, goal=told).goal == Goal("24h", "5%", 0.02, "reference", 2, "8xh100", 2.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"goal": ""}, "goal.budget is"),
        ({"goal": "budget = 1e13"}, r'goal.budget is 1e\+?13.*such as "1e19"'),
        ({"goal": 'budget = "1e13"\nspend = ""'}, "goal.spend"),
        ({"goal": 'budget = "1e13"\nregret = 0'}, "goal.regret"),
        ({"goal": 'budget = "1e13"\ntogether = 0'}, "goal.together"),
        ({"goal": 'budget = "1e13"\nprice = -1'}, "goal.price"),
        ({"goal": 'budget = "1e13"\nbudgets = [1e11]'}, "goal.*'budgets'"),
        ({"top": "budgets = [1e11]"}, "budgets and .goal. exclude each other"),
        ({"top": "seeds = [0, 1]"}, "seeds and .goal."),
        ({"training": "batch_size = [8, 16]"}, "a goal needs one condition"),
        ({"method": "lr_search = { low = 1e-4, high = 1e-2, trials = 5 }"}, "lr_search is a range"),
        ({"method": "lr = 1e-3\nlr_search = [1e-3, 1e-2]"}, "both lr and lr_search"),
    ],
)
def test_what_a_goal_cannot_be_is_refused(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        read(tmp_path, **given)
