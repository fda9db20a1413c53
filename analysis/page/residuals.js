/* The chart of what the laws leave unexplained. */

import {base, fewer, logAxis, theme, ticks, trialTip} from './charts.js';
import {plain} from './dom.js';
import {filled, markOf} from './looks.js';
import {g} from './planner/python.js';

const ROOM = 1.08; // beyond the outermost point

const missOf = ({measured, predicted}) => 100 * (measured / predicted - 1);

/** trials: with `measured` and `predicted` losses. noise: half of the grey band, a share of the loss. */
export function residualOption(trials, noise, narrow) {
  const colours = theme();
  const spent = trials.map(({flops}) => flops);
  const ends = [Math.min(...spent) / 1.5, Math.max(...spent) * 1.5];
  const most = ROOM * Math.max(...trials.map((trial) => Math.abs(missOf(trial))), 100 * noise);
  return {
    ...base(colours),
    grid: {left: 58, right: 16, top: 12, bottom: 46},
    xAxis: {
      ...logAxis('training compute, FLOP', ...ends, fewer(ticks(...ends), narrow ? 4 : 9), plain, colours),
      nameGap: 28,
    },
    yAxis: {
      type: 'value',
      min: -most,
      max: most,
      name: 'measured over predicted, %',
      nameLocation: 'middle',
      nameGap: 40,
      nameTextStyle: {color: colours.muted, fontSize: 12},
      axisLabel: {color: colours.muted, fontSize: 12, showMinLabel: false, showMaxLabel: false, formatter: (value) => g(value, 3)},
      axisLine: {show: true, lineStyle: {color: colours.edge}},
      splitLine: {lineStyle: {color: colours.line}},
    },
    series: [...new Set(trials.map(({method}) => method))].map((label, i) => ({
      type: 'scatter',
      name: label,
      symbol: `path://${markOf(label)}`,
      symbolSize: 8,
      cursor: 'pointer',
      itemStyle: {...filled(label, colours.panel), opacity: 0.9},
      data: trials
        .filter(({method}) => method === label)
        .map((trial) => [Math.log10(trial.flops), missOf(trial), trial.place]),
      tooltip: {formatter: ({data}) => trialTip(data[2])},
      markArea: i ? undefined : band(100 * noise, colours),
    })),
  };
}

/** Where runs should lie by the laws' own noise. */
const band = (noise, colours) => ({
  silent: true,
  animation: false,
  itemStyle: {color: colours.edge, opacity: 0.18},
  data: [[{yAxis: -noise}, {yAxis: noise}]],
});
