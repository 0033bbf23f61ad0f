// Files that were dropped or chosen, folders with all that is in them.

const order = new Intl.Collator(undefined, { numeric: true });

/** @returns {Promise<{file: File, chosen: boolean}[]>} `chosen`: itself, not as a part of a folder */
async function dropped(transfer) {
  // Both are empty after the event, so they are taken before anything is awaited.
  const entries = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = [];
  for (const { entry, file } of entries) {
    if (entry?.isDirectory) found.push(...(await inside(entry)));
    else if (file) found.push({ file, chosen: true });
  }
  return found;
}

async function inside(folder) {
  const reader = folder.createReader(),
    entries = [];
  for (let some; (some = await promised(reader, "readEntries")).length;) entries.push(...some); // 100 at a time
  entries.sort((a, b) => order.compare(a.name, b.name));
  const found = [];
  for (const entry of entries) {
    if (entry.isDirectory) found.push(...(await inside(entry)));
    else found.push({ file: await promised(entry, "file"), chosen: false });
  }
  return found;
}

function promised(object, method) {
  return new Promise((resolve, reject) => object[method](resolve, reject));
}

/** Of an input's files. */
function chosen(input) {
  const files = [...input.files].map((file) => ({ file, chosen: !input.webkitdirectory }));
  if (input.webkitdirectory) files.sort((a, b) => order.compare(a.file.webkitRelativePath, b.file.webkitRelativePath));
  return files;
}

/** Whether a file of a folder is worth trying. @param {string[]} formats suffixes, with or without their dot */
export function photographic({ name }, formats) {
  const suffix = name.split(".").at(-1).toLowerCase();
  return !name.startsWith(".") && formats.some((format) => format.replace(/^\./, "").toLowerCase() === suffix);
}

/**
 * Take what is dropped on the page, pasted into it or chosen in its inputs.
 * @param {(files: {file: File, chosen: boolean}[]) => void} add
 * @param {(error: Error) => void} failed
 */
export function receive(add, failed) {
  for (const id of ["files", "folders"]) {
    document.getElementById(id).addEventListener("change", ({ target }) => {
      add(chosen(target));
      target.value = "";
    });
  }

  let entered = 0; // elements that what is dragged is over
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  for (const [name, change] of [
    ["dragenter", 1],
    ["dragleave", -1],
  ]) {
    document.addEventListener(name, (event) => {
      if (!carries(event)) return;
      entered += change;
      document.getElementById("drop").hidden = entered <= 0;
    });
  }
  document.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  document.addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    entered = 0;
    document.getElementById("drop").hidden = true;
    try {
      add(await dropped(event.dataTransfer));
    } catch (error) {
      failed(error);
    }
  });

  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) add([...clipboardData.files].map((file) => ({ file, chosen: true })));
  });
}
