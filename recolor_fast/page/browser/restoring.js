// What helps a faded print or a negative before it is colored: restoring.py for 8 bits. Pure functions, no DOM.
import { applied, toned } from "../curve.js";
import { area, even, inside } from "../planes.js";

const SIDE = 256, ENDS = 0.005, BLACK = 5, WHITE = 250, MOST = 4, LEAST = 3; // restoring.py says what they are
const DEEPEST = 0.3, LIKE = 10, SHARE = 0.95, LEFT = 0.5, SOFT = 0.03;

const INVERSE = [[0, 255], [255, 0]];

export const NOTES = {
  negative: "a negative: inverted",
  levels: "faded: its tones were stretched",
  border: "a border: left out where its tones were measured",
};

// A picture ({luma, width, height, alpha, tone}) as it is colored: {luma, tone, border, curve, done}; as it is where
// neither is wanted. `border`: see planes.inside; `curve`: see curve.js; `done`: what the file says of it.
export function restored({ luma, width, height, alpha, tone }, restore, negative = false) {
  const inverse = negative ? INVERSE : [], done = negative ? { negative } : {};
  luma = applied(luma, inverse);
  tone = negative ? null : tone; // that is the film's
  if (!restore) return { luma, tone, border: null, curve: inverse, done };
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const [columns, rows] = [width, height].map((side) => Math.max(1, even(side * scale)));
  const small = (plane) => (scale === 1 ? plane : Uint8Array.from(area(plane, width, height, columns, rows), even));
  const seen = small(luma), shown = alpha && small(alpha);
  const border = borderOf(seen, columns, rows);
  let plane = inside(seen, columns, rows, border);
  if (shown) {
    const mask = inside(shown, columns, rows, border);
    plane = plane.filter((_, i) => mask[i]);
  }
  let curve = [];
  if (plane.length) {
    const [low, high] = levels(plane);
    if (Math.max(low - BLACK, WHITE - high) >= LEAST) {
      curve = [[0, 0], [low, Math.min(low, BLACK)], [high, Math.max(high, WHITE)], [255, 255]];
      done.levels = [low, high].map((level) => Math.round(10 * level) / 10);
    }
  }
  if (border) done.border = border.map((share) => Math.round(1000 * share) / 1000);
  const falling = () => curve.map(([before, after]) => [255 - before, after]).reverse();
  const whole = !curve.length ? inverse : negative ? falling() : curve;
  return { luma: applied(luma, curve), tone: toned(tone, curve), border, curve: whole, done };
}

// Black and white of a picture's levels, far enough from each other for MOST.
function levels(plane) {
  const sorted = plane.slice().sort();
  let [low, high] = [ENDS, 1 - ENDS].map((share) => {
    const place = share * (sorted.length - 1), at = Math.floor(place);
    return sorted[at] + (place - at) * (sorted[Math.min(at + 1, sorted.length - 1)] - sorted[at]);
  });
  const apart = (WHITE - BLACK) / MOST;
  if (high - low < apart) {
    low = Math.min(Math.max((low + high - apart) / 2, 0), 255 - apart);
    high = low + apart;
  }
  return [low, high];
}

// The border of a scan, of one even tone, straight, and on two opposite sides at least; null for none.
function borderOf(plane, width, height) {
  const top = edge((y, x) => plane[y * width + x], height, width);
  const left = edge((x, y) => plane[y * width + x], width, height);
  const bottom = edge((y, x) => plane[(height - 1 - y) * width + x], height, width);
  const right = edge((x, y) => plane[y * width + (width - 1 - x)], width, height);
  const alike = (one, other) => one && other && Math.abs(one.tone - other.tone) < LIKE;
  const first = alike(top, bottom) ? top : alike(left, right) ? left : null;
  if (!first) return null;
  const near = (side) => (side && Math.abs(side.tone - first.tone) < 2 * LIKE ? side.depth : 0);
  return [left, top, right, bottom].map(near);
}

// {depth: a share of `count`, tone} of the border at the first of `count` lines, of `length` pixels each; null for none.
function edge(at, count, length) {
  const start = Math.floor(length / 4), end = Math.max(start + 1, length - start); // there are borders at both ends, too
  const line = (y) => Float32Array.from({ length: end - start }, (_, i) => at(y, start + i));
  const lines = Array.from({ length: count }, (_, y) => line(y));
  const outer = Float32Array.from(lines.slice(0, Math.max(1, Math.floor(count / 100))).flatMap((one) => [...one]));
  outer.sort();
  const tone = (outer[(outer.length - 1) >> 1] + outer[outer.length >> 1]) / 2;
  const like = lines.map((one) => one.filter((value) => Math.abs(value - tone) <= LIKE).length / one.length);
  const first = like.findIndex((share) => share < SHARE), depth = first < 0 ? count : first;
  if (!depth || depth > DEEPEST * count) return null;
  const ends = like.findIndex((share, y) => y >= depth && share <= LEFT);
  return ends < 0 || ends > depth + Math.max(1, even(SOFT * count)) ? null : { depth: ends / count, tone };
}
