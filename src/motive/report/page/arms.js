// What came of training on the selection: arms side by side.

async function arms() {
  const known = await load("arms");
  if (known.arms.some((arm) => arm.influence)) clipNames = new Map((await allClips()).map((row) => [row.id, row.name]));
  return [
    el("h1", "What training brings"),
    el("p.about", "An arm is a model trained on one choice of clips, with the same steps, noise and order as the others."),
    ...known.notes.map((line) => el("p.caveat", words(line))),
    missing(),
    known.metrics ? metrics(known.metrics) : null,
    known.samples ? samples(known.samples) : null,
    follows(training(known.arms)),
    costs([
      ...known.arms
        .filter((arm) => typeof arm.seconds === "number")
        .map((arm) => ({ what: given(`Training ${arm.arm}`), seconds: arm.seconds, clips: 0 })),
      ...run.costs,
    ]),
  ];
}

const BETTER = { higher: "higher is better", lower: "lower is better", neither: "" };

function metrics({ arms, comparisons, notes, official }) {
  const names = Object.keys(arms);
  const kinds = [...new Set(names.flatMap((name) => Object.keys(arms[name]?.metrics ?? {})))];
  const motions = [...new Set(names.flatMap((name) => Object.keys(arms[name]?.motions ?? {})))].sort();
  const results = el("div");
  const draw = (motion) =>
    results.replaceChildren(
      el(
        "div.metrics",
        kinds.map((kind) =>
          metric(kind, names, (name) => (motion ? arms[name]?.motions?.[motion]?.[kind] : arms[name]?.metrics?.[kind])),
        ),
      ),
    );
  draw("");
  return section(
    "Metrics",
    "On generated videos, with intervals of 95 %.",
    motions.length
      ? el("div.tools", picker("Motion", [["", "all motions"], ...motions.map((motion) => [motion, words(motion)])], "", draw))
      : null,
    results,
    comparisons?.length
      ? el(
          "details",
          { open: comparisons.length <= 12 },
          el("summary", "Arms compared, paired by prompt and seed"),
          table(
            ["metric", "arms", "difference", "95 % interval", "p", "n"],
            comparisons.map((row) => [
              given(row.metric),
              given(`${row.a} − ${row.b}`),
              number(row.difference, 4, true),
              `[${number(row.low, 4, true)}, ${number(row.high, 4, true)}]`,
              number(row.p, 3),
              row.n ?? "–",
            ]),
            { label: "Comparisons" },
          ),
        )
      : null,
    official?.arms && official.dimensions
      ? [
          el("h3", "VBench's own scores"),
          table(
            ["arm", ...official.dimensions.map((name) => given(name))],
            Object.entries(official.arms).map(([arm, own]) => [
              given(arm),
              ...official.dimensions.map((name) => number(own?.[name], 4)),
            ]),
            { label: "VBench's own scores" },
          ),
        ]
      : null,
    notes?.length
      ? el(
          "ul.about",
          notes.map((line) => el("li", given(line))),
        )
      : null,
  );
}

function metric(kind, names, of) {
  const rows = names.map((name) => ({ name, ...(of(name) ?? {}) }));
  const known = rows.find((row) => row.better || row.unit) ?? {};
  const about = [known.unit, BETTER[known.better]].filter(Boolean).join(", ");
  const means = rows.map((row) => row.mean).filter(Number.isFinite);
  const digits = Math.max(2, Math.min(5, 1 - Math.floor(Math.log10(Math.max(...means) - Math.min(...means) || 0.1))));
  return el(
    "div.metric",
    el("h3", given(kind.replaceAll("_", " "))),
    about ? el("p.about", words(about)) : null,
    el(
      "div.rows",
      el(
        "ul",
        rows.map((row) =>
          el("li", given(row.name), el("span.value", number(row.mean, digits), el("span.quiet", ` n ${row.n ?? "–"}`))),
        ),
      ),
      intervals(rows, `${words(kind)} of each arm with its interval`),
    ),
  );
}

function samples({ prompts, videos }) {
  const shown = prompts.filter((prompt) => Object.values(videos).some((own) => own[prompt.id]));
  const names = Object.keys(videos);
  const list = el("div");
  const turn = (page) => {
    const pages = Math.max(1, Math.ceil(shown.length / 10));
    list.replaceChildren(
      ...shown.slice(page * 10, page * 10 + 10).map((prompt) => sampleRow(prompt, names, videos)),
      pages > 1 ? pager(`page ${page + 1} of ${pages}`, page, pages, turn) : "",
    );
  };
  turn(0);
  return section("Generated videos", "The same prompt and the same noise, arm beside arm.", list);
}

