// Colors a picture with an artefact of graph "image", in JavaScript: npm install onnxruntime-node@1.30
//
//     node image.mjs FILE.onnx gray.ppm colored.ppm
//
// Pictures are binary PPM (P6, 8 bits), so that nothing but the runtime is needed; `magick old.jpg gray.ppm` makes one.

import { readFileSync, writeFileSync } from "node:fs";
import ort from "onnxruntime-node";

function readPpm(path) {
  const bytes = readFileSync(path);
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(bytes.subarray(0, 64).toString("latin1"));
  if (!head) throw new Error(`${path}: expected a binary PPM of 8 bits (P6)`);
  const [width, height] = [Number(head[1]), Number(head[2])];
  const pixels = Uint8Array.from(bytes.subarray(head[0].length));
  if (pixels.length !== width * height * 3) throw new Error(`${path}: ${pixels.length} bytes of pixels`);
  return { width, height, pixels };
}

const [model, source, target] = process.argv.slice(2);
if (!target) {
  console.error("usage: node image.mjs FILE.onnx gray.ppm colored.ppm");
  process.exit(2);
}
const { width, height, pixels } = readPpm(source);
const session = await ort.InferenceSession.create(model);
const rgb = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
const { colored } = await session.run({ rgb });
writeFileSync(target, Buffer.concat([Buffer.from(`P6\n${width} ${height}\n255\n`), Buffer.from(colored.data)]));
