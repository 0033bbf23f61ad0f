// What is drawn on the picture: hints, the place that a color is chosen for, the cursor. Light on dark, so that they
// are seen on any picture. Lengths are CSS pixels.

const SIZE = 8;
const AWAY = 80; // of the eyedropper's ring from a finger, which hides what is under it

function ring(context, { left, top }, radius, color, width) {
  context.beginPath();
  context.arc(left, top, radius, 0, 2 * Math.PI);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

/** A hint; with the square that surely has its color where `reach` (half its side) is given: it is chosen. */
export function drawHint(context, place, color, reach) {
  context.beginPath();
  context.arc(place.left, place.top, SIZE, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  ring(context, place, SIZE + 1, "#0009", 5);
  ring(context, place, SIZE, "#fff", 2.5);
  if (reach === null) return;
  ring(context, place, SIZE + 5, "#000c", 4);
  ring(context, place, SIZE + 5, "#fff", 2);
  if (reach < SIZE + 8) return;
  for (const [style, width, dash] of [
    ["#000a", 3, []],
    ["#fff", 1.5, [5, 4]],
  ]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.strokeRect(place.left - reach, place.top - reach, 2 * reach, 2 * reach);
  }
  context.setLineDash([]);
}

/** The place that a color is being chosen for. */
export function mark(context, place) {
  ring(context, place, SIZE, "#000c", 5);
  ring(context, place, SIZE, "#fff", 2.5);
}

/** The cursor of the keyboard and of the eyedropper, which shows the color under it: around it, or beside a finger. */
export function drawCursor(context, { left, top }, color, finger) {
  for (const [style, width] of [
    ["#000c", 4],
    ["#fff", 2],
  ]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    for (const [across, down] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      context.moveTo(left + 4 * across, top + 4 * down);
      context.lineTo(left + 14 * across, top + 14 * down);
    }
    context.stroke();
  }
  if (!color) return;
  const above = top > 1.5 * AWAY,
    aside = left > 1.5 * AWAY ? -AWAY : AWAY;
  const place = finger ? { left: above ? left : left + aside, top: above ? top - AWAY : top } : { left, top };
  ring(context, place, 24, "#000c", 14);
  ring(context, place, 24, "#fff", 12);
  ring(context, place, 24, color, 9);
}
