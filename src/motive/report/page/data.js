// A report's data, which come as scripts that call motiveData: a page from disk may load scripts and nothing else.

const awaited = new Map();
const loaded = new Map();
let run = null;

window.motiveData = (name, value) => awaited.get(name)?.(value);

function load(name) {
  if (!loaded.has(name)) {
    loaded.set(
      name,
      new Promise((done, failed) => {
        awaited.set(name, done);
        const script = el("script", { src: `data/${name}.js` });
        script.addEventListener("error", () =>
          failed(new Error(`data/${name}.js is missing: the report was moved without it, or is being written anew.`)),
        );
        script.addEventListener("load", () => script.remove());
        document.head.append(script);
      }),
    );
  }
  return loaded.get(name);
}

// The clips that the table lists, as rows of names; chunk by chunk, so that the first are there at once.
const NAMES = [
  "place",
  "id",
  "name",
  "caption",
  "rank",
  "votes",
  "mean",
  "motion",
  "label",
  "fate",
  "film",
  "influence",
  "chosen",
];
const asRow = (values) => Object.fromEntries(NAMES.map((name, n) => [name, values[n]]));

let listing = null;
function allClips() {
  listing ??= Promise.all(
    Array.from({ length: Math.ceil(run.table.listed / run.table.chunk) }, (_, n) => load(`clips-${n}`)),
  ).then((chunks) => chunks.flat().map(asRow));
  return listing;
}

async function clipAt(place) {
  const chunk = await load(`clips-${Math.floor(place / run.table.chunk)}`);
  return asRow(chunk[place % run.table.chunk]);
}

async function detailsAt(place) {
  const some = await load(`details-${Math.floor(place / run.table.detailed)}`);
  return some[place % run.table.detailed];
}
