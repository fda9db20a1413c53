'use strict';
/* The answer: the recipe, its runner-ups, what to mind and where it comes from. */

const SHOWN = 6; // candidates before all are asked for
const HEADS = ['model', 'method', 'loss', '90 % interval', 'best', 'regret', 'steps', 'learning rate'];

let allCandidates = false; // whether the table shows more than the first ones
let saying = 0; // timer of what screen readers are told

function showAnswer({question, answer}) {
  const best = answer.recipe(0);
  fill(byId('headline'), words(best.model), ' ', element('small', {}, 'tuned with '), words(best.method));
  byId('loss').textContent = `Expected loss ${lossText(best.loss)} ${unit}, held out; 90 % prediction interval ${span(best)}.`;
  fill(byId('facts'), ...parts(question, best));
  byId('command').textContent = command(question);
  fill(byId('notices'), ...answer.notices.map(({text}) => element('li', {}, words(text))));
  fill(byId('published-list'), ...answer.facts.map(published));
  byId('published').hidden = !answer.facts.length;
  fill(
    byId('provenance'),
    ...Object.entries(answer.provenance).flatMap(([part, source]) => [
      element('dt', {}, part.replaceAll('_', ' ')),
      element('dd', {}, words(source)),
    ]),
  );
  showCandidates(answer);
  say(`${best.model} with ${best.method}, expected loss ${lossText(best.loss)}`);
}

const span = ({low, high}) => `${lossText(low)} to ${lossText(high)}`;

function published({text, citation, agrees}) {
  const verdict = agrees === null ? '' : agrees ? ' In line with this answer.' : ' Against this answer.';
  return element('li', {}, `${text} (${citation}).${verdict}`);
}

/** What the recipe is made of. */
function parts({machine}, best) {
  const {batch_size: batch, temperature} = planning.training;
  const epochs = best.epochs === null ? '' : `, ${g(best.epochs, 3)} epochs`;
  const graph = best.secondForward
    ? `${percent(best.secondForward)} of the batch embedded twice`
    : `${short(best.microTokens)} tokens in one graph`;
  return [
    best.best === null
      ? term('best with probability', 'not known', 'the laws hold no draws')
      : term(
          'best with probability',
          fixed(best.best, 2),
          `regret ${g(best.regret, 2)} ${content.measure === 'loss' ? 'nats' : ''}`,
        ),
    measured(best.reach)
      ? term('evidence', 'measured', 'within the measured range')
      : term('evidence', 'extrapolated', reachText(best), 'far'),
    term('learning rate', best.lr === null ? 'not known' : g(best.lr, 3)),
    term('steps', whole(best.steps), `of ${batch} pairs, temperature ${g(temperature, 6)}`),
    term('data', `${short(best.tokens)} tokens`, `${short(best.pairs)} pairs${epochs}`),
    term(
      'compute',
      `${plain(best.flops)} FLOP`,
      best.servingFlops ? `${plain(best.servingFlops)} kept for serving` : '',
    ),
    term('model size', `${short(best.params)} parameters`, `${best.dim} dimensions`),
    term('memory', `${short(best.memory)}B`, graph),
    ...(machine
      ? [term('time', timeText(best.hours), machine.count > 1 ? `${g(best.hours * machine.count, 3)} chip-hours` : '')]
      : []),
    ...(best.cost === null ? [] : [term('cost', costText(best.cost), 'in the currency of the price')]),
  ];
}

function timeText(hours) {
  const [name, seconds] = timeUnit(hours);
  return `${g((hours * 3600) / seconds, 3)} ${name}`;
}

const costText = (cost) => (cost >= 0.01 ? cost.toLocaleString('en-US', {maximumFractionDigits: 2}) : g(cost, 2));

function showCandidates({fits, refused, recipe}) {
  const shown = allCandidates ? fits : fits.slice(0, SHOWN);
  const rows = shown.map((option, i) => candidate(recipe(i), option, i));
  fill(byId('candidates'), head(HEADS, 2), element('tbody', {}, ...rows));
  byId('all-candidates').textContent = allCandidates ? `Show the first ${SHOWN}` : `Show all ${fits.length}`;
  byId('all-candidates').parentElement.hidden = fits.length <= SHOWN;
  byId('refused').hidden = !refused.length;
  byId('refused-title').textContent = `Not possible: ${refused.length}`;
  fill(
    byId('refused-list'),
    ...refused.map(({model, method, reason}) =>
      element('li', {}, words(model), ' with ', words(method), ': ', words(reason)),
    ),
  );
}

function toggleCandidates(answer) {
  allCandidates = !allCandidates;
  showCandidates(answer);
}

function candidate(recipe, option, i) {
  const method = element('span', {class: 'mark'}, markImage(option.lawPlace), words(recipe.method));
  const numbers = [
    lossText(recipe.loss),
    span(recipe),
    ...(recipe.best === null ? ['', ''] : [fixed(recipe.best, 2), g(recipe.regret, 3)]),
    whole(recipe.steps),
    recipe.lr === null ? '' : g(recipe.lr, 3),
  ];
  return element(
    'tr',
    i ? {} : {class: 'best'},
    cell(words(recipe.model)),
    cell(method),
    ...numbers.map((text) => cell(text, 'number')),
  );
}

/** To screen readers, once the slider rests. */
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    byId('said').textContent = text;
  }, 600);
}
