// The divider: left of it the picture as it was, right of it colored.
import { lasting } from "./memory.js";
import { say } from "./texts.js";

const KEPT = "recolor.divider";
const STEPS = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.2, PageUp: 0.2 };
const ENDS = { Home: 0, End: 1 };

const divider = document.getElementById("divider");

export class Divider {
  /** @param {import("./view.js").View} view @param {HTMLElement} stage that the view fills */
  constructor(view, stage) {
    this.view = view;
    view.divider = Number(lasting.get(KEPT) ?? 0.5);
    let grabbed = null; // where on the handle
    const left = (event) => event.clientX - stage.getBoundingClientRect().left;
    divider.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      divider.setPointerCapture(event.pointerId);
      grabbed = left(event) - view.dividerLeft;
    });
    divider.addEventListener("pointermove", (event) => {
      if (grabbed !== null) view.dividerLeft = left(event) - grabbed;
    });
    for (const name of ["pointerup", "pointercancel"]) divider.addEventListener(name, () => (grabbed = null));
    divider.addEventListener("keydown", (event) => {
      const share = event.key in ENDS ? ENDS[event.key] : view.divider + STEPS[event.key];
      if (Number.isNaN(share)) return;
      event.preventDefault();
      event.stopPropagation();
      const { left: from, right: to } = view.frame;
      view.dividerLeft = from + share * (to - from);
    });
  }

  set hidden(yes) {
    divider.hidden = yes;
  }

  /** Put it where the view has it, and say where that is. */
  tell() {
    const { view } = this,
      { top, bottom } = view.frame,
      share = Math.round(100 * view.divider);
    divider.style.setProperty("--at", `${view.dividerLeft}px`);
    divider.style.setProperty("--top", `${top}px`);
    divider.style.setProperty("--height", `${bottom - top}px`);
    divider.setAttribute("aria-valuenow", String(share));
    divider.setAttribute("aria-valuetext", say("divider.value", { share }));
    lasting.set(KEPT, String(view.divider));
  }
}
