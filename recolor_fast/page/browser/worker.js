// The desk of a browser alone, as recolor_fast.serve keeps one for its visitors: nothing leaves the machine.
// Answers {number, method, given} with {number, result} or {number, error: {status, message, retryAfter}}.
import { area } from "../planes.js";
import { prepare, recolor, region } from "../merge.js";
import { resized, source } from "../prepare.js";
import { crc32, utf8 } from "./bytes.js";
import { draw, plausible } from "./hints.js";
import * as model from "./model.js";
import { colored, unique } from "./names.js";
import { painted } from "./note.js";
import * as picture from "./picture.js";
import { Refused } from "./refused.js";
import { NOTES, restored } from "./restoring.js";
import * as store from "./store.js";
import { zip } from "./zip.js";

const LIMITS = { bytes: 200_000_000, pixels: picture.PIXELS, photographs: 1000 };
const PLAIN = { saturation: 1, warmth: 0, strength: 1, keep_tone: 0.7 };
const RANGES = { saturation: [0, 4], warmth: [-1, 1], strength: [0, 1], keep_tone: [0, 1] };
const SMALL = 256; // pixels of the longer side, up to which a luminance is kept
const HELD = 32_000_000; // pixels of luminance that stay in memory, of the pictures looked at last
const TRIES = 3, MOST = 1000; // starts of a photograph that ended with the page's end; hints of a photograph
const OWN = ["arrived", "tries"]; // facts that are not the page's
const ALTERING = ["restore", "negative"]; // what changes the luminance itself
const LATER = { restore: false, negative: false, curve: [] }; // facts that older versions did not write

const METHODS = { desk, add, photograph, change, gray, chroma, palette, file, all, remove, clear, runs };

let begun = Promise.resolve();
const held = new Map(); // pictures by id, as picture.read gives them, the one looked at last behind

self.onmessage = async ({ data: { number, method, given } }) => {
  try {
    self.postMessage({ number, result: await METHODS[method](...given) });
  } catch (error) {
    const full = error?.name === "QuotaExceededError";
    const message = full ? "this browser has no more room for photographs" : String(error?.message ?? error);
    self.postMessage({ number, error: { message, status: full ? 507 : (error?.status ?? 500), retryAfter: 0 } });
  }
};

model.load().catch(() => {}); // the first photograph says what is wrong
drain();

// --- the desk ---

async function desk() {
  const [{ version, models }, photographs] = await Promise.all([model.read(), store.all()]);
  return {
    version,
    models: models.map(({ name, graphs }) => ({ name, hints: "hints" in graphs })),
    formats: picture.SUFFIXES,
    limits: LIMITS,
    photographs: photographs.map(told),
  };
}

function told(facts) {
  return Object.fromEntries(Object.entries({ ...LATER, ...facts }).filter(([name]) => !OWN.includes(name)));
}

async function known(id) {
  const facts = await store.facts(id);
  if (!facts) throw new Refused(404, "no such photograph");
  return facts;
}

async function ready(id) {
  const facts = await known(id);
  if (facts.status !== "ready") throw new Refused(409, `${facts.name} is not colored yet`);
  return facts;
}

async function add(file) {
  if (file.size > LIMITS.bytes) throw new Refused(413, `${file.name}: more than ${LIMITS.bytes / 1e6} MB`);
  if ((await store.all()).length >= LIMITS.photographs) {
    throw new Refused(507, `${LIMITS.photographs} photographs are here; remove some`);
  }
  await picture.check(file);
  const { models } = await model.read();
  const facts = {
    id: Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    name: file.name.split(/[/\\]/).at(-1).slice(-200) || "photograph",
    status: "waiting", reason: "", notes: [], width: 0, height: 0, in_color: false, toned: false, size: models[0].size,
    model: models[0].name, look: PLAIN, hints: [], revision: 0, tries: 0, ...LATER,
    arrived: performance.timeOrigin + performance.now(),
  };
  await store.add(facts, new Blob([await file.arrayBuffer()], { type: file.type })); // the file itself may go away
  navigator.storage?.persist?.().catch(() => {});
  drain();
  return told(facts);
}

async function photograph(id) {
  return told(await known(id));
}

async function remove(id) {
  await known(id);
  held.delete(id);
  await store.remove(id);
}

async function runs() {
  return { ...model.runs };
}

async function clear() {
  held.clear();
  await store.clear();
}

