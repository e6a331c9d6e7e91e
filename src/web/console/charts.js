// Charts as drawings with titles, made again when their figures change.

import { draw, el } from './dom.js';
import { count } from './words.js';

const [WIDTH, HEIGHT] = [320, 72];

/** A line over what was seen, newest last, with a dashed one for a limit. */
export function line(label, values, limit = 0) {
  const most = Math.max(1, limit, ...values);
  const x = (index) => (values.length < 2 ? 0 : index * WIDTH / (values.length - 1));
  const y = (value) => HEIGHT - 2 - (HEIGHT - 4) * value / most;
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  const chart = draw('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label, class: 'line',
    preserveAspectRatio: 'none',
  });
  if (limit > 0) {
    chart.append(draw('line', { x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit), class: 'limit' }));
  }
  if (points.length > 1) {
    const below = `0,${HEIGHT} ${points.join(' ')} ${WIDTH},${HEIGHT}`;
    chart.append(draw('polygon', { points: below }), draw('polyline', { points: points.join(' ') }));
  }
  return chart;
}

/** A bar: its part of the whole. */
export function bar(label, part, whole) {
  const width = whole > 0 ? 100 * part / whole : 0;
  return draw('svg', {
    viewBox: '0 0 100 8', role: 'img', 'aria-label': label, class: 'bar', preserveAspectRatio: 'none',
  }, draw('rect', { class: 'whole', width: 100, height: 8 }),
  draw('rect', { class: 'part', width: width.toFixed(2), height: 8 }));
}

/** A figure with its name. */
export function tile(name) {
  const value = el('dd', {}, count(null));
  return { element: el('div', { class: 'tile' }, el('dt', {}, name), value), value };
}
