// The views, the way from one to another, and the keys.

const VIEWS = {
  overview: ["Overview", overview],
  queries: ["Queries", queries],
  clips: ["Clips", clips("clips")],
  harmful: ["Harmful", clips("harmful")],
  arms: ["Training", arms],
  ...(token ? { choose: ["Choose", choose] } : {}),
};
const KEYS = [
  ["j, ↓", "next clip, or row"],
  ["k, ↑", "the one before"],
  ["Enter", "open it"],
  ["Esc", "close"],
  ["n, p", "next page, page before; in Queries the next query, the query before"],
  ["/", "search"],
  ["m", "mask on or off"],
  ["Space", "play or pause"],
  [`1 to ${Object.keys(VIEWS).length}`, "the parts of the report"],
  ["?", "this help"],
];
let showing = 0;

async function show() {
  const [wanted, argument] = location.hash.slice(1).split("/");
  const name = wanted in VIEWS ? wanted : "overview";
  const turn = ++showing;
  for (const link of at("nav").children) link.setAttribute("aria-current", link.dataset.view === name ? "page" : "false");
  at("nav").querySelector("[aria-current=page]").scrollIntoView({ block: "nearest", inline: "nearest" });
  const view = el("div", { class: `view ${name}`, "data-view": name });
  try {
    view.append(...(await VIEWS[name][1](argument)).filter(Boolean));
  } catch (error) {
    view.append(trouble(error));
  }
  if (turn !== showing) return;
  at("details").close();
  at("main").replaceChildren(...view.children);
  at("main").className = name;
  document.title = `${VIEWS[name][0]} · ${words(run.name)} · Motive`;
  const current = document.querySelector(".list [aria-current=page]");
  current?.scrollIntoView({ block: "nearest" });
  if (wanted !== shownBefore.name) scrollTo(0, 0);
  shownBefore.name = wanted;
}
const shownBefore = { name: null };

function focusItem(item) {
  for (const other of document.querySelectorAll(".current")) other.classList.remove("current");
  item.classList.add("current");
  if (!at("details").open) item.focus({ preventScroll: true });
  item.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

function move(step) {
  if (at("details").open) return besides(step);
  const items = [...document.querySelectorAll("main [data-item]")];
  if (!items.length) return;
  const now = items.findIndex((item) => item.classList.contains("current"));
  focusItem(items[now < 0 ? (step > 0 ? 0 : items.length - 1) : Math.max(0, Math.min(items.length - 1, now + step))]);
}

function turnBy(step) {
  if (at("main").className === "queries") {
    const now = Number(document.querySelector(".list [aria-current=page]")?.dataset.query ?? 0);
    const next = Math.max(0, Math.min(run.queries.length - 1, now + step));
    location.hash = `queries/${next}`;
  } else {
    const results = document.querySelector(".results");
    results?.turn?.(results.page() + step);
  }
}

async function search() {
  if (!at("search")) {
    location.hash = "clips";
    for (let n = 0; n < 100 && !at("search"); n++) await new Promise((next) => setTimeout(next, 20));
  }
  at("search")?.focus();
  at("search")?.select();
}

const ACTIONS = {
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  n: () => turnBy(1),
  p: () => turnBy(-1),
  m: () => setMasked(!watching.masked),
  " ": () => setPlaying(!watching.playing),
  "/": search,
  "?": () => (at("help").open ? at("help").close() : at("help").showModal()),
};
Object.keys(VIEWS).forEach((name, n) => (ACTIONS[n + 1] = () => (location.hash = name)));

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (target.matches("input, select, textarea")) {
    if (key === "Escape") target.blur();
    return;
  }
  if ((key === " " && target.matches("button, a, summary")) || (target.matches(".wide") && key.startsWith("Arrow"))) return;
  if (at("help").open && key !== "?") return;
  const action = ACTIONS[key];
  if (!action) return;
  event.preventDefault();
  action();
});

for (const id of ["details", "help"]) at(id).addEventListener("click", (event) => event.target === at(id) && at(id).close());
at("details").addEventListener("close", () => {
  at("details").replaceChildren();
  document.querySelector(".current")?.focus({ preventScroll: true });
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // what stands after # names a view
  at("main").focus();
});
at("playing").addEventListener("click", () => setPlaying(!watching.playing));
at("masked").addEventListener("click", () => setMasked(!watching.masked));
at("asked").addEventListener("click", () => at("help").showModal());
at("help").append(
  el(
    "div.bar",
    el("h2", { id: "help-title" }, "Keys"),
    el("button", { type: "button", onclick: () => at("help").close() }, "Close"),
  ),
  el(
    "dl.keys",
    KEYS.map(([keys, told]) =>
      el(
        "div",
        el(
          "dt",
          keys.split(", ").map((key, n) => [n ? " " : "", el("kbd", key)]),
        ),
        el("dd", told),
      ),
    ),
  ),
  el(
    "p.about",
    "Influence is how much training on a clip would help a query's motion, by the model's own gradients. The mask, in orange, is where the clip moves: what attribution looked at. A clip that stands still has none: all of it counts alike.",
  ),
);

load("run").then(
  (value) => {
    run = value;
    at("run").append(given(run.name));
    at("nav").append(
      ...Object.entries(VIEWS).map(([name, [title]]) => el("a", { href: `#${name}`, "data-view": name }, title)),
    );
    setPlaying(watching.playing);
    if (!run.latents) at("masked").hidden = true;
    addEventListener("hashchange", show);
    show();
    requestAnimationFrame(follow);
  },
  (error) => at("main").append(trouble(error)),
);
