/* The page's elements, and numbers as they stand in it. Text of the data only ever becomes text. */

import {fixed, g} from './planner/python.js';

export const byId = (id) => document.getElementById(id);

/** A new element: attributes by name, children as elements or texts. */
export function element(tag, attributes = {}, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.append(...children);
  return one;
}

/** Text of the data, kept from turning the direction of its neighbours. */
export const words = (text) => element('bdi', {class: 'text'}, text);

export function fill(parent, ...children) {
  parent.replaceChildren(...children);
}

/** A line of a description list; a value may be an element. */
export function term(name, value, remark = '', className = '') {
  const description = element('dd', {}, value);
  if (remark) description.append(element('small', {}, remark));
  return element('div', className ? {class: className} : {}, element('dt', {}, name), description);
}

export function cell(value, className = '') {
  return element('td', className ? {class: className} : {}, value);
}

export function head(names, numbers = 0) {
  const cells = names.map((name, i) => element('th', {scope: 'col', ...(i >= numbers ? {class: 'number'} : {})}, name));
  return element('thead', {}, element('tr', {}, ...cells));
}

/** In the order of what they are called, in which rank 8 comes before rank 32. */
export const byNumbers = (some, called = (one) => one) =>
  [...some].sort((a, b) => called(a).localeCompare(called(b), 'en', {numeric: true}));

/** Whole numbers with commas, as the terminal prints them. */
export const whole = (value) => value.toLocaleString('en-US');

/** A loss, with the digits that a reader compares. */
export const lossText = (value) => fixed(value, 3);

export const numberText = (value, digits) => (Number.isFinite(value) ? g(value, digits) : '');

/** 3e12: as people write a budget, and as its box reads it. */
export const plain = (value) => g(value, 3).replace(/e\+?(-?)0*/, 'e$1');

export const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** A method's label in words. */
export const methodText = (label) => (label === 'full' ? 'full fine-tuning' : label);
