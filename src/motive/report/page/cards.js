// A clip as a card, and grids of them.

const FATE_WORDS = { kept: "kept", harmful: "harmful", "": "" };

function topMean() {
  return Math.max(Math.abs(run.scores.mean.low), Math.abs(run.scores.mean.high));
}

function badge(fate) {
  return fate ? el("span", { class: `badge ${fate}` }, FATE_WORDS[fate]) : null;
}

function influenceWords(value) {
  return run.error_bar ? `influence ${number(value, 3, true)} ± ${number(run.error_bar, 3)}` : `influence ${number(value, 3, true)}`;
}

// influence: [value, largest on the page] on the query at hand; without it the card shows votes and mean influence.
function clipCard(row, influence = null) {
  const [value, top] = influence ?? [row.mean, topMean()];
  const told = influence ? influenceWords(value) : `mean influence ${number(value, 3, true)}`;
  return el("article", { class: "card", tabindex: "0", "data-item": true, "data-place": row.place, "aria-label": `${words(row.name)}, rank ${row.rank}, ${told}`, onclick: () => openDetails(row), onkeydown: (event) => event.key === "Enter" && openDetails(row) },
    film(row.film, row.name),
    el("div", { class: "told" },
      el("p", { class: "value" }, el("strong", {}, number(value, 3, true)), influence && run.error_bar ? el("span", { class: "quiet" }, ` ± ${number(run.error_bar, 3)}`) : null, badge(row.fate)),
      whisker(value, influence ? run.error_bar : 0, top, told),
      el("p", { class: "name" }, given(row.name)),
      el("p", { class: "caption" }, given(row.caption)),
      el("p", { class: "facts" }, `rank ${whole(row.rank)} · ${row.votes}/${run.counts.queries} votes · ${number(row.motion, 1)} px/frame${row.label === "moving" ? "" : ` · ${words(row.label)}`}`)));
}

function cards(rows, top = null, none = "None.") {
  if (!rows.length) return el("p", { class: "about" }, none);
  return el("div", { class: "cards" }, rows.map((row) => clipCard(row, top === null ? null : [row.influence, top])));
}

function trouble(error) {
  return el("p", { class: "caveat", role: "alert" }, words(error.message));
}
