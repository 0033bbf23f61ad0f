// Bytes of files: joined, as text, their checksum.

export const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
export const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
export const utf8 = (text) => new TextEncoder().encode(text);

export function joined(...parts) {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

// Numbers of so many bytes each, the highest byte first.
export function big(width, ...values) {
  return Uint8Array.from({ length: width * values.length }, (_, i) => {
    return Math.floor(values[Math.floor(i / width)] / 256 ** (width - 1 - (i % width))) % 256;
  });
}

// The same, the lowest byte first.
export const little = (width, ...values) => joined(...values.map((value) => big(width, value).reverse()));

export const starts = (bytes, text) => latin(bytes.subarray(0, text.length)) === text;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

// CRC-32 (of zip and PNG) of bytes that follow those of `before`.
export function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
