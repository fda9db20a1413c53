/* The question in the address: what is set stands behind the #, so that a link asks the same. */

import {byId} from './dom.js';

const REST = 300; // milliseconds without a change before the address follows: browsers count how often it does

let waiting = 0; // timer of that

/** The controls that a link may set: boxes and lists by their id. */
const controls = () => [...byId('ask').querySelectorAll('input[type=text], select')];
const usual = (one) => (one.matches('select') ? one.options[0].value : one.defaultValue);
const boxes = () => [...document.querySelectorAll('#methods input')];

/** What is set, as it stands behind the #. */
export function asAddress() {
  const set = controls().filter((one) => one.value.trim() !== usual(one));
  const named = new URLSearchParams(set.map((one) => [one.id, one.value.trim()]));
  const ticked = boxes().filter((box) => box.checked);
  if (ticked.length < boxes().length) named.set('methods', ticked.map((box) => box.value).join(','));
  return `#${named}`;
}

export function writeAddress() {
  clearTimeout(waiting);
  history.replaceState(null, '', asAddress());
}

export function writeAddressSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(writeAddress, REST);
}

/** Sets the controls as the address says, and says what of it this page does not have. */
export function readAddress() {
  clearTimeout(waiting);
  const asks = location.hash.includes('=') ? location.hash.slice(1) : ''; // else it is a place in the page
  const unknown = [...new URLSearchParams(asks)].filter(([name, value]) => !set(name, value));
  const texts = unknown.map(([name, value]) => `${name}=${value}`);
  byId('address-error').textContent = texts.length ? `Not on this page, though in its address: ${texts.join(', ')}` : '';
  for (const group of byId('ask').querySelectorAll('details'))
    group.open ||= controls().some((one) => group.contains(one) && one.value.trim() !== usual(one));
}

/** Whether there is such a control with such a value. */
function set(name, value) {
  if (name === 'methods') return tick(value.split(','));
  const one = controls().find(({id}) => id === name);
  if (!one || (one.matches('select') && ![...one.options].some((option) => option.value === value))) return false;
  one.value = value;
  return true;
}

function tick(names) {
  for (const box of boxes()) box.checked = names.includes(box.value);
  return names.every((name) => boxes().some((box) => box.value === name));
}
