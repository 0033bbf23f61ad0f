// What the browser remembers for the page: nothing where it blocks site data, and the page works all the same.

/** @param {"localStorage" | "sessionStorage"} name */
function memory(name) {
  const tried = (act) => {
    try {
      return act(window[name]);
    } catch {
      return null; // blocked, or full: to look it up is already an error
    }
  };
  return {
    /** @returns {string | null} */
    get: (key) => tried((storage) => storage.getItem(key)),
    set: (key, value) => tried((storage) => storage.setItem(key, value)),
    remove: (key) => tried((storage) => storage.removeItem(key)),
    clear: () => tried((storage) => storage.clear()),
  };
}

/** From one visit to the next. */
export const lasting = memory("localStorage");

/** As long as its tab is open, also over a reload. */
export const passing = memory("sessionStorage");
