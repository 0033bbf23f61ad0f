// What a colored file says of itself: that its colors are a model's, and which. As provenance.py writes it, in XMP.
import { latin, utf8 } from "./bytes.js";

const NAMESPACE = "urn:recolor-fast:xmp:1", RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const EMPTY =
  '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">' +
  `<rdf:RDF xmlns:rdf="${RDF}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`;
const OWN = new RegExp( // as it is written here
  `<[\\w.-]+:Description [^>]*xmlns:recolor="${NAMESPACE}">` +
    "(?:<recolor:made>[^<]*</recolor:made>)?</[\\w.-]+:Description>", "g",
);
const AGAIN = // as other programs may have written it again
  /<recolor:made>[^<]*<\/recolor:made>|\srecolor:made\s*=\s*(?:"[^"]*"|'[^']*')/g;
const END = /<\/(?:([\w.-]+):)?RDF\s*>/g;
const ABOUT = /<[\w.-]+:Description\s[^>]*?about\s*=\s*("[^"]*"|'[^']*')/;
const ORIENTATION = /(tiff:Orientation\s*(?:=\s*["']|>)\s*)(\d+)/g;
// What may be false of the colored picture: the old pixels, a signature, further pictures or a video, places in a
// picture that is turned. A packet that speaks of it is left out whole: cutting it needs an XML parser.
const UNTRUE = new RegExp(
  "Thumbnails|HasExtendedXMP|HDRGainMap|hdr-gain-map|hdrgm|google.com/photos|(xiaomi|oplus|oppo|vivo).com|dc/terms|" +
    "pixeldatainfo|<!DOCTYPE|<!ENTITY", "i",
);
const PLACES = /regions|RegionInfo|faceinfo|ImageRegion|panorama|depthmap/i;

// Whether anything in a file, a model's mark in its bytes, says that it was colored by this package.
export const painted = (bytes) => latin(bytes.subarray(0, 2 ** 17)).includes(NAMESPACE);

// {packet: Uint8Array, kept: whether it has what the old one had}: an XMP packet (Uint8Array or null) that says `made`.
export function noted(packet, made, turned, room = Infinity) {
  const text = packet && decoded(packet);
  if (text && !UNTRUE.test(text) && !(turned && PLACES.test(text))) {
    const result = tagged(text.replace(OWN, "").replace(AGAIN, "").replace(ORIENTATION, "$11"), made);
    if (result && result.length <= room) return { packet: result, kept: true };
  }
  return { packet: tagged(EMPTY, made), kept: !packet };
}

function decoded(packet) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(packet);
  } catch {
    return "";
  }
}

function tagged(text, made) {
  const end = [...text.matchAll(END)].at(-1);
  if (!end) return null;
  const prefix = end[1] ? `${end[1]}:` : "", about = ABOUT.exec(text)?.[1] ?? '""';
  const escaped = JSON.stringify(made).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const block =
    `<${prefix}Description ${prefix}about=${about} xmlns:recolor="${NAMESPACE}">` +
    `<recolor:made>${escaped}</recolor:made></${prefix}Description>`;
  return utf8(text.slice(0, end.index) + block + text.slice(end.index));
}
