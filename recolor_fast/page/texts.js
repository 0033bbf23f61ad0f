// All words of the page come from one table a language: texts/LANGUAGE.json. A new language is such a file and a line
// here.
import { lasting } from "./memory.js";

/** @type {Record<string, string>} each language by its own name */
export const LANGUAGES = { en: "English", de: "Deutsch" };

const KEPT = "recolor.language";
const HEARD = "heard."; // keys of sentences that come from a server, whose English is what it says
let table = {};
let english = null;
let language = "en";

/** The language chosen before, else the first of the browser's that there is, else English. */
export function preferred() {
  const wished = [lasting.get(KEPT), ...navigator.languages.map((tag) => tag.split("-")[0])];
  return wished.find((tag) => tag && Object.hasOwn(LANGUAGES, tag)) ?? "en";
}

/** Take a language; the next visit begins with it where `keep`. */
export async function load(wanted, keep = false) {
  english ??= await fetched("en");
  table = wanted === "en" ? english : await fetched(wanted);
  language = wanted;
  if (keep) lasting.set(KEPT, wanted);
  document.documentElement.lang = wanted;
}

async function fetched(name) {
  const response = await fetch(new URL(`./texts/${name}.json`, import.meta.url));
  if (!response.ok) throw new Error(`texts/${name}.json: ${response.status}`);
  return response.json();
}

/**
 * What a server said, in the page's language where its sentence is in the English table; else as it is. The table's
 * longest text that fits is the one: others may be parts of it.
 * @param {string} sentence
 */
export function heard(sentence) {
  const found = Object.keys(english)
    .filter((key) => key.startsWith(HEARD))
    .map((key) => ({ key, match: pattern(english[key]).exec(sentence) }))
    .filter(({ match }) => match)
    .sort((a, b) => english[b.key].length - english[a.key].length);
  return found.length ? say(found[0].key, found[0].match.groups) : sentence;
}

/** Let an element say what a server said. */
export function write(element, sentence) {
  const text = heard(sentence);
  return Object.assign(element, { textContent: text, lang: text === sentence ? "en" : language });
}

/** Of a text, with a group for each {name}. */
function pattern(text) {
  const escaped = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\{(\w+)\}/g, "(?<$1>.+)")}$`);
}

/**
 * The text of a key with {names} filled in. A text of several forms is chosen by `values.count`.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function say(key, values = {}) {
  let text = table[key];
  if (text === undefined) throw new Error(`no text "${key}" in ${language}.json`);
  if (typeof text === "object") text = text[new Intl.PluralRules(language).select(values.count)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** A number as people of this language write it. */
export function number(value, options = {}) {
  return new Intl.NumberFormat(language, options).format(value);
}

/** A share of 1 in percent. */
export function percent(share) {
  return number(share, { style: "percent", maximumFractionDigits: 0 });
}

/** Fill in what the page's markup names: data-text (content), data-label, data-tip (tooltip), data-title (both). */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]"))
    element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of root.querySelectorAll("[data-tip]")) element.title = say(element.dataset.tip);
  for (const element of root.querySelectorAll("[data-title]")) {
    element.title = say(element.dataset.title);
    element.setAttribute("aria-label", element.title);
  }
}
