// Names of colored files, as serve/names.py makes them: every file system takes them.

const LONGEST = 200; // bytes, of the 255 that file systems take
const RESERVED = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?$/i; // devices of Windows

// The name of a colored file: old.JPG becomes old.colored.JPG, and where PNG is written old.gif old.colored.png.
// `suffixes` are those of the format that is written, the usual one first.
export function colored(name, suffixes) {
  const last = name.normalize("NFC").split("/").filter(Boolean).at(-1) ?? "";
  const own = /(?<=.)\.[^.]+$/.exec(last)?.[0] ?? "";
  const suffix = suffixes.includes(own.toLowerCase()) ? own : suffixes[0];
  const whole = own.length < 6 ? last.slice(0, last.length - own.length) : last;
  const safe = whole.replace(/[<>:"/\\|?*\x00-\x1f\x7f]/g, "_").replace(/^[. ]+|[. ]+$/g, "");
  const stem = shortened(safe) || "photograph";
  return `${RESERVED.test(stem) ? "_" : ""}${stem}.colored${suffix}`;
}

function shortened(text) {
  const bytes = new TextEncoder().encode(text).subarray(0, LONGEST);
  return new TextDecoder().decode(bytes).replace(/\ufffd+$/, "");
}

// Names with a number where there are several that some file system takes for one.
export function unique(names) {
  const taken = new Set(), folded = (name) => name.normalize("NFD").toLowerCase();
  return names.map((name) => {
    const [, stem, suffix] = /^(.*?)(\.[^.]*)?$/s.exec(name);
    let result = name;
    for (let count = 2; taken.has(folded(result)); count++) result = `${stem}-${count}${suffix ?? ""}`;
    taken.add(folded(result));
    return result;
  });
}
