// Choosing anew, where the report is served: which queries vote, for how many clips, and how many are kept.

const token = document.documentElement.dataset.token;
const choice = { queries: null, percentile: null, size: null };
let asking = 0;

async function ask(path, body) {
  const answer = await fetch(
    path,
    body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "Content-Type": "application/json", "X-Motive-Token": token },
          body: JSON.stringify(body),
        },
  ).catch(() => null);
  if (answer === null) throw new Error("The server does not answer; is `motive view` still running?");
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error || `The server says ${answer.status}.`);
  return said;
}

async function choose() {
  choice.queries ??= new Set(run.queries.map((query) => query.id));
  choice.percentile ??= Number((100 * (1 - run.keep)).toFixed(2));
  choice.size ??= run.counts.kept;
  const results = el("div.results", { "aria-live": "polite" });
  let waiting = 0;
  const changed = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => showChoice(results), 150);
  };
  const boxes = run.queries.map((query, n) => {
    const box = el("input", {
      type: "checkbox",
      id: `query-${n}`,
      checked: choice.queries.has(query.id),
      onchange: () => {
        choice.queries[box.checked ? "add" : "delete"](query.id);
        changed();
      },
    });
    return el(
      "label.tick",
      { for: `query-${n}` },
      box,
      query.film && !run.failed[query.film] ? el("img", { src: `media/${query.film}.jpg`, alt: "" }) : el("span.blank"),
      given(title(query.name)),
    );
  });
  const all = (on) => () => {
    choice.queries = new Set(on ? run.queries.map((query) => query.id) : []);
    for (const box of document.querySelectorAll(".tick input")) box.checked = on;
    changed();
  };
  const numberField = (id, label, about, attributes, name) => {
    const input = el("input", {
      id,
      type: "number",
      required: true,
      "aria-describedby": `${id}-about`,
      ...attributes,
      value: choice[name],
      oninput: () => {
        if (input.checkValidity()) {
          choice[name] = Number(input.value);
          changed();
        }
      },
    });
    return el("div.field", el("label", { for: id }, label), input, el("p.about", { id: `${id}-about` }, about));
  };
  const name = el("input", {
    id: "name",
    maxlength: "60",
    pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
    required: true,
    value: "choice-1",
    spellcheck: "false",
    autocomplete: "off",
  });
  const told = el("p", { role: "status", id: "exported" });
  const exporting = el(
    "form",
    {
      class: "tools",
      onsubmit: (event) => {
        event.preventDefault();
        exportChoice(name.value, told);
      },
    },
    el("div.field.wider", el("label", { for: "name" }, "Name of this choice"), name),
    el("button.main", "Export for trainers"),
    told,
  );
  changed();
  return [
    el("h1", "Choose again"),
    el(
      "p.about",
      "The same vote as the run's own, by the queries you pick. Nothing of the run changes: a choice goes to a folder of its own in views/.",
    ),
    el(
      "fieldset",
      el("legend", "Queries that vote"),
      el(
        "p",
        el("button", { type: "button", onclick: all(true) }, "All"),
        " ",
        el("button", { type: "button", onclick: all(false) }, "None"),
      ),
      el("div.ticks", boxes),
    ),
    el(
      "div.tools",
      numberField(
        "percentile",
        "Percentile",
        "A query votes for clips above this percentile of its influence.",
        { min: 0, max: 99.99, step: "any" },
        "percentile",
      ),
      numberField(
        "size",
        "Clips to keep",
        `Of ${whole(run.counts.scored)}.`,
        { min: 1, max: run.counts.scored, step: 1 },
        "size",
      ),
    ),
    exporting,
    results,
  ];
}

const wanted = () => ({ queries: [...choice.queries], percentile: choice.percentile, size: choice.size });

async function showChoice(results) {
  const turn = ++asking;
  if (!choice.queries.size) return results.replaceChildren(el("p.caveat", "Pick at least one query."));
  try {
    const found = await ask("select", wanted());
    if (turn !== asking) return;
    const kept = found.kept.map(asRow);
    results.replaceChildren(
      el("h2", `${plural(found.size, "clip")} kept`),
      el("p", { id: "shared" }, `${whole(found.shared)} of them are also kept by the run itself.`),
      ...found.caveats.map((line) => el("p.caveat", words(line))),
      cards(
        kept,
        chosen(
          kept.reduce((top, row) => Math.max(top, Math.abs(row.influence)), 0),
          choice.queries.size,
        ),
      ),
      kept.length < found.size ? el("p", `The first ${kept.length}; an export holds all.`) : "",
    );
  } catch (error) {
    if (turn === asking) results.replaceChildren(trouble(error));
  }
}

async function exportChoice(name, told) {
  const refused = (error) => {
    told.className = "bad";
    told.textContent = words(error.message);
  };
  told.className = "";
  told.textContent = "Exporting…";
  try {
    await ask("export", { ...wanted(), name });
    for (;;) {
      const { state, done, total, folder, failed, error } = await ask("export");
      if (state === "failed") throw new Error(error);
      if (state === "done") {
        told.textContent = `Exported to ${words(folder)}${failed.length ? `; ${plural(failed.length, "clip")} could not be: ${words(failed[0])}` : ""}`;
        return;
      }
      told.textContent = `Exporting: ${done} of ${total} videos`;
      await new Promise((next) => setTimeout(next, 250));
    }
  } catch (error) {
    refused(error);
  }
}
