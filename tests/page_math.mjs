// Calls functions of the page's modules: JSON on stdin, [[module, function, arguments], ...]; the results on stdout.
// Typed arrays are {"type": "Uint8Array", "base64": ...} both ways; an argument {"call": [...]} is that call's result.
import { readFileSync } from "node:fs";

const packed = (_, value) => {
  if (!ArrayBuffer.isView(value)) return value;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return { type: value.constructor.name, base64: bytes.toString("base64") };
};
const unpacked = (_, value) => {
  if (!value?.base64) return value;
  const bytes = Buffer.from(value.base64, "base64");
  return new globalThis[value.type](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};

const own = {
  // a picture's averages, given in two parts
  async averaged(rgba, width, height, columns, rows) {
    const { averages } = await import("./browser/tone.js");
    const { add, planes } = averages(width, height, columns, rows), half = 4 * width * (height >> 1);
    add(rgba.subarray(0, half));
    add(rgba.subarray(half));
    return planes();
  },
};

async function called([module, name, given]) {
  const functions = module === "page_math" ? own : await import(`./${module}.js`);
  return functions[name](...(await Promise.all(given.map((one) => (one?.call ? called(one.call) : one)))));
}

const results = [];
for (const call of JSON.parse(readFileSync(0), unpacked)) {
  results.push(
    await called(call).then(
      (result) => ({ result }),
      (error) => ({ error: `${error.name}: ${error.message}` }),
    ),
  );
}
process.stdout.write(JSON.stringify(results, packed));
