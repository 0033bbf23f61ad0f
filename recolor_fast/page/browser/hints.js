// Colors that a person gives: as a model that follows them takes them (hints.py), and which are plausible (palette.py).
import { ofHex, toHex, toLab, toRgb } from "./lab.js";

const RADIUS = 0.01; // of a hint that says none, of the longer side
const HUES = 8, CHROMAS = [10, 25], LIGHTNESSES = [35, 65], DISTINCT = 10; // palette.py says what they are

// Float32Array of three planes size x size: a and b of CIE Lab, and 1 where a hint says so. hints: [{x, y, color,
// radius}] in pixels of a photograph of width x height. RangeError for a hint outside of it.
export function draw(hints, width, height, size) {
  const planes = new Float32Array(3 * size * size);
  for (const { x, y, color, radius } of hints) {
    if (!(x >= 0 && x < width && y >= 0 && y < height)) {
      throw new RangeError(`hint at ${x}, ${y}: outside the photograph of ${width} x ${height} pixels`);
    }
    const reach = radius ?? RADIUS * Math.max(width, height);
    const [top, bottom] = span(y, reach, height, size), [left, right] = span(x, reach, width, size);
    const [, a, b] = toLab(ofHex(color));
    [a, b, 1].forEach((value, plane) => {
      for (let row = top; row < bottom; row++) {
        planes.fill(value, (plane * size + row) * size + left, (plane * size + row) * size + right);
      }
    });
  }
  return planes;
}

// The model's pixels whose middles are within a radius of a place, and the one that the place is in: from, to.
function span(place, radius, side, size) {
  const at = Math.min(Math.trunc((place * size) / side), size - 1);
  const first = Math.ceil(((place - radius) * size) / side - 0.5);
  const last = Math.floor(((place + radius) * size) / side - 0.5);
  return [Math.max(0, Math.min(first, at)), Math.min(size, Math.max(last, at) + 1)];
}

// Up to `count` colors, #rrggbb, the most plausible first, where a model paints [r, g, b], 0 to 1; `table` is the
// artefact's: a and b of colors by bin.
export function plausible(table, painted, count = 8) {
  const [lightness, ...own] = toLab(painted);
  const chosen = [];
  for (const ab of [own, ...(table[bin(lightness, ...own)] ?? table.all)]) {
    if (chosen.every((other) => Math.hypot(ab[0] - other[0], ab[1] - other[1]) >= DISTINCT)) chosen.push(ab);
  }
  return chosen.slice(0, count).map((ab) => toHex(toRgb([lightness, ...ab])));
}

function bin(lightness, a, b) {
  const above = (borders, value) => borders.filter((border) => value >= border).length;
  const ring = above(CHROMAS, Math.hypot(a, b));
  const degrees = (((Math.atan2(b, a) * 180) / Math.PI) % 360 + 360) % 360;
  const hue = Math.floor(degrees / (360 / HUES)) % HUES;
  const color = ring === 0 ? 0 : 1 + hue + HUES * (ring - 1); // of little chroma hue means nothing
  return color * (LIGHTNESSES.length + 1) + above(LIGHTNESSES, lightness);
}
