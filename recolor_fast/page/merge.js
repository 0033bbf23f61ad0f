// How chroma of a model's size joins the luminance of a full-size picture: chroma.py's `merge`, within 1 level.
// Pure functions, no DOM; they run in a page, in a worker and in node. Chroma is JFIF's Cb and Cr, 128 neutral.
//
//   const base = prepare(luma, width, height, cbcr, size, tone);  // once for a picture and its chroma
//   const planes = recolor(base, look);                           // for each look: at the chroma's size, quick
//   region(planes, luma, { x: 0, y: 0, width, height }, width, height);
//
// look: {saturation: 0..4, warmth: -1..1, strength: 0..1, keep_tone: 0..1, upsample?: "guided" | "bilinear"}
import { area, box, gaussian, half, linear, places } from "./planes.js";

const EPSILON = 300, RED = 1.402, BLUE = 1.772, TINY = 1e-6, WIDE = 0.05; // chroma.py says what they are
const GREEN_CB = (-0.114 * BLUE) / 0.587, GREEN_CR = (-0.299 * RED) / 0.587;
const WARM = [-0.113, 0.086];

// RGBA of a whole picture: Uint8ClampedArray (4 * width * height). `luma`: Uint8Array; `cbcr`: Uint8Array, the plane Cb
// then Cr, size x size each; `tone`: null, or Float32Array, Cb at 256 luminances, then Cr, around 0.
export function merge(luma, width, height, cbcr, size, tone, look) {
  const planes = recolor(prepare(luma, width, height, cbcr, size, tone), look);
  return region(planes, luma, { x: 0, y: 0, width, height }, width, height);
}

// What does not depend on the look. Later calls need only `width` and `height` of it, and that it stays as it is.
export function prepare(luma, width, height, cbcr, size, tone) {
  if (luma.length !== width * height || cbcr.length !== 2 * size * size || !luma.length || !cbcr.length) {
    throw new RangeError(`got ${luma.length} of luma for ${width} x ${height}, ${cbcr.length} of chroma for ${size}`);
  }
  const small = { width: Math.min(width, size), height: Math.min(height, size) };
  const shrunk = size >= 2 * small.width || size >= 2 * small.height ? area : linear;
  const painted = [0, 1].map((k) => {
    const plane = Float32Array.from(cbcr.subarray(k * size * size, (k + 1) * size * size), (value) => value - 128);
    return shrunk(plane, size, size, small.width, small.height);
  });
  const gray = reduced(luma, width, height, small.width, small.height);
  const own = tone && [0, 1].map((k) => gray.map((value) => curve(tone, 256 * k, value)));
  return { width, height, small, painted, gray, own, filled: own && share(painted, own, small) };
}

function reduced(luma, width, height, newWidth, newHeight) {
  while (height >= 4 * newHeight && width >= 4 * newWidth) {
    luma = half(luma, width, height);
    width >>= 1;
    height >>= 1;
  }
  return area(luma, width, height, newWidth, newHeight);
}

function curve(tone, start, value) {
  const at = Math.min(Math.floor(value), 254);
  return tone[start + at] + (value - at) * (tone[start + at + 1] - tone[start + at]);
}

// How strong is what is painted around each pixel, against the print's own tone.
function share(painted, own, { width, height }) {
  const spread = WIDE * Math.sqrt(width * height);
  const [s, t] = [painted, own].map(([cb, cr]) => {
    return gaussian(cb.map((b, i) => Math.hypot(b, cr[i])), width, height, spread);
  });
  return s.map((strength, i) => strength / (t[i] + TINY));
}

// Chroma as a look has it, at its own size: Cb, Cr and what either gains with the luminance (the guided filter's
// slopes) for each pixel, one after the other. {width, height: of the picture, small, data}
export function recolor(base, look) {
  const { width, height, small, painted, gray, own, filled } = base;
  const { saturation = 1, warmth = 0, strength = 1, keep_tone: kept = 0.7, upsample = "guided" } = look;
  const count = gray.length, data = new Float32Array(4 * count);
  const flat = upsample === "bilinear" || (small.width === width && small.height === height);
  for (let k = 0; k < 2; k++) {
    const chroma = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      let value = saturation * painted[k][i];
      if (own) value += kept * Math.min(Math.max(1 - saturation * filled[i], 0), 1) * own[k][i];
      value = strength * (value + WARM[k] * warmth * gray[i]);
      chroma[i] = own ? value + (1 - strength) * own[k][i] : value;
    }
    const slope = flat ? null : slopes(chroma, base);
    for (let i = 0; i < count; i++) {
      const gain = slope ? slope[i] : 0;
      data[4 * i + k] = chroma[i] - gain * gray[i];
      data[4 * i + 2 + k] = gain;
    }
  }
  return { width, height, small, data };
}

