// What is on the desk, in this browser's own database (IndexedDB): facts of the photographs, their files, their chroma.

const NAME = "recolor-fast", VERSION = 1, FACTS = "photographs", FILES = "files", CHROMA = "chroma", SMALL = "small";

let opening = null;

function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(FACTS, { keyPath: "id" });
      for (const store of [FILES, CHROMA, SMALL]) request.result.createObjectStore(store);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => {
      opening = null;
      reject(request.error);
    };
  });
  return opening;
}

// One transaction: `work` gets the stores and returns a request or nothing; the request's result once all is stored.
async function transaction(stores, mode, work) {
  const opened = (await database()).transaction(stores, mode, { durability: "relaxed" });
  return new Promise((resolve, reject) => {
    const request = work(...stores.map((store) => opened.objectStore(store)));
    opened.oncomplete = () => resolve(request?.result);
    opened.onabort = opened.onerror = () => reject(opened.error ?? request?.error);
  });
}

const read = (store, id) => transaction([store], "readonly", (one) => one.get(id));

export const facts = (id) => read(FACTS, id);
export const file = (id) => read(FILES, id);
export const chroma = (id) => read(CHROMA, id);

// All facts, in the order that the photographs came.
export async function all() {
  const found = await transaction([FACTS], "readonly", (store) => store.getAll());
  return found.sort((a, b) => a.arrived - b.arrived);
}

export function add(photograph, blob) {
  return transaction([FACTS, FILES], "readwrite", (store, files) => {
    store.add(photograph);
    files.add(blob, photograph.id);
  });
}

// Change facts, if they are still there, and with them the chroma where it is given; the new facts, or undefined.
export async function change(id, changes, planes = null) {
  let changed;
  await transaction([FACTS, CHROMA], "readwrite", (store, chromas) => {
    const request = store.get(id);
    request.onsuccess = () => {
      if (!request.result) return;
      changed = { ...request.result, ...(typeof changes === "function" ? changes(request.result) : changes) };
      store.put(changed);
      if (planes) chromas.put(planes, id);
    };
  });
  return changed;
}

// The luminance of a photograph at a small size, once it has been kept: {width, height, luma}.
export const small = (id, side) => read(SMALL, [id, side]);

export function keepSmall(id, side, gray) {
  return transaction([FACTS, SMALL], "readwrite", (store, grays) => {
    const request = store.get(id);
    request.onsuccess = () => request.result && grays.put(gray, [id, side]); // not of one that is gone meanwhile
  });
}

const STORES = [FACTS, FILES, CHROMA, SMALL];

export function remove(id) {
  return transaction(STORES, "readwrite", (...stores) => {
    for (const store of stores) store.delete(store.name === SMALL ? IDBKeyRange.bound([id], [id, Infinity]) : id);
  });
}

export function clear() {
  return transaction(STORES, "readwrite", (...stores) => stores.forEach((store) => store.clear()));
}
