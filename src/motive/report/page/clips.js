// The table of clips: filter, sort, search, pages. One for all clips and one for the harmful ones, each with its own state.

const PAGE = 50;
const COLUMNS = [
  ["rank", "Rank", (row) => row.rank, false],
  ["name", "Clip", (row) => row.name, false],
  ["votes", "Votes", (row) => row.votes, true],
  ["mean", "Mean influence", (row) => row.mean, true],
  ["influence", "On query", (row) => row.influence, true],
  ["motion", "px/frame", (row) => row.motion, true],
  ["label", "Label", (row) => row.label, false],
  ["fate", "Fate", (row) => row.fate, true],
];
const ORDER = new Intl.Collator("en", { numeric: true });
const fresh = (changes) => ({
  search: "",
  fate: "",
  label: "",
  query: "",
  sort: "rank",
  down: false,
  page: 0,
  as: "table",
  ...changes,
});
const states = { clips: fresh({}), harmful: fresh({ fate: "harmful", down: true, as: "cards" }) };

function clips(which) {
  return async () => {
    const rows = await allClips();
    const state = states[which];
    const results = el("div.results");
    const draw = () => drawResults(rows, state, results).catch((error) => results.replaceChildren(trouble(error)));
    const change = (name) => (value) => {
      Object.assign(state, { [name]: value, page: 0 });
      return draw();
    };
    const searching = el("input", {
      id: "search",
      type: "search",
      value: state.search,
      placeholder: "name, caption or id",
      autocomplete: "off",
      spellcheck: "false",
    });
    let waiting = 0;
    searching.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => change("search")(searching.value), 120);
    });
    await draw();
    return [
      el("h1", which === "clips" ? "Clips" : "Harmful clips to review"),
      el(
        "p.about",
        which === "clips"
          ? listedWords()
          : "Worst first: fewest votes, then lowest mean influence. A clip that looks fine may still pull the model away from the motion that the queries show.",
      ),
      el(
        "form.tools",
        { role: "search", onsubmit: (event) => event.preventDefault() },
        el("div.field.wider", el("label", { for: "search" }, "Search"), searching),
        which === "clips"
          ? picker(
              "Fate",
              [
                ["", "all"],
                ["kept", "kept"],
                ["harmful", "harmful"],
                ["neither", "neither"],
              ],
              state.fate,
              change("fate"),
            )
          : null,
        picker(
          "Label",
          [
            ["", "all"],
            ["moving", "moving"],
            ["static", "static"],
            ["camera", "camera"],
          ],
          state.label,
          change("label"),
        ),
        picker(
          "Influence on",
          [["", "no query"], ...run.queries.map((query, n) => [n, words(title(query.name))])],
          state.query,
          change("query"),
        ),
        picker(
          "Show as",
          [
            ["table", "table"],
            ["cards", "cards"],
          ],
          state.as,
          change("as"),
        ),
      ),
      results,
    ];
  };
}

function listedWords() {
  const { listed } = run.table;
  return listed < run.counts.scored
    ? `The first and the last ${whole(listed / 2)} of ${whole(run.counts.scored)} clips by rank; ranking.parquet holds all.`
    : `All ${whole(listed)} clips with a score.`;
}

