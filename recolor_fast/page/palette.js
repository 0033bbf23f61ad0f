// The palette: colors for one place of the picture, of one's own or off the picture, and what else a hint has.
import { described } from "./colors.js";
import { say } from "./texts.js";

const part = (name) => document.getElementById(`palette-${name}`);
const palette = document.getElementById("palette");

/** Position of the slider, 0..100, and half the side of a hint's square; 50 is a hundredth of the longer side: auto. */
const reach = (position, longer) => Math.max((longer / 1000) * 100 ** (position / 100), 0.5);
const position = (radius, longer) =>
  radius === null ? 50 : Math.min(Math.max(50 * Math.log10((1000 * radius) / longer), 0), 100);

export class Palette {
  /**
   * @param {{pick: (color: string, last: boolean) => void, resize: (radius: number | null, last: boolean) => void,
   *   erase: () => void, drop: () => void, closed: (back: boolean) => void}} acts `last`: not one of many on the way
   */
  constructor(acts) {
    this.acts = acts;
    part("own").addEventListener("input", ({ target }) => this.#pick(target.value, false));
    part("own").addEventListener("change", ({ target }) => this.#pick(target.value, true));
    part("radius").addEventListener("input", ({ target }) => acts.resize(this.#radius(target), false));
    part("radius").addEventListener("change", ({ target }) => acts.resize(this.#radius(target), true));
    part("delete").addEventListener("click", () => acts.erase());
    part("dropper").addEventListener("click", () => acts.drop());
    part("close").addEventListener("click", () => this.close(true));
    palette.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close(true);
      else if (event.key.startsWith("Arrow") && event.target.parentElement === part("colors")) this.#arrow(event);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  get open() {
    return palette.open;
  }

  /**
   * @param {{color: string, radius: number | null} | null} hint null for a place without one
   * @param {Promise<string[]>} colors plausible ones
   * @param {{left: number, top: number}} at where on the page
   */
  async show(hint, colors, longer, at, current) {
    this.longer = longer;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    part("title").textContent = say(hint ? "palette.change" : "palette.new");
    part("own").value = hint?.color ?? current ?? "#808080";
    part("delete").hidden = part("size").hidden = !hint;
    part("radius").value = position(hint?.radius ?? null, longer);
    this.#radius(part("radius"));
    part("colors").replaceChildren(
      ...Array.from({ length: 8 }, () => Object.assign(document.createElement("span"), { className: "swatch empty" })),
    );
    if (!palette.open) palette.show();
    this.move(at);
    part("close").focus({ preventScroll: true });
    let found;
    try {
      found = await colors;
    } catch {
      found = []; // what failed is said elsewhere; a color of one's own can be put all the same
    }
    if (this.turn !== turn || !palette.open) return;
    part("colors").replaceChildren(...found.map((color) => this.#swatch(color, color === hint?.color)));
    part("none").hidden = found.length > 0;
    this.move(at);
    if (document.activeElement === part("close")) part("colors").firstChild?.focus({ preventScroll: true });
  }

  /** The color that the hint has now; the palette is that of a hint from here on. */
  chose(color) {
    part("title").textContent = say("palette.change");
    part("own").value = color;
    part("delete").hidden = part("size").hidden = false;
    for (const swatch of part("colors").children)
      swatch.setAttribute("aria-pressed", String(swatch.dataset.color === color));
  }

  /** Beside a place, inside of the window. The style sheet says where it is on small screens. */
  move({ left, top }) {
    const { offsetWidth: width, offsetHeight: height } = palette,
      room = 12,
      apart = 24;
    const beside = left + apart + width + room < innerWidth ? left + apart : left - apart - width;
    palette.style.setProperty("--left", `${Math.min(Math.max(beside, room), innerWidth - width - room)}px`);
    palette.style.setProperty("--top", `${Math.min(Math.max(top - height / 2, room), innerHeight - height - room)}px`);
  }

  /** @param {boolean} back whether the picture gets the focus */
  close(back = false) {
    if (!palette.open) return;
    const inside = palette.contains(document.activeElement);
    palette.close();
    this.acts.closed(back || inside);
  }

  #pick(color, last) {
    this.acts.pick(color, last);
  }

  #radius(slider) {
    const value = Number(slider.value),
      radius = reach(value, this.longer),
      own = value === 50 ? null : Math.round(radius * 10) / 10;
    slider.setAttribute(
      "aria-valuetext",
      own === null ? say("palette.auto") : say("palette.pixels", { count: Math.round(2 * radius) }),
    );
    part("radius-value").textContent = slider.getAttribute("aria-valuetext");
    return own;
  }

  #swatch(color, pressed) {
    const swatch = document.createElement("button");
    swatch.type = "button";
    swatch.className = "swatch";
    swatch.dataset.color = color;
    swatch.style.setProperty("--color", color);
    swatch.title = described(color);
    swatch.setAttribute("aria-label", swatch.title);
    swatch.setAttribute("aria-pressed", String(pressed));
    swatch.addEventListener("click", () => this.#pick(color, true));
    return swatch;
  }

  #arrow({ key, target }) {
    const swatches = [...part("colors").children],
      across = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -4, ArrowDown: 4 }[key];
    swatches[Math.min(Math.max(swatches.indexOf(target) + across, 0), swatches.length - 1)].focus();
  }
}