function slopes(chroma, base) {
  const { width, height } = base.small, { gray } = base;
  if (!base.fit) { // the same for every look
    const mean = box(gray, width, height), squares = box(gray.map((value) => value * value), width, height);
    base.fit = { mean, variance: squares.map((square, i) => square - mean[i] * mean[i]) };
  }
  const { mean, variance } = base.fit, fits = new Float32Array(gray.length);
  for (let i = 0; i < fits.length; i++) fits[i] = chroma[i] * gray[i];
  const products = box(fits, width, height), means = box(chroma, width, height);
  for (let i = 0; i < fits.length; i++) fits[i] = (products[i] - mean[i] * means[i]) / (variance[i] + EPSILON);
  return box(fits, width, height);
}

// RGBA of a rectangle {x, y, width, height} of the picture, in its pixels (fractions allowed), drawn with
// columns x rows pixels: Uint8ClampedArray, `out` where given. `luma` is the luminance of these pixels (see `sampled`).
export function region(planes, luma, rectangle, columns, rows, out = new Uint8ClampedArray(4 * columns * rows)) {
  const { small, data } = planes;
  const across = places(small.width, columns, rectangle.x, rectangle.width, planes.width);
  const down = places(small.height, rows, rectangle.y, rectangle.height, planes.height);
  const stride = 4 * small.width, row = new Float32Array(stride + 4); // the last pixel twice: it has no right neighbor
  const pixels = new Uint32Array(out.buffer, out.byteOffset, columns * rows);
  for (let y = 0, at = 0; y < rows; y++) {
    const above = down.at[y] * stride, below = Math.min(down.at[y] + 1, small.height - 1) * stride, v = down.weight[y];
    for (let i = 0; i < stride; i++) row[i] = data[above + i] + v * (data[below + i] - data[above + i]);
    for (let i = 0; i < 4; i++) row[stride + i] = row[stride - 4 + i];
    for (let x = 0; x < columns; x++, at++) {
      const p = 4 * across.at[x], u = across.weight[x], light = luma[at];
      const cb = row[p] + u * (row[p + 4] - row[p]) + light * (row[p + 2] + u * (row[p + 6] - row[p + 2]));
      const cr = row[p + 1] + u * (row[p + 5] - row[p + 1]) + light * (row[p + 3] + u * (row[p + 7] - row[p + 3]));
      let red = RED * cr, green = GREEN_CB * cb + GREEN_CR * cr, blue = BLUE * cb;
      // Their Rec. 601 sum is 0, so that the luminance stays when all three shrink until they are in the RGB cube.
      const high = Math.max(red, green, blue), low = Math.min(red, green, blue);
      if (light + high > 255 || light + low < 0) {
        const factor = Math.min((255 - light) / (high + TINY), light / (TINY - low));
        red *= factor;
        green *= factor;
        blue *= factor;
      }
      // 255.4999 at most, so no bits run over
      pixels[at] = 0xff000000 | ((light + blue + 0.5) << 16) | ((light + green + 0.5) << 8) | (light + red + 0.5);
    }
  }
  return out;
}

// The luminance of a rectangle of a picture, drawn with columns x rows pixels: Uint8Array. Averaged where it is drawn
// smaller; where larger, each pixel is a square.
export function sampled(luma, width, height, { x: left, y: top, width: wide, height: high }, columns, rows) {
  const larger = wide <= columns && high <= rows;
  const across = (larger ? nearest : edges)(left, wide, columns, width);
  const down = (larger ? nearest : edges)(top, high, rows, height);
  const result = new Uint8Array(columns * rows), sums = new Uint32Array(columns);
  for (let y = 0, at = 0; y < rows; y++) {
    sums.fill(0);
    for (let line = down.from[y]; line < down.to[y]; line++) {
      for (let x = 0, start = line * width; x < columns; x++) {
        for (let p = start + across.from[x]; p < start + across.to[x]; p++) sums[x] += luma[p];
      }
    }
    const lines = down.to[y] - down.from[y];
    for (let x = 0; x < columns; x++) result[at++] = sums[x] / (lines * (across.to[x] - across.from[x])) + 0.5;
  }
  return result;
}

// For each of `count` drawn pixels, the pixels from..to (left out) between its edges, rounded: at least one.
function edges(start, extent, count, length) {
  return ranges(count, length, (i) => Math.round(start + (i * extent) / count));
}

// For each, the one that its middle is in.
function nearest(start, extent, count, length) {
  const { from } = ranges(count, length, (i) => Math.floor(start + ((i + 0.5) * extent) / count));
  return { from, to: from.map((at) => at + 1) };
}

function ranges(count, length, place) {
  const from = new Int32Array(count), to = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    from[i] = Math.min(Math.max(place(i), 0), length - 1);
    to[i] = Math.max(Math.min(place(i + 1), length), from[i] + 1);
  }
  return { from, to };
}