// --- painting ---

// Paint what waits, in the order it came; one page of several does.
function drain() {
  const locked = (work) => (navigator.locks ? navigator.locks.request("recolor-fast", work) : work());
  begun = begun.then(() => locked(work)).catch((error) => console.error(error));
}

async function work() {
  const next = async () => (await store.all()).find(({ status }) => status === "waiting" || status === "working");
  for (let facts; (facts = await next()); ) {
    const { id, tries } = facts;
    if (tries >= TRIES) {
      await store.change(id, { status: "failed", reason: `the page ended ${TRIES} times while it worked on this` });
      continue;
    }
    await store.change(id, { status: "working", tries: tries + 1 });
    try {
      const blob = await store.file(id);
      if (blob) await begin(facts, blob);
    } catch (error) {
      await store.change(id, { status: "failed", reason: String(error?.message ?? error), tries: 0 });
    }
  }
}

async function begin(facts, blob) {
  const found = await readOf(blob), { width, height, inColor } = found;
  hold(facts.id, found);
  const chosen = await model.named(facts.model), { print, more } = prepared(chosen, found, facts);
  const planes = await paint(chosen, print, facts.hints, width, height);
  const seenAs = { width, height, in_color: inColor, size: chosen.size, ...more };
  const changes = { status: "ready", reason: "", tries: 0, ...seenAs };
  await store.change(facts.id, (now) => ({ ...changes, revision: now.revision + 1 }), planes);
}

// A picture, inverted and restored where that is wished, as it is painted from, and facts that tell what was done.
function prepared(chosen, found, { restore, negative, notes }) {
  const { width, height } = found, { size } = chosen;
  const { luma, tone, border, curve, done } = restored(found, restore, negative);
  const seen = source(luma, width, height, chosen, border), small = resized(luma, width, height, size, size);
  const told = Object.keys(NOTES).filter((name) => name in done).map((name) => NOTES[name]);
  const others = notes.filter((note) => !Object.values(NOTES).includes(note));
  return { print: { size, seen, small, tone }, more: { curve, toned: tone !== null, notes: [...others, ...told] } };
}

// What is kept of a photograph's chroma: {size, seen, small, tone, plain: without hints, cbcr, painter: what did it}.
async function paint(chosen, known, hints, width, height) {
  const { size, seen } = known;
  const planes = hints.length ? draw(hints, width, height, size) : null;
  const plain = known.plain ?? (await model.paint(model.painter(chosen, []), size, seen, null));
  const cbcr = planes ? await model.paint(model.painter(chosen, hints), size, seen, planes) : plain;
  const { name, sha256 } = model.painter(chosen, hints);
  return { ...known, plain, cbcr, painter: { model: name, sha256 } };
}

async function change(id, { look, hints, model: name, ...others }) {
  let facts = await known(id);
  const checked = {};
  if (look) checked.look = checkedLook(facts.look, look);
  if (hints) checked.hints = checkedHints(hints, facts);
  if (name !== undefined) await model.named(name);
  for (const one of ALTERING.filter((one) => others[one] !== undefined)) {
    if (typeof others[one] !== "boolean") throw new Refused(422, `${one} ${others[one]}: expected true or false`);
    checked[one] = others[one];
  }
  const altered = ALTERING.some((one) => one in checked && checked[one] !== (facts[one] ?? false));
  const anew = (name !== undefined && name !== facts.model) || altered;
  if (!hints && !anew) return told((await store.change(id, checked)) ?? (await known(id)));
  const chosen = await model.named(name ?? facts.model), given = checked.hints ?? facts.hints;
  if (given.length && !chosen.graphs.hints) throw new Refused(422, `hints with model ${chosen.name}: it follows none`);
  facts = { ...facts, ...checked, model: chosen.name };
  if (facts.status !== "ready") return told(await store.change(id, { ...checked, model: chosen.name }));
  const before = await store.chroma(id);
  const { print, more } = anew ? prepared(chosen, await looked(id), facts) : { print: before, more: {} };
  const planes = await paint(chosen, print, given, facts.width, facts.height);
  const changes = { ...checked, ...more, model: chosen.name, size: chosen.size };
  const changed = await store.change(id, (now) => ({ ...changes, revision: now.revision + 1 }), planes);
  return told(changed ?? (await known(id)));
}

