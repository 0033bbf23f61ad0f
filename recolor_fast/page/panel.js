// Beside the picture: its look, the model, its hints, what is known of its file.
import { described } from "./colors.js";
import { PLAIN } from "./edits.js";
import { number, percent, say, write } from "./texts.js";

const element = (id) => document.getElementById(id);

/** Sliders: to and from what a look has. The middle of saturation's is 1, its end 4. */
const SLIDERS = {
  saturation: { of: (value) => 50 * Math.sqrt(value), to: (at) => (at / 50) ** 2, text: percent },
  warmth: {
    of: (value) => 100 * value,
    to: (at) => at / 100,
    text: (value) => number(100 * value, { maximumFractionDigits: 0, signDisplay: "exceptZero" }),
  },
  strength: { of: (value) => 100 * value, to: (at) => at / 100, text: percent },
  keep_tone: { of: (value) => 100 * value, to: (at) => at / 100, text: percent },
};
const ALTERING = ["restore", "negative"]; // boxes, of what changes the luminance itself
const rounded = (value) => Math.round(value * 1000) / 1000;

export class Panel {
  /**
   * @param {{look: (look: object, last: boolean) => void, model: (name: string) => void,
   *   alter: (parts: object) => void, open: (index: number) => void, erase: (index: number) => void, eraseAll: () => void}} acts
   */
  constructor(acts) {
    this.acts = acts;
    this.list = []; // of models
    for (const [name, { to }] of Object.entries(SLIDERS)) {
      const slider = element(name);
      const tell = (last) => acts.look({ ...this.look, [name]: rounded(to(Number(slider.value))) }, last);
      slider.addEventListener("input", () => tell(false));
      slider.addEventListener("change", () => tell(true));
      slider.addEventListener("dblclick", () => acts.look({ ...this.look, [name]: PLAIN[name] }, true));
    }
    element("plain").addEventListener("click", () => acts.look(PLAIN, true));
    element("model").addEventListener("change", ({ target }) => acts.model(target.value));
    for (const name of ALTERING) {
      element(name).addEventListener("change", ({ target }) => acts.alter({ [name]: target.checked }));
    }
    element("erase-all").addEventListener("click", () => {
      acts.eraseAll();
      element("hints-how").focus(); // the button is gone
    });
  }

  models(models) {
    this.list = models;
    element("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  }

  /** @param {import("./edits.js").Edit | null} edit of the photograph that is shown */
  show(edit, chosen) {
    element("panel").hidden = !edit;
    if (!edit) return;
    const { photograph, wanted } = edit,
      ready = photograph.status === "ready";
    this.#file(photograph);
    this.look = wanted.look;
    for (const [name, { of, text }] of Object.entries(SLIDERS)) {
      const slider = element(name);
      if (document.activeElement !== slider || Math.abs(of(wanted.look[name]) - slider.value) >= 1)
        slider.value = of(wanted.look[name]);
      slider.style.setProperty("--share", `${(100 * (slider.value - slider.min)) / (slider.max - slider.min)}%`);
      slider.setAttribute("aria-valuetext", text(wanted.look[name]));
      element(`${name}-value`).textContent = text(wanted.look[name]);
      slider.disabled = !ready;
    }
    element("tone-part").hidden = !photograph.toned;
    const plain = !ready || Object.keys(PLAIN).every((name) => PLAIN[name] === wanted.look[name]);
    element("plain").setAttribute("aria-disabled", String(plain)); // disabled, it would lose the focus
    element("model").value = wanted.model;
    element("model").disabled = !ready;
    for (const name of ALTERING) {
      element(name).checked = wanted[name];
      element(name).disabled = !ready;
    }
    const stretched = photograph.curve.length > 2; // a negative's, inverted alone, has two points
    element("restore-none").hidden = !ready || !wanted.restore || !photograph.restore || stretched;
    element("download").disabled = !ready;
    const failed = photograph.status === "failed";
    for (const name of ["download", "guess", "hints-part", "restore-part", "look-part"]) element(name).hidden = failed;
    element("model-part").hidden = failed || this.list.length < 2;
    this.#hints(
      wanted.hints,
      chosen,
      this.list.find(({ name }) => name === wanted.model)?.hints ?? false,
      photograph.id,
    );
  }

  #file({ name, width, height, in_color: colored, toned, notes }) {
    element("name").textContent = name;
    const facts = width ? [say("file.size", { width: number(width), height: number(height) })] : [];
    if (colored) facts.push(say("file.in_color"));
    else if (toned) facts.push(say("file.toned"));
    element("facts").textContent = facts.join(" · ");
    element("notes").replaceChildren(
      ...notes.map((note) => write(document.createElement("li"), note)),
    );
    element("notes").hidden = !notes.length;
  }

  #hints(hints, chosen, possible, id) {
    element("hints-how").textContent = say(possible ? "hints.how" : "hints.impossible");
    element("erase-all").hidden = !hints.length;
    element("hints-list").hidden = !hints.length;
    const state = JSON.stringify([id, hints, chosen, document.documentElement.lang]);
    if (state === this.listed) return; // the list keeps its focus
    this.listed = state;
    const list = element("hints-list"),
      focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
    list.replaceChildren(
      ...hints.map((hint, index) => {
        const item = document.createElement("li"),
          open = document.createElement("button"),
          erase = document.createElement("button");
        if (index === chosen) open.setAttribute("aria-current", "true");
        open.type = erase.type = "button";
        open.className = "hint";
        open.style.setProperty("--color", hint.color);
        const dot = Object.assign(document.createElement("span"), { className: "dot" });
        open.append(dot, Object.assign(document.createElement("span"), { textContent: described(hint.color) }));
        open.setAttribute(
          "aria-label",
          say("hints.one", { color: described(hint.color), x: number(hint.x), y: number(hint.y) }),
        );
        open.addEventListener("click", () => this.acts.open(index));
        erase.className = "icon";
        erase.title = say("hints.delete", { color: described(hint.color) });
        erase.setAttribute("aria-label", erase.title);
        erase.append(icon("trash"));
        erase.addEventListener("click", () => this.acts.erase(index));
        item.append(open, erase);
        return item;
      }),
    );
    if (focused >= 0)
      ([...list.querySelectorAll("button")][Math.min(focused, 2 * hints.length - 1)] ?? element("hints-how")).focus();
  }
}

/** An icon of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"),
    use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}
