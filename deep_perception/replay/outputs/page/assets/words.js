// The description of the region that is pointed at, and the list of a keyframe's regions.

function showWords() {
  const region = state.block && state.block.regions[active()];
  if (!region) {
    const hint = matchMedia("(pointer: coarse)").matches
      ? "Tap a region to read its description."
      : "Point at a region or click it to read its description. Tab and the arrow keys go there too.";
    $("words").replaceChildren(element("h2", { text: "Description" }), element("p", { class: "quiet", text: hint }));
    return;
  }
  const words = wordsOf(region);
  const label = state.camera.labels[region.label];
  const heading = element("div", { class: "heading" }, swatch(region.colour),
    foreign(labelName(label), "h2", label.name ? "" : "unnamed"));
  const parts = [heading];
  if (label.name) parts.push(element("p", { class: "status " + region.status, text: statusText(region) }));
  if (words && words.error) {
    parts.push(element("p", { class: "error" }, "Not described: ", foreign(words.error)));
  }
  if (words && words.text) parts.push(foreign(words.text, "p", "text"));
  if (words && words.truncated) {
    parts.push(element("p", { class: "quiet", text: "The description ends here because of the length limit." }));
  }
  if (words && Object.keys(words.attributes).length) {
    parts.push(facts("attributes", Object.entries(words.attributes).map(([key, value]) => [foreign(key), foreign(value)])));
  }
  parts.push(facts("facts", factsOf(region, words)));
  $("words").replaceChildren(...parts);
  $("words").scrollTop = 0;
}

function factsOf(region, words) {
  const [width, height] = state.block.size;
  const rows = [["Region", `D${region.index}, from a ${region.source} point`]];
  const track = state.camera.tracks[region.track];
  if (track) rows.push(["Track", foreign(track.id)]);
  if (region.first_seen_s !== null) rows.push(["First seen", after(region.first_seen_s)]);
  if (region.words_age_s !== null) {
    const age = region.words_age_s;
    rows.push(["Description from", age ? duration(age) + " before this picture" : "this picture"]);
  }
  if (words && words.describer) {
    rows.push(["Described by", foreign(words.describer + (words.model ? ` (${words.model})` : ""))]);
  }
  rows.push(["Area", `${NUMBER.format(region.area)} px, ${percent(region.area / (width * height))} of the picture`]);
  rows.push(["Mask score", region.score.toFixed(2)]);
  return rows;
}

function facts(className, rows) {
  const list = element("dl", { class: className });
  for (const [name, value] of rows) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}

function swatch(colour) {
  const made = element("span", { class: "swatch", attributes: { "aria-hidden": "true" } });
  made.style.backgroundColor = colour;
  return made;
}

function listRegions() {
  const items = state.block.regions.map((region, place) => {
    const label = state.camera.labels[region.label];
    const [width, height] = state.block.size;
    const button = element("button", { class: "item", attributes: { type: "button", "data-place": place } },
      swatch(region.colour), foreign(labelName(label), "bdi", label.name ? "" : "unnamed " + label.status));
    if (region.status === "reused") {
      button.append(element("span", { class: "status reused", text: ageText(region) }));
    }
    button.append(element("span", { class: "number", text: percent(region.area / (width * height)) }));
    return element("li", {}, button);
  });
  $("region-list").replaceChildren(...items);
  $("region-list").scrollTop = 0;
  firstStop($("region-list"), ".item");
}

function listenToList() {
  const list = $("region-list");
  const placeOf = (event) => {
    const item = event.target.closest(".item");
    return item ? Number(item.dataset.place) : -1;
  };
  list.addEventListener("pointerover", (event) => event.pointerType === "mouse" && hover(placeOf(event)));
  list.addEventListener("pointerleave", () => hover(-1));
  list.addEventListener("focusin", (event) => hover(placeOf(event)));
  list.addEventListener("focusout", () => hover(-1));
  list.addEventListener("click", (event) => pin(placeOf(event)));
  roving(list, ".item");
}
