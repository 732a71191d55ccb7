// The picture of a keyframe and the regions over it.

function drawKeyframe() {
  const { block, camera, at } = state;
  const frame = camera.frames[at];
  const [width, height] = block.canvas;
  $("view").style.setProperty("--ratio", width / height);
  const picture = pictureOf(frame.block);
  $("picture").hidden = picture === null;
  if (picture === null) $("picture").removeAttribute("src");
  else $("picture").src = picture;
  $("picture").alt = `Keyframe ${at + 1} of ${camera.topic}`;
  sayWhyNoPicture();
  drawRegions();
  $("where").textContent = [
    `Keyframe ${NUMBER.format(at + 1)} of ${NUMBER.format(camera.frames.length)}`, after(frame.stamp),
    reasonText(frame.reason),
  ].join(" · ");
  $("frame-facts").textContent = [
    date(block.stamp_ns),
    ...(camera.frames.length < camera.total ? [`keyframe ${NUMBER.format(frame.keyframe)} of ${NUMBER.format(camera.total)}`] : []),
    `message ${NUMBER.format(block.position)}`,
    ...(block.frame_id ? [`frame ${block.frame_id}`] : []),
    `${block.size[0]} × ${block.size[1]} px`,
    `${percent(block.coverage)} covered`,
    ...(block.complete ? [] : ["not complete"]),
  ].join(" · ");
  $("region-count").textContent = `${NUMBER.format(block.regions.length)} in this keyframe`;
  $("previous").disabled = at === 0;
  $("next").disabled = at === camera.frames.length - 1;
}

function sayWhyNoPicture() {
  const { picture } = state.block;
  $("no-picture").hidden = picture === "yes";
  if (picture === "unreadable") {
    $("no-picture").replaceChildren("The picture of this keyframe could not be read.");
  } else if (picture === "left out") {
    const button = element("button", { text: "Nearest picture", attributes: { type: "button" } });
    button.addEventListener("click", () => go(nearestWithPicture()));
    $("no-picture").replaceChildren("Left out, to keep the page small. The boxes show where the regions are. ", button);
    button.hidden = nearestWithPicture() < 0;
  }
}

const hasPicture = (frame) => document.getElementById("p" + frame.block) !== null;

function nearestWithPicture() {
  const { frames } = state.camera;
  for (let step = 1; step < frames.length; step++) {
    for (const at of [state.at + step, state.at - step]) {
      if (frames[at] && hasPicture(frames[at])) return at;
    }
  }
  return -1;
}

function drawRegions() {
  const { block, camera } = state;
  const [width, height] = block.canvas;
  const svg = $("regions");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.classList.toggle("boxes", block.picture === "left out");
  const drawn = block.regions.map((region, place) => {
    return shape("path", {
      d: region.path, fill: region.colour, stroke: region.colour, role: "button", tabindex: -1,
      // The picture keeps its colours; the empty fill still feels the pointer.
      "fill-opacity": 0,
      "data-place": place, "class": "region " + region.status, "aria-pressed": "false",
      "aria-label": spoken(region, camera.labels[region.label]),
    });
  });
  // A part is drawn over the whole that it belongs to.
  drawn.sort((a, b) => block.regions[b.dataset.place].area - block.regions[a.dataset.place].area);
  const halos = ["halo-dark", "halo-light", "halo-colour"].map((name) => shape("path", { "class": name, d: "" }));
  svg.replaceChildren(...drawn, ...halos);
  firstStop(svg, ".region");
}

function spoken(region, label) {
  const words = wordsOf(region);
  const said = words ? words.error || words.text : "";
  return [labelName(label), statusText(region), said].filter(Boolean).join(": ");
}

// -- which region is pointed at or chosen ---------------------------------------------------------

function hover(place) {
  if (state.hovered === place) return;
  state.hovered = place;
  showActive();
}

function pin(place) {
  state.pinned = state.pinned === place ? -1 : place;
  // What was tapped away must not stay because the pointer is still over it.
  if (state.pinned < 0) state.hovered = -1;
  showActive();
}

function showActive() {
  const place = active();
  const region = state.block.regions[place];
  for (const drawn of $("regions").querySelectorAll(".region")) {
    const at = Number(drawn.dataset.place);
    drawn.classList.toggle("active", at === place);
    drawn.classList.toggle("away", !matches(state.block.regions[at]));
    drawn.classList.toggle("match", state.matching !== null && matches(state.block.regions[at]));
    drawn.setAttribute("aria-pressed", at === state.pinned);
  }
  for (const halo of $("regions").querySelectorAll("[class^=halo]")) {
    halo.setAttribute("d", region ? region.path : "");
    if (region && halo.getAttribute("class") === "halo-colour") halo.setAttribute("stroke", region.colour);
  }
  for (const item of $("region-list").querySelectorAll(".item")) {
    const at = Number(item.dataset.place);
    item.classList.toggle("active", at === place);
    item.classList.toggle("away", !matches(state.block.regions[at]));
    item.setAttribute("aria-pressed", at === state.pinned);
  }
  showWords();
  markTrack();
}

function showChip(event, text) {
  const chip = $("chip"), box = $("view").getBoundingClientRect();
  chip.hidden = !text;
  if (!text) return;
  chip.textContent = text;
  const x = Math.min(event.clientX - box.left + 14, box.width - chip.offsetWidth - 4);
  const y = event.clientY - box.top + 18;
  const above = y + chip.offsetHeight > box.height;
  chip.style.transform = `translate(${Math.max(4, x)}px, ${above ? y - chip.offsetHeight - 30 : y}px)`;
}

function listenToStage() {
  const svg = $("regions");
  const placeOf = (event) => {
    const drawn = event.target.closest(".region");
    return drawn ? Number(drawn.dataset.place) : -1;
  };
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const place = placeOf(event);
    hover(place);
    const region = state.block.regions[place];
    showChip(event, region ? labelName(state.camera.labels[region.label]) : "");
  });
  svg.addEventListener("pointerleave", () => {
    hover(-1);
    $("chip").hidden = true;
  });
  // Not of the SVG element: Chromium makes one that listens to the focus a stop of the Tab key.
  $("view").addEventListener("focusin", (event) => hover(placeOf(event)));
  $("view").addEventListener("focusout", () => hover(-1));
  svg.addEventListener("click", (event) => pin(placeOf(event)));
  svg.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    pin(placeOf(event));
    event.preventDefault();
  });
  roving($("view"), ".region");
  $("drawn").addEventListener("change", () => svg.classList.toggle("bare", !$("drawn").checked));
}
