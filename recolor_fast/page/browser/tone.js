// Is a photograph in color (in_color.py), and what tone do its grays have (tones.py)? Pure functions, no DOM.
import { cropped, gaussian, interpolated, spans } from "../planes.js";
import { toLab } from "./lab.js";

const MARGIN = 0.13, BLUR = 1, TONES = 16, SLOW = 0.25, STRONG = 7.6, SPREAD = 0.9; // in_color.py says what they are
const NEUTRAL = 1.5, EVEN = 12; // tones.py
export const SIDE = 64; // pixels, geometric mean of the sides of what is judged

// The size of what is judged of a picture: [width, height].
export function judgedSize(width, height) {
  const scale = SIDE / Math.sqrt(width * height);
  return scale < 1 ? [width, height].map((side) => Math.max(1, Math.round(side * scale))) : [width, height];
}

// RGB of a picture of width x height averaged to columns x rows, for `judged`: give `add` the RGBA of its rows, from
// the top, any number at a time; `planes()` gives the averages, rounded.
export function averages(width, height, columns, rows) {
  const across = spans(width, columns), sums = [0, 1, 2].map(() => new Float32Array(columns * rows));
  const line = new Float32Array(columns);
  let y = 0;
  const add = (rgba) => {
    for (let start = 0; start < rgba.length; start += 4 * width, y++) {
      for (let k = 0; k < 3; k++) {
        for (let x = 0; x < columns; x++) {
          const { first, weights } = across[x];
          let sum = 0;
          for (let i = 0, p = start + 4 * first + k; i < weights.length; i++, p += 4) sum += weights[i] * rgba[p];
          line[x] = sum;
        }
        const from = (y * rows) / height, to = ((y + 1) * rows) / height;
        for (let row = Math.floor(from); row < Math.min(Math.ceil(to - 1e-9), rows); row++) {
          const weight = Math.min(to, row + 1) - Math.max(from, row);
          for (let x = 0; x < columns; x++) sums[k][row * columns + x] += weight * line[x];
        }
      }
    }
  };
  return { add, planes: () => sums.map((plane) => plane.map((value) => Math.round(value))) };
}

// {inColor, tone} of RGB averaged to `judgedSize`: three planes of width x height, 0 to 255. tone: Float32Array, Cb
// at 256 luminances, then Cr, around 0; null where there is none.
export function judged(rgb, width, height) {
  const lab = [0, 1, 2].map(() => new Float32Array(width * height));
  for (let i = 0; i < width * height; i++) {
    toLab(rgb.map((plane) => plane[i] / 255)).forEach((value, k) => (lab[k][i] = value));
  }
  const left = Math.round(MARGIN * width), top = Math.round(MARGIN * height);
  const inner = lab.map((plane) => cropped(plane, width, left, top, width - left, height - top));
  if (showsColor(lab, width, height) && showsColor(inner, width - 2 * left, height - 2 * top)) {
    return { inColor: true, tone: null };
  }
  const [red, green, blue] = rgb;
  const luma = red.map((value, i) => 0.299 * value + 0.587 * green[i] + 0.114 * blue[i]);
  const chroma = [luma.map((y, i) => 0.564 * (blue[i] - y)), luma.map((y, i) => 0.713 * (red[i] - y))];
  const [levels, ...medians] = byLightness([luma, ...chroma]);
  const whole = Float32Array.from({ length: 256 }, (_, i) => i);
  const curves = medians.map((plane) => smoothed(interpolated(whole, levels, plane), Math.round(3 * EVEN)));
  let strength = 0;
  for (const value of luma) {
    const at = Math.min(Math.max(Math.round(value), 0), 255);
    strength += Math.hypot(curves[0][at], curves[1][at]) / luma.length;
  }
  if (strength <= NEUTRAL) return { inColor: false, tone: null };
  const tone = new Float32Array(512);
  curves.forEach((curve, k) => tone.set(curve, 256 * k));
  return { inColor: false, tone };
}

// Along a curve, its ends repeated.
function smoothed(curve, reach) {
  const padded = Float32Array.from({ length: 256 + 2 * reach }, (_, i) => curve[Math.min(Math.max(i - reach, 0), 255)]);
  return gaussian(padded, padded.length, 1, EVEN, reach).subarray(reach, reach + 256);
}

// Too much color off the tone, or in too many directions, of three planes of CIE Lab.
function showsColor(lab, width, height) {
  const [lightness, ...ab] = lab.map((plane) => gaussian(median(plane, width, height), width, height, BLUR));
  const [levels, ...tones] = byLightness([lightness, ...ab]);
  const slow = SLOW * Math.sqrt(width * height);
  const off = ab.map((plane, k) => {
    const own = interpolated(lightness, levels, tones[k]), rest = plane.map((value, i) => value - own[i]);
    const even = gaussian(rest, width, height, slow);
    return rest.map((value, i) => value - even[i]);
  });
  const strengths = off[0].map((a, i) => Math.hypot(a, off[1][i])).sort();
  const strong = strengths[strengths.length - 1 - Math.floor(strengths.length / 100)];
  return strong > STRONG || least(...off) > SPREAD;
}

// Standard deviation in the direction in which two planes vary least.
function least(a, b) {
  const mean = (plane) => plane.reduce((sum, value) => sum + value, 0) / plane.length;
  const [ma, mb] = [mean(a), mean(b)];
  let aa = 0, bb = 0, ab = 0;
  for (let i = 0; i < a.length; i++) {
    aa += (a[i] - ma) ** 2 / a.length;
    bb += (b[i] - mb) ** 2 / a.length;
    ab += ((a[i] - ma) * (b[i] - mb)) / a.length;
  }
  return Math.sqrt(Math.max((aa + bb) / 2 - Math.hypot((aa - bb) / 2, ab), 0));
}

// Medians of lightness and two chromas of up to TONES parts of equal size, dark to light: three lists.
function byLightness(planes) {
  const length = planes[0].length, count = Math.min(TONES, Math.max(1, Math.floor(length / 16)));
  const order = Array.from(planes[0].keys()).sort((i, j) => planes[0][i] - planes[0][j]);
  const each = Math.floor(length / count), start = Math.floor((length % count) / 2);
  return planes.map((plane) =>
    Array.from({ length: count }, (_, part) => {
      const from = start + part * each, places = order.slice(from, from + each);
      const values = Float32Array.from(places, (i) => plane[i]).sort();
      return (values[(each - 1) >> 1] + values[each >> 1]) / 2;
    }),
  );
}

// Medians over 3x3, the edges repeated.
function median(plane, width, height) {
  const result = new Float32Array(plane.length), nine = new Float32Array(9);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let k = 0; k < 9; k++) {
        const row = Math.min(Math.max(y + Math.floor(k / 3) - 1, 0), height - 1);
        nine[k] = plane[row * width + Math.min(Math.max(x + (k % 3) - 1, 0), width - 1)];
      }
      result[y * width + x] = nine.sort()[4];
    }
  }
  return result;
}
