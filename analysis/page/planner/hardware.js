'use strict';
/* planner/budget.py and sweeps/machine/hardware.py: machines, and how a batch goes through their memory. */

/** count of `kind`, one of data.machines; mfu and price as texts, empty where not given. */
function readMachine(kind, name, count, mfu, price) {
  const machine = {...kind, name, count, price: null};
  if (mfu) {
    const wanted = 'a share of the peak rate above 0 and up to 1, such as 0.4';
    if (kind.rates)
      throw new Error(`--mfu is '${mfu}': what --hardware this reaches was measured; leave one of the two out`);
    machine.mfu = positive('--mfu', mfu, wanted);
    if (machine.mfu > 1) throw new Error(`--mfu is '${mfu}'; it must be ${wanted}`);
  }
  if (price) machine.price = positive('--price', price, 'the price of one chip for an hour, such as 2.5');
  machine.rate = machine.peak * machine.count * machine.mfu;
  return machine;
}

function rateOf(machine, option) {
  return machine.rates ? machine.rates[option.lawPlace][option.modelPlace] : machine.rate;
}

function origin(machine, option) {
  return machine.origins
    ? machine.origins[option.lawPlace][option.modelPlace]
    : `peak ${g(machine.peak, 4)} FLOP/s a chip (${machine.source}), ${percent(machine.mfu)} of it reached`;
}

/** {flops, kind} of `1e19`, `24h` or `$500`. */
function readBudget(text, machine, seconds) {
  const wanted = "a positive number of FLOP such as 1e19, a time such as 24h, or money such as '$500'";
  if (text.startsWith('$')) {
    const dollars = positive('--budget', text, wanted, text.slice(1).replaceAll(',', ''));
    if (!machine || machine.price === null)
      throw new Error(`--budget is '${text}': money needs --hardware such as 8xh100 and --price per chip and hour`);
    return {flops: (dollars / (machine.count * machine.price)) * 3600 * machine.rate, kind: 'money'};
  }
  if (Object.keys(seconds).some((unit) => text.endsWith(unit))) {
    const spent = withUnit('--budget', text, seconds, wanted);
    if (!machine) throw new Error(`--budget is '${text}': time needs --hardware such as 8xh100`);
    return {flops: spent * machine.rate, kind: 'time'};
  }
  return {flops: positive('--budget', text, wanted), kind: 'flops'};
}

/** How a batch goes through memory; null when even one text does not fit. */
function fitBatch(still, each, batch, longest, limit) {
  const room = (limit - still) / each;
  if (room < longest) return null;
  const tokens = room >= batch ? Math.ceil(batch) : Math.trunc(room);
  return {tokens, secondForward: Math.max(0, 1 - tokens / batch), bytes: still + each * tokens};
}
