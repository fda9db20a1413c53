'use strict';
/* Numbers as Python's formats print them, and as people write them. */

/** What toFixed or toExponential gives, but halves to the even side. */
function even(value, method, digits) {
  const [mantissa, tail] = value[method](Math.min(100, digits + 50)).split('e');
  const end = mantissa.indexOf('.') + (digits ? digits + 1 : 0);
  const kept = mantissa.slice(0, end);
  const half = /^\.?50*$/.test(mantissa.slice(end)) && '02468'.includes(kept[kept.length - 1]);
  return half ? kept + (tail ? `e${tail}` : '') : value[method](digits);
}

/** `:.{digits}f` */
const fixed = (value, digits) => even(value, 'toFixed', digits);

/** `:.{digits}g` */
function g(value, digits) {
  if (!Number.isFinite(value) || value === 0)
    return value === 0 ? '0' : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  const bare = (text) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  const [mantissa, tail] = exponential(value, digits - 1).split('e');
  const power = Number(tail);
  return power >= -4 && power < digits ? bare(fixed(value, digits - 1 - power)) : `${bare(mantissa)}e${tail}`;
}

/** `:.{digits}e` */
function exponential(value, digits) {
  const [mantissa, power] = even(value, 'toExponential', digits).split('e');
  return `${mantissa}e${power[0]}${power.slice(1).padStart(2, '0')}`;
}

/** `:.0%` */
const percent = (value) => `${fixed(100 * value, 0)}%`;

/** A count as people say it: 302 M, 8.1 G, 1e+15. */
function short(value) {
  if (value >= 1e15) return g(value, 3);
  const units = [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ];
  const found = units.find(([, size]) => value >= size);
  return found ? `${g(value / found[1], 3)} ${found[0]}` : g(value, 3);
}

const NUMBER = /^\s*\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** A positive finite number, or an error that names the flag, the whole text and what is wanted. */
function positive(flag, text, wanted, number = text) {
  const value = NUMBER.test(number) ? Number(number) : NaN;
  if (!(value > 0 && Number.isFinite(value))) throw new Error(`${flag} is '${text}'; it must be ${wanted}`);
  return value;
}

function withUnit(flag, text, units, wanted) {
  const unit = Object.keys(units)
    .sort((a, b) => b.length - a.length)
    .find((name) => text.endsWith(name));
  return unit ? positive(flag, text, wanted, text.slice(0, -unit.length)) * units[unit] : positive(flag, text, wanted);
}

/** As Python rounds: halves to the even side. */
function round(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

/** 3e12: as people write a budget, and as its box reads it. */
const plain = (value) => g(value, 3).replace(/e\+?(-?)0*/, 'e$1');
