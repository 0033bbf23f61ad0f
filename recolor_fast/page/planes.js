// Planes of numbers and how they change size, as OpenCV does it. Pure functions; rows from the top.

// Float32Array of width x height averaged over areas: cv2.INTER_AREA, which no side may be enlarged by.
export function area(plane, width, height, newWidth, newHeight) {
  const across = spans(width, newWidth), down = spans(height, newHeight);
  const result = new Float32Array(newWidth * newHeight), row = new Float32Array(width);
  for (let y = 0; y < newHeight; y++) {
    const { first, weights } = down[y];
    row.fill(0);
    for (let k = 0; k < weights.length; k++) {
      const start = (first + k) * width, weight = weights[k];
      for (let x = 0; x < width; x++) row[x] += weight * plane[start + x];
    }
    for (let x = 0; x < newWidth; x++) {
      const span = across[x];
      let sum = 0;
      for (let k = 0; k < span.weights.length; k++) sum += span.weights[k] * row[span.first + k];
      result[y * newWidth + x] = sum;
    }
  }
  return result;
}

// For each of `count` parts of equal length, the samples that it covers and how much of it each of them is.
export function spans(length, count) {
  const scale = length / count;
  return Array.from({ length: count }, (_, i) => {
    const from = i * scale, to = Math.min(from + scale, length), weights = [];
    let first = Math.floor(from + 1e-3);
    for (let at = first; at < to - 1e-3; at++) weights.push((Math.min(at + 1, to) - Math.max(at, from)) / (to - from));
    if (!weights.length) { first = Math.min(first, length - 1); weights.push(1); }
    return { first, weights };
  });
}

// Uint8Array averaged over squares of 2x2, rounded up at a half; what is beyond the last whole square is left out.
export function half(plane, width, height) {
  const columns = width >> 1, rows = height >> 1, result = new Uint8Array(columns * rows);
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0, p = 2 * y * width; x < columns; x++, p += 2) {
      result[at++] = (plane[p] + plane[p + 1] + plane[p + width] + plane[p + width + 1] + 2) >> 2;
    }
  }
  return result;
}

// Float32Array resized bilinearly with half-pixel centers and no averaging: cv2.INTER_LINEAR.
export function linear(plane, width, height, newWidth, newHeight) {
  const across = places(width, newWidth), down = places(height, newHeight);
  const result = new Float32Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    const above = down.at[y] * width, below = Math.min(down.at[y] + 1, height - 1) * width, v = down.weight[y];
    for (let x = 0; x < newWidth; x++) {
      const left = across.at[x], right = Math.min(left + 1, width - 1), u = across.weight[x];
      const top = plane[above + left] + u * (plane[above + right] - plane[above + left]);
      const bottom = plane[below + left] + u * (plane[below + right] - plane[below + left]);
      result[y * newWidth + x] = top + v * (bottom - top);
    }
  }
  return result;
}

// Where each of `count` pixels lies among `length` samples: the sample before it, and the next one's weight. The pixels
// cover `extent` of `total` from `start` on; all of it if not given.
export function places(length, count, start = 0, extent = count, total = count) {
  const at = new Int32Array(count), weight = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const middle = start + ((i + 0.5) * extent) / count;
    const place = Math.min(Math.max((middle * length) / total - 0.5, 0), length - 1);
    at[i] = Math.floor(place);
    weight[i] = place - at[i];
  }
  return { at, weight };
}

// Means over 3x3; beyond an edge the plane is mirrored, the edge itself not doubled.
export function box(plane, width, height) {
  const wide = new Float32Array(plane.length), result = new Float32Array(plane.length);
  const second = mirrored(-1, width), last = mirrored(width, width);
  for (let y = 0; y < height; y++) {
    const start = y * width, end = start + width - 1;
    for (let i = start; i <= end; i++) {
      const before = plane[i > start ? i - 1 : start + second], after = plane[i < end ? i + 1 : start + last];
      wide[i] = before + plane[i] + after;
    }
  }
  for (let y = 0; y < height; y++) {
    const above = mirrored(y - 1, height) * width, below = mirrored(y + 1, height) * width, start = y * width;
    for (let x = 0; x < width; x++) result[start + x] = (wide[above + x] + wide[start + x] + wide[below + x]) / 9;
  }
  return result;
}

// Gaussian blur of a standard deviation in pixels, cut off at `reach` pixels: as OpenCV does for floats if not given.
export function gaussian(plane, width, height, deviation, reach = Math.round(deviation * 8 + 1) >> 1) {
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * deviation ** 2)));
  const sum = weights.reduce((a, b) => a + b);
  return separable(plane, width, height, weights.map((weight) => weight / sum));
}

function separable(plane, width, height, weights) {
  const reach = weights.length >> 1, wide = new Float32Array(plane.length), result = new Float32Array(plane.length);
  const padded = new Float32Array(width + 2 * reach);
  const columns = Array.from(padded, (_, i) => mirrored(i - reach, width));
  for (let y = 0; y < height; y++) {
    const start = y * width;
    for (let i = 0; i < padded.length; i++) padded[i] = plane[start + columns[i]];
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * padded[x + k];
      wide[start + x] = sum;
    }
  }
  for (let y = 0; y < height; y++) {
    const row = result.subarray(y * width, (y + 1) * width);
    for (let k = 0; k < weights.length; k++) {
      const start = mirrored(y + k - reach, height) * width, weight = weights[k];
      for (let x = 0; x < width; x++) row[x] += weight * wide[start + x];
    }
  }
  return result;
}

function mirrored(at, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1), inside = ((at % period) + period) % period;
  return inside < length ? inside : period - inside;
}

// The part of a plane from left and top to right and bottom, these left out.
export function cropped(plane, width, left, top, right, bottom) {
  const result = new plane.constructor((right - left) * (bottom - top));
  for (let y = top; y < bottom; y++) {
    result.set(plane.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  }
  return result;
}

// A plane without a scan's border, whose shares of the sides are [left, top, right, bottom]; all of it where it is null.
export function inside(plane, width, height, border) {
  if (!border) return plane;
  const [left, top, right, bottom] = border.map((share, i) => even(share * (i % 2 ? height : width)));
  return cropped(plane, width, left, top, width - right, height - bottom);
}

// numpy.interp: linear between places, the first and last value beyond them.
export function interpolated(values, places, heights) {
  return Float32Array.from(values, (value) => {
    const after = places.findIndex((place) => place > value);
    if (after < 0) return heights[heights.length - 1];
    if (after === 0) return heights[0];
    const share = (value - places[after - 1]) / (places[after] - places[after - 1]);
    return heights[after - 1] + share * (heights[after] - heights[after - 1]);
  });
}

// Rounded, halves to the even number.
export function even(value) {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2) ? down + 1 : down;
}
