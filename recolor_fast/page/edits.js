// What is wanted of one photograph: shown at once, sent to the backend behind it, undone and done again. No DOM.

/**
 * @typedef {{x: number, y: number, color: string, radius: number | null}} Hint
 * @typedef {{saturation: number, warmth: number, strength: number, keep_tone: number}} Look
 * @typedef {{look: Look, hints: Hint[], model: string, restore: boolean, negative: boolean}} Wishes
 */

/** @type {Look} */
export const PLAIN = { saturation: 1, warmth: 0, strength: 1, keep_tone: 0.7 };
const STEPS = 200; // that can be undone

/** @returns {Wishes} a copy of what a photograph or other wishes have */
export function wishes({ look, hints, model, restore = false, negative = false }) {
  return structuredClone({ look, hints, model, restore, negative });
}

/** The parts of `wanted` that differ from `had`; null where none does. */
export function difference(had, wanted) {
  const parts = Object.keys(wanted).filter((name) => JSON.stringify(wanted[name]) !== JSON.stringify(had[name]));
  return parts.length ? structuredClone(Object.fromEntries(parts.map((name) => [name, wanted[name]]))) : null;
}

export class Edit {
  #change;
  #shown;
  #sent;
  #running = null;

  /**
   * @param photograph as the backend has it
   * @param {{change: (id: string, parts: object) => Promise<object>, shown: (edit: Edit) => void, failed: (edit: Edit,
   *   error: Error) => void, past?: {past: Wishes[], future: Wishes[]}}} tools `shown` is called after each change and
   *   each answer
   */
  constructor(photograph, { change, shown, failed, past }) {
    this.photograph = photograph;
    this.wanted = wishes(photograph);
    this.last = wishes(photograph);
    this.past = past?.past ?? [];
    this.future = past?.future ?? [];
    this.#sent = wishes(photograph);
    this.#change = change;
    this.#shown = shown;
    this.failed = failed;
  }

  /** Whether the backend is at work on it. */
  get busy() {
    return this.#running !== null;
  }

  /** Whether the backend is behind. */
  get pending() {
    return this.busy || difference(this.#sent, this.wanted) !== null;
  }

  /** What the backend says now; what is wanted here wins until it is sent. */
  heard(photograph) {
    this.photograph = photograph;
    if (this.pending) return;
    this.#sent = wishes(photograph);
    this.wanted = wishes(photograph);
    this.last = wishes(photograph);
  }

  /**
   * Want something else: shown at once. Hints and model are sent at once too, all else when `commit` is called.
   * @param {Partial<Wishes>} parts
   */
  set(parts) {
    Object.assign(this.wanted, structuredClone(parts));
    this.#shown(this);
    if (parts.hints || parts.model) this.send();
  }

  /** What was set since the last call becomes one step that can be undone. */
  commit(parts = {}) {
    if (Object.keys(parts).length) this.set(parts);
    if (!difference(this.last, this.wanted)) return;
    this.past.push(this.last);
    this.past.splice(0, this.past.length - STEPS);
    this.future = [];
    this.last = wishes(this.wanted);
    this.#shown(this);
    this.send();
  }

  undo() {
    this.#step(this.past, this.future);
  }

  redo() {
    this.#step(this.future, this.past);
  }

  #step(from, to) {
    this.commit();
    if (!from.length) return;
    to.push(this.last);
    this.last = from.pop();
    this.wanted = wishes(this.last);
    this.#shown(this);
    this.send();
  }

  /** Send what is wanted, one request at a time; what came meanwhile goes in the next. Resolves when all is sent. */
  send() {
    this.#running ??= this.#all().finally(() => {
      this.#running = null;
      this.#shown(this);
    });
    return this.#running;
  }

  async #all() {
    for (let parts; (parts = difference(this.#sent, this.wanted));) {
      const had = this.#sent;
      this.#sent = { ...had, ...parts };
      try {
        this.photograph = await this.#change(this.photograph.id, parts);
        this.#shown(this);
      } catch (error) {
        this.#sent = had;
        if (error.status >= 400 && error.status < 500 && error.status !== 429) {
          this.wanted = wishes(this.photograph); // refused: it would be again
          this.last = wishes(this.photograph);
        }
        this.failed(this, error);
        return;
      }
    }
  }
}
