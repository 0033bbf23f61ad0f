// The worker that colors: it holds the picture that is shown, at one or two sizes, and paints parts of it.
import { applied, untoned } from "./curve.js";
import { merge, prepare, recolor, region, sampled } from "./merge.js";

/** The print as it was: gray, or in its own tone. */
const BEFORE = { saturation: 0, warmth: 0, strength: 0, keep_tone: 0 };
const JOBS = { open, level, chroma, paint, whole };

let picture = null; // {key, width, height, levels, chroma}

function open({ key, width, height }) {
  picture = { key, width, height, levels: [], chroma: null };
}

/** The luminance at some size; the largest last. */
function level({ key, luma, width, height }) {
  if (picture?.key === key) picture.levels.push({ luma, width, height, places: new Map() });
}

/** What the model painted, and the curve by which the print was restored before (see curve.js). */
function chroma({ key, cbcr, size, tone, curve }) {
  if (picture?.key !== key) return;
  picture.chroma = { cbcr, size, tone, curve };
  for (const one of picture.levels) one.base = one.before = one.after = null;
}

/**
 * RGBA of a rectangle, in pixels of the picture, with columns x rows pixels: as it was (null unless `both`), and as a
 * look colors it. null where another picture is open by now.
 */
function paint({ key, rectangle, columns, rows, both, look }) {
  if (picture?.key !== key || !picture.chroma || !picture.levels.length) return null;
  const needed = (columns / rectangle.width) * picture.width;
  const one = picture.levels.find(({ width }) => width >= needed * 0.999) ?? picture.levels.at(-1);
  const { cbcr, size, tone, curve } = picture.chroma,
    across = one.width / picture.width,
    down = one.height / picture.height;
  const part = {
    x: rectangle.x * across,
    y: rectangle.y * down,
    width: rectangle.width * across,
    height: rectangle.height * down,
  };
  const luma = kept(one, JSON.stringify([part, columns, rows]), () =>
    sampled(one.luma, one.width, one.height, part, columns, rows),
  );
  const wanted = JSON.stringify(look);
  const based = (levels, own) => prepare(levels, one.width, one.height, cbcr, size, own);
  one.base ??= based(applied(one.luma, curve), tone);
  one.before ??= recolor(curve.length ? based(one.luma, untoned(tone, curve)) : one.base, BEFORE);
  if (one.look !== wanted || !one.after) {
    one.after = recolor(one.base, look);
    one.look = wanted;
  }
  const painted = (planes, levels) => region(planes, levels, part, columns, rows);
  return { before: both ? painted(one.before, luma) : null, after: painted(one.after, applied(luma, curve)) };
}

/** What was made for a place, or is made now. The last two are kept: what is seen, and the whole picture. */
function kept(one, place, make) {
  const had = one.places.get(place) ?? make();
  one.places.delete(place);
  one.places.set(place, had);
  if (one.places.size > 2) one.places.delete(one.places.keys().next().value);
  return had;
}

/** RGBA of a whole small picture that is not the one shown: a thumbnail. */
function whole({ luma, width, height, cbcr, size, tone, curve, look }) {
  return merge(applied(luma, curve), width, height, cbcr, size, tone, look);
}

self.onmessage = ({ data: { number, job, given } }) => {
  try {
    const result = JOBS[job](given);
    const arrays = result instanceof Uint8ClampedArray ? [result] : [result?.before, result?.after];
    self.postMessage(
      { number, result },
      arrays.filter(Boolean).map(({ buffer }) => buffer),
    );
  } catch (error) {
    self.postMessage({ number, error: String(error) });
  }
};
