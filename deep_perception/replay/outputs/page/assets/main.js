// Cameras, keys, and the start.

function go(to, track = null) {
  const { camera } = state;
  const at = Math.min(Math.max(to, 0), camera.frames.length - 1);
  const before = state.block && state.block.regions[state.pinned];
  const wanted = track !== null ? track : before ? before.track : -1;
  state.at = at;
  state.block = blockOf(camera.frames[at].block);
  // What was chosen stays chosen where it is seen again.
  state.pinned = wanted < 0 ? -1 : state.block.regions.findIndex((region) => region.track === wanted);
  state.hovered = -1;
  $("chip").hidden = true;
  drawKeyframe();
  listRegions();
  markKeyframe();
  showSteps(matchingKeyframes());
  showActive();
  rememberPlace();
}

function showCamera(camera, keyframe = 0) {
  state.camera = camera;
  state.block = null;
  state.pinned = -1;
  state.tracksShown = FEW_TRACKS;
  drawTimeline();
  state.block = blockOf(camera.frames[0].block);
  clearFilter();
  go(keyframe);
  describeCamera();
}

function describeCamera() {
  const { camera } = state;
  const shown = camera.frames.length;
  const pictures = camera.frames.filter(hasPicture).length;
  const says = [];
  if (shown < camera.total) {
    says.push(`${NUMBER.format(shown)} of ${count(camera.total, "keyframe")} are on this page, evenly chosen, and what is counted here are those; all are in scenes.jsonl.`);
  }
  if (camera.pictures_left_out) {
    says.push(`The pictures of ${NUMBER.format(pictures)} of ${count(shown, "keyframe")} are on this page, evenly chosen (marked on the time line).`);
  }
  if (camera.unreadable) {
    says.push(`${count(camera.unreadable, "picture")} could not be read.`);
  }
  $("notes").textContent = says.join(" ");
  $("notes").hidden = says.length === 0;
}

// -- header -------------------------------------------------------------------------------------

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function showHeader() {
  $("title").textContent = INDEX.title;
  const { statuses } = INDEX;
  const regions = sum(Object.values(statuses));
  const says = [
    count(sum(CAMERAS.map((camera) => camera.total)), "keyframe"),
    ...(CAMERAS.length > 1 ? [count(CAMERAS.length, "camera")] : []),
    count(regions, "region"),
    count(sum(CAMERAS.map((camera) => camera.tracks.length)), "track"),
    ...["reused", "failed", "pending"].filter((name) => statuses[name])
      .map((name) => `${NUMBER.format(statuses[name])} ${STATUSES[name]}`),
    ...backends("segmented by", INDEX.segmenters), ...backends("described by", INDEX.describers),
  ];
  $("summary").textContent = says.join(" · ");
  const warnings = [
    ...INDEX.warnings,
    ...Object.entries(INDEX.scene_warnings).map(([text, times]) => `${text} (on ${count(times, "keyframe")})`),
  ];
  $("warnings").hidden = warnings.length === 0;
  $("warnings").querySelector("summary").textContent = count(warnings.length, "warning");
  $("warnings").querySelector("ul").replaceChildren(...warnings.map((text) => foreign(text, "li")));
}

function backends(what, counts) {
  const names = Object.keys(counts);
  if (names.length < 2) return names.map((name) => `${what} ${name}`);
  return [`${what} ${names.map((name) => `${name} (${NUMBER.format(counts[name])})`).join(", ")}`];
}

function offerCameras() {
  $("camera").replaceChildren(...CAMERAS.map((camera, number) =>
    element("option", { text: `${camera.topic} (${NUMBER.format(camera.frames.length)})`, attributes: { value: number } })));
  $("camera-choice").hidden = CAMERAS.length < 2;
  $("camera").addEventListener("change", () => showCamera(CAMERAS[Number($("camera").value)]));
}

// -- the place in the address, so that it can be passed on ------------------------------------------

let placeTimer = 0;

function rememberPlace() {
  clearTimeout(placeTimer);
  placeTimer = setTimeout(() => {
    const place = `#c${CAMERAS.indexOf(state.camera) + 1}k${state.camera.frames[state.at].keyframe}`;
    history.replaceState(null, "", place);
  }, 300);
}

function startAt() {
  const [, camera, keyframe] = /^#c(\d+)k(\d+)$/.exec(location.hash) || [];
  const chosen = CAMERAS[Number(camera) - 1] || CAMERAS[0];
  const at = chosen.frames.findIndex((frame) => String(frame.keyframe) === keyframe);
  $("camera").value = CAMERAS.indexOf(chosen);
  showCamera(chosen, Math.max(0, at));
}

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input[type=search], select")) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      const inside = ["regions", "region-list"].find((id) => $(id).contains(event.target));
      go(state.at + step);
      if (inside) keepFocusIn($(inside));
      event.preventDefault();
    } else if (event.key === "Escape") {
      state.pinned = state.hovered = -1;
      showActive();
    }
  });
  $("previous").addEventListener("click", () => go(state.at - 1));
  $("next").addEventListener("click", () => go(state.at + 1));
}

// The focused element went away with its keyframe.
function keepFocusIn(container) {
  const wanted = container.querySelector(`[data-place="${state.pinned}"]`);
  const stop = wanted || container.querySelector("[data-place]");
  if (stop) stop.focus();
}

showHeader();
$("empty").hidden = CAMERAS.length > 0;
if (CAMERAS.length) {
  $("main").hidden = false;
  offerCameras();
  listenToStage();
  listenToList();
  listenToTimeline();
  listenToFilter();
  listenToKeys();
  startAt();
}