function checkedLook(before, look) {
  for (const [name, value] of Object.entries(look)) {
    const [low, high] = RANGES[name] ?? [];
    if (!(Number.isFinite(value) && value >= low && value <= high)) {
      throw new Refused(422, `look.${name} ${value}: expected ${RANGES[name] ? `${low} to ${high}` : "no such name"}`);
    }
  }
  return { ...before, ...look };
}

function checkedHints(hints, { width, height, model: name }) {
  if (hints.length > MOST) throw new Refused(422, `hints: expected at most ${MOST}`);
  try {
    draw(hints, width, height, 32); // says what is wrong with one
  } catch (error) {
    throw new Refused(422, error.message);
  }
  return hints.map(({ x, y, color, radius = null }) => ({ x, y, color: color.toLowerCase(), radius }));
}

// --- what the page shows ---

function hold(id, found) {
  held.delete(id);
  held.set(id, found);
  const pixels = () => [...held.values()].reduce((sum, { luma }) => sum + luma.length, 0);
  while (held.size > 1 && pixels() > HELD) held.delete(held.keys().next().value);
}

// A file's picture; a tone that this package painted is none of the print's.
async function readOf(blob) {
  const found = await picture.read(blob);
  if (found.tone && painted(new Uint8Array(await blob.slice(0, 2 ** 17).arrayBuffer()))) found.tone = null;
  return found;
}

async function looked(id) {
  const found = held.get(id) ?? (await readOf(await store.file(id)));
  hold(id, found);
  return found;
}

async function gray(id, side) {
  await known(id);
  const kept = side && side <= SMALL ? await store.small(id, side) : null;
  if (kept) return kept;
  const { luma, width, height } = await looked(id), scale = side ? Math.min(side / Math.max(width, height), 1) : 1;
  if (scale === 1) return { width, height, luma: luma.slice() };
  const [columns, rows] = [width, height].map((length) => Math.max(1, Math.round(length * scale)));
  const small = Uint8Array.from(area(luma, width, height, columns, rows), (value) => value + 0.5);
  const result = { width: columns, height: rows, luma: small };
  if (side <= SMALL) await store.keepSmall(id, side, result); // so that a reload decodes no whole pictures for these
  return result;
}

async function chroma(id) {
  await ready(id);
  const { size, cbcr, tone } = await store.chroma(id);
  return { size, cbcr, tone };
}

async function palette(id, x, y) {
  const { width, height, model: name } = await ready(id), { palette: table } = await model.named(name);
  if (!(x >= 0 && x < width && y >= 0 && y < height)) throw new Refused(422, `palette at ${x}, ${y}: outside`);
  if (!table) return [];
  const { size, small, plain } = await store.chroma(id);
  const planes = recolor(prepare(small, size, size, plain, size, null), PLAIN);
  const column = Math.floor((x * size) / width), row = Math.floor((y * size) / height);
  const place = { x: column, y: row, width: 1, height: 1 };
  const [red, green, blue] = region(planes, small.subarray(row * size + column, row * size + column + 1), place, 1, 1);
  return plausible(table, [red / 255, green / 255, blue / 255]);
}

// --- what is downloaded ---

async function file(id) {
  const facts = await ready(id), found = await looked(id), { width, height } = found;
  const { size, cbcr, tone, painter } = await store.chroma(id), { look, hints, name } = facts;
  const { restore = false, negative = false } = facts, { luma, done } = restored(found, restore, negative);
  const { colored_by } = await model.read();
  const made = {
    colored_by, ...painter, input: "any", upsample: "guided", ...look, restore, negative,
    metadata: "keep", temporal: false, ...(Object.keys(done).length && { restored: done }),
    ...(hints.length && { hints: crc32(utf8(JSON.stringify(hints))).toString(16) }),
  };
  const planes = recolor(prepare(luma, width, height, cbcr, size, tone), look);
  const { blob, suffixes, notes } = await picture.write(await store.file(id), { ...found, luma }, planes, made);
  const more = notes.filter((note) => !facts.notes.includes(note));
  if (more.length) await store.change(id, { notes: [...facts.notes, ...more] });
  return { name: colored(name, suffixes), blob };
}

async function all() {
  const files = [];
  for (const { id, status } of await store.all()) if (status === "ready") files.push(await file(id));
  const names = unique(files.map(({ name }) => name));
  return { name: "photographs.colored.zip", blob: await zip(files.map(({ blob }, i) => ({ name: names[i], blob }))) };
}
