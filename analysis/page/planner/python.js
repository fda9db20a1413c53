/* What Python's built-ins and formats do, for generated.js and for numbers on the page. */

/** What is not empty, none, nothing or false. */
export function truth(value) {
  if (typeof value !== 'object' || value === null) return Boolean(value);
  if (Array.isArray(value)) return value.length > 0;
  return Object.getPrototypeOf(value) !== Object.prototype || Object.keys(value).length > 0;
}

export const either = (value, other) => (truth(value) ? value : other());
export const both = (value, other) => (truth(value) ? other() : value);

/** What a loop over `values` meets: the keys of a dict, the characters of a text. */
export function list(values) {
  if (Array.isArray(values)) return values;
  return typeof values[Symbol.iterator] === 'function' ? [...values] : Object.keys(values);
}

export const len = (values) => list(values).length;
export const items = (dict) => Object.entries(dict);
export const get = (dict, key, other = null) => (Object.hasOwn(dict, key) ? dict[key] : other);
export const any = (values) => values.some(truth);
export const all = (values) => values.every(truth);
export const sum = (values) => list(values).reduce((total, value) => total + value, 0);
export const unique = (values) => [...new Set(values)];
export const enumerate = (values) => list(values).map((value, place) => [place, value]);
export const range = (first, end) =>
  end === undefined ? range(0, first) : Array.from({length: Math.max(0, end - first)}, (_, place) => first + place);
export const repeat = (values, times) => Array.from({length: times}).flatMap(() => values);
export const zip = (first, ...others) => list(first).map((value, i) => [value, ...others.map((one) => list(one)[i])]);
export const join = (between, texts) => list(texts).join(between);
export const removesuffix = (text, end) => (text.endsWith(end) ? text.slice(0, text.length - end.length) : text);

export function has(values, wanted) {
  if (typeof values === 'string' || Array.isArray(values)) return values.includes(wanted);
  return values instanceof Set ? values.has(wanted) : Object.hasOwn(values, wanted);
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export function sorted(values, {key, reverse = false} = {}) {
  const sign = reverse ? -1 : 1;
  if (!key) return [...list(values)].sort((a, b) => sign * compare(a, b));
  const keyed = list(values).map((value) => [key(value), value]);
  return keyed.sort((a, b) => sign * compare(a[0], b[0])).map(([, value]) => value);
}

/** The first of the least. */
export function min(values, {key = (value) => value, default: none} = {}) {
  let best = none;
  let least;
  for (const value of list(values)) {
    const at = key(value);
    if (least === undefined || at < least) [best, least] = [value, at];
  }
  return best;
}

/** Values under the names of a record's fields. */
export const named = (names, values) => Object.fromEntries(zip(names.slice(0, values.length), values));

/** The first of the largest. */
export const max = (values, {key = (value) => value, default: none} = {}) =>
  min(values, {key: (value) => -key(value), default: none});

/** A record with other fields; what it worked out before is forgotten. */
export const replace = (record, fields) =>
  Object.assign(Object.create(Object.getPrototypeOf(record)), record, fields);

/** A property that is worked out once. */
export function kept(record, name, make) {
  const value = make();
  Object.defineProperty(record, name, {value});
  return value;
}

/** A function of texts and numbers that remembers its values. */
export function cached(make) {
  const known = new Map();
  return (...given) => {
    const key = JSON.stringify(given);
    if (!known.has(key)) known.set(key, make(...given));
    return known.get(key);
  };
}

export const ord = (letter) => letter.codePointAt(0);

export const repr = (value) => (typeof value === 'string' ? `'${value}'` : String(value));

/** To the nearest whole number, halves to the even one. */
export function round(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

/** What toFixed or toExponential gives, but halves to the even side. */
function even(value, method, digits) {
  const [mantissa, tail] = value[method](Math.min(100, digits + 50)).split('e');
  const end = mantissa.indexOf('.') + (digits ? digits + 1 : 0);
  const part = mantissa.slice(0, end);
  const half = /^\.?50*$/.test(mantissa.slice(end)) && '02468'.includes(part[part.length - 1]);
  return half ? part + (tail ? `e${tail}` : '') : value[method](digits);
}

/** `:.{digits}f` */
export const fixed = (value, digits) => even(value, 'toFixed', digits);

/** `:.{digits}e` */
export function exponential(value, digits) {
  const [mantissa, power] = even(value, 'toExponential', digits).split('e');
  return `${mantissa}e${power[0]}${power.slice(1).padStart(2, '0')}`;
}

/** `:.{digits}g`; with `#` trailing zeros stay. */
export function g(value, digits, zeros = false) {
  if (!Number.isFinite(value) || value === 0)
    return value === 0 ? '0' : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  const bare = (text) => (text.includes('.') && !zeros ? text.replace(/\.?0+$/, '') : text);
  const [mantissa, tail] = exponential(value, digits - 1).split('e');
  const power = Number(tail);
  return power >= -4 && power < digits ? bare(fixed(value, digits - 1 - power)) : `${bare(mantissa)}e${tail}`;
}

/** `:.{digits}%` */
export const percent = (value, digits) => `${fixed(100 * value, digits)}%`;

/** `:,.{digits}f` */
export const grouped = (value, digits = 0) =>
  value.toLocaleString('en-US', {minimumFractionDigits: digits, maximumFractionDigits: digits});
