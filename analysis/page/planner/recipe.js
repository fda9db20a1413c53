'use strict';
/* planner/recipe.py: from a budget and the laws to recipes. */

/** asked.budget: a text. The answer of `plan`; recipe(i) is the i-th candidate. Throws where plan has an error. */
function plan(planning, asked) {
  const budget = readBudget(asked.budget, asked.machine, planning.units.seconds);
  if (asked.count !== 'exact' && budget.kind !== 'flops')
    throw new Error(
      `--flops is '${asked.count}': a machine does every FLOP, so a budget of ${asked.budget} needs exact`,
    );
  if (asked.limits.maxEpochs < Infinity && asked.limits.maxPairs === Infinity)
    throw new Error(`--max-epochs is ${g(asked.limits.maxEpochs, 6)}: passes over which pairs? give --max-pairs too`);
  const [options, never] = menu(planning, asked);
  pace(options, budget, asked.machine);
  const [fits, tooSmall] = feasible(options, budget.flops);
  const refused = [...never, ...tooSmall];
  if (!fits.length) throw new Error(nothingFits(budget.flops, options, refused));
  const chances = odds(fits, budget.flops);
  const recipe = (i) => makeRecipe(planning, asked, fits[i], budget.flops, chances && chances[i]);
  const spent = fits[0].pace * budget.flops;
  return {
    budget: {flops: spent, kind: budget.kind},
    options,
    fits,
    refused,
    recipe,
    notices: notices(planning, recipe(0), fits, spent),
    provenance: provenance(planning, asked, recipe(0), fits[0]),
    facts: facts(planning, recipe(0), fits[0]),
  };
}

function nothingFits(budget, options, refused) {
  const enough = options.filter((option) => option.mostSteps >= option.limits.minSteps);
  if (!enough.length)
    return `no candidate is left: ${[...new Set(refused.map((one) => `${one.model} with ${one.method}: ${one.reason}`))].join('; ')}`;
  const near = enough.reduce((a, b) => (b.needs() / b.pace < a.needs() / a.pace ? b : a));
  const serving = near.serving ? `, ${g(near.serving, 3)} of them for serving` : '';
  return (
    `--budget ${g(near.pace * budget, 3)} FLOP is too small for every candidate: ${near.model.name} with ` +
    `${near.law.label} comes nearest with ${Math.max(0, near.steps(budget))} steps; ${near.limits.minSteps} need ` +
    `${g(near.needs(), 3)} FLOP${serving}`
  );
}

function makeRecipe(planning, asked, option, budget, chance) {
  const {law, model, limits} = option;
  const {machine} = asked;
  const steps = option.steps(budget);
  const pairs = steps * option.batch;
  const tokens = pairs * option.pairTokens;
  const exact = pairs * option.exactPairFlops;
  const [low, high] = interval(law, option.inputs(tokens));
  const hours = machine ? exact / rateOf(machine, option) / 3600 : null;
  return {
    model: model.name,
    method: law.label,
    lr: option.known.lr,
    lrSource: option.known.lrSource,
    steps,
    pairs,
    tokens,
    params: model.params,
    dim: model.dim,
    epochs: limits.maxPairs < Infinity ? pairs / limits.maxPairs : null,
    flops: pairs * option.pairFlops,
    exactFlops: exact,
    servingFlops: option.serving,
    loss: option.loss(tokens),
    low,
    high,
    best: chance ? chance.best : null,
    regret: chance ? chance.regret : null,
    memory: option.fit.bytes,
    microTokens: option.fit.tokens,
    secondForward: option.fit.secondForward,
    hours,
    cost: machine && machine.price !== null ? hours * machine.count * machine.price : null,
    reach: {
      flops: beyond(exact, law.span.flops),
      params: beyond(model.params, law.span.params),
      tokens: beyond(tokens, law.span.tokens),
    },
    smaller: below({flops: exact, params: model.params, tokens}, law.span),
  };
}
