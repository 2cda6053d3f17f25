// Charts as SVG, coloured by the page's style. Every one has a text that says what it shows.

const FATES = [
  ["kept", "kept"],
  ["harmful", "harmful"],
  ["other", "neither"],
];

function chart(width, height, label, ...children) {
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label },
    svg("title", label),
    ...children,
  );
}

// On a narrow screen a chart is narrower, not smaller: its texts stay legible.
const chartWidth = () => Math.max(300, Math.min(640, innerWidth - 40));

function text(x, y, value, attributes = {}) {
  return svg("text", { x, y, ...attributes }, value);
}

function legend(...entries) {
  return el(
    "ul.legend",
    entries.map(([name, told]) => el("li", el("span", { class: `swatch ${name}`, "aria-hidden": "true" }), told)),
  );
}

function ticks(low, high, count = 5) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step)
    found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return { values: found, digits: Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) + (step / power === 2.5 ? 1 : 0)))) };
}

// Counts by fate, stacked. lines: [value, class, label] upright across it.
function histogram(data, label, unit, lines = []) {
  const [W, H, left, right, top, foot] = [chartWidth(), 220, 46, 12, 26, 40];
  const bins = data.counts.kept.length;
  const totals = Array.from({ length: bins }, (_, n) => FATES.reduce((sum, [fate]) => sum + data.counts[fate][n], 0));
  const most = Math.max(1, ...totals);
  const x = (value) => left + ((value - data.low) / (data.high - data.low || 1)) * (W - left - right);
  // The square root, so that a few clips are seen beside thousands.
  const y = (count) => H - foot - Math.sqrt(count / most) * (H - foot - top);
  const bars = [];
  for (let n = 0; n < bins; n++) {
    let below = 0;
    for (const [fate, told] of FATES) {
      const count = data.counts[fate][n];
      if (!count) continue;
      const width = (W - left - right) / bins;
      const [from, to] = [data.low + (n * (data.high - data.low)) / bins, data.low + ((n + 1) * (data.high - data.low)) / bins];
      bars.push(
        svg(
          "rect",
          {
            x: left + n * width + 0.5,
            width: Math.max(0.5, width - 1),
            y: y(below + count),
            height: y(below) - y(below + count),
            class: `bar ${fate}`,
          },
          svg("title", `${plural(count, "clip")} ${told}, ${number(from, 3)} to ${number(to, 3)} ${unit}`),
        ),
      );
      below += count;
    }
  }
  const scale = ticks(data.low, data.high, 6);
  const counts = [...new Set([1, Math.round(most / 4), most])].filter((count) => count >= 1);
  return chart(
    W,
    H,
    label,
    counts.map((count) => [
      svg("line", { x1: left, x2: W - right, y1: y(count), y2: y(count), class: "rule" }),
      text(left - 6, y(count) + 4, whole(count), { class: "end" }),
    ]),
    bars,
    svg("line", { x1: left, x2: W - right, y1: H - foot, y2: H - foot, class: "axis" }),
    scale.values.map((value) => text(x(value), H - foot + 16, number(value, scale.digits), { class: "mid" })),
    text((left + W - right) / 2, H - 6, unit, { class: "mid quiet" }),
    lines
      .filter(([value]) => value >= data.low && value <= data.high)
      .map(([value, kind, told]) => [
        svg("line", { x1: x(value), x2: x(value), y1: top - 8, y2: H - foot, class: `mark ${kind}` }),
        text(Math.min(Math.max(x(value), left + 40), W - right - 40), top - 12, told, { class: `mid ${kind}` }),
      ]),
  );
}

// A value with its standard error, on a scale from -top to top.
function whisker(value, error, top, label) {
  const [W, H, middle] = [200, 14, 100];
  const x = (v) => middle + Math.max(-1, Math.min(1, v / (top || 1))) * 96;
  const fate = value < 0 ? "harmful" : "kept";
  return chart(
    W,
    H,
    label,
    svg("line", { x1: 4, x2: 196, y1: 7, y2: 7, class: "rule" }),
    svg("rect", { x: Math.min(middle, x(value)), width: Math.abs(x(value) - middle), y: 3, height: 8, class: `bar ${fate}` }),
    error
      ? [
          svg("line", { x1: x(value - error), x2: x(value + error), y1: 7, y2: 7, class: "error" }),
          [-error, error].map((side) =>
            svg("line", { x1: x(value + side), x2: x(value + side), y1: 4, y2: 10, class: "error" }),
          ),
        ]
      : null,
    svg("line", { x1: middle, x2: middle, y1: 0, y2: 14, class: "axis" }),
  );
}

