/* The controls: what they ask of `plan`, what is wrong with it, and the command that asks the same. */

import {byId, element, fill, markImage, plain, shortened, words} from './dom.js';
import {readMachine} from './planner/book.js';
import {Limits, SECONDS, count, memory, tunings} from './planner/generated.js';
import {g, repr} from './planner/python.js';
import {budgetsWithAnswer} from './planner/plan.js';
import {FLOPS} from './planner/shapes.js';
import {book, content, current, planning} from './state.js';

const INSIDE = 1.01; // by how much the slider stays within the budgets that have an answer: its texts are rounded

/** Fields of Limits. id: its name there and in the page. */
const LIMITS = [
  {id: 'max_params', label: 'parameters at most', what: 'parameters', example: '1.4B'},
  {id: 'max_dim', label: 'dimensions at most', what: 'dimensions', example: '1024'},
  {id: 'memory', label: 'memory per chip', what: 'bytes', example: '24GB'},
  {id: 'max_pairs', label: 'unique pairs', what: 'pairs', example: '2M'},
  {id: 'max_epochs', label: 'epochs at most', what: 'epochs', example: '4'},
  {id: 'min_steps', label: 'steps at least', what: 'steps', example: '50'},
  {id: 'max_steps', label: 'steps at most', what: 'steps', example: '1000000'},
  {id: 'serve_tokens', label: 'tokens to serve', what: 'tokens', example: '1T'},
];

const FLAGS = {max_pairs: '--pairs'}; // where a flag is not named as its field
const flagOf = (name) => FLAGS[name] ?? `--${name.replaceAll('_', '-')}`;

const COMMANDS = ['plan', 'embed']; // which errors name as they name parameters

/** The planner's error with its parameters named as on the command line. */
export const asFlags = (error) =>
  error.replace(/`(\w+)`/g, (name, word) => (COMMANDS.includes(word) ? name : flagOf(word)));

function wholeNumber(flag, text) {
  if (!/^\d+$/.test(text) || Number(text) < 1)
    throw new Error(`${flag} is ${repr(text)}; it must be a whole number, 1 or more`);
  return Number(text);
}

export const given = (id) => byId(id).value.trim();

/** What `read` gives, or null with the error beside the field `id`. */
function checked(id, read) {
  let error = '';
  let value = null;
  try {
    value = read();
  } catch (thrown) {
    error = asFlags(thrown.message);
  }
  byId(`${id}-error`).textContent = error;
  byId(id).setAttribute('aria-invalid', String(Boolean(error)));
  return {value, wrong: Boolean(error)};
}

function askedMachine() {
  const name = given('machine');
  if (!name) return {value: null, wrong: false};
  const kind = planning.machines[name];
  const counted = given('chips') && name !== 'this';
  const chips = checked('chips', () => (counted ? wholeNumber('--hardware', given('chips')) : kind.count));
  const price = checked('price', () => readMachine(name, kind, {price: given('price')}));
  const mfu = checked('mfu', () => readMachine(name, kind, {mfu: given('mfu')}));
  if (chips.wrong || price.wrong || mfu.wrong) return {value: null, wrong: true};
  const machine = readMachine(name, kind, {count: chips.value, mfu: given('mfu'), price: given('price')});
  return {value: machine, wrong: false};
}

/** The limits that are set, under the names of Limits. */
export function askedLimits() {
  const limits = {};
  let wrong = false;
  for (const limit of LIMITS) {
    const read = checked(limit.id, () => (given(limit.id) === '' ? undefined : readLimit(limit, given(limit.id))));
    limits[limit.id] = read.value;
    wrong ||= read.wrong;
  }
  wrong ||= checked('max_epochs', () => new Limits(limits)).wrong; // they must agree with one another
  return {value: limits, wrong};
}

function readLimit({id, what}, text) {
  if (what === 'steps') return wholeNumber(flagOf(id), text);
  return what === 'bytes' ? memory(flagOf(id), text) : count(flagOf(id), text, what);
}

