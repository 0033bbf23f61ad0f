// Files on their way to the backend, one after the other, so that they stay in the order they came. No DOM.

const PATIENCE = 60; // seconds that a full backend is asked again

export class Uploads {
  /**
   * @param {{add: (file: File) => Promise<object>, changed: () => void, added: (photograph: object) => void,
   *   failed: (file: File, error: Error) => void}} tools
   */
  constructor(tools) {
    Object.assign(this, tools);
    this.waiting = []; // {id, name, file}
    this.number = 0;
    this.running = false;
  }

  /** @param {File[]} files */
  put(files) {
    for (const file of files)
      this.waiting.push({ id: `upload-${++this.number}`, name: file.name, file, status: "uploading" });
    this.changed();
    this.#run();
  }

  /** Forget what has not been sent. */
  clear() {
    this.waiting.splice(this.running ? 1 : 0);
    this.dropped = this.running;
    this.changed();
  }

  async #run() {
    if (this.running) return;
    this.running = true;
    while (this.waiting.length) {
      const [{ file }] = this.waiting;
      try {
        const photograph = await this.#patient(file);
        this.waiting.shift();
        this.added(photograph, this.dropped);
      } catch (error) {
        this.waiting.shift();
        this.failed(file, error);
      }
      this.dropped = false;
      this.changed();
    }
    this.running = false;
  }

  async #patient(file) {
    for (let waited = 0; ;) {
      try {
        return await this.add(file);
      } catch (error) {
        const seconds = Math.max(error.retryAfter || 1, 0.2);
        if (error.status !== 429 || waited + seconds > PATIENCE) throw error;
        waited += seconds;
        await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      }
    }
  }
}
