// Keyframes and tracks over time, on one axis.

const AXIS = 1000; // units across
// More keyframes than there are pixels to part them by.
const DENSE = 300;
const FEW_TRACKS = 8, MORE_TRACKS = 500;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];

function position(time) {
  const { times, end } = state.camera;
  return (AXIS * (time - times[0])) / (end - times[0]);
}

// From when to when a keyframe is the newest one, in units of the axis.
function slot(at) {
  const { times, end } = state.camera;
  return [position(times[at]), position(at + 1 < times.length ? times[at + 1] : end)];
}

const rounded = (value) => Math.round(value * 100) / 100;

// Boxes over the time of runs of keyframes, each at least so wide that it is seen.
function bars(runs, top, bottom, { least = 0, gap = 0 } = {}) {
  let path = "";
  for (let i = 0; i < runs.length; i += 2) {
    const from = slot(runs[i])[0];
    const to = Math.max(from + least, slot(runs[i + 1] - 1)[1] - gap);
    path += `M${rounded(from)} ${top}H${rounded(to)}V${bottom}H${rounded(from)}z`;
  }
  return path;
}

function drawTimeline() {
  const { frames, axis } = state.camera;
  const svg = shape("svg", { viewBox: `0 0 ${AXIS} 40`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const dense = frames.length > DENSE;
  svg.classList.toggle("dense", dense);
  const byReason = new Map();
  frames.forEach((frame, at) => {
    if (!byReason.has(frame.reason)) byReason.set(frame.reason, []);
    byReason.get(frame.reason).push(at, at + 1);
  });
  for (const [reason, runs] of byReason) {
    const edges = runs.filter((_, i) => i % 2 === 0).map((at) => `M${rounded(slot(at)[0])} 4V36`);
    svg.append(
      shape("path", { "class": "slot " + reasonClass(reason), d: bars(runs, 4, 36, { gap: dense ? 0 : 1 }) }),
      shape("path", { "class": "edge " + reasonClass(reason), d: edges.join("") }));
  }
  if (frames.some((frame) => !hasPicture(frame))) {
    const pictured = frames.flatMap((frame, at) => (hasPicture(frame) ? [at, at + 1] : []));
    svg.append(shape("path", { "class": "pictured", d: bars(pictured, 0, 3, { least: 1 }) }));
  }
  svg.append(shape("path", { "class": "others", d: "" }), shape("path", { "class": "matches", d: "" }));
  $("strip").replaceChildren(svg, element("div", { class: "now" }));
  $("strip").setAttribute("aria-valuemin", 1);
  $("strip").setAttribute("aria-valuemax", frames.length);
  $("legend").replaceChildren(...[...byReason].map(([reason, runs]) =>
    element("li", {}, element("span", { class: "key " + reasonClass(reason) }), foreign(reasonText(reason)),
      element("span", { class: "quiet", text: ` ${NUMBER.format(runs.length / 2)}` }))));
  $("axis-name").textContent = { stamp: "time", log: "time recorded", order: "in order" }[axis];
  drawAxis();
}

function drawAxis() {
  const { times, end, axis } = state.camera;
  const span = end - times[0];
  const wanted = Math.max(2, Math.floor($("axis").clientWidth / 80));
  const step = STEPS.find((each) => span / each <= wanted) || Math.ceil(span / wanted / 86400) * 86400;
  const marks = [];
  for (let time = 0; time < span; time += step) {
    const text = axis === "order" ? String(time + 1) : duration(time);
    const mark = element("span", { text });
    mark.style.left = `${(100 * time) / span}%`;
    if (time / span < 0.95) marks.push(mark);
  }
  $("axis").replaceChildren(...marks);
}

function markKeyframe() {
  const { camera, at } = state;
  const frame = camera.frames[at];
  const [from, to] = slot(at);
  for (const mark of [$("strip").querySelector(".now"), $("cursor")]) {
    mark.style.left = `${from / 10}%`;
    mark.style.width = `${(to - from) / 10}%`;
  }
  $("strip").setAttribute("aria-valuenow", at + 1);
  $("strip").setAttribute("aria-valuetext",
    `${at + 1} of ${NUMBER.format(camera.frames.length)}, ${after(frame.stamp)}, ${reasonText(frame.reason)}, ${count(frame.regions, "region")}`);
}

function markMatches(found) {
  const runs = (wanted) => found.flatMap((match, at) => (match === wanted ? [at, at + 1] : []));
  $("strip").querySelector(".matches").setAttribute("d", found ? bars(runs(true), 36, 40, { least: 0.5 }) : "");
  $("strip").querySelector(".others").setAttribute("d", found ? bars(runs(false), 4, 36) : "");
}

function keyframeAt(event, box) {
  const { times, end } = state.camera;
  const time = times[0] + ((event.clientX - box.left) / box.width) * (end - times[0]);
  let [low, high] = [0, times.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (times[middle] <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

// -- tracks -----------------------------------------------------------------------------------------

function listTracks() {
  const { camera } = state;
  const wanted = camera.longest.filter((number) =>
    state.matching === null || state.matching.has(camera.tracks[number].label));
  const shown = wanted.slice(0, state.tracksShown);
  $("track-list").replaceChildren(...shown.map((number) => trackRow(number)));
  firstStop($("track-list"), ".track");
  $("track-count").textContent = wanted.length === camera.tracks.length
    ? `${NUMBER.format(camera.tracks.length)}, the longest-lived first`
    : `${NUMBER.format(wanted.length)} of ${NUMBER.format(camera.tracks.length)} match`;
  const rest = wanted.length - shown.length;
  $("more-tracks").hidden = rest === 0;
  $("more-tracks").textContent = rest > MORE_TRACKS
    ? `Show ${MORE_TRACKS} more of ${NUMBER.format(rest)}` : `Show all ${NUMBER.format(wanted.length)} tracks`;
  $("tracks").hidden = camera.tracks.length === 0;
  markTrack();
}

function trackRow(number) {
  const { camera } = state;
  const track = camera.tracks[number];
  const label = camera.labels[track.label];
  const runs = track.keyframes;
  const [first, last] = [runs[0], runs[runs.length - 1] - 1].map((at) => after(camera.frames[at].stamp));
  const seen = `seen on ${sizeOfRuns(runs)} of ${count(camera.frames.length, "keyframe")}, ${first} to ${last}`;
  const svg = shape("svg", { viewBox: `0 0 ${AXIS} 10`, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(shape("path", { d: bars(runs, 0, 10, { least: 2 }) }));
  const button = element("button", { class: "row track", attributes: { type: "button", title: seen, "data-track": number } },
    element("span", { class: "name" }, swatch(track.colour),
      foreign(labelName(label), "bdi", label.name ? "" : "unnamed"), foreign(track.id, "bdi", "id")),
    element("span", { class: "lane" }, svg),
    element("span", { class: "unseen", text: `, ${seen}` }));
  return element("li", {}, button);
}

function markTrack() {
  const region = state.block && state.block.regions[active()];
  for (const row of $("track-list").querySelectorAll(".track")) {
    row.classList.toggle("active", Boolean(region) && Number(row.dataset.track) === region.track);
  }
}

function showTrack(event) {
  const row = event.target.closest(".track");
  if (!row) return;
  const number = Number(row.dataset.track);
  const lane = row.querySelector(".lane").getBoundingClientRect();
  // A click of the keyboard has no place.
  const wanted = event.detail && event.clientX >= lane.left ? keyframeAt(event, lane) : state.at;
  go(nearestInRuns(state.camera.tracks[number].keyframes, wanted), number);
}

function listenToTimeline() {
  const strip = $("strip");
  const scrub = (event) => go(keyframeAt(event, strip.getBoundingClientRect()));
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    scrub(event);
  });
  strip.addEventListener("pointermove", (event) => strip.hasPointerCapture(event.pointerId) && scrub(event));
  strip.addEventListener("keydown", (event) => {
    const last = state.camera.frames.length - 1;
    const page = Math.max(1, Math.round(last / 10));
    const steps = { Home: 0, End: last, PageUp: state.at + page, PageDown: state.at - page, ArrowUp: state.at + 1, ArrowDown: state.at - 1 };
    if (!(event.key in steps)) return;
    go(steps[event.key]);
    event.preventDefault();
  });
  $("track-list").addEventListener("click", showTrack);
  roving($("track-list"), ".track");
  $("more-tracks").addEventListener("click", () => {
    state.tracksShown += MORE_TRACKS;
    listTracks();
  });
  addEventListener("resize", drawAxis);
}
