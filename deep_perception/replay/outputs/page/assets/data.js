// What the page holds. A block is read when it is looked at, and a few are kept.

const KEPT_BLOCKS = 40;

function textOf(id) {
  const block = document.getElementById(id);
  return block ? block.textContent : null;
}

function remembering(read) {
  const kept = new Map();
  return (number) => {
    const found = kept.has(number) ? kept.get(number) : read(number);
    kept.delete(number);
    kept.set(number, found);
    if (kept.size > KEPT_BLOCKS) kept.delete(kept.keys().next().value);
    return found;
  };
}

const INDEX = JSON.parse(textOf("index"));

const blockOf = remembering((number) => {
  const block = JSON.parse(textOf("k" + number));
  block.regions = block.regions.map((row) =>
    Object.fromEntries(INDEX.columns.map((name, column) => [name, row[column]])));
  return block;
});

const wordsBlock = remembering((number) => JSON.parse(textOf("w" + number)));

function wordsOf(region) {
  if (region.words < 0) return null;
  const block = wordsBlock(Math.floor(region.words / INDEX.words_a_block));
  return block[region.words % INDEX.words_a_block];
}

function pictureOf(number) {
  const data = textOf("p" + number);
  return data === null ? null : "data:image/jpeg;base64," + data;
}

// -- runs: [start, end) pairs in one flat list ------------------------------------------------

function nearestInRuns(runs, number) {
  let best = runs[0];
  for (let i = 0; i < runs.length; i += 2) {
    const near = Math.min(Math.max(number, runs[i]), runs[i + 1] - 1);
    if (Math.abs(near - number) < Math.abs(best - number)) best = near;
  }
  return best;
}

function sizeOfRuns(runs) {
  let size = 0;
  for (let i = 0; i < runs.length; i += 2) size += runs[i + 1] - runs[i];
  return size;
}

// -- a camera -----------------------------------------------------------------------------------

const CAMERAS = INDEX.cameras.map((camera) => {
  const frames = camera.frames.map(([block, keyframe, stamp, log, reason, regions]) =>
    ({ block, keyframe, stamp, log, reason: camera.reasons[reason], regions }));
  return { ...camera, frames, ...timesOf(frames, camera.tail_s) };
});

// Stamps that go back, as when a bag is played again, make no axis: then the time of recording
// does, else the keyframes lie side by side. The last one is the newest until the recording ends.
function timesOf(frames, tail) {
  for (const name of ["stamp", "log"]) {
    const times = frames.map((frame) => frame[name]);
    const ascending = times.every((time, i) => i === 0 || time >= times[i - 1]);
    if (ascending && times[times.length - 1] > times[0]) {
      const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
      const gap = gaps[Math.floor(gaps.length / 2)] || (times[times.length - 1] - times[0]) / 20;
      return { axis: name, times, end: times[times.length - 1] + (tail || gap) };
    }
  }
  return { axis: "order", times: frames.map((_, i) => i), end: Math.max(1, frames.length) };
}

// -- what is looked at ----------------------------------------------------------------------------

const state = {
  camera: CAMERAS[0],
  at: 0, // which of the camera's keyframes
  block: null, // its content
  pinned: -1, // a region's place in the block, or none
  hovered: -1,
  query: "",
  chosen: new Set(), // numbers of labels
  matching: null, // numbers of labels, or null where nothing is filtered
  tracksShown: 0,
};

const active = () => (state.hovered >= 0 ? state.hovered : state.pinned);
const matches = (region) => state.matching === null || state.matching.has(region.label);
