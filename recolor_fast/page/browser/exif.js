// An EXIF block (a TIFF structure) patched where it lies, as exif.py does: true of an upright picture in sRGB.

const ORIENTATION = 274, EXIF_IFD = 34665, COLOR_SPACE = 40961, SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];
const SIDES = { 256: "width", 257: "height", 40962: "width", 40963: "height" };
const ACROSS = [[282, 283], [41486, 41487]]; // resolutions: of the picture, of the sensor
const AREAS = [37396, 41492]; // where the subject is: its middle, and its sides or none

// 1 to 8; 1 where the block says none or is broken.
export function orientation(block) {
  try {
    const entry = entries(view(block), first(block)).list.find(({ tag }) => tag === ORIENTATION);
    const value = entry ? number(view(block), little(block), entry) : 1;
    return value >= 1 && value <= 8 ? value : 1;
  } catch {
    return 1;
  }
}

// The block of a picture of width x height that was turned upright, without its thumbnail; null for one that is broken.
export function settled(block, width, height) {
  try {
    const by = orientation(block), result = block.slice(), data = view(result), order = little(block);
    const { list, next } = entries(data, first(block));
    for (const { tag, at } of [...list]) {
      if (tag === EXIF_IFD) list.push(...entries(data, data.getUint32(at, order)).list);
    }
    const sides = { width, height };
    for (const entry of list) {
      const { tag } = entry;
      if (tag === ORIENTATION || tag === COLOR_SPACE) write(data, order, entry, 1);
      else if (SIDES[tag]) write(data, order, entry, sides[SIDES[tag]]);
    }
    turned(data, order, list, by, width, height);
    withoutThumbnail(result, data, order, next);
    return result;
  } catch {
    return null;
  }
}

const view = (block) => new DataView(block.buffer, block.byteOffset, block.byteLength);

function little(block) {
  const mark = String.fromCharCode(block[0], block[1]);
  if (mark !== "II" && mark !== "MM") throw new RangeError("no byte order");
  return mark === "II";
}

const first = (block) => view(block).getUint32(4, little(block));

// The entries of a directory, and where the place of the next one is written. RangeError beyond the end of the block.
function entries(data, start) {
  const order = data.getUint8(0) === 0x49, count = data.getUint16(start, order);
  const list = Array.from({ length: count }, (_, i) => {
    const place = start + 2 + 12 * i, tag = data.getUint16(place, order), kind = data.getUint16(place + 2, order);
    const values = data.getUint32(place + 4, order), length = (SIZES[kind] ?? 0) * values;
    return { tag, kind, values, length, at: length > 4 ? data.getUint32(place + 8, order) : place + 8 };
  });
  const inside = list.filter(({ length, at }) => length && at + length <= data.byteLength);
  return { list: inside, next: start + 2 + 12 * count };
}

function number(data, order, { kind, at }) {
  return kind === 3 ? data.getUint16(at, order) : kind === 4 ? data.getUint32(at, order) : 0;
}

function write(data, order, { kind, at }, value) {
  if (kind === 3 && value < 65536) data.setUint16(at, value, order);
  else if (kind === 4) data.setUint32(at, value, order);
}

// Resolutions and places of a picture that has been turned `by` an orientation, to these sides.
function turned(data, order, list, by, width, height) {
  if (by === 1) return;
  const found = new Map(list.map((entry) => [entry.tag, entry]));
  for (const [x, y] of by > 4 ? ACROSS.map((pair) => pair.map((tag) => found.get(tag))) : []) {
    if (x?.length !== 8 || y?.length !== 8) continue;
    const [one, other] = [data.getBigUint64(x.at), data.getBigUint64(y.at)];
    data.setBigUint64(x.at, other);
    data.setBigUint64(y.at, one);
  }
  for (const area of AREAS.map((tag) => found.get(tag))) {
    if (area?.kind !== 3 || area.values < 2) continue;
    const values = Array.from({ length: area.values }, (_, i) => data.getUint16(area.at + 2 * i, order));
    let [x, y, ...sides] = values;
    if (by > 4) [x, y, sides] = [y, x, sides.reverse()];
    if ([2, 3, 6, 7].includes(by)) x = Math.max(0, width - 1 - x);
    if ([3, 4, 7, 8].includes(by)) y = Math.max(0, height - 1 - y);
    [x, y, ...sides].forEach((value, i) => data.setUint16(area.at + 2 * i, value, order));
  }
}

// The second directory out of reach, and the thumbnail's bytes zero: it shows the gray picture.
function withoutThumbnail(block, data, order, next) {
  if (next + 4 > block.length) return;
  const second = data.getUint32(next, order);
  data.setUint32(next, 0, order);
  if (!second) return;
  const found = new Map(entries(data, second).list.map((entry) => [entry.tag, number(data, order, entry)]));
  for (const [place, size] of [[513, 514], [273, 279]]) {
    const start = found.get(place);
    if (start) block.fill(0, start, start + (found.get(size) ?? 0));
  }
}
