// Files as pictures and pictures as files, by what the browser decodes and encodes: in strips, so that of a large
// picture only its luminance and what the browser itself holds are in memory.
import { gray } from "../prepare.js";
import { region } from "../merge.js";
import * as jpeg from "./jpeg.js";
import * as png from "./png.js";
import { Refused } from "./refused.js";
import { averages, judged, judgedSize } from "./tone.js";

export const PIXELS = 64_000_000, QUALITY = 95;
export const SUFFIXES = ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .avif".split(" ");
const ROWS = 2 ** 20; // pixels of a strip

const FORMATS = { // what is written of which format; of others a PNG
  "image/jpeg": {
    suffixes: [".jpg", ".jpeg", ".jpe", ".jfif"],
    encoded: jpegOf,
    dressed: jpeg.dressed,
    made: { quality: QUALITY, lossless_luma: false, format: "JPEG" },
  },
  "image/png": { suffixes: [".png"], encoded: png.encoded, dressed: png.dressed, made: { format: "PNG" } },
};

// The bytes that say what a file is, and where its metadata is: a JPEG's and PNG's begin with it.
async function head(blob) {
  return new Uint8Array(await blob.slice(0, 2 ** 18).arrayBuffer());
}

const typeOf = (bytes) => (bytes[0] === 0xff && bytes[1] === 0xd8 ? "image/jpeg" : "image/png");

// Refused for what this browser cannot decode, or what is too large. Decodes what it does not know by its first bytes.
export async function check(blob) {
  const bytes = await head(blob), sides = typeOf(bytes) === "image/jpeg" ? jpeg.sides(bytes) : png.sides(bytes);
  if (sides) return checkSize(...sides);
  (await decoded(blob)).close();
}

function checkSize(width, height) {
  if (width * height > PIXELS) throw new Refused(413, `${width} x ${height} pixels: more than ${PIXELS / 1e6} million`);
}

async function decoded(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    throw new Refused(415, "no picture that this browser can decode");
  }
  if (bitmap.width * bitmap.height > PIXELS) bitmap.close();
  checkSize(bitmap.width, bitmap.height);
  return bitmap;
}

// ImageData of a bitmap's rows and the first one's number, strip after strip; they may be changed.
function* strips(bitmap) {
  const { width, height } = bitmap, most = Math.max(1, Math.floor(ROWS / width));
  const canvas = new OffscreenCanvas(width, Math.min(most, height));
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.globalCompositeOperation = "copy";
  for (let top = 0; top < height; top += most) {
    const rows = Math.min(most, height - top);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    yield [context.getImageData(0, 0, width, rows), top];
  }
}

// {luma, width, height, alpha, inColor, tone} of a file, `alpha` null where it is opaque; Refused for what is none.
export async function read(blob) {
  faithful();
  const bitmap = await decoded(blob), { width, height } = bitmap;
  try {
    const luma = new Uint8Array(width * height), [columns, rows] = judgedSize(width, height);
    const small = averages(width, height, columns, rows);
    let alpha = null;
    for (const [{ data }, top] of strips(bitmap)) {
      gray(data, luma, top * width);
      for (let p = 3, at = top * width; p < data.length; p += 4, at++) { // what cannot be seen has no color
        if (data[p] === 255) continue;
        alpha ??= new Uint8Array(width * height).fill(255);
        alpha[at] = data[p];
        if (!data[p]) data[p - 3] = data[p - 2] = data[p - 1] = luma[at];
      }
      small.add(data);
    }
    return { luma, width, height, alpha, ...judged(small.planes(), columns, rows) };
  } finally {
    bitmap.close();
  }
}

// Browsers that protect against fingerprinting change what a page reads of its canvas: pictures would be spoilt.
function faithful() {
  const context = new OffscreenCanvas(64, 64).getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  const given = new ImageData(64, 64);
  given.data.forEach((_, i) => (given.data[i] = i % 4 === 3 ? 255 : (i * 40503) >> 8));
  context.putImageData(given, 0, 0);
  const found = context.getImageData(0, 0, 64, 64).data;
  if (found.some((value, i) => value !== given.data[i])) {
    throw new Refused(415, "this browser alters the pixels that a page reads, against fingerprinting; allow it here");
  }
}

// {blob, suffixes, notes} of a colored picture in the format of its file, with its metadata: `found` is what `read`
// gave of it, `planes` those of merge.recolor; `made` is what the file says of itself, see note.js.
export async function write(blob, found, planes, made) {
  const old = new Uint8Array(await blob.arrayBuffer()), type = typeOf(old), format = FORMATS[type];
  const { width, height } = found;
  const fresh = await format.encoded(width, height, !found.alpha, painted(found, planes));
  const { bytes, notes } = format.dressed(fresh, old, { ...made, ...format.made }, width, height);
  return { blob: new Blob([bytes], { type }), suffixes: format.suffixes, notes };
}

// RGBA of the colored picture, strip after strip.
function* painted({ luma, width, height, alpha }, planes) {
  const most = Math.max(1, Math.floor(ROWS / width));
  for (let top = 0; top < height; top += most) {
    const rows = Math.min(most, height - top), place = { x: 0, y: top, width, height: rows };
    const rgba = region(planes, luma.subarray(top * width, (top + rows) * width), place, width, rows);
    for (let p = 3, at = top * width; alpha && p < rgba.length; p += 4, at++) rgba[p] = alpha[at];
    yield rgba;
  }
}

async function jpegOf(width, height, opaque, strips) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb", alpha: false });
  let top = 0;
  for (const rgba of strips) {
    context.putImageData(new ImageData(rgba, width), 0, top);
    top += rgba.length / 4 / width;
  }
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY / 100 });
  return new Uint8Array(await blob.arrayBuffer());
}