function heatmap(matrix, names, label, open) {
  const [cell, left, top] = [Math.max(14, Math.min(44, 560 / names.length)), 150, 12];
  const side = cell * names.length;
  const few = cell >= 30;
  const cells = matrix.flatMap((row, a) =>
    row.map((value, b) => {
      const told = a === b ? words(names[a]) : `${words(names[a])} and ${words(names[b])}: ${share(value)} in common`;
      return svg(
        "g",
        svg(
          "rect",
          {
            x: left + b * cell + 1,
            y: top + a * cell + 1,
            width: cell - 2,
            height: cell - 2,
            rx: 3,
            class: a === b ? "heat same" : "heat",
            "fill-opacity": a === b ? 1 : (0.05 + 0.75 * value).toFixed(3),
          },
          svg("title", told),
        ),
        few && a !== b
          ? text(left + (b + 0.5) * cell, top + (a + 0.5) * cell + 4, Math.round(100 * value), {
              class: "mid",
            })
          : null,
      );
    }),
  );
  const short = (name) => (words(name).length > 20 ? `${words(name).slice(0, 19)}…` : words(name));
  const figure = chart(
    left + side + 8,
    top + side + 8,
    label,
    cells,
    names.map((name, n) =>
      text(left - 8, top + (n + 0.5) * cell + 4, short(name), { class: "end label", onclick: () => open(n) }),
    ),
  );
  figure.style.maxWidth = `${left + side + 8}px`;
  return figure;
}

// Curves over steps: series are [name, [[x, y], ...]].
function curves(series, label, xTitle, yTitle) {
  const [W, H, left, right, top, foot] = [chartWidth(), 240, 62, 12, 14, 40];
  const points = series.flatMap(([, own]) => own);
  if (!points.length) return el("p", "Nothing was recorded.");
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  if (y0 === y1) [y0, y1] = [y0 - 1, y1 + 1];
  const x = (value) => left + ((value - x0) / (x1 - x0 || 1)) * (W - left - right);
  const y = (value) => H - foot - ((value - y0) / (y1 - y0)) * (H - foot - top);
  const [across, upright] = [ticks(x0, x1, 6), ticks(y0, y1, 4)];
  const path = (own) => own.map(([a, b], n) => `${n ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  return el(
    "figure.plot",
    chart(
      W,
      H,
      label,
      upright.values.map((value) => [
        svg("line", { x1: left, x2: W - right, y1: y(value), y2: y(value), class: value === 0 ? "axis" : "rule" }),
        text(left - 6, y(value) + 4, number(value, upright.digits), { class: "end" }),
      ]),
      across.values.map((value) => text(x(value), H - foot + 16, number(value, across.digits), { class: "mid" })),
      text((left + W - right) / 2, H - 6, xTitle, { class: "mid quiet" }),
      text(left, 10, yTitle, { class: "quiet" }),
      series.map(([name, own], n) => svg("path", { d: path(own), class: `curve c${n % 8}` }, svg("title", words(name)))),
    ),
    series.length > 1
      ? el(
          "ul.legend",
          series.map(([name], n) => el("li", el("span", { class: `swatch c${n % 8}`, "aria-hidden": "true" }), given(name))),
        )
      : null,
  );
}

// Means with intervals, one below the other, on one scale; as wide as there is room, each row as tall as a line beside it.
function intervals(rows, label) {
  const each = 26;
  const ends = rows.flatMap(({ mean, low, high }) => [mean, low, high]).filter(Number.isFinite);
  if (!ends.length) return el("span", "–");
  let [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - room, high + room];
  const x = (value) => `${(3 + (94 * (value - low)) / (high - low)).toFixed(2)}%`;
  const scale = ticks(low, high, 4);
  const height = rows.length * each + 20;
  return svg(
    "svg.chart.intervals",
    { height, role: "img", "aria-label": label },
    svg("title", label),
    scale.values.map((value) => [
      svg("line", { x1: x(value), x2: x(value), y1: 0, y2: height - 18, class: "rule" }),
      text(x(value), height - 4, number(value, scale.digits), { class: "mid" }),
    ]),
    rows.map(({ mean, low: a, high: b, name }, n) => {
      const middle = (n + 0.5) * each;
      if (!Number.isFinite(mean)) return null;
      return svg(
        "g",
        svg("title", `${words(name)}: ${number(mean)} [${number(a)}, ${number(b)}]`),
        Number.isFinite(a) && Number.isFinite(b)
          ? svg("line", { x1: x(a), x2: x(b), y1: middle, y2: middle, class: "interval" })
          : null,
        svg("circle", { cx: x(mean), cy: middle, r: 5, class: "dot" }),
      );
    }),
  );
}
