// What went wrong, as sentences that stay until they are dismissed, and what goes on, said to screen readers only.
import { heard, number, say } from "./texts.js";

const SENTENCES = {
  0: "error.gone",
  401: "error.token",
  403: "error.token",
  404: "error.missing",
  413: "error.large",
  422: "error.value",
  428: "error.cookie",
  429: "error.full",
  503: "error.full",
  507: "error.space",
};

const list = document.getElementById("messages");
const status = document.getElementById("status");

/**
 * One sentence for an error of the backend.
 * @param {{status?: number, message: string}} error
 * @param {{bytes: number, pixels: number, photographs: number}} [limits]
 */
export function sentence(error, limits) {
  if (error.status === 413 && !limits) return say("error.other", { message: error.message });
  if (error.status === 415) return heard(error.message);
  return say(SENTENCES[error.status] ?? "error.other", {
    message: heard(error.message),
    megabytes: number((limits?.bytes ?? 0) / 1e6, { maximumFractionDigits: 0 }),
    megapixels: number((limits?.pixels ?? 0) / 1e6, { maximumFractionDigits: 0 }),
  });
}

/**
 * Show a message; one of the same key gives way to it.
 * @param {string} key
 * @param {string} text
 * @param {{label: string, run: () => void} | null} action
 */
export function report(key, text, action = null) {
  withdraw(key);
  const message = document.createElement("div");
  message.className = "message";
  message.dataset.key = key;
  const words = document.createElement("p");
  words.textContent = text;
  message.append(words);
  if (action) message.append(button(action.label, action.run));
  const close = button(say("message.dismiss"), () => {
    const next = message.nextElementSibling ?? message.previousElementSibling;
    message.remove();
    (next?.lastElementChild ?? document.querySelector("#stage[tabindex='0'], #add-first"))?.focus({
      preventScroll: true,
    });
  });
  message.append(close);
  list.append(message);
}

/** Take a message away that is no longer true. */
function withdraw(key) {
  for (const message of list.children) if (message.dataset.key === key) return message.remove();
}

/** Say what goes on where nothing needs to be done about it. */
export function announce(text) {
  status.textContent = text;
}

function button(label, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", run);
  return made;
}
