// A backend of the page that needs no server: colors by a rule, answers as slow as told, and fails when told to.
// Left half orange, right half blue; a hint colors the disc around it. `stub` in the page's window steers it.
const S = 64;
const desk = new Map();

globalThis.stub = {
  delay: 0,
  failing: null,
  calls: [],
  models: [
    { name: "shipped", hints: true },
    { name: "plain", hints: false },
  ],
  coloring: 0,
  curve: [
    [0, 0],
    [60, 5],
    [180, 250],
    [255, 255],
  ],
  finish: () => desk.forEach((photograph) => Object.assign(photograph, { status: "ready", revision: 1 })),
};

async function called(name, ...given) {
  stub.calls.push([name, ...given]);
  if (stub.delay) await new Promise((resolve) => setTimeout(resolve, stub.delay));
  const failing = stub.failing;
  if (failing && (!failing.only || failing.only === name))
    throw Object.assign(new Error(failing.message ?? ""), { retryAfter: 0, ...failing });
}

function chroma(color) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const luma = 0.299 * r + 0.587 * g + 0.114 * b;
  return [128 + (b - luma) / 1.772, 128 + (r - luma) / 1.402];
}

function painted({ width, height, hints }) {
  const planes = new Uint8Array(2 * S * S);
  const spots = hints.map(({ x, y, color, radius }) => ({
    x: (x / width) * S,
    y: (y / height) * S,
    color: chroma(color),
    radius: 6 + ((radius ?? 0) / width) * S,
  }));
  for (let i = 0; i < S * S; i++) {
    const x = i % S,
      y = Math.floor(i / S);
    let color = x < S / 2 ? chroma("#a06030") : chroma("#3060a0");
    for (const spot of spots) if (Math.hypot(x + 0.5 - spot.x, y + 0.5 - spot.y) <= spot.radius) color = spot.color;
    [planes[i], planes[S * S + i]] = color;
  }
  return planes;
}

async function gray(file, side) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const scale = side ? Math.min(side / Math.max(bitmap.width, bitmap.height), 1) : 1;
  const width = Math.max(Math.round(bitmap.width * scale), 1),
    height = Math.max(Math.round(bitmap.height * scale), 1);
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height),
    luma = new Uint8Array(width * height);
  for (let i = 0; i < luma.length; i++)
    luma[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2] + 0.5;
  return { width, height, luma };
}

const shown = ({ file, ...photograph }) => structuredClone(photograph);

export const backend = {
  async desk() {
    await called("desk");
    return {
      version: "0",
      models: stub.models,
      formats: [".jpg", ".png"],
      limits: { bytes: 50e6, pixels: 100e6, photographs: 100 },
      photographs: [...desk.values()].map(shown),
    };
  },
  async add(file) {
    await called("add", file.name);
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      throw Object.assign(new Error("no image"), { status: 415, retryAfter: 0 });
    }
    const photograph = {
      id: String(desk.size + 1).padStart(16, "0"),
      name: file.name,
      status: stub.coloring ? "waiting" : "ready",
      reason: "",
      notes: [],
      width: bitmap.width,
      height: bitmap.height,
      in_color: false,
      toned: false,
      size: S,
      model: "shipped",
      look: { saturation: 1, warmth: 0, strength: 1, keep_tone: 0.7 },
      hints: [],
      revision: 1,
      restore: false,
      negative: false,
      curve: [],
      file,
    };
    desk.set(photograph.id, photograph);
    if (stub.coloring) {
      photograph.revision = 0;
      setTimeout(() => Object.assign(photograph, { status: "ready", revision: 1 }), stub.coloring);
    }
    return shown(photograph);
  },
  async photograph(id) {
    await called("photograph", id);
    return shown(desk.get(id));
  },
  async change(id, parts) {
    await called("change", parts);
    const photograph = desk.get(id);
    Object.assign(photograph, structuredClone(parts));
    if ("restore" in parts) photograph.curve = parts.restore ? stub.curve : [];
    if (parts.hints || parts.model || "restore" in parts || "negative" in parts) photograph.revision++;
    return shown(photograph);
  },
  async gray(id, side) {
    await called("gray", id, side);
    return gray(desk.get(id).file, side);
  },
  async chroma(id) {
    await called("chroma", id);
    return { size: S, cbcr: painted(desk.get(id)), tone: null };
  },
  async palette(id, x, y) {
    await called("palette", id, x, y);
    return ["#7a4b2a", "#b08050", "#556b8a", "#c03028", "#3a7a3a", "#d8c8a0", "#6a4a8a", "#404040"];
  },
  async file(id) {
    await called("file", id);
    const { name, file } = desk.get(id);
    return { name: name.replace(/(\.\w+)$/, ".colored$1"), blob: file };
  },
  async all() {
    await called("all");
    return { name: "photographs.zip", blob: new Blob(["zip"]) };
  },
  async remove(id) {
    await called("remove", id);
    desk.delete(id);
  },
  async clear() {
    await called("clear");
    desk.clear();
  },
};
