"use strict";
(() => {
  // A small picture is enlarged by a whole factor until its longer side has so many pixels.
  const SHORTEST = 224;
  const DIMMED = 0.4;
  const BINS = 4096;

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const read = (element) => JSON.parse(element.textContent);
  const page = read(document.getElementById("page"));
  const tools = document.getElementById("tools").elements;
  const colours = Object.fromEntries(page.colours.map(([name, table]) => [name, bytes(table)]));
  const cards = [...document.querySelectorAll(".card")];
  // Cards near the screen, with their pictures in memory.
  const live = new Map();

  // Numbers -----------------------------------------------------------------------------------

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

  // Pictures ----------------------------------------------------------------------------------

  function draw(card) {
    const { canvas, map } = card;
    const picture = card.pictures[map.picture];
    if (!picture.base) return;
    const { width, height, base } = picture;
    if (!map.large) map.large = enlarge(map, width, height);
    const { values, cover, levels } = map.large;
    const table = colours[tools.colours.value];
    const limit = tools.opacity.value / 100;
    const level = levels[tools.hottest.value];
    const isDark = tools.dark.checked;
    const scale = 1 / (map.to - map.from || 1);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = image.data;
    for (let number = 0, at = 0; number < values.length; number++, at += 4) {
      let red = base[at];
      let green = base[at + 1];
      let blue = base[at + 2];
      const opaque = base[at + 3];
      if (isDark) red = green = blue = DIMMED * (0.299 * red + 0.587 * green + 0.114 * blue);
      const value = values[number];
      let heat = value >= level ? (value - map.from) * scale : 0;
      heat = heat > 1 ? 1 : heat > 0 ? heat : 0;
      const alpha = (heat < limit ? heat : limit) * cover[number];
      if (alpha) {
        const colour = 3 * Math.min(255, Math.floor(heat * 256));
        // Over a transparent pixel the colours count for more.
        const under = (opaque / 255) * (1 - alpha);
        const all = alpha + under;
        red = (alpha * table[colour] + under * red) / all;
        green = (alpha * table[colour + 1] + under * green) / all;
        blue = (alpha * table[colour + 2] + under * blue) / all;
        pixels[at + 3] = 255 * all;
      } else {
        pixels[at + 3] = opaque;
      }
      pixels[at] = red;
      pixels[at + 1] = green;
      pixels[at + 2] = blue;
    }
    context.putImageData(image, 0, 0);
    drawBoxes(card);
  }

  function place(element, [left, top, right, bottom]) {
    const shares = [left, top, right, bottom].map((share) => clamp(share, 0, 1));
    element.style.left = `${100 * shares[0]}%`;
    element.style.top = `${100 * shares[1]}%`;
    element.style.width = `${100 * (shares[2] - shares[0])}%`;
    element.style.height = `${100 * (shares[3] - shares[1])}%`;
  }

  function drawBoxes({ stage, map }) {
    stage.querySelectorAll(".box").forEach((box) => box.remove());
    if (!tools.boxes.checked) return;
    for (const shares of map.boxes) {
      const box = document.createElement("div");
      box.className = "box";
      place(box, shares);
      stage.append(box);
    }
  }

  async function load(card, picture) {
    const image = new Image();
    image.src = picture.source;
    await image.decode();
    const side = Math.max(image.naturalWidth, image.naturalHeight);
    const factor = side < SHORTEST ? Math.ceil(SHORTEST / side) : 1;
    picture.width = factor * image.naturalWidth;
    picture.height = factor * image.naturalHeight;
    const canvas = document.createElement("canvas");
    canvas.width = picture.width;
    canvas.height = picture.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, picture.width, picture.height);
    picture.base = context.getImageData(0, 0, picture.width, picture.height).data;
    picture.original = canvas;
  }

  // Cards -------------------------------------------------------------------------------------

  async function show(card, number) {
    const map = card.maps[number];
    card.map = map;
    card.select.value = number;
    card.said.textContent = map.said;
    card.canvas.setAttribute("aria-label", `Heatmap for ${map.said}`);
    if (!map.values) {
      const step = (map.high - map.low) / 255;
      map.values = Float32Array.from(bytes(map.cells), (code) => map.low + step * code);
    }
    hideCell(card);
    const picture = card.pictures[map.picture];
    if (!picture.base) await load(card, picture);
    if (card.map !== map) return;
    card.canvas.width = picture.width;
    card.canvas.height = picture.height;
    showOriginal(card);
    draw(card);
    card.element.dataset.shown = number;
  }

  function showOriginal(card) {
    card.element.classList.toggle("with-original", tools.original.checked);
    card.element.querySelector(".original")?.remove();
    const picture = card.map && card.pictures[card.map.picture];
    if (!tools.original.checked || !picture?.original) return;
    const canvas = picture.original;
    canvas.className = "original";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The original picture");
    card.stage.after(canvas);
  }

  function open(element) {
    const data = read(element.querySelector('script[type="application/json"]'));
    if (!data.maps.length) return null;
    const stage = element.querySelector(".stage");
    if (!element.querySelector(".choice")) {
      const controls = document.getElementById("controls").content.cloneNode(true);
      const select = controls.querySelector("select");
      data.maps.forEach((map, number) => select.add(new Option(map.name, number)));
      element.querySelector(".said").remove();
      stage.parentElement.after(controls);
      select.addEventListener("change", () => show(live.get(element), Number(select.value)));
    }
    const card = {
      ...data,
      element,
      stage,
      canvas: stage.querySelector("canvas"),
      select: element.querySelector("select"),
      said: element.querySelector(".said"),
      reading: element.querySelector(".reading"),
      cell: null,
    };
    for (const event of ["pointermove", "pointerdown"]) {
      card.canvas.addEventListener(event, (at) => pointAt(card, at));
    }
    card.canvas.addEventListener("keydown", (event) => onKey(card, event));
    show(card, Number(card.select.value) || 0);
    return card;
  }

  // A canvas keeps its pixels as long as it lives: a card far from the screen gets a new one.
  function close(card) {
    card.element.querySelector(".original")?.remove();
    hideCell(card);
    card.canvas.replaceWith(card.canvas.cloneNode());
  }

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const card = live.get(target);
        if (isIntersecting && !card) {
          const opened = open(target);
          if (opened) live.set(target, opened);
        } else if (!isIntersecting && card && document.activeElement !== card.canvas) {
          live.delete(target);
          close(card);
        }
      }
    },
    { rootMargin: "600px" },
  );

  // Cells -------------------------------------------------------------------------------------

  function pointAt(card, event) {
    if (!card.map?.large) return;
    const box = card.canvas.getBoundingClientRect();
    const [left, top, right, bottom] = card.map.frame;
    const across = ((event.clientX - box.left) / box.width - left) / (right - left);
    const down = ((event.clientY - box.top) / box.height - top) / (bottom - top);
    readCell(card, Math.floor(down * card.map.rows), Math.floor(across * card.map.columns));
  }

  function readCell(card, row, column) {
    const { map } = card;
    const isInside = row >= 0 && row < map.rows && column >= 0 && column < map.columns;
    if (!isInside) {
      card.reading.textContent = "outside the map";
      hideCell(card);
      return;
    }
    const value = map.values[row * map.columns + column];
    const raw = map.raw === null ? "" : ` (raw ${Number((value * map.raw).toPrecision(3))})`;
    card.reading.textContent = `row ${row + 1}, column ${column + 1}: ${value.toFixed(3)}${raw}`;
    if (!card.cell) {
      card.cell = document.createElement("div");
      card.cell.className = "cell";
      card.stage.append(card.cell);
    }
    const [left, top, right, bottom] = map.frame;
    const [width, height] = [(right - left) / map.columns, (bottom - top) / map.rows];
    const corner = [left + column * width, top + row * height];
    place(card.cell, [...corner, corner[0] + width, corner[1] + height]);
    card.at = [row, column];
  }

  function hideCell(card) {
    card.cell?.remove();
    card.cell = null;
    card.at = null;
  }

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function onKey(card, event) {
    const { map } = card;
    if (event.ctrlKey || event.altKey || event.metaKey || !map?.values) return;
    if (event.key in MOVES) {
      const middle = [Math.floor(map.rows / 2), Math.floor(map.columns / 2)];
      const [down, right] = card.at ? MOVES[event.key] : [0, 0];
      const [row, column] = card.at ?? middle;
      readCell(card, clamp(row + down, 0, map.rows - 1), clamp(column + right, 0, map.columns - 1));
    } else if (event.key === "h") {
      const hottest = map.values.indexOf(maximum(map.values));
      readCell(card, Math.floor(hottest / map.columns), hottest % map.columns);
    } else {
      return;
    }
    event.preventDefault();
  }

  const maximum = (values) => values.reduce((most, value) => Math.max(most, value), -Infinity);

  // The page ----------------------------------------------------------------------------------

  function visible() {
    return cards.filter((element) => !element.hidden);
  }

  function focusCard(step) {
    const shown = visible();
    const now = shown.indexOf(document.activeElement?.closest(".card"));
    const next = shown[clamp(now + step, 0, shown.length - 1)];
    next?.scrollIntoView({ block: "nearest" });
    next?.querySelector("canvas")?.focus();
  }

  function nearestCard() {
    const focused = live.get(document.activeElement?.closest(".card"));
    return focused ?? [...live.values()].find((card) => !card.element.hidden);
  }

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input[type=search], select");
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    const card = nearestCard();
    if (event.key === "/") document.getElementById("search").focus();
    else if (event.key === "j") focusCard(1);
    else if (event.key === "k") focusCard(-1);
    else if (event.key === "o") tools.original.click();
    else if ((event.key === "[" || event.key === "]") && card?.map) {
      const step = event.key === "]" ? 1 : card.maps.length - 1;
      show(card, (card.maps.indexOf(card.map) + step) % card.maps.length);
    } else return;
    event.preventDefault();
  });

  let isWaiting = false;
  function redraw() {
    tools.opacityShown.value = `${tools.opacity.value} %`;
    tools.hottestShown.value = `${tools.hottest.value} %`;
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      for (const card of live.values()) {
        if (!card.map) continue;
        showOriginal(card);
        draw(card);
      }
    });
  }

  function search() {
    const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const element of cards) {
      element.hidden = !words.every((word) => element.dataset.words.includes(word));
    }
    const found = visible().length;
    document.getElementById("found").value = `${found} of ${cards.length} pictures`;
  }

  for (const [name] of page.colours) tools.colours.add(new Option(name, name));
  tools.dark.checked = page.dark;
  document.querySelector(".search").hidden = cards.length < 2;
  document.getElementById("tools").addEventListener("input", redraw);
  document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("search").addEventListener("input", search);
  if (matchMedia("(max-width: 40rem)").matches) document.querySelector(".tools").open = false;
  search();
  redraw();
  cards.forEach((element) => watcher.observe(element));
})();
