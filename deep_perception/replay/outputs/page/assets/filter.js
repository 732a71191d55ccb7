// Labels: how often each is there, and which keyframes and regions have the chosen ones.

const MOST_LABELS = 300;

function found(query) {
  const wanted = query.trim().toLowerCase();
  return state.camera.labels
    .map((label, number) => ({ ...label, number }))
    .filter((label) => labelName(label).toLowerCase().includes(wanted))
    // What has no words comes first: it is not many rows, and wants to be seen.
    .sort((a, b) => Boolean(a.name) - Boolean(b.name) || b.regions - a.regions || a.number - b.number);
}

function listLabels() {
  const listed = found(state.query);
  // A chosen label stays in sight whatever is looked for.
  const chosen = [...state.chosen].filter((number) => !listed.some((label) => label.number === number));
  const all = [...chosen.map((number) => ({ ...state.camera.labels[number], number })), ...listed];
  const shown = all.slice(0, MOST_LABELS);
  $("label-list").replaceChildren(...shown.map((label) => {
    const seen = count(sizeOfRuns(label.keyframes), "keyframe");
    return element("li", {}, element("button", {
      class: "item",
      attributes: {
        type: "button", "data-label": label.number, "aria-pressed": state.chosen.has(label.number),
        title: `${count(label.regions, "region")} on ${seen}`,
      },
    }, foreign(labelName(label), "bdi", label.name ? "" : "unnamed"),
    element("span", { class: "number", text: NUMBER.format(label.regions) })));
  }));
  firstStop($("label-list"), ".item");
  $("label-count").textContent = NUMBER.format(state.camera.labels.length);
  $("label-rest").hidden = all.length === shown.length && all.length > 0;
  $("label-rest").textContent = all.length
    ? `and ${NUMBER.format(all.length - shown.length)} more: type to find them` : "No label is like this.";
}

function applyFilter() {
  const { camera, chosen, query } = state;
  if (chosen.size) state.matching = new Set(chosen);
  else if (query.trim()) state.matching = new Set(found(query).map((label) => label.number));
  else state.matching = null;
  const keyframes = matchingKeyframes();
  $("filter").hidden = keyframes === null;
  if (keyframes) {
    const regions = [...state.matching].reduce((sum, number) => sum + camera.labels[number].regions, 0);
    const on = keyframes.filter(Boolean).length;
    $("filter-says").textContent = `${count(regions, "region")} on ${NUMBER.format(on)} of ${count(camera.frames.length, "keyframe")}`;
  }
  markMatches(keyframes);
  showSteps(keyframes);
  state.tracksShown = FEW_TRACKS;
  listTracks();
  showActive();
}

function matchingKeyframes() {
  if (state.matching === null) return null;
  const match = new Array(state.camera.frames.length).fill(false);
  for (const number of state.matching) {
    const runs = state.camera.labels[number].keyframes;
    for (let i = 0; i < runs.length; i += 2) match.fill(true, runs[i], runs[i + 1]);
  }
  return match;
}

function showSteps(keyframes) {
  $("previous-match").disabled = !keyframes || keyframes.lastIndexOf(true, state.at - 1) < 0 || state.at === 0;
  $("next-match").disabled = !keyframes || keyframes.indexOf(true, state.at + 1) < 0;
}

function listenToFilter() {
  $("search").addEventListener("input", () => {
    state.query = $("search").value;
    listLabels();
    applyFilter();
  });
  $("label-list").addEventListener("click", (event) => {
    const item = event.target.closest(".item");
    if (!item) return;
    const number = Number(item.dataset.label);
    if (!state.chosen.delete(number)) state.chosen.add(number);
    item.setAttribute("aria-pressed", state.chosen.has(number));
    applyFilter();
  });
  $("clear").addEventListener("click", () => {
    clearFilter();
    $("search").focus();
  });
  $("previous-match").addEventListener("click", () => go(matchingKeyframes().lastIndexOf(true, state.at - 1)));
  $("next-match").addEventListener("click", () => go(matchingKeyframes().indexOf(true, state.at + 1)));
  roving($("label-list"), ".item");
}

function clearFilter() {
  state.query = $("search").value = "";
  state.chosen.clear();
  listLabels();
  applyFilter();
}
