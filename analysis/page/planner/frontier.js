'use strict';
/* planner/frontier.py: which candidate wins at a budget, how surely, and where the best method changes. */

/** {best, regret} of every option from the paired bootstrap draws; null where some law has none. */
function odds(options, budget) {
  const draws = Math.min(...options.map((option) => option.law.draws.length));
  if (!draws) return null;
  const inputs = options.map((option) => option.inputs(option.tokens(budget)));
  const wins = new Array(options.length).fill(0);
  const regrets = new Array(options.length).fill(0);
  for (let draw = 0; draw < draws; draw++) {
    const losses = options.map(({law}, i) => law.loss(law.draws[draw], ...inputs[i]));
    const best = losses.reduce((low, loss) => Math.min(low, loss), Infinity);
    wins[losses.indexOf(best)] += 1;
    losses.forEach((loss, i) => {
      regrets[i] += loss - best;
    });
  }
  return options.map((_, i) => ({best: wins[i] / draws, regret: regrets[i] / draws}));
}

function budgets(low, high, perDecade) {
  const count = Math.max(1, Math.ceil(Math.log10(high / low) * perDecade));
  return Array.from({length: count + 1}, (_, place) => low * (high / low) ** (place / count));
}

/** What each law's best model reaches along budgets: null where none can be trained, else {budget, option, ...}. */
function frontier(options, law, along) {
  const mine = options.filter((option) => option.law === law);
  return along.map((budget) => {
    const [best] = feasible(mine, budget)[0];
    if (!best) return null;
    const inputs = best.inputs(best.tokens(budget));
    const [low, high] = interval(law, inputs, false);
    return {budget, model: best.model.name, loss: law.loss(law.coefficients, ...inputs), low, high};
  });
}

// Where the best method changes

const MOST = 1e30; // FLOP: no budget beyond it is looked at
const DRAWS = 100; // of the bootstrap, for the intervals
const NEAR = 4; // sizes around the best one of a method

/** The budgets searched: the evidence and the asked budget, and far beyond. */
function lookedAt([low, high], budget) {
  return [Math.min(low, budget) / 10, Math.min(Math.max(high, budget) * 10, Math.max(high, MOST))];
}

/** Every change of the best method between two budgets, lowest first: [{flops, low, high, below, above}]. */
function crossovers(options, low, high) {
  const found = [];
  const grid = budgets(low, high, 6);
  const names = grid.map((budget) => bestMethod(options, budget));
  for (let place = 1; place < grid.length; place++) {
    const below = names[place - 1];
    const above = names[place];
    if (!below || !above || below === above) continue;
    const at = bisect(options, grid[place - 1], grid[place], below);
    if (options.some((option) => option.law.label === above && !option.refusal(at / 1.01)))
      found.push(withInterval(options, at, below, above, low, high));
  }
  return found;
}

function bestMethod(options, budget) {
  let best = '';
  let lowest = Infinity;
  for (const option of options) {
    if (option.refusal(budget)) continue;
    const loss = option.loss(option.tokens(budget));
    if (loss < lowest) [best, lowest] = [option.law.label, loss];
  }
  return best;
}

function bisect(options, low, high, below) {
  while (high / low > 1.001) {
    const middle = Math.sqrt(low * high);
    if (bestMethod(options, middle) === below) low = middle;
    else high = middle;
  }
  return Math.sqrt(low * high);
}

/** low, high: 90 % interval over the draws; null where it ends beyond the budgets that were looked at. */
function withInterval(options, flops, below, above, low, high) {
  const grid = budgets(Math.max(low, flops / 1000), Math.min(high, flops * 1000), 3);
  const sides = [below, above].map((label) => options.filter((option) => option.law.label === label));
  const [first, second] = sides.map((side) => grid.map((budget) => nearest(side, budget)));
  const draws = Math.min(DRAWS, ...sides.flat().map((option) => option.law.draws.length));
  const places = Array.from({length: draws}, (_, draw) => turn(grid, gap(first, second, draw), flops)).sort(
    (a, b) => a - b,
  );
  const end = (share) => places[round(share * (places.length - 1))];
  const known = (place) => (place > 0 && place < Infinity ? place : null);
  return {flops, low: known(end(0.05)), high: known(end(0.95)), below, above};
}

/** The few best of the options that a budget can train, with what their laws are asked. */
function nearest(options, budget) {
  return feasible(options, budget)[0]
    .slice(0, NEAR)
    .map((option) => ({law: option.law, inputs: option.inputs(option.tokens(budget))}));
}

/** By how much the second frontier lies above the first at every budget, in one draw. */
function gap(first, second, draw) {
  const lowest = (column) =>
    column.reduce((low, {law, inputs}) => Math.min(low, law.loss(law.draws[draw], ...inputs)), Infinity);
  return first.map((column, i) => {
    const [a, b] = [lowest(column), lowest(second[i])];
    return a === b ? 0 : b - a;
  });
}

/** Where the gap turns negative, nearest to `near`; 0 or infinity when it always or never is. */
function turn(grid, above, near) {
  const turns = [];
  for (let place = 1; place < grid.length; place++) {
    const before = above[place - 1];
    const after = above[place];
    if (!(before > 0 && after <= 0)) continue;
    const share = Number.isFinite(before - after) ? before / (before - after) : 0.5;
    turns.push(grid[place - 1] * (grid[place] / grid[place - 1]) ** share);
  }
  const far = (place) => Math.abs(Math.log(place / near));
  if (turns.length) return turns.reduce((a, b) => (far(b) < far(a) ? b : a));
  return above[above.length - 1] < 0 ? 0 : Infinity;
}