function sampleRow(prompt, names, videos) {
  const seeds = [...new Set(names.flatMap((name) => (videos[name][prompt.id] ?? []).map(([seed]) => seed)))].sort(
    (a, b) => a - b,
  );
  const row = el("div.row-of-arms");
  const show = (seed) =>
    row.replaceChildren(
      ...names.map((name) => {
        const found = (videos[name][prompt.id] ?? []).find(([own]) => own === Number(seed));
        return el("figure", el("figcaption", given(name)), film(found?.[1], `${name}: ${prompt.prompt}`, { own: true }));
      }),
    );
  show(seeds[0]);
  const pick =
    seeds.length > 1
      ? el(
          "div.seeds",
          { role: "group", "aria-label": "Seed" },
          seeds.map((seed) =>
            el(
              "button",
              {
                type: "button",
                "aria-pressed": String(seed === seeds[0]),
                onclick: (event) => {
                  for (const other of event.target.parentElement.children)
                    other.setAttribute("aria-pressed", other === event.target);
                  show(seed);
                },
              },
              `seed ${seed}`,
            ),
          ),
        )
      : null;
  return el(
    "article.sample",
    { tabindex: "0", "data-item": true },
    el("div.bar", el("h3", given(prompt.prompt)), prompt.motion ? el("span.quiet", given(prompt.motion)) : null, pick),
    row,
  );
}

function training(known) {
  if (!known.length) return null;
  const losses = known.filter((arm) => arm.loss?.length).map((arm) => [arm.arm, arm.loss]);
  const watched = known.filter((arm) => arm.influence);
  return section(
    "Training",
    null,
    table(
      ["arm", "clips", "steps", "seed", "time", "state"],
      known.map((arm) => [
        given(arm.arm),
        typeof arm.clips === "number" ? whole(arm.clips) : "–",
        arm.steps ?? "–",
        arm.seed ?? "–",
        typeof arm.seconds === "number" ? duration(arm.seconds) : "–",
        words(arm.state ?? ""),
      ]),
      { label: "Arms" },
    ),
    losses.length ? [el("h3", "Loss"), curves(losses, "Training loss of each arm over steps", "step", "loss")] : null,
    watched.length ? during(watched) : null,
  );
}

// Where the report is served, what training tells is asked for again while it goes on.
function follows(first) {
  const place = el("div", { id: "training" }, first);
  let before = "";
  const look = async () => {
    if (!place.isConnected) return;
    const { arms: now } = await ask("arms").catch(() => ({ arms: null }));
    const told = JSON.stringify(now);
    if (now?.length && told !== before) place.replaceChildren(training(now));
    before = told;
    setTimeout(look, 4000);
  };
  if (token) setTimeout(look, 1000);
  return place;
}

// The arms' batches on one scale, and each arm's queries and clips below.
function during(watched) {
  const mean = ({ arm, influence }) => [
    arm,
    influence.steps.map(([step, own]) => [step, own.reduce((sum, value) => sum + value, 0) / own.length]),
  ];
  return [
    el("h3", "Influence during training"),
    el(
      "p.about",
      "How much the clips of each measured batch helped the queries at that step, on average; above zero they helped.",
    ),
    curves(watched.map(mean), "Mean influence of each arm's batches over steps", "step", "influence"),
    watched.map(({ arm, influence }) =>
      el(
        "details",
        { open: watched.length === 1 },
        el("summary", given(arm), ": by query and by clip"),
        byQuery(arm, influence),
        byClip(influence),
      ),
    ),
  ];
}

function byQuery(arm, { queries, steps }) {
  const series = queries.map((query, n) => [title(queryName(query)), steps.map(([step, own]) => [step, own[n]])]);
  return curves(series, `Influence of batches of ${words(arm)} on each query over steps`, "step", "influence");
}

function byClip({ helping, hindering }) {
  const rows = (entries) => entries.map(([id, value]) => [given(clipName(id)), number(value, 4, true)]);
  return el(
    "div.pair",
    table(["helped most", "sum"], rows(helping), { label: "Clips that helped most" }),
    hindering.length ? table(["helped least", "sum"], rows(hindering), { label: "Clips that helped least" }) : null,
  );
}

function queryName(id) {
  return run.queries.find((query) => query.id === id)?.name ?? id;
}

let clipNames = new Map();
function clipName(id) {
  return title(clipNames.get(id) ?? id);
}
