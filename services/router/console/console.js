"use strict";
// Reads the router's own API every two seconds and shows it. It changes nothing: what steers the
// rollout asks for a reason, and the command line keeps that in the audit.

const PERIOD_MS = 2000;
const SLOW_EVERY = 3; // what changes seldom is read every third time
const DECISIONS = 12;
const session = window.sessionStorage;

// ---- making elements: text goes in as text, never as markup ----

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

function fill(id, ...children) {
  document.querySelector(`#${id} > div`).replaceChildren(...children.filter(Boolean));
}

// A head that begins with # is that of numbers.
function table(heads, rows) {
  const kind = heads.map((head) => (head.startsWith("#") ? { class: "n" } : {}));
  const head = make("tr", {}, heads.map((text, i) => make("th", kind[i], text.replace(/^#/, ""))));
  const lines = rows.map((row) => make("tr", {}, row.map((cell, i) => make("td", kind[i], cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, lines));
}

function coloured(text, kind) {
  return make("span", { class: kind }, text);
}

// ---- how values are written ----

const number = (value, digits = 2) =>
  value === null || value === undefined ? "—" : Number(value).toFixed(digits);
const share = (value) =>
  value === null || value === undefined ? "—" : `${(value * 100).toFixed(1)} %`;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
const lasting = (seconds) => {
  if (seconds >= 86400) return `${(seconds / 86400).toFixed(1)} days`;
  if (seconds >= 3600) return `${(seconds / 3600).toFixed(1)} h`;
  if (seconds >= 60) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
};

// ---- the parts of the page ----

function showRollout(state) {
  const kind = { ROLLED_BACK: "bad", OFF: "soft" }[state.phase] || "good";
  const flags = state.flags.environment_allows && state.flags.off_because.length === 0;
  const waits = state.schedule.waits_for.join("; ");
  fill(
    "rollout",
    make("p", { class: "big" }, coloured(state.phase, kind)),
    make("div", { class: "bar" }, make("i", { style: `width:${Math.min(1, state.percentage) * 100}%` })),
    make("p", {}, `share of L3 in PERCENTAGE: ${share(state.percentage)} · generation ${state.generation}`),
    make("p", {}, state.l3_may_answer ? coloured("L3 may answer", "warn") : "L2 gives every answer"),
    make("p", { class: "soft" }, `${state.reason} (${state.actor})`),
    state.control.known
      ? make("p", { class: "soft" }, `control state ${number(state.control.age_seconds)} s old`)
      : make("p", { class: "bad" }, `control state ${state.control.status}: ${state.control.why}`),
    flags ? null : make("p", { class: "warn" }, `switched off: ${state.flags.off_because.join("; ") || "by the environment"}`),
    make("p", { class: "soft" }, `schedule ${state.schedule.armed ? "armed" : "not armed"}${waits ? `: ${waits}` : ""}`),
  );
}

function showHealth(ready) {
  const rows = Object.entries(ready.checks).map(([name, check]) => [
    name,
    coloured(check.ok ? "ok" : "failing", check.ok ? "good" : check.required ? "bad" : "warn"),
    check.detail,
  ]);
  const kind = { ready: "good", degraded: "warn" }[ready.status] || "bad";
  fill("health", make("p", { class: "big" }, coloured(ready.status, kind)), table(["", "", ""], rows));
}

const EXAMPLE = `curl ${location.origin}/v1/executions -H 'Content-Type: application/json' -d '{
  "order": {"symbol": "AAPL", "side": "BUY", "quantity": "150", "type": "MARKET"},
  "market": {"timestamp_ms": ${Date.now()}, "bids": [["99.99", "100"], ["99.98", "300"]],
             "asks": [["100.01", "100"], ["100.02", "300"]], "last_price": "100"},
  "asset_class": "EQUITY"}'`;

function showShadow(summary) {
  const all = summary.overall;
  if (all.pairs === 0) {
    fill("shadow", make("p", { class: "soft" }, "No pairs yet. Send an order and look here:"),
      make("pre", {}, make("code", {}, EXAMPLE)));
    return;
  }
  const line = (name, part) => [
    name, part.pairs, number(part.mean_difference_bps, 3), number(part.rmse_bps, 3),
    share(part.control_fill_rate), share(part.candidate_fill_rate), share(part.candidate_error_rate),
    part.latency_overhead_seconds === null ? "—" : number(part.latency_overhead_seconds * 1000),
  ];
  const symbols = Object.entries(summary.by_symbol).sort((a, b) => b[1].pairs - a[1].pairs).slice(0, 6);
  fill(
    "shadow",
    table(
      ["", "#pairs", "#L3 − L2, bps", "#RMSE", "#L2 filled", "#L3 filled", "#L3 errors", "#L3 slower, ms"],
      [line("all", all), ...symbols.map(([name, part]) => line(name, part))],
    ),
    make("p", { class: "soft" }, `${summary.mirrored} mirrored, ${summary.dropped} not mirrored (bounded rate); slippage above 0 costs`),
  );
}

function showJudge(analysis) {
  const verdict = analysis.verdict;
  const kind = { PROMOTE: "good", ROLLBACK: "bad" }[verdict.outcome] || "soft";
  const band = verdict.mean_bps === null ? null :
    `L3 − L2: ${number(verdict.mean_bps, 3)} bps, always-valid interval ${number(verdict.lower_bps, 3)} to ${number(verdict.upper_bps, 3)}`;
  fill(
    "judge",
    make("p", { class: "big" }, coloured(verdict.outcome, kind)),
    make("p", {}, verdict.reason),
    band ? make("p", {}, band) : null,
    make("p", { class: "soft" }, `${verdict.orders} orders in ${verdict.blocks} symbol-minutes; false alarms at most ${share(analysis.config.alpha)}; decides by ${new Date(verdict.deadline_at * 1000).toLocaleString()}${verdict.overdue ? " (overdue)" : ""}`),
  );
}

function showTriggers(triggers) {
  const rows = triggers.readings.map((reading) => [
    reading.text,
    lasting(reading.window_seconds),
    reading.samples,
    reading.over,
    share(reading.share),
    share(reading.share_max),
    reading.tripped ? coloured("tripped", "bad") :
      reading.samples < reading.minimum ? coloured(`needs ${reading.minimum}`, "soft") : coloured("quiet", "good"),
  ]);
  fill(
    "triggers",
    make("p", { class: triggers.auto_rollback_enabled ? "soft" : "warn" },
      triggers.auto_rollback_enabled ? "Each rolls back by itself, and latches." : "Automatic rollback is off: they only tell."),
    table(["", "window", "#seen", "#over the limit", "#share", "#allowed", ""], rows),
  );
}

function showGate(gate) {
  const kinds = { GO: "good", HOLD: "warn", GREEN: "good", YELLOW: "warn", RED: "bad" };
  const rows = gate.rows.map((row) => [
    row.name, coloured(row.colour, kinds[row.colour] || "soft"), row.reason, row.direction,
    row.green === null ? "—" : row.green, row.red === null ? "—" : row.red, row.unit, lasting(row.window_seconds),
  ]);
  fill(
    "gate",
    make("p", { class: "big" }, coloured(gate.decision, kinds[gate.decision] || "bad")),
    table(["", "", "", "", "#green", "#red", "unit", "window"], rows),
  );
}

function showDecisions(body) {
  const rows = body.decisions.map((one) => {
    const order = one.request && one.request.order ? one.request.order : {};
    const filled = one.fill || {};
    return [
      clock(one.at), one.symbol, `${order.side || ""} ${order.quantity || ""} ${order.type || ""}`,
      one.arm, one.rule, filled.status || one.refusal || "—",
      filled.average_price ? Number(Number(filled.average_price).toPrecision(9)) : "—",
      filled.slippage_bps === null || filled.slippage_bps === undefined ? "—" : number(filled.slippage_bps, 2),
      make("a", { href: `/v1/decisions/${encodeURIComponent(one.id)}` }, one.id.slice(0, 8)),
    ];
  });
  fill("decisions", rows.length === 0 ? make("p", { class: "soft" }, "None yet.") :
    table(["at", "symbol", "order", "answered by", "because", "result", "#price", "#slippage, bps", "record"], rows));
}

function showAudit(body) {
  const rows = body.entries.slice(0, 8).map((entry) => [
    new Date(entry.updated_at).toLocaleString(), entry.generation, entry.phase, entry.actor, entry.reason,
  ]);
  fill("audit", table(["at", "#generation", "phase", "by", "reason"], rows));
}

// ---- reading ----

class NeedsToken extends Error {}

async function read(path) {
  const token = session.getItem("touchstone-token");
  const answer = await fetch(path, {
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    signal: AbortSignal.timeout(5000),
  });
  if (answer.status === 401 || answer.status === 403) throw new NeedsToken();
  const body = await answer.json();
  // A router that is not ready says so with 503, and why.
  if (!answer.ok && !(path === "/readyz" && answer.status === 503)) {
    throw new Error(body.error ? body.error.message : `${path}: HTTP ${answer.status}`);
  }
  return body;
}

const QUICK = [
  ["/readyz", showHealth],
  ["/v1/rollout", showRollout],
  ["/v1/shadow/summary", showShadow],
  [`/v1/decisions?limit=${DECISIONS}`, showDecisions],
];
const SLOW = [
  ["/v1/rollout/analysis", (analysis) => { showJudge(analysis); showTriggers(analysis.triggers); }],
  ["/v1/go-no-go", showGate],
  ["/v1/rollout/audit", showAudit],
];

function say(text, kind) {
  const chip = document.getElementById("link");
  chip.textContent = text;
  chip.className = `chip ${kind}`;
}

async function refresh(turn) {
  const wanted = turn % SLOW_EVERY === 0 ? [...QUICK, ...SLOW] : QUICK;
  const results = await Promise.allSettled(wanted.map(async ([path, show]) => show(await read(path))));
  const faults = results.filter((one) => one.status === "rejected").map((one) => one.reason);
  document.getElementById("login").hidden = !faults.some((fault) => fault instanceof NeedsToken);
  const others = faults.filter((fault) => !(fault instanceof NeedsToken));
  if (others.length > 0) say(`what is shown may be old: ${others[0].message}`, "bad");
  else say(`as of ${new Date().toLocaleTimeString()}`, "soft");
}

async function run() {
  for (let turn = 0; ; turn += 1) {
    // A page that nobody looks at asks nothing.
    if (!document.hidden || turn === 0) await refresh(turn);
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
}

document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  session.setItem("touchstone-token", document.getElementById("token").value);
});
run();
