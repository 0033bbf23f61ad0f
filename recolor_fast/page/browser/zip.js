// A zip of files as they are (stored), of up to 4 GB: blobs are joined, not copied.
import { crc32, joined, little, utf8 } from "./bytes.js";

const MOST = 2 ** 32 - 1, UTF8 = 0x800;

// files: [{name, blob}], names already safe and unique. RangeError where it would be too large.
export async function zip(files, date = new Date()) {
  const parts = [], directory = [];
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  let at = 0;
  for (const { name, blob } of files) {
    const title = utf8(name);
    const sizes = little(4, await checksum(blob), blob.size, blob.size);
    const said = joined(little(2, 20, UTF8, 0, time, day), sizes, little(2, title.length, 0));
    const head = joined(little(4, 0x04034b50), said, title);
    directory.push(joined(little(4, 0x02014b50), little(2, 20), said, little(2, 0, 0, 0), little(4, 0, at), title));
    parts.push(head, blob);
    at += head.length + blob.size;
    if (at > MOST || files.length > 65535) throw new RangeError("more than 4 GB: download the photographs one by one");
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = joined(little(4, 0x06054b50), little(2, 0, 0, count, count), little(4, length, at), little(2, 0));
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

async function checksum(blob) {
  let crc = 0;
  for (let at = 0; at < blob.size; at += 2 ** 22) {
    crc = crc32(new Uint8Array(await blob.slice(at, at + 2 ** 22).arrayBuffer()), crc);
  }
  return crc;
}
