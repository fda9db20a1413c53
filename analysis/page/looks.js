/* The colour and the mark of each method, by its label: those of planner/palette.py, which figures have too. */

import {content} from './state.js';

/** Marks in a box of ten by ten, by the letters that matplotlib has for them. */
const SHAPES = {
  o: 'M5 1A4 4 0 1 1 5 9A4 4 0 1 1 5 1Z',
  s: 'M1.4 1.4H8.6V8.6H1.4Z',
  '^': 'M5 .8L9.6 8.8H.4Z',
  D: 'M5 .2L9.8 5L5 9.8L.2 5Z',
  v: 'M5 9.2L9.6 1.2H.4Z',
  P: 'M3.5 .5H6.5V3.5H9.5V6.5H6.5V9.5H3.5V6.5H.5V3.5H3.5Z',
  X: 'M2 .4L5 3.4L8 .4L9.6 2L6.6 5L9.6 8L8 9.6L5 6.6L2 9.6L.4 8L3.4 5L.4 2Z',
  '*': 'M5 .3L6.4 3.5L9.8 3.8L7.2 6.1L8 9.6L5 7.7L2 9.6L2.8 6.1L.2 3.8L3.6 3.5Z',
};

const dark = matchMedia('(prefers-color-scheme: dark)');
const labels = Object.keys(content.looks);
const lookOf = (label) => content.looks[label];

export const markOf = (label) => SHAPES[lookOf(label).marker];
export const colourOf = (label) => (dark.matches ? lookOf(label).on_dark : lookOf(label).colour);

/** How ECharts fills a mark. ground: the colour behind it, which hollow marks show. */
export const filled = (label, ground) =>
  lookOf(label).hollow
    ? {color: ground, borderColor: colourOf(label), borderWidth: 1.5}
    : {color: colourOf(label), borderColor: ground, borderWidth: 0.6};

/** The colours of the system's scheme, under the names that marks in the page go by. */
export function setColours() {
  for (const [i, label] of labels.entries())
    document.documentElement.style.setProperty(`--look${i}`, colourOf(label));
}

export function markImage(label) {
  const space = 'http://www.w3.org/2000/svg';
  const image = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  const colour = `var(--look${labels.indexOf(label)})`;
  image.setAttribute('viewBox', '0 0 10 10');
  image.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', markOf(label));
  path.setAttribute('fill', lookOf(label).hollow ? 'none' : colour);
  path.setAttribute('stroke', colour);
  path.setAttribute('stroke-width', lookOf(label).hollow ? '1.6' : '0');
  image.append(path);
  return image;
}
