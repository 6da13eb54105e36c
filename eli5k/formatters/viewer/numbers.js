// What a map is at each pixel, and what a region is worth: numbers only, nothing of the page.
"use strict";

const BINS = 4096;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function lanczos(x) {
  const angle = Math.PI * Math.abs(x);
  if (angle < 1e-8) return 1;
  return Math.abs(x) < 3 ? (3 * Math.sin(angle) * Math.sin(angle / 3)) / (angle * angle) : 0;
}

// For each pixel along one axis: the cells that it mixes, and how much of it the frame covers.
function alongAxis(low, high, pixels, cells) {
  const start = low * pixels;
  const stop = high * pixels;
  const step = cells / (stop - start);
  const stretch = Math.max(1, step);
  return Array.from({ length: pixels }, (_, pixel) => {
    const cover = Math.min(pixel + 1, stop) - Math.max(pixel, start);
    if (cover <= 1e-6) return { cover: 0, first: 0, weights: [] };
    const middle = clamp((pixel + 0.5 - start) * step, 0, cells);
    const first = Math.max(0, Math.floor(middle - 3 * stretch + 0.5));
    const last = Math.min(cells, Math.floor(middle + 3 * stretch + 0.5));
    const weights = [];
    for (let cell = first; cell < last; cell++) {
      weights.push(lanczos((cell + 0.5 - middle) / stretch));
    }
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { cover: cover > 1 - 1e-6 ? 1 : cover, first, weights: weights.map((each) => each / sum) };
  });
}

// The value of each pixel, NaN outside the frame, and how much of it is covered.
function enlarge(map, width, height) {
  const [left, top, right, bottom] = map.frame;
  const across = alongAxis(left, right, width, map.columns);
  const down = alongAxis(top, bottom, height, map.rows);
  const wide = new Float32Array(map.rows * width);
  for (let row = 0; row < map.rows; row++) {
    across.forEach(({ first, weights }, x) => {
      let sum = 0;
      weights.forEach((weight, number) => {
        sum += weight * map.values[row * map.columns + first + number];
      });
      wide[row * width + x] = sum;
    });
  }
  const values = new Float32Array(width * height);
  const cover = new Float32Array(width * height);
  down.forEach((of, y) => {
    const start = y * width;
    of.weights.forEach((weight, number) => {
      const from = (of.first + number) * width;
      for (let x = 0; x < width; x++) values[start + x] += weight * wide[from + x];
    });
    for (let x = 0; x < width; x++) {
      cover[start + x] = of.cover * across[x].cover;
      if (!cover[start + x]) values[start + x] = NaN;
    }
  });
  return { values, cover, levels: levelsOf(values, map.low, map.high) };
}

// For each percentage, the value from which on pixels are among the hottest.
function levelsOf(values, low, high) {
  const counts = new Uint32Array(BINS);
  let total = 0;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    counts[clamp(Math.floor(((value - low) / (high - low || 1)) * BINS), 0, BINS - 1)]++;
    total++;
  }
  const levels = new Float64Array(101).fill(-Infinity);
  let bin = BINS;
  let above = 0;
  for (let percent = 0; percent < 100; percent++) {
    while (bin > 0 && above + counts[bin - 1] <= (total * percent) / 100) above += counts[--bin];
    levels[percent] = low + (bin / BINS) * (high - low);
  }
  return levels;
}

// What the cells inside a region are worth together; cells at its edge count in part.
function worthOf({ worth, rows, columns }, [left, top, right, bottom]) {
  const shared = (cell, cells, low, high) =>
    Math.max(0, Math.min(cell + 1, high * cells) - Math.max(cell, low * cells));
  return worth.reduce((sum, value, number) => {
    const row = Math.floor(number / columns);
    const height = shared(row, rows, top, bottom);
    return sum + value * height * shared(number % columns, columns, left, right);
  }, 0);
}
