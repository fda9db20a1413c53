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

/** Marks in a box of ten by ten, one a method. */
export const MARKS = [
  'M5 1A4 4 0 1 1 5 9A4 4 0 1 1 5 1Z',
  'M1.4 1.4H8.6V8.6H1.4Z',
  'M5 .8L9.6 8.8H.4Z',
  'M5 .2L9.8 5L5 9.8L.2 5Z',
  'M5 9.2L9.6 1.2H.4Z',
  'M3.5 .5H6.5V3.5H9.5V6.5H6.5V9.5H3.5V6.5H.5V3.5H3.5Z',
  'M2 .4L5 3.4L8 .4L9.6 2L6.6 5L9.6 8L8 9.6L5 6.6L2 9.6L.4 8L3.4 5L.4 2Z',
  'M5 .3L6.4 3.5L9.8 3.8L7.2 6.1L8 9.6L5 7.7L2 9.6L2.8 6.1L.2 3.8L3.6 3.5Z',
];

/** Which mark and which colour the i-th method has: no two of 64 have both in common. */
export const markOf = (i) => MARKS[(i + Math.floor(i / MARKS.length)) % MARKS.length];
export const colourOf = (i) =>
  getComputedStyle(document.documentElement)
    .getPropertyValue(`--m${i % MARKS.length}`)
    .trim();

export function markImage(i) {
  const space = 'http://www.w3.org/2000/svg';
  const image = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  image.setAttribute('viewBox', '0 0 10 10');
  image.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', markOf(i));
  path.setAttribute('fill', `var(--m${i % MARKS.length})`);
  image.append(path);
  return image;
}

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
