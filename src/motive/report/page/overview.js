// The first view: what came out, what to be careful about, and what was run.

async function overview() {
  const { counts } = run;
  const rows = await allClips();
  const kept = rows.filter((row) => row.fate === "kept").slice(0, 6);
  const harmful = rows
    .filter((row) => row.fate === "harmful")
    .slice(-6)
    .reverse();
  return [
    el(
      "div.lead",
      el("h1", `${plural(counts.kept, "clip")} of ${whole(counts.pool)} to train on`),
      el(
        "p",
        `Chosen by the votes of ${plural(counts.queries, "query", "queries")}: each votes for the clips whose training, by this model's own gradients, helps the motion it shows most.`,
      ),
    ),
    ...run.caveats.map((line) =>
      el("p", { class: `caveat${/UNTRAINED|NOT SURE|changed|cannot|agree/.test(line) ? " strong" : ""}` }, words(line)),
    ),
    el(
      "dl.tiles",
      [
        ["Scored", whole(counts.scored)],
        ["Kept", whole(counts.kept)],
        ["Harmful", whole(counts.harmful)],
        ["Queries", whole(counts.queries)],
        ["Without a score", whole(counts.unscored)],
        ...(run.error_bar === null ? [] : [["Error of a score", `± ${number(run.error_bar, 3)}`]]),
      ].map(([name, value]) => el("div", el("dt", name), el("dd", value))),
    ),
    section(
      "Most helpful",
      "The first of the clips that were kept.",
      cards(kept),
      el("p", el("a", { href: "#clips" }, "All clips")),
    ),
    section(
      "Most harmful",
      "The last by votes and mean influence: look at them before you leave them in.",
      cards(harmful, overAll, "None is listed here."),
      harmful.length ? el("p", el("a", { href: "#harmful" }, "Review all harmful clips")) : null,
    ),
    el(
      "div.pair",
      section(
        "Mean influence",
        "All clips; heights are the square root of counts.",
        histogram(run.scores.mean, "Distribution of mean influence over all clips", "mean influence"),
        legend(...fateLegend()),
      ),
      section(
        "Votes",
        "How many queries vote for a clip.",
        histogram({ low: -0.5, high: counts.queries + 0.5, counts: run.scores.votes }, "Distribution of votes", "votes"),
        legend(...fateLegend()),
      ),
    ),
    el(
      "div.pair",
      section(
        "Motion",
        `Sustained motion; below ${run.motion.floor} px/frame a clip counts as static.`,
        histogram(
          run.motion.speed,
          "Distribution of sustained motion",
          "px/frame",
          run.motion.floor ? [[run.motion.floor, "cut", "floor"]] : [],
        ),
        legend(...fateLegend()),
      ),
      section("What moves", "Clips by what their motion is.", labels()),
    ),
    common(),
    missing(),
    section(
      "What was run",
      `Report of ${words(run.made)}.`,
      facts(run.brief),
      el("details", el("summary", "Every setting"), facts(run.settings)),
    ),
    costs(run.costs),
    unscored(),
  ];
}

function fateLegend() {
  return [
    ["kept", "kept"],
    ["harmful", "harmful"],
    ["other", "neither"],
  ];
}

function facts(entries) {
  return el(
    "dl.facts-list",
    entries.map(([name, value]) => el("div", el("dt", given(name)), el("dd", given(value || "–")))),
  );
}

function labels() {
  const fates = [
    ["kept", "Kept"],
    ["harmful", "Harmful"],
    ["other", "Neither"],
  ];
  const count = (fate) => Object.values(run.motion.labels).reduce((sum, own) => sum + own[fate], 0) || 1;
  return table(
    ["", ...fates.map(([, told]) => told)],
    [
      ...Object.entries(run.motion.labels).map(([label, own]) => [
        label,
        ...fates.map(([fate]) => el("span", whole(own[fate]), el("span.quiet", ` ${share(own[fate] / count(fate))}`))),
      ]),
      ["median px/frame", ...fates.map(([fate]) => number(run.motion.medians[fate], 2))],
    ],
    { label: "Clips by label and fate" },
  );
}

function common() {
  if (run.queries.length < 2) return null;
  const names = run.queries.slice(0, run.overlap.length).map((query) => title(query.name));
  const few = run.queries.length > names.length ? ` The first ${names.length} of ${run.queries.length} queries.` : "";
  return section(
    "What queries have in common",
    `Of the clips that two queries vote for, the share that both do, in per cent.${few}`,
    el(
      "div.wide",
      { tabindex: "0", role: "region", "aria-label": "Clips in common" },
      heatmap(run.overlap, names, "Share of clips in common between queries", (n) => (location.hash = `queries/${n}`)),
    ),
  );
}

function missing() {
  if (!run.missing.length) return null;
  return section(
    "Not made yet",
    null,
    el(
      "ul.missing",
      run.missing.map(({ what, command }) => el("li", `${what}: `, el("code", words(command)), " does that.")),
    ),
  );
}

function costs(entries) {
  if (!entries.length) return null;
  return section(
    "What it cost",
    "Seconds that all workers together spent.",
    table(
      ["", "time", "a clip"],
      entries.map(({ what, seconds, clips }) => [what, duration(seconds), clips ? `${number(seconds / clips, 2)} s` : "–"]),
      { label: "Costs" },
    ),
  );
}

function unscored() {
  if (!run.counts.unscored) return null;
  return section(
    `${plural(run.counts.unscored, "clip")} without a score`,
    run.without_score.length < run.counts.unscored ? `The first ${run.without_score.length}.` : null,
    table(
      ["clip", "of", "what", "reason"],
      run.without_score.map((row) => [given(row.name || row.id), row.of, row.status, given(row.reason)]),
      { label: "Clips without a score" },
    ),
  );
}
