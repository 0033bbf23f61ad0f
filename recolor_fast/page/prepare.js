// What a model sees of a photograph: images.py's `gray` and `source` for 8 bits. Pure functions, no DOM.
import { even, gaussian, inside, interpolated } from "./planes.js";

// Rec. 601 luminance of RGBA, as OpenCV rounds it: `out`, Uint8Array, from `at` on.
export function gray(rgba, out, at = 0) {
  for (let p = 0; p < rgba.length; p += 4) {
    out[at++] = (9798 * rgba[p] + 19235 * rgba[p + 1] + 3735 * rgba[p + 2] + 16384) >> 15;
  }
  return out;
}

// Uint8Array size x size of a luminance of any size: images.source. preparation: {size, equalize, blur}; the histogram is
// of what is inside the border (see planes.inside).
export function source(luma, width, height, { size, equalize, blur }, border = null) {
  const by = [8, 4, 2].find((by) => Math.min(width, height) >= by * Math.max(2 * size, 512)) ?? 1;
  let seen = reduced(luma, width, height, by);
  [width, height] = [Math.ceil(width / by), Math.ceil(height / by)];
  if (equalize !== "none") seen = equalized(seen, inside(seen, width, height, border));
  if (blur !== "none") seen = blurred(seen, width, height);
  return resized(seen, width, height, size, size);
}

// Averages over squares of `by` pixels; the last column and row are repeated where a square goes beyond them.
function reduced(luma, width, height, by) {
  if (by === 1) return luma;
  const columns = Math.ceil(width / by), rows = Math.ceil(height / by), result = new Uint8Array(columns * rows);
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (let v = 0; v < by; v++) {
        const start = Math.min(y * by + v, height - 1) * width;
        for (let u = 0; u < by; u++) sum += luma[start + Math.min(x * by + u, width - 1)];
      }
      result[at++] = by === 2 ? (sum + 2) >> 2 : even(sum / (by * by)); // OpenCV has its own way for halves
    }
  }
  return result;
}

// cv2.equalizeHist, by the histogram of a part: levels that it lacks get what is between their neighbors'.
function equalized(luma, part) {
  if (!part.length) part = luma;
  const counts = new Array(256).fill(0);
  for (const value of part) counts[value]++;
  const levels = [...counts.keys()].filter((value) => counts[value]), first = levels[0];
  const scale = 255 / (part.length - counts[first]), table = levels.length > 1 ? [0] : [first];
  let sum = 0;
  for (const value of levels.slice(1)) {
    sum += counts[value];
    table.push(Math.min(even(Math.fround(sum * Math.fround(scale))), 255));
  }
  const whole = Uint8Array.from(interpolated([...counts.keys()], levels, table), even);
  return luma.map((value) => whole[value]);
}

// Gaussian of 5x5 pixels, sigma 0.7, mirrored at the edges.
function blurred(luma, width, height) {
  return Uint8Array.from(gaussian(luma, width, height, 0.7, 2), (value) => value + 0.5);
}

// Antialiased bilinear resize, images.resize: Pillow's, with its fixed-point weights, the longer way first.
export function resized(luma, width, height, newWidth, newHeight) {
  if (newWidth * height > width * newHeight) {
    return widened(heightened(luma, width, height, newHeight), width, newHeight, newWidth);
  }
  return heightened(widened(luma, width, height, newWidth), newWidth, height, newHeight);
}

function widened(luma, width, height, newWidth) {
  if (newWidth === width) return luma;
  const spans = weighted(width, newWidth), result = new Uint8Array(newWidth * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (const { first, weights } of spans) {
      let sum = 1 << 21;
      for (let k = 0, p = y * width + first; k < weights.length; k++) sum += weights[k] * luma[p++];
      result[at++] = Math.min(sum >> 22, 255);
    }
  }
  return result;
}

function heightened(luma, width, height, newHeight) {
  if (newHeight === height) return luma;
  const result = new Uint8Array(width * newHeight);
  let at = 0;
  for (const { first, weights } of weighted(height, newHeight)) {
    for (let x = 0; x < width; x++) {
      let sum = 1 << 21;
      for (let k = 0, p = first * width + x; k < weights.length; k++, p += width) sum += weights[k] * luma[p];
      result[at++] = Math.min(sum >> 22, 255);
    }
  }
  return result;
}

function weighted(length, count) {
  const scale = length / count, wide = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const middle = (i + 0.5) * scale, first = Math.max(Math.trunc(middle - wide + 0.5), 0);
    const last = Math.min(Math.trunc(middle + wide + 0.5), length);
    const weights = [];
    for (let at = first; at < last; at++) weights.push(Math.max(1 - Math.abs((at - middle + 0.5) / wide), 0));
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: Int32Array.from(weights, (weight) => Math.trunc(0.5 + (weight / sum) * (1 << 22))) };
  });
}
