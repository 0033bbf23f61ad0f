// Colors in words, for those who cannot see or tell them, and for tooltips.
import { say } from "./texts.js";

const HUES = [
  // up to a hue in degrees
  [12, "color.red"],
  [42, "color.orange"],
  [68, "color.yellow"],
  [95, "color.lime"],
  [160, "color.green"],
  [195, "color.turquoise"],
  [255, "color.blue"],
  [290, "color.violet"],
  [335, "color.pink"],
  [361, "color.red"],
];

/** Hue 0..360, saturation and lightness 0..1 of "#rrggbb". */
export function hsl(color) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
  const high = Math.max(r, g, b),
    low = Math.min(r, g, b),
    range = high - low,
    lightness = (high + low) / 2;
  if (!range) return { hue: 0, saturation: 0, lightness };
  const sixth = high === r ? ((g - b) / range + 6) % 6 : high === g ? (b - r) / range + 2 : (r - g) / range + 4;
  return { hue: 60 * sixth, saturation: range / (1 - Math.abs(2 * lightness - 1)), lightness };
}

/** The key of a color's name. */
export function colorName(color) {
  const { hue, saturation, lightness } = hsl(color);
  if (lightness > 0.95) return "color.white";
  if (lightness < 0.06) return "color.black";
  if (saturation < 0.1) return "color.gray";
  if (hue >= 12 && hue < 48) {
    if (lightness < 0.42 || (lightness < 0.55 && saturation < 0.55)) return "color.brown";
    if (saturation < 0.6) return "color.beige";
  }
  return HUES.find(([end]) => hue < end)[1];
}

/** "dark brown, #402010" */
export function described(color) {
  const { lightness } = hsl(color),
    name = say(colorName(color));
  const words = lightness < 0.3 ? say("color.dark", { name }) : lightness > 0.7 ? say("color.light", { name }) : name;
  return `${words}, ${color}`;
}
