// The page's backend over HTTP: what `recolor-fast serve` answers below /desk. Served as backend.js.

const DESK = new URL("./desk", document.baseURI).href;
const STRIP = 512; // rows of a picture that are read from a canvas at a time

class Refused extends Error {
  /** @param {number} status of HTTP, 0 where nothing answered @param {number} retryAfter seconds */
  constructor(status, message, retryAfter = 0) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(DESK + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, String(error.message));
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  throw new Refused(response.status, detail(text), Number(response.headers.get("retry-after")) || 0);
}

/** The sentence of an error's body: FastAPI's `detail`, a text or a list of problems. */
function detail(text) {
  try {
    const said = JSON.parse(text).detail;
    return typeof said === "string" ? said : said.map((problem) => problem.msg).join("; ");
  } catch {
    return text.startsWith("<") ? "" : text.slice(0, 200);
  }
}

async function json(path, options) {
  return (await ask(path, options)).json();
}

async function whole(path) {
  const response = await ask(path);
  try {
    return { response, blob: await response.blob() };
  } catch (error) {
    throw new Refused(0, String(error.message));
  }
}

/** Samples of a gray PNG, as they are: no color management, and no canvas larger than a strip. */
async function samples(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap,
    luma = new Uint8Array(width * height);
  const canvas = new OffscreenCanvas(width, Math.min(STRIP, height));
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb", alpha: false });
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    const { data } = context.getImageData(0, 0, width, rows);
    for (let i = 0, at = top * width; i < data.length; i += 4) luma[at++] = data[i];
  }
  bitmap.close();
  return { width, height, luma };
}

/** The file name of an answer (RFC 6266). */
function named(response, otherwise) {
  const header = response.headers.get("content-disposition") ?? "";
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1];
  return encoded ? decodeURIComponent(encoded) : (/filename="([^"]*)"/i.exec(header)?.[1] ?? otherwise);
}

export const backend = {
  desk: () => json(""),

  add: (file) =>
    json(`/photographs?name=${encodeURIComponent(file.name)}`, {
      method: "POST",
      body: file,
      headers: { "content-type": "application/octet-stream" },
    }),

  photograph: (id) => json(`/photographs/${id}`),

  change: (id, parts) =>
    json(`/photographs/${id}`, {
      method: "PUT",
      body: JSON.stringify(parts),
      headers: { "content-type": "application/json" },
    }),

  async gray(id, side) {
    return samples((await whole(`/photographs/${id}/gray.png${side ? `?side=${side}` : ""}`)).blob);
  },

  async chroma(id) {
    const bytes = await (await whole(`/photographs/${id}/chroma`)).blob.arrayBuffer();
    // 2 S S bytes, and 2 * 256 floats more where the print is toned: for an S of whole 16s never twice a square
    const toned = !Number.isInteger(Math.sqrt(bytes.byteLength / 2));
    const length = toned ? bytes.byteLength - 2048 : bytes.byteLength;
    const tone = toned
      ? Float32Array.from({ length: 512 }, (_, i) => new DataView(bytes).getFloat32(length + 4 * i, true))
      : null;
    return { size: Math.sqrt(length / 2), cbcr: new Uint8Array(bytes, 0, length), tone };
  },

  palette: async (id, x, y) => (await json(`/photographs/${id}/palette?x=${x}&y=${y}`)).colors,

  async file(id) {
    const { response, blob } = await whole(`/photographs/${id}/file`);
    return { name: named(response, `${id}.colored`), blob };
  },

  async all() {
    await json(""); // whether the server is there: a link that fails says nothing
    const link = document.createElement("a");
    link.href = `${DESK}/photographs.zip`;
    link.download = "";
    link.click();
  },

  remove: (id) => ask(`/photographs/${id}`, { method: "DELETE" }),

  clear: () => ask("", { method: "DELETE" }),
};
