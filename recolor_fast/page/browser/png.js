// PNGs: written, of three or four channels, which no browser lets a page choose; and their metadata, put into another
// one as metadata.py does it.
import { ascii, big, crc32, joined, latin, starts } from "./bytes.js";
import * as exif from "./exif.js";
import { noted } from "./note.js";

const SIGNATURE = "\x89PNG\r\n\x1a\n", XMP = "XML:com.adobe.xmp\0", TEXTS = ["tEXt", "zTXt", "iTXt"];
const COPIED = ["tIME", "pHYs"]; // beside texts, and what says by its name that it stays true when the pixels change
const STALE = ["iDOT", "hIST", "sPLT", "caBX", "pCAL"];

// [{kind, content}]; they end where a file is damaged.
export function chunks(bytes) {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), found = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = data.getUint32(at), kind = latin(bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) break;
    found.push({ kind, content: bytes.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return found;
}

// [width, height] as stored.
export function sides(bytes) {
  if (!starts(bytes, SIGNATURE) || bytes.length < 24) return null;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [data.getUint32(16), data.getUint32(20)];
}

// A PNG of width x height, of RGB or, not `opaque`, RGBA. `strips` gives the RGBA of its rows, any number at a time.
export async function encoded(width, height, opaque, strips) {
  const channels = opaque ? 3 : 4, packer = new CompressionStream("deflate"), writer = packer.writable.getWriter();
  const packed = new Response(packer.readable).arrayBuffer();
  let above = new Uint8Array(width * channels);
  for (const rgba of strips) {
    const filtered = new Uint8Array((rgba.length / 4 / width) * (width * channels + 1));
    for (let p = 0, at = 0; p < rgba.length; p += 4 * width) {
      const row = samples(rgba.subarray(p, p + 4 * width), channels);
      filtered[at++] = 4; // Paeth's filter, the best one for photographs as a rule
      filter(row, above, channels, filtered, at);
      at += row.length;
      above = row;
    }
    await writer.write(filtered);
  }
  await writer.close();
  const header = joined(big(4, width, height), [8, opaque ? 2 : 6, 0, 0, 0]);
  const pixels = new Uint8Array(await packed);
  return joined(ascii(SIGNATURE), chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", []));
}

function samples(rgba, channels) {
  if (channels === 4) return Uint8Array.from(rgba);
  const row = new Uint8Array((rgba.length / 4) * 3);
  for (let p = 0, at = 0; p < rgba.length; p += 4) {
    row[at++] = rgba[p];
    row[at++] = rgba[p + 1];
    row[at++] = rgba[p + 2];
  }
  return row;
}

function filter(row, above, channels, result, at) {
  for (let i = 0; i < row.length; i++) {
    const left = i < channels ? 0 : row[i - channels], up = above[i], corner = i < channels ? 0 : above[i - channels];
    const a = Math.abs(up - corner), b = Math.abs(left - corner), c = Math.abs(left + up - 2 * corner);
    result[at + i] = row[i] - (a <= b && a <= c ? left : b <= c ? up : corner);
  }
}

// {bytes, notes}: a new PNG with the metadata of `old` (a PNG, or anything else: none) and what made it.
export function dressed(fresh, old, made, width, height) {
  const found = starts(old, SIGNATURE) ? chunks(old) : [], notes = [];
  const packet = found.find(({ kind, content }) => kind === "iTXt" && starts(content, XMP + "\0"));
  const turned = exif.orientation(found.find(({ kind }) => kind === "eXIf")?.content ?? new Uint8Array()) !== 1;
  const xmp = noted(packet ? textOf(packet.content) : null, made, turned);
  if (!xmp.kept) notes.push("loss: its XMP speaks of more than the colored picture and is not kept");
  const added = [chunk("iTXt", joined(ascii(XMP + "\0\0\0\0"), xmp.packet))];
  for (const { kind, content } of found) {
    if (kind === "eXIf") {
      const block = exif.settled(content.slice(), width, height);
      if (block) added.push(chunk(kind, block));
      else notes.push("loss: its EXIF is damaged and not kept");
    } else if (TEXTS.includes(kind) ? !starts(content, XMP) : COPIED.includes(kind) || safe(kind)) {
      added.push(chunk(kind, content));
    } else if (kind === "caBX") notes.push("loss: content credentials (C2PA) are not kept");
  }
  return { bytes: joined(fresh.subarray(0, 33), ...added, fresh.subarray(33)), notes }; // behind IHDR
}

const safe = (kind) => /^[a-z][A-Za-z][A-Z][a-z]$/.test(kind) && !STALE.includes(kind);

function chunk(kind, content) {
  const body = joined(ascii(kind), content);
  return joined(big(4, content.length), body, big(4, crc32(body)));
}

// The text of an iTXt that is not compressed; empty otherwise, which is no packet.
function textOf(content) {
  const flags = content.subarray(XMP.length, XMP.length + 2);
  if (flags[0]) return new Uint8Array();
  const language = content.indexOf(0, XMP.length + 2), translated = content.indexOf(0, language + 1);
  return content.subarray(translated + 1);
}
