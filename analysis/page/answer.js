/* The answer: the recipe, the other candidates, the warnings and where it comes from. */

import {command, timeUnit} from './controls.js';
import {byId, cell, element, fill, head, lossText, markImage, methodText, plain, term, whole, words} from './dom.js';
import {short} from './planner/generated.js';
import {fixed, g, percent} from './planner/python.js';
import {content, unit} from './state.js';

const SHOWN = 6; // candidates before all are asked for
const HEADS = ['model', 'method', 'loss', '90 % interval', 'best', 'regret', 'steps', 'learning rate'];

let allCandidates = false; // whether the table shows more than the first ones
let saying = 0; // timer of what screen readers are told

export function showAnswer({question, answer}) {
  const best = answer.recipe(0);
  const {model, method} = best.trial;
  fill(byId('headline'), words(model), ' ', element('small', {}, words(methodText(method.label))));
  byId('loss').textContent = `Expected held-out loss ${lossText(best.loss)} ${unit}; 90 % prediction interval ${ends(best)}.`;
  fill(byId('facts'), ...parts(question, best));
  byId('command').textContent = command(question);
  fill(byId('warning-list'), ...answer.warnings.map(({text}) => element('li', {}, words(text))));
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
  say(`${model} with ${methodText(method.label)}, expected loss ${lossText(best.loss)}`);
}

/** An interval to three digits, as `plan` prints it. */
const ends = ({low, high}) => `${g(low, 3, true)} to ${g(high, 3, true)}`;

function published({text, citation, agrees}) {
  const verdict = agrees === null ? '' : agrees ? ' In line with this answer.' : ' Against this answer.';
  return element('li', {}, `${text} (${citation}).${verdict}`);
}

/** What the recipe is made of. */
function parts({machine}, best) {
  const {batch_size: batch, temperature} = best.trial.training;
  const epochs = best.epochs === null ? '' : `, ${g(best.epochs, 3)} epochs`;
  const micro = best.second_forward
    ? `${percent(best.second_forward, 0)} of the batch embedded twice`
    : `micro-batches of ${short(best.micro_batch_tokens)} tokens`;
  return [
    best.best === null
      ? term('best with probability', 'not known', 'the laws hold no draws')
      : term(
          'best with probability',
          fixed(best.best, 2),
          `regret ${g(best.regret, 2)} ${content.measure === 'loss' ? 'nats' : ''}`,
        ),
    best.extrapolation.within_range
      ? term('evidence', 'measured', 'within the measured range')
      : term('evidence', 'extrapolated', String(best.extrapolation), 'far'),
    term('learning rate', best.trial.lr === null ? 'not known' : g(best.trial.lr, 3)),
    term('steps', whole(best.trial.steps), `of ${batch} pairs, temperature ${g(temperature, 6)}`),
    term('data', `${short(best.tokens)} tokens`, `${short(best.pairs)} pairs${epochs}`),
    term(
      'compute',
      `${plain(best.flops)} FLOP`,
      best.serving_flops ? `${plain(best.serving_flops)} kept for serving` : '',
    ),
    term('model size', `${short(best.params)} parameters`, `${best.dim} dimensions`),
    term('memory', `${short(best.memory)}B`, micro),
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
  const rows = shown.map((one, i) => candidateRow(recipe(i), one.law, i));
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

export function toggleCandidates(answer) {
  allCandidates = !allCandidates;
  showCandidates(answer);
}

function candidateRow(recipe, law, i) {
  const {model, steps, lr} = recipe.trial;
  const method = element('span', {class: 'mark'}, markImage(law.place), words(law.label));
  const numbers = [
    lossText(recipe.loss),
    ends(recipe),
    ...(recipe.best === null ? ['', ''] : [fixed(recipe.best, 2), g(recipe.regret, 3)]),
    whole(steps),
    lr === null ? '' : g(lr, 3),
  ];
  return element(
    'tr',
    i ? {} : {class: 'best'},
    cell(words(model)),
    cell(method),
    ...numbers.map((text) => cell(text, 'number')),
  );
}

/** To screen readers, once the slider rests. */
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    byId('announcement').textContent = text;
  }, 600);
}
