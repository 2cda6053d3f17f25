// One query at a time: what it shows, how its influence is spread, and the clips that help and harm it most.

async function queries(argument) {
  const place = Math.min(Math.max(0, Number(argument) || 0), run.queries.length - 1);
  const [query, own] = [run.queries[place], await load(`query-${place}`)];
  const [best, worst] = [own.best.map(asRow), own.worst.map(asRow)];
  const top = Math.max(Math.abs(own.histogram.low), Math.abs(own.histogram.high));
  return [
    el(
      "div.split",
      el(
        "nav.list",
        { "aria-label": "Queries" },
        run.queries.map((entry, n) =>
          el(
            "a",
            { href: `#queries/${n}`, "aria-current": n === place ? "page" : null, "data-query": n },
            entry.film && !run.failed[entry.film]
              ? el("img", { src: `media/${entry.film}.jpg`, alt: "", loading: "lazy" })
              : el("span.blank"),
            el("span", given(title(entry.name))),
          ),
        ),
      ),
      el(
        "div",
        el(
          "div.asked",
          el("div.big", film(query.film, query.name)),
          el(
            "div",
            el("h1", given(title(query.name))),
            el("p.caption", given(query.caption)),
            el(
              "p.facts",
              `${number(query.motion, 1)} px/frame · ${words(query.label)} · votes for clips above ${number(query.cut, 3, true)}`,
            ),
            histogram(own.histogram, `Distribution of influence on ${words(query.name)}`, "influence on this query", [
              [own.cut, "cut", "cut"],
            ]),
            legend(...fateLegend()),
          ),
        ),
        section("Most helpful", null, cards(best, onOne(top))),
        section("Most harmful", null, cards(worst, onOne(top))),
      ),
    ),
  ];
}
