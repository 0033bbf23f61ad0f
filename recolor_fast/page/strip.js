// The strip of thumbnails, in the order that photographs came, with how far they are.
import { icon } from "./panel.js";
import { heard, say } from "./texts.js";

const SIDE = 176; // pixels of a thumbnail's longer side
const WORDS = {
  uploading: "status.uploading",
  waiting: "status.waiting",
  working: "status.working",
  failed: "status.failed",
};

const strip = document.getElementById("strip");
const progress = document.getElementById("progress");

export class Strip {
  #items = new Map();

  /**
   * @param {(id: string) => void} select
   * @param {(photograph: object, side: number) => Promise<{data: Uint8ClampedArray, width: number, height: number}>}
   *   small
   */
  constructor(select, small) {
    this.select = select;
    this.small = small;
    this.queue = Promise.resolve();
    this.watcher = new IntersectionObserver(
      (seen) => {
        for (const { isIntersecting, target } of seen) {
          const item = [...this.#items.values()].find(({ row }) => row === target);
          if (item) item.seen = isIntersecting;
          if (item && isIntersecting) this.#draw(item);
        }
      },
      { root: strip, rootMargin: "200px" },
    );
    strip.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity }[
        event.key
      ];
      if (!way) return;
      const buttons = [...strip.querySelectorAll("button:enabled")],
        at = buttons.indexOf(document.activeElement);
      buttons[Math.min(Math.max(at + way, 0), buttons.length - 1)]?.focus();
      event.preventDefault();
    });
  }

  /** @param {object[]} photographs and those on their way, {id, name, status} */
  show(photographs, selected) {
    const ids = new Set(photographs.map(({ id }) => id));
    for (const [id, { row }] of this.#items) {
      if (ids.has(id)) continue;
      this.watcher.unobserve(row);
      row.remove();
      this.#items.delete(id);
    }
    photographs.forEach((photograph, index) => {
      const item = this.#items.get(photograph.id) ?? this.#make(photograph.id);
      item.photograph = photograph;
      if (strip.children[index] !== item.row) strip.insertBefore(item.row, strip.children[index] ?? null);
      this.#tell(item, photograph.id === selected);
      this.#draw(item);
    });
    this.#progress(photographs);
  }

  reveal(id) {
    this.#items.get(id)?.row.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #make(id) {
    const row = document.createElement("li"),
      button = document.createElement("button"),
      canvas = document.createElement("canvas");
    const state = document.createElement("span");
    button.type = "button";
    state.className = "state";
    button.append(canvas, state);
    row.append(button);
    button.addEventListener("click", () => this.select(id));
    const item = { id, row, button, canvas, state, seen: false, drawn: null };
    this.#items.set(id, item);
    this.watcher.observe(row);
    return item;
  }

  #tell({ photograph: { name, status, reason }, button, state }, selected) {
    const words = WORDS[status] ? say(WORDS[status]) : "";
    button.title = reason ? `${name}: ${heard(reason)}` : name;
    button.setAttribute("aria-label", words ? `${name}, ${words}` : name);
    button.tabIndex = selected ? 0 : -1; // one stop for the whole strip; arrow keys move in it
    button.disabled = status === "uploading";
    button.dataset.status = status;
    if (selected) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    if (state.dataset.status !== status || state.dataset.words !== words) {
      Object.assign(state.dataset, { status, words });
      state.replaceChildren(...(status === "failed" ? [icon("warning")] : []), words);
      state.hidden = !words;
    }
  }

  #draw(item) {
    const { photograph, seen } = item,
      wanted = JSON.stringify([photograph.revision, photograph.look]);
    if (!seen || photograph.status !== "ready" || item.drawn === wanted) return;
    item.drawn = wanted;
    this.queue = this.queue
      .then(async () => {
        // one after the other: the picture comes first
        if (item.drawn !== wanted || !item.row.isConnected) return;
        const { data, width, height } = await this.small(photograph, SIDE);
        Object.assign(item.canvas, { width, height });
        item.canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
      })
      .catch(() => {
        item.drawn = null; // a thumbnail that fails is tried again when something changes
      });
  }

  #progress(photographs) {
    const done = photographs.filter(({ status }) => status === "ready" || status === "failed").length,
      all = photographs.length;
    const going = done < all;
    progress.hidden = !going;
    if (!going) return;
    progress.querySelector("progress").max = all;
    progress.querySelector("progress").value = done;
    progress.querySelector("span").textContent = say("status.progress", { done, all });
  }
}
