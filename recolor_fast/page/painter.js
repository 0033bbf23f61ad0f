// The page's side of the worker that colors.

export class Painter {
  #worker = new Worker(new URL("./painting.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #number = 0;
  #broken = null;

  constructor() {
    this.#worker.onmessage = ({ data: { number, result, error } }) => {
      const { resolve, reject } = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (error) reject(new Error(error));
      else resolve(result);
    };
    this.#worker.onerror = (event) => {
      this.#broken = new Error(event.message || "painting.js");
      for (const { reject } of this.#waiting.values()) reject(this.#broken);
      this.#waiting.clear();
    };
  }

  /** A job of painting.js, with what it is given. */
  ask(job, given) {
    if (this.#broken) return Promise.reject(this.#broken);
    const number = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#worker.postMessage({ number, job, given });
    });
  }
}
