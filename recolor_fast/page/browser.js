// The page's backend in the browser alone: served as backend.js by a static site (`recolor-fast web`). The work is done
// in a worker; photographs stay in this browser's own database.

const NAMES = "desk add photograph change gray chroma palette file all remove clear runs".split(" ");
const worker = new Worker(new URL("./browser/worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let last = 0, broken = "";

worker.onmessage = ({ data: { number, result, error } }) => {
  const { resolve, reject } = waiting.get(number);
  waiting.delete(number);
  if (error) reject(Object.assign(new Error(error.message), error));
  else resolve(result);
};

worker.onerror = (event) => { // its script did not come, or it has a fault outside of any request
  broken = event.message || "the page's worker did not start; load the page again";
  for (const { reject } of waiting.values()) reject(Object.assign(new Error(broken), { status: 500 }));
  waiting.clear();
};

function ask(method, given) {
  if (broken) return Promise.reject(Object.assign(new Error(broken), { status: 500 }));
  return new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    worker.postMessage({ number: last, method, given });
  });
}

export const backend = {
  alone: true, // nothing is sent anywhere
  ...Object.fromEntries(NAMES.map((name) => [name, (...given) => ask(name, given)])),
};

// Works without a network from the second visit on, where the host's address allows that (https, or this machine).
navigator.serviceWorker?.register(new URL("./sw.js", import.meta.url)).catch((error) => console.warn(error));