async function drawResults(rows, state, results) {
  const column = state.query === "" ? null : (await load(`query-${state.query}`)).influence;
  if (column) rows.forEach((row, n) => (row.influence = column[n]));
  if (!column && state.sort === "influence") Object.assign(state, { sort: "rank", down: false });
  const found = sorted(matching(rows, state), state);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const shown = found.slice(state.page * PAGE, (state.page + 1) * PAGE);
  const turn = (page) => {
    state.page = Math.max(0, Math.min(pages - 1, page));
    return drawResults(rows, state, results).then(() => results.scrollIntoView({ block: "start" }));
  };
  const sortBy = (name, down) => {
    Object.assign(state, state.sort === name ? { down: !state.down } : { sort: name, down }, { page: 0 });
    return drawResults(rows, state, results).then(() => results.querySelector(`[data-sort="${name}"]`)?.focus());
  };
  const kind = column ? onOne(column.reduce((top, value) => Math.max(top, Math.abs(value)), 0)) : overAll;
  const count = `${plural(found.length, "clip")}${found.length > PAGE ? `, page ${state.page + 1} of ${pages}` : ""}`;
  results.replaceChildren(
    pager(count, state.page, pages, turn),
    state.as === "cards"
      ? cards(shown, kind, "No clip matches.")
      : shown.length
        ? clipTable(shown, state, sortBy)
        : el("p", "No clip matches."),
    pages > 1 ? pager("", state.page, pages, turn) : "",
  );
  results.turn = turn;
  results.page = () => state.page;
  say(count);
}

function matching(rows, { search, fate, label }) {
  const parts = search.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    if (fate && row.fate !== (fate === "neither" ? "" : fate)) return false;
    if (label && row.label !== label) return false;
    if (!parts.length) return true;
    row.text ??= `${row.name}\n${row.caption}\n${row.id}`.toLowerCase();
    return parts.every((part) => row.text.includes(part));
  });
}

function sorted(rows, { sort, down }) {
  const value = COLUMNS.find(([name]) => name === sort)[2];
  const sign = down ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return sign * (typeof x === "string" ? ORDER.compare(x, y) : x - y) || a.rank - b.rank;
  });
}

function clipTable(rows, state, sortBy) {
  const columns = COLUMNS.filter(([name]) => name !== "influence" || state.query !== "");
  const head = columns.map(([name, title, , falling]) => {
    const own = state.sort === name;
    return el(
      "th",
      { scope: "col", "aria-sort": own ? (state.down ? "descending" : "ascending") : null, class: `is-${name}` },
      el(
        "button",
        { type: "button", "data-sort": name, onclick: () => sortBy(name, falling) },
        title,
        el("span", { "aria-hidden": "true", class: "arrow" }, own ? (state.down ? "↓" : "↑") : ""),
      ),
    );
  });
  const cell = (row) => ({
    rank: () => whole(row.rank),
    name: () =>
      el(
        "div.who",
        row.film && !run.failed[row.film]
          ? el("img", { src: `media/${row.film}.jpg`, alt: "", loading: "lazy" })
          : el("span.blank"),
        el(
          "div",
          el(
            "button",
            { type: "button", class: "name", onclick: (event) => (event.stopPropagation(), openDetails(row)) },
            given(title(row.name)),
          ),
          el("p.caption", given(row.caption)),
        ),
      ),
    votes: () => `${row.votes}/${run.counts.queries}`,
    mean: () => number(row.mean, 4, true),
    influence: () => number(row.influence, 4, true),
    motion: () => number(row.motion, 2),
    label: () => words(row.label),
    fate: () => badge(row.fate) ?? "",
  });
  return el(
    "div.wide",
    el(
      "table.clips",
      el("caption.away", "Clips"),
      el("thead", el("tr", head)),
      el(
        "tbody",
        rows.map((row) =>
          el(
            "tr",
            { "data-item": true, "data-place": row.place, tabindex: "0", ...opening(row) },
            columns.map(([name]) => el("td", { class: `is-${name}` }, cell(row)[name]())),
          ),
        ),
      ),
    ),
  );
}

function pager(told, page, pages, turn) {
  const step = (text, to, off) => el("button", { type: "button", disabled: off, onclick: () => turn(to) }, text);
  return el(
    "div.pager",
    el("p", told),
    pages > 1
      ? el(
          "div",
          step("First", 0, page === 0),
          step("Previous", page - 1, page === 0),
          step("Next", page + 1, page === pages - 1),
          step("Last", pages - 1, page === pages - 1),
        )
      : null,
  );
}
