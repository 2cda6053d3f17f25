// A clip as a card, and grids of them.

const FATE_WORDS = { kept: "kept", harmful: "harmful", "": "" };

function topMean() {
  return Math.max(Math.abs(run.scores.mean.low), Math.abs(run.scores.mean.high));
}

function badge(fate) {
  return fate ? el("span", { class: `badge ${fate}` }, FATE_WORDS[fate]) : null;
}

function influenceWords(value) {
  return run.error_bar
    ? `influence ${number(value, 3, true)} ± ${number(run.error_bar, 3)}`
    : `influence ${number(value, 3, true)}`;
}

// What a card shows of its clip: mean influence over the run's queries, influence on one query, or a choice's own mean.
const overAll = (row) => ({
  value: row.mean,
  error: 0,
  top: topMean(),
  told: `mean influence ${number(row.mean, 3, true)}`,
  votes: `${row.votes}/${run.counts.queries} votes`,
});
const onOne = (top) => (row) => ({
  ...overAll(row),
  value: row.influence,
  error: run.error_bar,
  top,
  told: influenceWords(row.influence),
});
const chosen = (top, of) => (row) => ({
  value: row.influence,
  error: 0,
  top,
  told: `mean influence ${number(row.influence, 3, true)}`,
  votes: `${row.chosen}/${of} votes`,
});

function clipCard(row, { value, error, top, told, votes }) {
  return el(
    "article",
    {
      class: "card",
      tabindex: "0",
      "data-item": true,
      "data-place": row.place,
      "aria-label": `${words(row.name)}, rank ${row.rank}, ${told}`,
      ...opening(row),
    },
    film(row.film, row.name),
    badge(row.fate),
    el(
      "div.told",
      el("p.value", el("strong", number(value, 3, true)), error ? el("span.quiet", ` ± ${number(error, 3)}`) : null),
      whisker(value, error, top, told),
      el("p.name", given(title(row.name))),
      el("p.caption", given(row.caption)),
      el(
        "p.facts",
        `rank ${whole(row.rank)} · ${votes}`,
        el("br"),
        `${number(row.motion, 1)} px/frame${row.label === "moving" ? "" : ` · ${words(row.label)}`}`,
      ),
    ),
  );
}

function cards(rows, of = overAll, none = "None.") {
  return rows.length
    ? el(
        "div.cards",
        rows.map((row) => clipCard(row, of(row))),
      )
    : el("p.about", none);
}

function trouble(error) {
  return el("p.caveat", { role: "alert" }, words(error.message));
}