/** Names of the methods that are ticked, and of the same over backbones in 4 bits. */
function askedMethods() {
  const boxes = [...document.querySelectorAll('#methods input')];
  const ticked = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  return methodNames(book.laws.filter((law) => ticked.has(law.method.name)));
}

const methodNames = (laws) => [...new Set(laws.flatMap((law) => tunings(law, []).map((method) => method.name)))];

/** All that the controls ask for, or null where one of them is wrong. */
export function asked() {
  const machine = askedMachine();
  const limits = askedLimits();
  const methods = askedMethods();
  byId('methods-error').textContent = methods.length ? '' : 'Choose at least one method.';
  if (machine.wrong || limits.wrong || !methods.length) return null;
  const suite = given('suite');
  const models = planning.suites[suite].map((place) => planning.models[place]);
  const asksFor = {budget: given('budget'), count: given('count'), suite};
  return {...asksFor, machine: machine.value, limits: limits.value, methods, models};
}

/** The command that gives the same answer. */
export function command(question) {
  const {budget, machine, methods, suite} = question;
  const number = given('chips') && machine?.name !== 'this' ? `${given('chips')}x` : '';
  const flags = [
    ['--suite', suite],
    ['--methods', methods.length < methodNames(book.laws).length && methods.join(',')],
    ['--flops', question.count !== 'exact' && question.count],
    ['--hardware', machine && number + machine.name],
    ['--mfu', machine && given('mfu')],
    ['--price', machine && given('price')],
    ...LIMITS.map(({id}) => [flagOf(id), given(id)]),
  ];
  const set = flags.filter(([, value]) => value).map(([flag, value]) => `${flag} ${value}`);
  return ['plan --budget', budget.startsWith('$') ? `'${budget}'` : budget, content.laws, ...set]
    .filter(Boolean)
    .join(' ');
}

// ---- budget: the box, its kind and the slider say the same

let span = null; // lowest and highest budget of the slider, FLOP; null where no budget has an answer

/** FLOPs as the kind of budget that is chosen, as a text of the box. */
function budgetText(flops, kind, machine) {
  if (kind === 'flops' || !machine) return plain(flops);
  const hours = flops / machine.rate / 3600;
  if (kind === 'money') return `$${plain(hours * machine.count * machine.price)}`;
  const [name, seconds] = timeUnit(hours);
  return `${plain((hours * 3600) / seconds)}${name}`;
}

/** The largest unit of which it is one at least: [name, seconds]. */
export function timeUnit(hours) {
  return Object.entries(SECONDS).findLast(([, length]) => hours * 3600 >= length) ?? ['s', 1];
}

export function kindOf(text) {
  if (text.startsWith('$')) return 'money';
  return Object.keys(SECONDS).some((name) => text.endsWith(name)) ? 'time' : 'flops';
}

export function chooseKind(kind) {
  document.querySelector(`[name="kind"][value="${kind}"]`).checked = true;
}

function placeSlider(flops) {
  const [low, high] = span;
  const slider = byId('slider');
  slider.value = String((1000 * Math.log(flops / low)) / Math.log(high / low));
  slider.setAttribute('aria-valuetext', `${given('budget')}${kindOf(given('budget')) === 'flops' ? ' FLOP' : ''}`);
}

export function sliderMoved() {
  const [low, high] = span;
  setBudget(low * (high / low) ** (Number(byId('slider').value) / 1000));
}

/** The page hears of it as of a key pressed in the box. */
const changed = () => byId('budget').dispatchEvent(new Event('input', {bubbles: true}));

/** The box says this many FLOPs in its kind. */
export function setBudget(flops) {
  byId('budget').value = budgetText(flops, kindOf(given('budget')), askedMachine().value);
  changed();
}

