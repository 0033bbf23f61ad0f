// CIE Lab (D65) of sRGB, as OpenCV has it for floats.
const TO_XYZ = [
  [0.412453, 0.35758, 0.180423],
  [0.212671, 0.71516, 0.072169],
  [0.019334, 0.119193, 0.950227],
];
const TO_RGB = [
  [3.240479, -1.53715, -0.498535],
  [-0.969256, 1.875991, 0.041556],
  [0.055648, -0.204043, 1.057311],
];
const WHITE = [0.950456, 1, 1.088754], LINEAR = 0.008856, SLOPE = 7.787, OFFSET = 16 / 116;

const applied = (matrix, vector) => matrix.map((row) => row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]);

// [L, a, b] of [r, g, b], 0 to 1.
export function toLab(rgb) {
  const linear = rgb.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  const [x, y, z] = applied(TO_XYZ, linear).map((value, i) => {
    const share = value / WHITE[i];
    return share > LINEAR ? Math.cbrt(share) : SLOPE * share + OFFSET;
  });
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

// [r, g, b], 0 to 1, of [L, a, b]: the nearest by clipping.
export function toRgb([lightness, a, b]) {
  const y = (lightness + 16) / 116;
  const xyz = [y + a / 500, y, y - b / 200].map((value, i) => {
    const cube = value ** 3;
    return WHITE[i] * (cube > LINEAR ? cube : (value - OFFSET) / SLOPE);
  });
  return applied(TO_RGB, xyz).map((value) => {
    const inside = Math.min(Math.max(value, 0), 1);
    return inside <= 0.0031308 ? 12.92 * inside : 1.055 * inside ** (1 / 2.4) - 0.055;
  });
}

// [r, g, b], 0 to 1, of #rrggbb.
export function ofHex(color) {
  if (!/^#[0-9a-f]{6}$/i.test(color)) throw new RangeError(`color ${color}: expected #rrggbb, as #c08040`);
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
}

export function toHex(rgb) {
  return "#" + rgb.map((value) => Math.round(value * 255).toString(16).padStart(2, "0")).join("");
}
