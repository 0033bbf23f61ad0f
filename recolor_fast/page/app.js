// The page: what is on the desk, which photograph is shown, and what the buttons do.
import { backend } from "./backend.js";
import { ask, fillHelp, showHelp } from "./dialogs.js";
import { photographic, receive } from "./drop.js";
import { Edit } from "./edits.js";
import { lasting, passing } from "./memory.js";
import { announce, report, sentence } from "./messages.js";
import { Painter } from "./painter.js";
import { Panel } from "./panel.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { LANGUAGES, heard, load, number, percent, preferred, say, translate } from "./texts.js";
import { Uploads } from "./uploads.js";

const MADE = 32; // thumbnails
const SELECTED = "recolor.selected",
  PAST = "recolor.past.";
const SOONEST = 500,
  LATEST = 5000; // ms between two looks at what the backend does

const element = (id) => document.getElementById(id);
const painter = new Painter();
/** @type {Map<string, Edit>} by id, in the order that photographs came */
const edits = new Map();
let desk = { models: [], formats: [], limits: undefined };
let selected = lasting.get(SELECTED);
let generation = 0; // of the desk: an answer asked for before a photograph came or went is old
let pause = SOONEST,
  timer = 0,
  gone = false;

const stage = new Stage({
  backend,
  painter,
  failed,
  changed: () => panel.show(edits.get(selected) ?? null, stage.chosen),
  moved: tools,
  hints: (edit) => desk.models.find(({ name }) => name === edit.wanted.model)?.hints ?? false,
});
const panel = new Panel({
  look: (look, last) => edits.get(selected)[last ? "commit" : "set"]({ look }),
  model: (model) => edits.get(selected).commit({ model }),
  alter: (parts) => edits.get(selected).commit(parts),
  open: (index) => stage.choose(index),
  erase: (index) => stage.erase(index),
  eraseAll: () => edits.get(selected).commit({ hints: [] }),
});
const strip = new Strip(select, thumbnail);
const uploads = new Uploads({
  add: (file) => backend.add(file),
  changed: show,
  added(photograph, unwanted) {
    generation++;
    if (unwanted) backend.remove(photograph.id).catch(failed);
    else take(photograph);
    if (!edits.has(selected)) select(photograph.id);
    soon();
  },
  failed(file, error) {
    if (!error.status) return failed(error, say("error.not_added", { name: file.name }));
    report(`file ${file.name}`, say("error.file", { name: file.name, reason: sentence(error, desk.limits) }));
  },
});

// --- the desk ---

function take(photograph) {
  const edit = edits.get(photograph.id);
  if (edit) {
    if (photograph.status === "failed" && edit.photograph.status !== "failed") {
      report(
        `file ${photograph.name}`,
        say("error.file", { name: photograph.name, reason: heard(photograph.reason) }),
      );
    }
    return edit.heard(photograph);
  }
  const { id } = photograph,
    past = JSON.parse(passing.get(PAST + id));
  edits.set(id, new Edit(photograph, { change: backend.change, shown, failed: (_, error) => failed(error), past }));
}

async function refresh() {
  const began = generation,
    answer = await backend.desk();
  if (gone) back();
  if (began !== generation) return;
  const before = states();
  desk = answer;
  for (const id of [...edits.keys()])
    if (!answer.photographs.some((photograph) => photograph.id === id)) edits.delete(id);
  answer.photographs.forEach(take);
  panel.models(desk.models);
  pause = states() === before ? Math.min(1.5 * pause, LATEST) : SOONEST;
  show();
}

const states = () => JSON.stringify([...edits.values()].map(({ photograph: { id, status } }) => [id, status]));
const going = () =>
  gone || [...edits.values()].some(({ photograph: { status } }) => status === "waiting" || status === "working");

/** Look at the desk now, and again while something goes on. */
function soon() {
  pause = SOONEST;
  clearTimeout(timer);
  timer = setTimeout(watch, 50);
}

