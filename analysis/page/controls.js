/* The controls: what they ask of `plan`, what is wrong with it, and the command that asks the same. */

import {byId, byNumbers, element, fill, plain, shortened, words} from './dom.js';
import {askedLimits, askedTraining, checked, countSet, flagsOfFields, given, setUpFields, wholeNumber} from './fields.js';
import {markImage} from './looks.js';
import {readMachine} from './planner/book.js';
import {SECONDS, tunings} from './planner/generated.js';
import {g} from './planner/python.js';
import {budgetsWithAnswer} from './planner/plan.js';
import {FLOPS} from './planner/shapes.js';
import {book, books, booksOf, content, current, planning} from './state.js';

const INSIDE = 1.01; // by how much the slider stays within the budgets that have an answer: its texts are rounded

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

/** Names of the methods that are ticked, and of the same over backbones in 4 bits; none where all are ticked. */
function askedMethods() {
  const boxes = [...document.querySelectorAll('#methods input')];
  const ticked = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  const laws = books.flatMap((each) => each.laws).filter((law) => ticked.has(law.method.name));
  const names = new Set(laws.flatMap((law) => tunings(law, []).map((method) => method.name)));
  return {value: boxes.length === ticked.size ? [] : [...names], wrong: !ticked.size};
}

/** All that the controls ask for, or null where one of them is wrong. */
export function asked() {
  const machine = askedMachine();
  const limits = askedLimits();
  const training = askedTraining();
  const methods = askedMethods();
  byId('methods-error').textContent = methods.wrong ? 'Choose at least one method.' : '';
  if (machine.wrong || limits.wrong || training.wrong || methods.wrong) return null;
  const suite = given('suite');
  const asksFor = {budget: given('budget'), count: given('count'), suite, books: booksOf(given('laws'))};
  const from = {models: planning.models, places: suite ? planning.suites[suite] : null, methods: methods.value};
  return {...asksFor, ...from, ...training.value, machine: machine.value, limits: limits.value};
}

/** The command that gives the same answer. */
export function command(question) {
  const {budget, machine, methods, suite} = question;
  const number = given('chips') && machine?.name !== 'this' ? `${given('chips')}x` : '';
  const flags = [
    ['--suite', suite],
    ['--methods', methods.join(',')],
    ['--flops', question.count !== 'exact' && question.count],
    ['--hardware', machine && number + machine.name],
    ['--mfu', machine && given('mfu')],
    ['--price', machine && given('price')],
    ...flagsOfFields(),
  ];
  const set = flags.filter(([, value]) => value).map(([flag, value]) => `${flag} ${value}`);
  return ['plan --budget', budget.startsWith('$') ? `'${budget}'` : budget, ...flagsOfLaws(question), ...set].join(' ');
}

/** `--laws` of each book that is asked; none where the page's own lies in no file. */
const flagsOfLaws = ({books: asks}) =>
  content.flags.filter((_, i) => asks.some((one) => one.name === books[i].name));

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
  const limits = countSet('limits') + Number(given('suite') !== '') + Number(given('count') !== 'exact');
  byId('limits-set').textContent = limits ? `${limits} set` : 'none set';
  const conditions = countSet('training');
  byId('training-set').textContent = conditions ? `${conditions} set` : 'by the laws';
  byId('machine-set').textContent = given('machine') || 'none';
  const ends = question && budgetsWithAnswer(question.books, question, kind);
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
  const names = [...new Set(books.flatMap((each) => each.laws.map((law) => law.method.name)))];
  fill(byId('methods'), element('legend', {class: 'unseen'}, 'Methods to choose from'), ...names.map(methodBox));
  const choices = (id, values, text) =>
    byId(id).append(...values.map((value) => element('option', {value}, text(value))));
  choices('machine', Object.keys(planning.machines), (name) => (name === 'this' ? 'this (measured)' : name));
  choices('suite', Object.keys(planning.suites), (name) => name);
  choices('laws', books.map(({name}) => name), nameOfBook);
  byId('laws').parentElement.hidden = books.length < 2;
  choices('count', Object.keys(FLOPS), (name) => (name === 'exact' ? 'exactly' : `by the ${name}'s rule`));
  setUpFields();
}

/** A law book in the list: what it rests on. */
const nameOfBook = (name) => {
  const {published, laws} = books.find((one) => one.name === name);
  return `${name}: ${published ? 'published' : `${laws.reduce((sum, law) => sum + law.rows, 0)} runs`}`;
};

/** A method, with room for the marks of its settings; see showMethods. */
function methodBox(name) {
  const box = element('input', {type: 'checkbox', value: name, checked: ''});
  return element('label', {}, box, words(name), element('span', {class: 'marks', 'data-method': name}));
}

/** The mark of each setting that has a law in the book that is drawn. */
export function showMethods({laws, name: drawn}) {
  const mark = (law, text) => element('span', {class: 'mark'}, markImage(law.label), words(shortened(text, 60)));
  for (const place of document.querySelectorAll('#methods .marks')) {
    const {method: name} = place.dataset;
    const own = byNumbers(laws, (law) => law.label).filter((law) => law.method.name === name);
    const none = element('span', {class: 'muted'}, `not in ${drawn}`);
    fill(place, ...(own.length ? own.map((law) => mark(law, law.label.slice(name.length).trim())) : [none]));
  }
}
