// A JPEG's metadata, put into another JPEG: as metadata.py does it.
import { ascii, big, joined, latin, starts } from "./bytes.js";
import * as exif from "./exif.js";
import { noted } from "./note.js";

const APP0 = 0xe0, APP1 = 0xe1, APP13 = 0xed, APP15 = 0xef, COM = 0xfe, SOS = 0xda, LONGEST = 65533;
const EXIF = "Exif\0\0", XMP = "http://ns.adobe.com/xap/1.0/\0", XMP_MORE = "http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP = "Photoshop 3.0\0", STALE = [1033, 1036, 1039]; // thumbnails and color profile among its resources
const DROPPED = [ // how the old pixels are stored, or what shows or signs them: parts.py's table
  [0xe0, ""], [0xe2, "ICC_PROFILE\0"], [0xe2, "MPF\0"], [0xe2, "urn:iso:std:iso:ts:21496"], [0xe8, "SPIFF\0"],
  [0xea, "HDR_RI"], [0xeb, "HDR_RI"], [0xeb, "JP"], [0xee, "Adobe"],
];
const SIGNED = 0xeb;

// The segments before the pixels: [{marker, payload}]. They end where a file is damaged.
export function segments(bytes) {
  const found = [];
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    if (marker === 0xff) { at++; continue; }
    if (marker === SOS) break;
    const length = 256 * bytes[at + 2] + bytes[at + 3];
    if (length < 2 || at + 2 + length > bytes.length) break;
    found.push({ marker, payload: bytes.subarray(at + 4, at + 2 + length) });
    at += 2 + length;
  }
  return found;
}

// [width, height] as stored; null where the headers do not say.
export function sides(bytes) {
  const tables = [0xc4, 0xc8, 0xcc];
  const frame = segments(bytes).find(({ marker }) => marker >= 0xc0 && marker <= 0xcf && !tables.includes(marker));
  const [, top, rows, left, columns] = frame?.payload ?? [];
  return columns === undefined ? null : [256 * left + columns, 256 * top + rows];
}

export function orientation(bytes) {
  const block = segments(bytes).find(({ marker, payload }) => marker === APP1 && starts(payload, EXIF));
  return block ? exif.orientation(block.payload.subarray(EXIF.length)) : 1;
}

// {bytes, notes}: a new JPEG of width x height, upright, with the metadata of `old` and what made it.
export function dressed(fresh, old, made, width, height) {
  const found = segments(old), notes = [], turned = orientation(old) !== 1;
  const one = (marker, begins) => found.find((segment) => segment.marker === marker && starts(segment.payload, begins));
  const result = [[APP0, density(one(APP0, "JFIF\0"), orientation(old) > 4)]];
  const block = one(APP1, EXIF) && exif.settled(one(APP1, EXIF).payload.slice(EXIF.length), width, height);
  if (one(APP1, EXIF) && !block) notes.push("loss: its EXIF is damaged and not kept");
  if (block) result.push([APP1, joined(ascii(EXIF), block)]);
  const packet = one(APP1, XMP)?.payload.slice(XMP.length) ?? null;
  const xmp = noted(packet, made, turned, LONGEST - XMP.length);
  if (!xmp.kept) notes.push("loss: its XMP speaks of more than the colored picture and is not kept");
  result.push([APP1, joined(ascii(XMP), xmp.packet)]);
  for (const { marker, payload } of found) {
    if (marker === APP13 && starts(payload, PHOTOSHOP)) {
      result.push([marker, joined(ascii(PHOTOSHOP), current(payload.slice(PHOTOSHOP.length)))]);
    } else if (marker === COM || (marker >= APP0 && marker <= APP15 && !known(marker, payload))) {
      result.push([marker, payload]);
    }
    if (marker === SIGNED && starts(payload, "JP") && !notes.includes(LOST)) notes.push(LOST);
  }
  const parts = result.map(([marker, payload]) => joined([0xff, marker], big(2, payload.length + 2), payload));
  return { bytes: joined(fresh.subarray(0, 2), ...parts, bare(fresh)), notes };
}

const LOST = "loss: content credentials (C2PA) are not kept";

// Whether a segment is not copied as it is.
function known(marker, payload) {
  const own = marker === APP1 && [EXIF, XMP, XMP_MORE].some((begins) => starts(payload, begins));
  return own || DROPPED.some(([other, begins]) => other === marker && starts(payload, begins));
}

// A JFIF segment with the resolution of another one.
function density(old, swapped) {
  const fresh = joined(ascii("JFIF\0"), [1, 1, 0], big(2, 1, 1), [0, 0]);
  if (!old || old.payload.length < 12 || ![1, 2].includes(old.payload[7])) return fresh;
  const [x, y] = [old.payload.subarray(8, 10), old.payload.subarray(10, 12)];
  return joined(fresh.subarray(0, 7), [old.payload[7]], ...(swapped ? [y, x] : [x, y]), [0, 0]);
}

// What follows the segments that a browser wrote before the tables.
function bare(fresh) {
  let at = 2;
  while (fresh[at] === 0xff && fresh[at + 1] >= APP0 && fresh[at + 1] <= APP15) {
    at += 2 + 256 * fresh[at + 2] + fresh[at + 3];
  }
  return fresh.subarray(at);
}

// Photoshop's image resources without those that are stale; as they are where they are damaged.
function current(block) {
  const kept = [];
  let at = 0;
  while (at < block.length) {
    if (latin(block.subarray(at, at + 4)) !== "8BIM" || at + 12 > block.length) return block;
    const kind = 256 * block[at + 4] + block[at + 5], name = block[at + 6] + 1, body = at + 6 + name + (name % 2);
    if (body + 4 > block.length) return block;
    const length = new DataView(block.buffer, block.byteOffset).getUint32(body);
    const stop = body + 4 + length + (length % 2);
    if (body + 4 + length > block.length) return block;
    if (!STALE.includes(kind)) kept.push(block.subarray(at, stop));
    at = stop;
  }
  return joined(...kept);
}