async function watch() {
  clearTimeout(timer);
  const was = going();
  try {
    await refresh();
    if (was && !going()) announce(say("status.all_done"));
  } catch (error) {
    pause = Math.min(1.5 * pause, LATEST);
    failed(error);
  }
  clearTimeout(timer);
  if (going()) timer = setTimeout(watch, pause);
}

/** @param {string} [more] what it means here */
function failed(error, more = "") {
  if (error.status === 409) {
    clearTimeout(timer); // it is not ready (any more): what it is, the desk says
    timer = setTimeout(watch, pause);
    return;
  }
  const text = sentence(error, desk.limits);
  if (error.status === 0) {
    if (gone && !more) return;
    gone = true;
    report("gone", `${text} ${more}`.trim(), { label: say("message.retry"), run: soon });
    clearTimeout(timer);
    timer = setTimeout(watch, pause);
  } else report(`error ${text}`, `${text} ${more}`.trim());
}

/** The backend answers again: what was not sent is sent. */
function back() {
  gone = false;
  report("gone", say("error.back"));
  for (const edit of edits.values()) if (edit.pending) edit.send();
  stage.update();
}

// --- showing ---

function show() {
  const all = [...edits.values()].map(({ photograph, wanted }) => ({ ...photograph, look: wanted.look }));
  if (!edits.has(selected)) selected = edits.keys().next().value ?? null;
  const empty = !all.length && !uploads.waiting.length;
  document.body.dataset.state = empty ? "empty" : "full";
  const first = !empty && element("empty").contains(document.activeElement);
  element("empty").hidden = !empty;
  element("work").hidden = empty;
  if (first) element("add").focus(); // what had the focus is gone
  strip.show([...all, ...uploads.waiting], selected);
  for (const id of ["download-all", "clear"]) element(id).disabled = !all.length;
  const edit = edits.get(selected) ?? null;
  stage.show(edit);
  panel.show(edit, stage.chosen);
  tools();
}

/** An edit changed: at once where it is seen. */
function shown(edit) {
  const { id } = edit.photograph;
  passing.set(PAST + id, JSON.stringify({ past: edit.past, future: edit.future }));
  if (id === selected) {
    panel.show(edit, stage.chosen);
    stage.update();
    tools();
  }
  clearTimeout(edit.later); // a thumbnail need not follow a slider
  edit.later = setTimeout(() => edits.get(id) === edit && show(), 250);
}

function select(id) {
  selected = id;
  lasting.set(SELECTED, id);
  show();
  strip.reveal(id);
}

function neighbor(way) {
  const ids = [...edits.keys()],
    next = ids[ids.indexOf(selected) + way];
  if (next) select(next);
}

/** What the last thumbnails were made of: a new look needs nothing else. */
const made = new Map();

async function thumbnail({ id, revision, curve, look }, side) {
  const had = made.get(id);
  const gray = had?.gray ?? (await backend.gray(id, side));
  const chroma = had?.revision === revision ? had.chroma : await backend.chroma(id);
  made.delete(id);
  made.set(id, { revision, gray, chroma });
  if (made.size > MADE) made.delete(made.keys().next().value);
  const data = await painter.ask("whole", { ...gray, ...chroma, curve, look });
  return { data, width: gray.width, height: gray.height };
}

function tools() {
  const edit = edits.get(selected),
    { view } = stage;
  const set = (id, possible) => element(id).setAttribute("aria-disabled", String(!possible));
  set("undo", edit?.past.length);
  set("redo", edit?.future.length);
  const there = view.width > 0;
  for (const id of ["zoom-in", "zoom-out", "fit", "pixels", "show-hints"]) set(id, there);
  element("show-hints").setAttribute("aria-pressed", String(view.showHints));
  element("pixels").textContent = percent(there ? view.scale : 1);
  element("pixels").setAttribute("aria-label", say("zoom.now", { percent: element("pixels").textContent }));
}

// --- what the buttons do ---

function add(files) {
  const wanted = files.filter(({ file, chosen }) => chosen || photographic(file, desk.formats));
  const left = files.length - wanted.length;
  if (!files.length) report("left", say("error.nothing"));
  else if (left) report("left", say("error.left_out", { count: left, n: number(left) }));
  uploads.put(wanted.map(({ file }) => file));
}

