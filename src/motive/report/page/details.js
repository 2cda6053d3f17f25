// All that is known of one clip, in a dialog; the clips before and after it, as the view behind lists them, are a key away.

// What makes an element open its clip, by mouse and by keyboard.
function opening(row) {
  const onkeydown = (event) => {
    if (event.key !== "Enter" || event.target !== event.currentTarget) return;
    event.preventDefault(); // else it would also press the button that the dialog begins with
    openDetails(row);
  };
  return { onclick: () => openDetails(row), onkeydown };
}

async function openDetails(row) {
  const box = at("details");
  const item = [...document.querySelectorAll("main [data-item]")].find((entry) => entry.dataset.place === String(row.place));
  if (item) focusItem(item);
  box.replaceChildren(
    el(
      "div.bar",
      el("h2", { id: "details-name" }, given(row.name)),
      badge(row.fate),
      el("button", { type: "button", onclick: () => besides(-1) }, "Previous"),
      el("button", { type: "button", onclick: () => besides(1) }, "Next"),
      el("button", { type: "button", autofocus: true, onclick: () => box.close() }, "Close"),
    ),
    el(
      "div.detail",
      el(
        "div",
        el("div.big", film(row.film, row.name)),
        el("p.caption.whole", given(row.caption)),
        el("dl.facts-list", ownFacts(row)),
      ),
      el("div.reach", el("p", "Loading…")),
    ),
  );
  if (!box.open) box.showModal();
  if (row.place === null)
    return box
      .querySelector(".reach")
      .replaceChildren(el("p", "It is not among the clips that this report lists; ranking.parquet holds all."));
  try {
    const known = await detailsAt(row.place);
    if (at("details-name")?.textContent !== words(row.name)) return;
    box.querySelector(".reach").replaceChildren(...reach(known), el("dl.facts-list", otherFacts(known)));
  } catch (error) {
    box.querySelector(".reach").replaceChildren(trouble(error));
  }
}

function pairOf(name, value) {
  return el("div", el("dt", given(name)), el("dd", given(value)));
}

function ownFacts(row) {
  return [
    pairOf("rank", `${whole(row.rank)} of ${whole(run.counts.scored)}`),
    pairOf("votes", `${row.votes} of ${run.counts.queries}`),
    pairOf("mean influence", number(row.mean, 4, true)),
    pairOf("sustained motion", `${number(row.motion, 2)} px/frame, ${words(row.label)}`),
    pairOf("id", row.id),
  ];
}

function otherFacts(known) {
  let extra = {};
  try {
    extra = JSON.parse(known.extra) ?? {};
  } catch {
    // shown without
  }
  return [
    pairOf("mean motion", `${number(known.motion_mean, 2)} px/frame`),
    pairOf("source", `${known.source_width} × ${known.source_height}`),
    pairOf("loss", number(known.loss, 4)),
    pairOf("gradient norm", number(known.gradient_norm, 4)),
    ...Object.entries(extra).map(([name, value]) => pairOf(name, typeof value === "string" ? value : JSON.stringify(value))),
  ];
}

function reach({ influence }) {
  const top = Math.max(...influence.map(Math.abs), 1e-9);
  const order = influence.map((value, n) => [value, n]).sort((a, b) => b[0] - a[0]);
  return [
    el("h3", "Influence on each query"),
    el(
      "p.about",
      run.error_bar
        ? `Each with its standard error, ± ${number(run.error_bar, 3)}. A dot marks a vote.`
        : "A dot marks a vote.",
    ),
    el(
      "ul.bars",
      order.map(([value, n]) => {
        const query = run.queries[n];
        const told = `${words(query.name)}: ${influenceWords(value)}${value > query.cut ? ", a vote" : ""}`;
        return el(
          "li",
          el("a", { href: `#queries/${n}`, onclick: () => at("details").close() }, given(title(query.name))),
          whisker(value, run.error_bar, top, told),
          el("span.value", number(value, 3, true)),
          el("span", { class: value > query.cut ? "vote" : "vote no", "aria-hidden": "true" }),
        );
      }),
    ),
  ];
}

function besides(step) {
  const items = [...document.querySelectorAll("main [data-item]")];
  const now = items.findIndex((entry) => entry.classList.contains("current"));
  const next = items[now + step];
  if (next) next.click();
}
