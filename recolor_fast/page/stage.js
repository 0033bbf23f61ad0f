// The picture that is shown: loaded, painted, and given colors by clicks and keys.
import { described } from "./colors.js";
import { Divider } from "./divider.js";
import { listen } from "./gestures.js";
import { announce } from "./messages.js";
import { Palette } from "./palette.js";
import { number, say, write } from "./texts.js";
import { View } from "./view.js";

const SIDE = 1600; // pixels of the longer side until one zooms in
const KEPT = 8; // photographs whose luminance is kept for going back to them

/** What is said instead of a picture. */
const NOTES = { waiting: "status.waiting_long", working: "status.working_long", failed: "status.failed_long" };

/** What a photograph is painted with that has no colors yet. */
const COLORLESS = { size: 64, cbcr: new Uint8Array(2 * 64 * 64).fill(128), tone: null };

const element = (id) => document.getElementById(id);
const stage = element("stage");

export class Stage {
  #grays = new Map(); // by id, the last used last

  /**
   * @param {{backend: object, painter: import("./painter.js").Painter, changed: () => void, moved: () => void,
   *   failed: (error: Error) => void, hints: (edit: object) => boolean}} tools
   */
  constructor(tools) {
    Object.assign(this, tools, { edit: null, chosen: null, target: null, carried: null, key: null, id: null });
    const view = (this.view = new View(
      element("canvas"),
      (rectangle, columns, rows, both) => this.#paint({ rectangle, columns, rows, both }),
      () => this.#moved(),
    ));
    this.palette = new Palette({
      pick: (color, last) => this.#pick(color, last),
      resize: (radius, last) => this.#change(this.chosen, { radius }, last),
      erase: () => this.erase(this.chosen),
      drop: () => this.#dropper(),
      closed: (back) => {
        if (!view.dropper) this.#let();
        if (back) stage.focus({ preventScroll: true });
      },
    });
    listen(stage, view, {
      place: (pixel) => this.#place(pixel),
      choose: (hint) => this.choose(hint),
      drag: (hint, pixel) => this.#drag(hint, pixel),
      carry: (pixel, hint) => this.#carry(pixel, hint),
      erase: (hint) => this.erase(hint ?? this.chosen),
      cursor: (pixel) => this.#cursor(pixel),
      hover: (pixel, finger) => this.#hover(pixel, finger),
      cancel: () => this.#cancel(),
    });
    this.divider = new Divider(view, stage);
    stage.addEventListener("pointerdown", () => !view.dropper && this.palette.close());
    document.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape") return;
      if (view.dropper) this.#cancel();
      this.palette.close();
    });
    addEventListener("resize", () => this.target && this.palette.move(this.#onPage(this.target)));
  }

  /** @param {import("./edits.js").Edit | null} edit of the photograph to show */
  show(edit) {
    if (this.edit !== edit) {
      this.palette.close();
      this.#let();
      this.carried = null;
      this.view.dropper = false;
    }
    this.edit = edit;
    this.update();
  }

  /** The edit, its photograph or the language changed. */
  update() {
    const { edit, view } = this,
      status = edit?.photograph.status;
    element("stage-note").hidden = !NOTES[status];
    element("stage-note").firstElementChild.textContent = NOTES[status] ? say(NOTES[status]) : "";
    write(element("stage-note").lastElementChild, edit?.photograph.reason ?? "");
    const ready = status === "ready";
    stage.setAttribute("aria-label", say("picture.of", { name: edit?.photograph.name ?? "" }));
    stage.tabIndex = ready ? 0 : -1;
    if (this.id !== edit?.photograph.id || status === "failed") {
      this.key = this.id = null;
      view.close();
    }
    element("stage-note").classList.toggle("over", view.width > 0);
    view.hints = ready ? edit.wanted.hints : [];
    if (this.chosen !== null && this.chosen >= view.hints.length) {
      this.palette.close();
      this.#let();
    }
    view.chosen = this.chosen;
    this.divider.hidden = !view.width || !ready;
    if (view.width) this.divider.tell();
    const look = JSON.stringify(edit?.wanted.look);
    if (look !== this.look) view.refresh();
    this.look = look;
    view.redraw();
    this.#sync();
  }

  // --- loading ---

  /** Load what is to be shown and is not, one thing at a time; what is newest by then is next. */
  async #sync() {
    if (this.syncing) return;
    this.syncing = true;
    try {
      while (await this.#step());
    } catch (error) {
      this.failed(error);
    } finally {
      this.syncing = false;
      element("busy").hidden = !this.edit?.busy;
    }
  }

  async #step() {
    const { edit, view, painter, backend } = this,
      photograph = edit?.photograph;
    element("busy").hidden = !edit?.busy;
    const { id, width, height, revision, status, curve } = photograph ?? {},
      ready = status === "ready",
      key = ready ? id : `${id} gray`;
    if (!ready && (status === "failed" || !width || this.unseen === id)) return false;
    if (this.key !== key) {
      element("busy").hidden = false;
      let gray, chroma;
      try {
        [gray, chroma] = await Promise.all([this.#gray(id), ready ? backend.chroma(id) : COLORLESS]);
      } catch (error) {
        if (ready) throw error;
        this.unseen = id; // if it cannot be read, its coloring will say so
        return true;
      }
      if (this.edit !== edit) return true;
      await Promise.all([
        painter.ask("open", { key, width, height }),
        painter.ask("level", { key, ...gray }),
        painter.ask("chroma", { key, ...chroma, curve }),
      ]);
      if (this.edit !== edit) return true;
      Object.assign(this, { key, id, revision, full: gray.width >= width });
      view.open(width, height, Math.min(gray.width / width, 1));
      view.refresh();
      this.divider.hidden = !ready;
      element("stage-note").classList.add("over");
      this.#moved();
    } else if (ready && this.revision !== revision) {
      const chroma = await backend.chroma(id);
      if (this.edit !== edit) return true;
      await painter.ask("chroma", { key, ...chroma, curve });
      this.revision = revision;
      view.refresh();
    } else if (!this.full && view.scale > 1.02 * view.finest) {
      element("busy").hidden = false;
      const gray = await backend.gray(id, null);
      if (this.key !== key) return true;
      await painter.ask("level", { key, ...gray });
      this.full = true;
      view.finest = 1;
      view.refresh();
    } else return false;
    return true;
  }

  async #gray(id) {
    const gray = this.#grays.get(id) ?? (await this.backend.gray(id, SIDE));
    this.#grays.delete(id);
    this.#grays.set(id, gray);
    if (this.#grays.size > KEPT) this.#grays.delete(this.#grays.keys().next().value);
    return gray;
  }

  async #paint(part) {
    if (!this.key || !this.edit) return null;
    const asked = this.painter.ask("paint", { key: this.key, ...part, look: this.edit.wanted.look });
    return asked.catch((error) => {
      this.failed(error);
      return null;
    });
  }

  #moved() {
    if (this.view.width) {
      this.divider.tell();
      if (this.palette.open && this.target) this.palette.move(this.#onPage(this.target));
      this.#sync();
    }
    this.moved();
  }

  // --- hints ---

  #onPage({ x, y }) {
    const { left, top } = stage.getBoundingClientRect(),
      place = this.view.place(x + 0.5, y + 0.5);
    return { left: left + place.left, top: top + place.top };
  }

  #place(pixel) {
    const { edit, view } = this;
    if (edit.photograph.status !== "ready") return;
    if (view.dropper) return this.#take(pixel);
    if (this.carried !== null) return this.#carry(pixel, null);
    if (!this.hints(edit)) return announce(say("hints.impossible"));
    this.#let();
    this.target = view.mark = pixel;
    view.redraw();
    this.changed();
    this.#open(null, pixel);
  }

  /** Open the palette of a hint. */
  choose(index) {
    const { edit, view } = this,
      hint = edit.wanted.hints[index];
    view.showHints = true;
    view.mark = null;
    this.chosen = view.chosen = index;
    this.target = hint;
    view.reveal(hint);
    this.changed();
    this.#open(hint, hint);
  }

  #open(hint, { x, y }) {
    const { view, edit, backend } = this;
    const colors = backend.palette(edit.photograph.id, x, y);
    colors.catch((error) => this.failed(error));
    this.palette.show(hint, colors, Math.max(view.width, view.height), this.#onPage({ x, y }), view.colorAt({ x, y }));
  }

  #pick(color, last) {
    const { edit, view } = this;
    if (this.chosen === null) {
      if (!this.target) return;
      this.chosen = edit.wanted.hints.length;
      this.target = { x: this.target.x, y: this.target.y, color, radius: null };
      view.mark = null;
      view.showHints = true;
      edit.set({ hints: [...edit.wanted.hints, this.target] });
    } else this.#change(this.chosen, { color }, false);
    if (last) {
      edit.commit();
      announce(say("hints.put", { color: described(color) }));
    }
    if (this.palette.open) this.palette.chose(color);
  }

  #change(index, parts, last) {
    const { edit } = this;
    if (index === null || !edit.wanted.hints[index]) return;
    edit.set({ hints: edit.wanted.hints.map((hint, i) => (i === index ? { ...hint, ...parts } : hint)) });
    if (last) edit.commit();
  }

  erase(index) {
    const { edit } = this,
      hint = edit?.wanted.hints[index];
    if (!hint) return;
    this.palette.close(true);
    this.#let();
    edit.commit({ hints: edit.wanted.hints.filter((_, i) => i !== index) });
    announce(say("hints.erased", { color: described(hint.color) }));
  }

  #drag(index, pixel) {
    if (!pixel) return this.edit.commit();
    this.palette.close();
    this.chosen = index;
    this.#change(index, pixel, false);
  }

  /** By keys: take a hint up, or put it down. */
  #carry(pixel, hint) {
    if (this.carried !== null) {
      this.carried = null;
      this.edit.commit();
      announce(say("hints.put_down"));
    } else if (hint !== null) {
      this.carried = this.chosen = hint;
      this.changed();
      announce(say("hints.carried"));
    }
  }

  #cursor(pixel) {
    const { view } = this;
    Object.assign(view, { cursor: pixel, finger: false });
    if (this.carried !== null) this.#change(this.carried, pixel, false);
    view.redraw();
    clearTimeout(this.telling);
    const told = () =>
      announce(
        say("hints.cursor", {
          x: number(pixel.x),
          y: number(pixel.y),
          color: described(view.colorAt(pixel) ?? "#808080"),
        }),
      );
    this.telling = setTimeout(told, 400);
  }

  #hover(pixel, finger = false) {
    const { view } = this;
    if (!view.dropper) return;
    view.finger = finger;
    view.cursor = pixel ?? view.cursor;
    view.redraw();
  }

  // --- the eyedropper: the next click takes the color that is there ---

  #dropper() {
    const { view } = this;
    view.dropper = true;
    view.finger = false;
    view.cursor = this.target && { x: this.target.x, y: this.target.y };
    stage.dataset.dropper = "";
    this.palette.close(true);
    announce(say("palette.dropping"));
    element("stage-tip").hidden = false;
    view.redraw();
  }

  #take(pixel) {
    const color = this.view.colorAt(pixel);
    this.#endDropper();
    if (color) this.#pick(color, true);
    if (this.chosen !== null) this.choose(this.chosen);
  }

  #endDropper() {
    this.view.dropper = false;
    delete stage.dataset.dropper;
    element("stage-tip").hidden = true;
    this.view.redraw();
  }

  #cancel() {
    if (this.view.dropper) this.#endDropper();
    if (this.carried !== null) {
      this.carried = null;
      this.edit.set({ hints: this.edit.last.hints });
    }
    this.#let();
  }

  /** Nothing is chosen any more. */
  #let() {
    this.chosen = this.view.chosen = this.target = this.view.mark = null;
    this.view.redraw();
    this.changed();
  }
}