async function save() {
  const edit = edits.get(selected);
  await edit.send();
  const { name, blob } = await backend.file(edit.photograph.id);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  announce(say("status.saved", { name }));
}

async function saveAll() {
  await Promise.all([...edits.values()].map((edit) => edit.send()));
  const made = await backend.all();
  if (!made) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(made.blob);
  link.download = made.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function remove() {
  const edit = edits.get(selected),
    { id, name } = edit.photograph;
  if (!(await ask(say("remove.title"), say("remove.text", { name }), say("remove.yes")))) return;
  await backend.remove(id);
  const ids = [...edits.keys()],
    at = ids.indexOf(id);
  generation++;
  edits.delete(id);
  passing.remove(PAST + id);
  selected = ids[at + 1] ?? ids[at - 1] ?? null;
  show();
  if (!selected) element("add-first").focus();
}

async function clear() {
  if (
    !(await ask(say("clear.title"), say("clear.text", { count: edits.size, n: number(edits.size) }), say("clear.yes")))
  )
    return;
  uploads.clear();
  await backend.clear();
  generation++;
  edits.clear();
  passing.clear();
  lasting.remove(SELECTED);
  show();
  element("add-first").focus();
}

const help = async () => showHelp(await backend.runs?.());

const ACTS = {
  add: () => element("files").click(),
  "add-first": () => element("files").click(),
  folder: () => element("folders").click(),
  "folder-first": () => element("folders").click(),
  "download-all": saveAll,
  download: save,
  remove,
  clear,
  "help-first": help,
  undo: () => edits.get(selected)?.undo(),
  redo: () => edits.get(selected)?.redo(),
  "zoom-in": () => stage.view.zoom(stage.view.scale * 1.5),
  "zoom-out": () => stage.view.zoom(stage.view.scale / 1.5),
  fit: () => stage.view.fit(),
  pixels: () => stage.view.zoom(1),
  "show-hints": () => {
    stage.view.showHints = !stage.view.showHints;
    stage.view.redraw();
    tools();
  },
};
for (const [id, act] of Object.entries(ACTS)) {
  element(id)?.addEventListener("click", async () => {
    if (element(id).getAttribute("aria-disabled") === "true") return;
    try {
      await act();
    } catch (error) {
      failed(error);
    }
  });
}

const KEYS = {
  "+": ACTS["zoom-in"],
  "=": ACTS["zoom-in"],
  "-": ACTS["zoom-out"],
  0: ACTS.fit,
  1: ACTS.pixels,
  "?": help,
  PageDown: () => neighbor(1),
  PageUp: () => neighbor(-1),
};
document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog:modal")) return;
  const key = event.key.toLowerCase(),
    control = event.ctrlKey || event.metaKey;
  let act = null;
  if (control && !event.altKey)
    act = key === "y" || (key === "z" && event.shiftKey) ? ACTS.redo : key === "z" ? ACTS.undo : null;
  else if (!event.altKey && [document.body, element("stage")].includes(document.activeElement)) act = KEYS[event.key];
  if (!act || event.defaultPrevented) return;
  event.preventDefault();
  act();
});

receive(add, (error) => report("drop", say("error.other", { message: error.message })));

addEventListener("beforeunload", (event) => {
  if (uploads.waiting.length || [...edits.values()].some(({ pending }) => pending)) event.preventDefault();
});

// --- language ---

async function speak(language, keep) {
  await load(language, keep);
  document.title = say("title");
  translate();
  fillHelp();
  element("kept").textContent = say(backend.alone ? "kept.browser" : "kept.server");
}

element("language").replaceChildren(
  ...Object.entries(LANGUAGES).map(([tag, name]) => Object.assign(new Option(name, tag), { lang: tag })),
);
element("language").addEventListener("change", async ({ target }) => {
  await speak(target.value, true);
  show();
});

await speak(preferred(), false);
element("language").value = document.documentElement.lang;
element("folder").hidden = element("folder-first").hidden = !("webkitdirectory" in element("folders"));
await watch();
show();
document.body.dataset.ready = "";
