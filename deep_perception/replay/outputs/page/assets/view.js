// Elements and texts. Words of a recording are untrusted: they only ever become text nodes.

const $ = (id) => document.getElementById(id);

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  if (options.class) made.className = options.class;
  if (options.text !== undefined) made.textContent = options.text;
  for (const [key, value] of Object.entries(options.attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Words in any script, none of which may reorder the text around them.
function foreign(text, name = "bdi", className = "") {
  return element(name, { text, class: className, attributes: { dir: "auto" } });
}

const NUMBER = new Intl.NumberFormat("en-GB");

function count(number, one, many = one + "s") {
  return NUMBER.format(number) + " " + (number === 1 ? one : many);
}

function percent(share) {
  const value = 100 * share;
  return (value >= 10 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : "< 0.1") + " %";
}

// 4.2 s, 1:02, 1:02:03
function duration(seconds) {
  const sign = seconds < 0 ? "−" : "";
  const whole = Math.abs(seconds);
  if (whole < 60) return sign + (whole % 1 ? whole.toFixed(1) : whole) + " s";
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const rest = two(whole % 60);
  return sign + (hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`);
}

const after = (seconds) => (seconds < 0 ? "" : "+") + duration(seconds);

// A stamp in nanoseconds (a text, as numbers are not exact so far up) as a date, where it is one.
function date(stamp) {
  const milliseconds = Number(stamp) / 1e6;
  if (milliseconds < 1e12 || milliseconds > 8e15) return `${Number(stamp) / 1e9} s`;
  return new Date(milliseconds).toISOString().replace("T", " ").replace("Z", " UTC");
}

const REASONS = {
  first: "first picture",
  scene: "scene change",
  view: "view change",
  local: "local change",
  heartbeat: "time passed",
  requested: "requested",
};
const reasonClass = (reason) => "reason-" + (Object.hasOwn(REASONS, reason) ? reason : "other");
const reasonText = (reason) => (Object.hasOwn(REASONS, reason) ? REASONS[reason] : reason);

const STATUSES = { described: "described", reused: "reused", failed: "failed", pending: "not described yet" };

function statusText(region) {
  return region.status === "reused" ? `reused, ${ageText(region)}` : STATUSES[region.status];
}

function ageText(region) {
  return region.words_age_s === null ? "of unknown age" : `${duration(region.words_age_s)} old`;
}

function labelName(label) {
  if (label.name) return label.name;
  return label.status === "failed" ? "(failed)" : "(not described yet)";
}

// One stop of the Tab key for a whole list; the up and down arrow keys go on from there.
function roving(container, selector) {
  const items = () => [...container.querySelectorAll(selector)];
  container.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = items();
    const at = all.indexOf(event.target.closest(selector));
    if (at < 0) return;
    const to = Math.min(Math.max(at + steps[event.key], 0), all.length - 1);
    all[to].focus();
    event.preventDefault();
    event.stopPropagation();
  });
  container.addEventListener("focusin", (event) => {
    const focused = event.target.closest(selector);
    if (!focused) return;
    for (const item of items()) item.setAttribute("tabindex", item === focused ? 0 : -1);
  });
}

function firstStop(container, selector, preferred) {
  const stop = preferred || container.querySelector(selector);
  for (const item of container.querySelectorAll(selector)) item.setAttribute("tabindex", -1);
  if (stop) stop.setAttribute("tabindex", 0);
}
