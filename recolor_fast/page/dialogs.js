// Dialogs: a question that is answered first, and the keys.
import { number, say } from "./texts.js";

const question = document.getElementById("question");
const help = document.getElementById("help");

/** @type {((yes: boolean) => void) | null} */
let answer = null;

question.addEventListener("close", () => {
  if (question.open) return; // comes late, and is of the question before
  answer?.(question.returnValue === "yes");
  answer = null;
});

/**
 * Ask before something is lost.
 * @param {string} title @param {string} text @param {string} action what the button says that does it
 * @returns {Promise<boolean>}
 */
export function ask(title, text, action) {
  question.querySelector("h2").textContent = title;
  question.querySelector("p").textContent = text;
  question.querySelector("[value=yes]").textContent = action;
  question.returnValue = "";
  answer?.(false);
  question.showModal();
  return new Promise((resolve) => (answer = resolve));
}

/** @param {{provider: string, threads: number, reason: string}} [runs] where the models run, if that is here */
export function showHelp(runs) {
  const line = document.getElementById("runs");
  line.hidden = !runs?.provider;
  if (runs?.provider === "webgpu") line.textContent = say("runs.webgpu");
  else if (runs?.provider) {
    const { threads: count, reason } = runs,
      why = WHY[reason] ? say(WHY[reason]) : say("runs.failed", { message: reason });
    line.textContent = say("runs.wasm", { count, n: number(count), reason: why });
  }
  if (!help.open) help.showModal();
}

/** Why models run on the processor, by the reasons of browser/model.js. */
const WHY = { int8: "runs.integers", absent: "runs.absent", card: "runs.card", differs: "runs.differs" };

/** Rows of the dialog of keys: [keys, what they do]. "+" joins keys pressed together, " " separates alternatives. */
const KEYS = [
  ["arrows", "keys.arrows"],
  ["shift+arrows", "keys.far"],
  ["Enter", "keys.enter"],
  ["space", "keys.space"],
  ["Delete", "keys.delete"],
  ["Ctrl+Z", "keys.undo"],
  ["Ctrl+shift+Z", "keys.redo"],
  ["+ -", "keys.zoom"],
  ["0", "keys.fit"],
  ["1", "keys.pixels"],
  ["PageUp PageDown", "keys.photograph"],
  ["Escape", "keys.escape"],
  ["?", "keys.help"],
];
const CAPS = {
  arrows: "← ↑ → ↓",
  shift: "key.shift",
  space: "key.space",
  Ctrl: "key.ctrl",
  Delete: "key.delete",
  PageUp: "key.page_up",
  PageDown: "key.page_down",
  Escape: "key.escape",
  Enter: "key.enter",
  "-": "−",
};

export function fillHelp() {
  const rows = KEYS.map(([keys, meaning]) => {
    const row = document.createElement("tr"),
      first = document.createElement("th"),
      second = document.createElement("td");
    first.scope = "row";
    first.append(...keys.split(" ").flatMap((one) => (one === "+" ? [cap("+")] : one.split("+").map(cap))));
    second.textContent = say(meaning);
    row.append(first, second);
    return row;
  });
  help.querySelector("tbody").replaceChildren(...rows);
}

function cap(name) {
  const key = document.createElement("kbd"),
    text = CAPS[name] ?? name;
  key.textContent = text.startsWith("key.") ? say(text) : text;
  return key;
}

for (const dialog of [question, help]) {
  dialog.addEventListener("click", (event) => {
    // on the backdrop
    if (event.target === dialog) dialog.close();
  });
}
