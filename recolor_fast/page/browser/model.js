// The models of this site in onnxruntime-web: on the graphics card where that gives what Python gave, else in
// WebAssembly. site.json, written with the site, says which files there are and what they are.
import { Refused } from "./refused.js";

const BASE = new URL("../", import.meta.url), THREADS = 4; // more do not help a picture of the model's size
const NEAR = 4, SHARE = 0.99; // levels of chroma, and how many of them have to be that near on a graphics card

let site = null;
const sessions = new Map(); // by file: a promise of {run, webgpu}
let busy = Promise.resolve(); // one at a time: a session computes one thing

// Where the models run: {provider: "wasm" | "webgpu", threads, reason}. The reason why not on the graphics card is
// int8, absent, card, differs, or what an error says; the page has words for it.
export const runs = { provider: "", threads: 0, reason: "" };

export function read() {
  site ??= fetch(new URL("site.json", BASE)).then((response) => {
    if (!response.ok) throw new Refused(500, `site.json: ${response.status}; this copy of the site is not whole`);
    return response.json();
  });
  site.catch(() => (site = null));
  return site;
}

// The row of site.json of a model by name.
export async function named(name) {
  const found = (await read()).models.find((model) => model.name === name);
  if (!found) throw new Refused(422, `model ${name}: there is none of this name`);
  return found;
}

// The file of a model that paints with these hints, or without any.
export function painter({ graphs }, hints) {
  return hints.length ? graphs.hints : (graphs.chroma ?? graphs.hints);
}

// Begin to load every model, the first ones first.
export async function load() {
  for (const { graphs, size } of (await read()).models) {
    for (const file of Object.values(graphs)) await session(file, size);
  }
}

// Chroma, Uint8Array (2 * size * size), of a prepared gray (size * size) and hint planes (3 * size * size) or null.
export function paint(file, size, gray, planes) {
  const result = busy.then(async () => (await session(file, size))(gray, planes));
  busy = result.catch(() => {});
  return result;
}

function session(file, size) {
  if (!sessions.has(file.path)) {
    const made = opened(file, size);
    made.catch(() => sessions.delete(file.path)); // the network may come back
    sessions.set(file.path, made);
  }
  return sessions.get(file.path);
}

async function opened(file, size) {
  const response = await fetch(new URL(file.path, BASE));
  if (!response.ok) throw new Refused(500, `${file.path}: ${response.status}; this copy of the site is not whole`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const reason = await unfit(file);
  if (!reason) {
    try {
      const run = await on("webgpu", bytes, file, size);
      await compare(run, file, size);
      return told(run, { provider: "webgpu", threads: 0, reason: "" });
    } catch (error) {
      return processor(bytes, file, size, error.message);
    }
  }
  return processor(bytes, file, size, reason);
}

async function processor(bytes, file, size, reason) {
  return told(await on("wasm", bytes, file, size), { provider: "wasm", threads: threads(), reason });
}

function told(run, facts) {
  Object.assign(runs, facts);
  return run;
}

const threads = () => (self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, THREADS) : 1);

// Why a model is not to run on a graphics card; empty where nothing speaks against it.
async function unfit(file) {
  if (file.precision === "int8") return "int8"; // computed as such on processors alone
  if (!navigator.gpu) return "absent";
  const card = await navigator.gpu.requestAdapter().catch(() => null);
  return card && !(card.info?.isFallbackAdapter ?? card.isFallbackAdapter) ? "" : "card"; // emulated ones take minutes
}

async function on(provider, bytes, file, size) {
  const ort = await import(new URL(`onnxruntime/ort.${provider}.min.mjs`, BASE).href);
  ort.env.wasm.wasmPaths = new URL("onnxruntime/", BASE).href;
  ort.env.wasm.numThreads = provider === "wasm" ? threads() : 1;
  const settings = { executionProviders: [provider], logSeverityLevel: 3 };
  const made = await ort.InferenceSession.create(bytes, settings);
  return async (gray, planes) => {
    const feeds = { gray: new ort.Tensor("uint8", gray, [1, 1, size, size]) };
    const hints = planes ?? new Float32Array(3 * size * size);
    if (file.graph === "hints") feeds.hints = new ort.Tensor("float32", hints, [1, 3, size, size]);
    return Uint8Array.from((await made.run(feeds)).cbcr.data);
  };
}

// A driver may compute nonsense without saying so. The site has what Python painted of `probe`.
async function compare(run, { probe }, size) {
  const found = await run(probeOf(size), null), step = 8, wide = Math.ceil(size / step);
  const near = probe.filter((value, i) => {
    const plane = Math.floor(i / wide ** 2), row = Math.floor(i / wide) % wide, column = i % wide;
    return Math.abs(value - found[(plane * size + row * step) * size + column * step]) <= NEAR;
  });
  if (near.length < SHARE * probe.length) throw new Error("differs");
}

// The same as in making.py: a gray that changes slowly in some places and quickly in others.
export function probeOf(size) {
  return Uint8Array.from({ length: size * size }, (_, i) => {
    const x = i % size, y = (i - x) / size;
    return ((x * x + 3 * y * y + x * y) >> 7) & 255;
  });
}
