// Elements made of text and attributes alone: nothing here, or built with it, reads a text as markup.

const at = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

// el("p.about", { id: "x" }, "a text", another): an element with classes, attributes if there are any, and children. Attributes
// that begin with "on" are listeners; what is null or false is left out.
function el(kind, ...rest) {
  const [tag, ...classes] = kind.split(".");
  return filled(document.createElement(tag), classes, rest);
}

function svg(kind, ...rest) {
  const [tag, ...classes] = kind.split(".");
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), classes, rest);
}

function filled(element, classes, rest) {
  const attributes = Object.getPrototypeOf(rest[0] ?? "") === Object.prototype ? rest.shift() : {};
  element.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...rest.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A text from outside: what would steer the page's own text, such as an order of writing, is shown as a sign.
function words(text) {
  return String(text ?? "")
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ")
    .replace(/[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
}

// The same as an element that keeps its own direction of writing to itself.
function given(text, attributes = {}) {
  return el("bdi", { ...attributes }, words(text));
}

// A clip's name without the ending of its file.
const title = (name) => String(name).replace(/\.(mp4|mov|mkv|webm|avi|m4v|mpg|mpeg|gif)$/i, "");

function number(value, digits = 3, signed = false) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  const zero = Number(text) === 0;
  return (value < 0 && !zero ? "−" : signed && !zero ? "+" : "") + text;
}

const whole = (value) => Math.round(value).toLocaleString("en-GB");
const share = (value) => `${Math.round(100 * value)} %`;
const plural = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

function duration(seconds) {
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function section(title, about, ...children) {
  return el("section", el("h2", title), about ? el("p.about", about) : null, ...children);
}

function say(text) {
  at("said").textContent = text;
}

function table(head, rows, attributes = {}) {
  const cells = (row, tag) =>
    row.map((cell, n) =>
      el(n === 0 && tag === "td" ? "th" : tag, tag === "th" ? { scope: "col" } : n === 0 ? { scope: "row" } : {}, cell),
    );
  return el(
    "div.wide",
    { tabindex: "0", role: "region", "aria-label": attributes.label ?? "Table" },
    el(
      "table",
      el("thead", el("tr", cells(head, "th"))),
      el(
        "tbody",
        rows.map((row) => el("tr", cells(row, "td"))),
      ),
    ),
  );
}

function picker(label, options, value, change) {
  const id = `pick-${label.replace(/\W+/g, "-").toLowerCase()}`;
  const select = el(
    "select",
    { id, onchange: () => change(select.value) },
    options.map(([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text)),
  );
  return el("div.field", el("label", { for: id }, label), select);
}
