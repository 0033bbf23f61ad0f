// The canvas: a picture as it was and colored, at any zoom, under a divider, with hints and a cursor drawn on it.
import { mark, drawCursor, drawHint } from "./marks.js";

const LARGEST = 32; // device pixels a side of a picture's pixel
const LARGEST_WHOLE = 4; // of a small picture that is shown whole
const ROOM = 0.97; // of the stage, that a whole picture has
const COARSE = 4; // from here on it is not seen that some pixels are a device pixel wider than others
const OVERVIEW = 512; // pixels of the longer side of the whole picture that is there while parts are painted

/** @typedef {{x: number, y: number, width: number, height: number}} Rectangle in pixels of the picture */

export class View {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(rectangle: Rectangle, columns: number, rows: number, both: boolean) => Promise<{before, after} | null>}
   *   paint RGBA of a part as it was, null unless `both`, and colored; null where there is none
   * @param {() => void} moved called when zoom, place or divider changed
   */
  constructor(canvas, paint, moved) {
    Object.assign(this, {
      canvas,
      paint,
      moved,
      hints: [],
      chosen: null,
      cursor: null,
      dropper: false,
      finger: false, // whether the cursor is under one
      showHints: true,
    });
    this.context = canvas.getContext("2d");
    this.divider = 0.5; // of what is seen of the picture: left of it as it was, right colored
    this.shown = this.version = 0; // counters: of pictures, and of what their colors were
    this.close();
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  close() {
    this.shown++;
    Object.assign(this, { width: 0, height: 0, scale: 1, x: 0, y: 0, fitted: true, overview: null, detail: null });
    this.redraw();
  }

  /** Show another picture, whole. @param {number} finest of its pixels, the share a side that can be painted now */
  open(width, height, finest) {
    this.shown++;
    Object.assign(this, { width, height, finest, overview: null, detail: null, cursor: null });
    this.fit();
  }

  /** The picture is to be painted anew: its chroma, its look or its resolution changed. */
  refresh() {
    this.version++;
    this.#want();
  }

  // --- geometry: CSS pixels of the canvas, pixels of the picture, device pixels between them ---

  get ratio() {
    return this.canvas.width / (this.canvas.clientWidth || 1);
  }

  /** Pixels of the picture at a place of the canvas. */
  at(left, top) {
    const { ratio, scale, canvas } = this;
    return {
      x: this.x + (left * ratio - canvas.width / 2) / scale,
      y: this.y + (top * ratio - canvas.height / 2) / scale,
    };
  }

  /** The place on the canvas of pixels of the picture. */
  place(x, y) {
    const { ratio, scale, canvas } = this;
    return {
      left: ((x - this.x) * scale + canvas.width / 2) / ratio,
      top: ((y - this.y) * scale + canvas.height / 2) / ratio,
    };
  }

  inside({ x, y }) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** Where the picture is on the canvas, clipped to it. */
  get frame() {
    const first = this.place(0, 0),
      last = this.place(this.width, this.height);
    return {
      left: Math.max(first.left, 0),
      top: Math.max(first.top, 0),
      right: Math.min(last.left, this.canvas.clientWidth),
      bottom: Math.min(last.top, this.canvas.clientHeight),
    };
  }

  get dividerLeft() {
    const { left, right } = this.frame;
    return left + this.divider * (right - left);
  }

  set dividerLeft(value) {
    const { left, right } = this.frame;
    this.divider = Math.min(Math.max((value - left) / Math.max(right - left, 1), 0), 1);
    this.redraw();
    this.moved();
  }

  /** The scale that shows all of it. */
  get whole() {
    const { width, height } = this.canvas;
    return Math.min((ROOM * width) / this.width, (ROOM * height) / this.height, LARGEST_WHOLE);
  }

  fit() {
    if (!this.width) return;
    this.fitted = true;
    this.#move(this.whole, this.width / 2, this.height / 2);
  }

  /** Zoom to a scale (device pixels a pixel) so that what is at a place of the canvas stays there. */
  zoom(scale, left = this.canvas.clientWidth / 2, top = this.canvas.clientHeight / 2) {
    if (!this.width) return;
    const held = this.at(left, top),
      { whole } = this;
    scale = Math.min(Math.max(scale, Math.min(whole, 1)), LARGEST);
    const { ratio, canvas } = this;
    this.fitted = scale === whole;
    this.#move(
      scale,
      held.x - (left * ratio - canvas.width / 2) / scale,
      held.y - (top * ratio - canvas.height / 2) / scale,
    );
  }

  /** Move the picture by CSS pixels. */
  pan(across, down) {
    if (!this.width) return;
    this.#move(this.scale, this.x - (across * this.ratio) / this.scale, this.y - (down * this.ratio) / this.scale);
  }

  /** Move the picture as little as shows a place of it, with room around it. */
  reveal({ x, y }) {
    const { left, top } = this.place(x, y),
      { clientWidth, clientHeight } = this.canvas,
      room = 32;
    const inward = (at, length) => Math.max(room - at, 0) + Math.min(length - room - at, 0);
    this.pan(inward(left, clientWidth), inward(top, clientHeight));
  }

  #move(scale, x, y) {
    const within = (middle, length, seen) =>
      length <= seen ? length / 2 : Math.min(Math.max(middle, seen / 2), length - seen / 2);
    this.scale = scale;
    this.x = within(x, this.width, this.canvas.width / scale);
    this.y = within(y, this.height, this.canvas.height / scale);
    this.redraw();
    this.#want();
    this.moved();
  }

  #resize() {
    const { canvas } = this,
      ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio),
      height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height || (canvas.width === width && canvas.height === height)) return;
    Object.assign(canvas, { width, height });
    if (this.fitted) this.fit();
    else this.zoom(this.scale);
    this.#draw();
  }

  // --- painting: asked for one at a time, the newest place and look next ---

  /** What is seen, in whole pixels of the picture. */
  get seen() {
    const first = this.at(0, 0),
      last = this.at(this.canvas.clientWidth, this.canvas.clientHeight);
    const x = Math.max(Math.floor(first.x), 0),
      y = Math.max(Math.floor(first.y), 0);
    return {
      x,
      y,
      width: Math.min(Math.ceil(last.x), this.width) - x,
      height: Math.min(Math.ceil(last.y), this.height) - y,
    };
  }

  async #want() {
    if (this.painting || !this.width || !this.canvas.width) return;
    this.painting = true;
    try {
      for (let wish; (wish = this.#next());) {
        const { kind, columns, rows, times } = wish,
          { shown, finest } = this,
          had = this[kind],
          // As it was stays as it was, whatever the look: it is painted once for a place.
          known = had && had.finest === finest && had.times === times && there(had, wish);
        const painted = await this.paint(wish.rectangle, columns, rows, !known);
        if (shown !== this.shown) continue; // another picture by now
        if (!painted) break;
        const canvases = [painted.before, painted.after].map((data, i) =>
          data ? drawn(data, columns, rows, times, had?.canvases[i]) : had.canvases[i],
        );
        this[kind] = { ...wish, finest, after: painted.after, canvases };
        this.#draw();
      }
    } finally {
      this.painting = false;
    }
  }

  #next() {
    const { version, width, height } = this;
    const seen = this.seen;
    if (seen.width <= 0 || seen.height <= 0) return null;
    const scale = Math.min(this.scale, this.finest); // never more pixels than there are
    // Pixels enlarged by a whole number, then made a little smaller, stay squares of one size with soft edges.
    const times = this.scale > 1 && this.scale < COARSE && scale === 1 ? Math.ceil(this.scale) : 1;
    const detail = {
      kind: "detail",
      version,
      times,
      rectangle: seen,
      columns: Math.max(Math.round(seen.width * scale), 1),
      rows: Math.max(Math.round(seen.height * scale), 1),
    };
    if (!same(this.detail, detail)) return detail;
    const small = Math.min(OVERVIEW / Math.max(width, height), this.finest);
    const rectangle = { x: 0, y: 0, width, height };
    const overview = {
      kind: "overview",
      version,
      times: 1,
      rectangle,
      columns: Math.max(Math.round(width * small), 1),
      rows: Math.max(Math.round(height * small), 1),
    };
    return same(this.overview, overview) ? null : overview;
  }

  /** Color "#rrggbb" that is seen at a pixel of the picture: a mean of the 3x3 painted ones around it. */
  colorAt({ x, y }) {
    const layer = this.detail;
    if (!layer) return null;
    const { rectangle, columns, rows, after } = layer;
    const column = Math.floor(((x - rectangle.x) / rectangle.width) * columns),
      row = Math.floor(((y - rectangle.y) / rectangle.height) * rows);
    const sums = [0, 0, 0];
    let count = 0;
    for (let j = Math.max(row - 1, 0); j <= Math.min(row + 1, rows - 1); j++) {
      for (let i = Math.max(column - 1, 0); i <= Math.min(column + 1, columns - 1); i++, count++) {
        for (let k = 0; k < 3; k++) sums[k] += after[4 * (j * columns + i) + k];
      }
    }
    return count
      ? `#${sums
          .map((sum) =>
            Math.round(sum / count)
              .toString(16)
              .padStart(2, "0"),
          )
          .join("")}`
      : null;
  }

  // --- drawing ---

  /** Whether keys move the cursor now, so that it is to be seen. */
  keys(yes) {
    this.keyboard = yes;
    if (yes) this.cursor ??= { x: Math.floor(this.x), y: Math.floor(this.y) };
    this.redraw();
  }

  redraw() {
    this.frameAsked ||= requestAnimationFrame(() => {
      this.frameAsked = 0;
      this.#draw();
    });
  }

  #draw() {
    const { context, canvas, ratio } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.width) return;
    const edge = Math.round(this.dividerLeft * ratio);
    for (const layer of [this.overview, this.detail]) {
      if (!layer) continue;
      this.#layer(layer, 0, 0, edge);
      this.#layer(layer, 1, edge, canvas.width - edge);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.showHints) {
      for (const [i, hint] of this.hints.entries()) {
        const radius = ((hint.radius ?? Math.max(this.width, this.height) / 100) * this.scale) / ratio;
        drawHint(context, this.place(hint.x + 0.5, hint.y + 0.5), hint.color, i === this.chosen ? radius : null);
      }
    }
    if (this.mark) mark(context, this.place(this.mark.x + 0.5, this.mark.y + 0.5));
    if (this.cursor && (this.dropper || this.keyboard)) {
      const color = this.dropper ? this.colorAt(this.cursor) : null;
      drawCursor(context, this.place(this.cursor.x + 0.5, this.cursor.y + 0.5), color, this.finger);
    }
  }

  #layer({ rectangle, columns, rows, times, canvases }, which, left, width) {
    if (width <= 0) return;
    const { context, canvas, scale } = this,
      across = rectangle.width * scale,
      down = rectangle.height * scale;
    const exact = Math.abs(across - columns) < 1 && Math.abs(down - rows) < 1; // pixel for pixel
    const x = Math.round((rectangle.x - this.x) * scale + canvas.width / 2);
    const y = Math.round((rectangle.y - this.y) * scale + canvas.height / 2);
    context.save();
    context.beginPath();
    context.rect(left, 0, width, canvas.height);
    context.clip();
    // Above 100 % each pixel is a square; what is coarser than the picture for a moment is not.
    context.imageSmoothingEnabled = columns < rectangle.width || scale < times;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      canvases[which],
      0,
      0,
      times * columns,
      times * rows,
      x,
      y,
      exact ? columns : across,
      exact ? rows : down,
    );
    context.restore();
  }
}

/** Whether a layer is of the wished place. */
function there(layer, wish) {
  return (
    layer.columns === wish.columns &&
    layer.rows === wish.rows &&
    Object.keys(wish.rectangle).every((name) => layer.rectangle[name] === wish.rectangle[name])
  );
}

function same(layer, wish) {
  return layer !== null && layer.version === wish.version && layer.times === wish.times && there(layer, wish);
}

/** Pixels on a canvas, each as times x times. */
function drawn(data, columns, rows, times, canvas = document.createElement("canvas")) {
  const width = times * columns,
    height = times * rows;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.putImageData(new ImageData(data, columns, rows), 0, 0);
  if (times > 1) {
    context.imageSmoothingEnabled = false;
    context.globalCompositeOperation = "copy";
    context.drawImage(canvas, 0, 0, columns, rows, 0, 0, width, height);
  }
  return canvas;
}
