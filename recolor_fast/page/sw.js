// Keeps the whole site in the browser, so that it works without a network. A new version of the site is fetched whole,
// checked, and takes over when no page of the old one is open any more.
//
// files.js: self.SITE = {version, policy, files: {path: "sha256-..."}, later: [paths that are fetched when needed]}
importScripts("files.js");

const PREFIX = "recolor-fast ", NAME = PREFIX + SITE.version, HERE = new URL("./", self.location.href).href;
// Threads need a page that is cut off from others; a host that sets these headers itself has them from the first visit.
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy": SITE.policy,
};

const request = (path) => new Request(HERE + path, { integrity: SITE.files[path], cache: "no-cache" });

self.addEventListener("install", (event) => {
  const now = Object.keys(SITE.files).filter((path) => !SITE.later.includes(path));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(now.map(request))));
});

self.addEventListener("activate", (event) => {
  const old = async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== NAME);
    await Promise.all(names.map((name) => caches.delete(name)));
  };
  event.waitUntil(Promise.all([old(), self.clients.claim()]));
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method !== "GET" || !url.startsWith(HERE)) return;
  const path = url.slice(HERE.length).split(/[?#]/)[0] || "index.html";
  if (path in SITE.files) event.respondWith(given(path));
});

async function given(path) {
  const cache = await caches.open(NAME);
  let response = await cache.match(HERE + path);
  if (!response) {
    response = await fetch(request(path));
    await cache.put(HERE + path, response.clone());
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}
