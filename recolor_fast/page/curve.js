// The curve that stretched a print's tones, or inverted a negative's, see restoring.py: points [before, after], levels
// of 255, the first rising; none where they stay as they were. Pure functions, no DOM.
import { even, interpolated } from "./planes.js";

const LEVELS = Float32Array.from({ length: 256 }, (_, i) => i);
const column = (points, k) => points.map((point) => point[k]);

// Uint8Array: a luminance after the curve; itself where there is none.
export function applied(luma, points) {
  if (!points.length) return luma;
  const table = Uint8Array.from(interpolated(LEVELS, column(points, 0), column(points, 1)), even);
  return luma.map((value) => table[value]);
}

// A tone (Float32Array, Cb at 256 luminances, then Cr) by the luminance before, as one by that after, a curve that rises;
// null stays null, as a negative's is.
export const toned = (tone, points) => moved(tone, column(points, 1), column(points, 0));

// And back.
export const untoned = (tone, points) => moved(tone, column(points, 0), column(points, 1));

function moved(tone, from, to) {
  if (!tone || !from.length) return tone;
  const places = interpolated(LEVELS, from, to), result = new Float32Array(512);
  for (const start of [0, 256]) result.set(interpolated(places, LEVELS, tone.subarray(start, start + 256)), start);
  return result;
}