/** Another kind: the same budget in it, on a machine if there was none. */
export function kindChosen(kind) {
  const before = current?.answer.asked.flops ?? book.measured.flops[1];
  if (kind !== 'flops' && !given('machine')) byId('machine').value = 'this' in planning.machines ? 'this' : 'cpu';
  if (kind === 'money' && !given('price')) byId('price').value = '1';
  if (kind !== 'flops') byId('machine-details').open = true;
  const machine = askedMachine().value;
  byId('budget').value = budgetText(before, machine ? kind : 'flops', machine);
  if (kind !== 'flops') byId('count').value = 'exact';
  changed();
}

export function machineChosen() {
  if (!given('machine') && kindOf(given('budget')) !== 'flops') kindChosen('flops');
  else changed();
}

// ---- how they look

/** What is set, what the machine does, and where the slider stands: it ends where answers end. */
export function showControls(question) {
  const machine = askedMachine().value;
  const kind = kindOf(given('budget'));
  const set =
    LIMITS.filter(({id}) => given(id)).length + Number(given('suite') !== '') + Number(given('count') !== 'exact');
  byId('limits-set').textContent = set ? `${set} set` : 'none set';
  byId('machine-set').textContent = given('machine') || 'none';
  const ends = question && budgetsWithAnswer(book, question, kind);
  if (question) span = ends && [ends[0] * INSIDE, ends[1] / INSIDE];
  byId('slider').disabled = !span;
  const [low, high] = span ? span.map((flops) => budgetText(flops, kind, machine)) : ['', ''];
  byId('slider-low').textContent = low;
  byId('slider-high').textContent = high;
  byId('budget-means').textContent =
    kind === 'flops' ? 'FLOP' : current ? `${plain(current.answer.budget.flops)} FLOP` : '';
  showMachine(machine);
  if (current && span) placeSlider(current.answer.asked.flops);
}

function showMachine(machine) {
  const offered = planning.machines[given('machine')];
  for (const id of ['chips', 'price', 'mfu']) byId(id).disabled = !offered;
  byId('chips').placeholder = offered ? String(offered.count) : '1';
  byId('mfu').placeholder = offered ? (offered.mfu === null ? 'estimated' : g(offered.mfu, 2)) : '';
  const peak = machine && plain(machine.kind.peak * machine.count);
  byId('machine-means').textContent = machine ? `${peak} FLOP/s at most: ${machine.kind.source}` : '';
}

export function setUpControls() {
  const names = [...new Set(book.laws.map((law) => law.method.name))];
  fill(byId('methods'), element('legend', {class: 'unseen'}, 'Methods to choose from'), ...names.map(methodBox));
  const choices = (id, values, text) =>
    byId(id).append(...values.map((value) => element('option', {value}, text(value))));
  choices('machine', Object.keys(planning.machines), (name) => (name === 'this' ? 'this (measured)' : name));
  choices('suite', Object.keys(planning.suites), (name) => name || 'the measured ones');
  choices('count', Object.keys(FLOPS), (name) => (name === 'exact' ? 'exactly' : `by the ${name}'s rule`));
  fill(byId('limit-fields'), ...LIMITS.map(limitField));
}

/** A method, with the mark of each of its settings that has a law. */
function methodBox(name) {
  const box = element('input', {type: 'checkbox', value: name, checked: ''});
  const laws = book.laws.filter((law) => law.method.name === name);
  const mark = (law, text) => element('span', {class: 'mark'}, markImage(law.place), words(shortened(text, 60)));
  if (laws.length === 1) return element('label', {}, box, mark(laws[0], laws[0].label));
  const settings = (law) => mark(law, law.label.slice(name.length).trim());
  return element('label', {}, box, words(name), ...laws.map(settings));
}

function limitField({id, label, what, example}) {
  const placeholder = what === 'steps' ? String(new Limits({})[id]) : `such as ${example}`;
  const input = element('input', {
    id,
    type: 'text',
    placeholder,
    'aria-describedby': `${id}-error`,
    spellcheck: 'false',
  });
  return element(
    'div',
    {},
    element('label', {for: id}, label),
    input,
    element('p', {class: 'error', id: `${id}-error`}),
  );
}
