// Mouse, finger, pen, wheel and keys on the picture.

const STILL = 6; // CSS pixels that a click may move
const CLOSE = 16; // and that a hint may be away from what hits it
const STEP = 8,
  FAR = 64; // CSS pixels that an arrow key moves the cursor
const WHEEL = 0.0015; // of the zoom's logarithm for a pixel of the wheel

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {HTMLElement} stage that has the focus
 * @param {import("./view.js").View} view
 * @param {object} acts what gestures mean: place(pixel), choose(hint), drag(hint, pixel or null at its end),
 *   carry(pixel, hint or null), erase(hint or null), cursor(pixel) by keys, hover(pixel or null, whether a finger is there) by a pointer, cancel()
 */
export function listen(stage, view, acts) {
  const pointers = new Map();
  let start = null; // of a gesture: {left, top, hint, moved, touches}

  const local = (event) => {
    const { left, top } = stage.getBoundingClientRect();
    return { left: event.clientX - left, top: event.clientY - top };
  };
  const pixel = ({ left, top }) => whole(view.at(left, top), view);
  const hit = ({ left, top }) => {
    if (!view.showHints || view.dropper) return null;
    const away = view.hints.map(({ x, y }) => {
      const place = view.place(x + 0.5, y + 0.5);
      return Math.hypot(place.left - left, place.top - top);
    });
    const nearest = away.indexOf(Math.min(...away));
    return nearest >= 0 && away[nearest] <= CLOSE ? nearest : null;
  };
  const pinch = () => {
    const [a, b] = [...pointers.values()];
    return {
      left: (a.left + b.left) / 2,
      top: (a.top + b.top) / 2,
      apart: Math.max(Math.hypot(a.left - b.left, a.top - b.top), 1),
    };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button, input, [role=slider]") || !view.width) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, local(event));
    view.keys(false);
    if (view.dropper && event.pointerType === "touch") acts.hover(pixel(local(event)), true);
    if (pointers.size === 1) start = { ...local(event), hint: hit(local(event)), moved: false };
    else if (pointers.size === 2) {
      if (start?.moved && start.hint !== null) acts.drag(start.hint, null);
      start = { ...pinch(), moved: true, hint: null };
    }
  });

  stage.addEventListener("pointermove", (event) => {
    const here = local(event),
      before = pointers.get(event.pointerId);
    if (!before) {
      acts.hover(pixel(here));
      stage.dataset.over = hit(here) !== null ? "hint" : "";
      return;
    }
    if (pointers.size === 2) {
      const old = pinch();
      pointers.set(event.pointerId, here);
      const now = pinch();
      view.pan(now.left - old.left, now.top - old.top);
      view.zoom(view.scale * (now.apart / old.apart), now.left, now.top);
      return;
    }
    if (!start) return;
    if (!start.moved && Math.hypot(here.left - start.left, here.top - start.top) < STILL) return;
    start.moved = true;
    if (start.hint !== null) acts.drag(start.hint, pixel(here));
    else if (view.dropper && event.pointerType !== "mouse") acts.hover(pixel(here), event.pointerType === "touch");
    else view.pan(here.left - before.left, here.top - before.top);
    pointers.set(event.pointerId, here);
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId) || !start) return;
    const here = local(event);
    if (pointers.size) {
      start.hint = null;
      return;
    }
    const { moved, hint } = start;
    start = null;
    if (moved && hint !== null) acts.drag(hint, null);
    else if (event.type === "pointercancel") return;
    else if (!moved && hint !== null) acts.choose(hint);
    else if ((!moved || (view.dropper && event.pointerType !== "mouse")) && view.inside(view.at(here.left, here.top)))
      acts.place(pixel(here));
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  stage.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") acts.hover(null);
  });

  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { left, top } = local(event);
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
      view.zoom(view.scale * Math.exp(-event.deltaY * lines * WHEEL * (event.ctrlKey ? 6 : 1)), left, top);
    },
    { passive: false },
  );

  stage.addEventListener("focus", () => view.keys(stage.matches(":focus-visible")));
  stage.addEventListener("blur", () => view.keys(false));

  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey || !view.width) return;
    if (!act(event)) return;
    view.keys(true);
    event.preventDefault();
  });

  function act({ key, shiftKey }) {
    const arrow = ARROWS[key];
    const cursor = view.cursor ?? { x: Math.floor(view.x), y: Math.floor(view.y) };
    if (arrow) {
      const step = Math.max(((shiftKey ? FAR : STEP) * view.ratio) / view.scale, 1);
      const next = whole({ x: cursor.x + 0.5 + step * arrow[0], y: cursor.y + 0.5 + step * arrow[1] }, view);
      view.reveal(next);
      acts.cursor(next);
    } else if (key === "Enter") {
      const hint = view.cursor && hit(view.place(cursor.x + 0.5, cursor.y + 0.5));
      if (hint === null || !view.cursor) acts.place(cursor);
      else acts.choose(hint);
    } else if (key === " ") acts.carry(cursor, hit(view.place(cursor.x + 0.5, cursor.y + 0.5)));
    else if (key === "Delete" || key === "Backspace") acts.erase(hit(view.place(cursor.x + 0.5, cursor.y + 0.5)));
    else if (key === "Escape") acts.cancel();
    else return false;
    return true;
  }
}

/** The nearest whole pixel inside of the picture. */
function whole({ x, y }, { width, height }) {
  return { x: Math.min(Math.max(Math.floor(x), 0), width - 1), y: Math.min(Math.max(Math.floor(y), 0), height - 1) };
}
