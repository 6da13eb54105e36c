// Bring a page to life: the document, or the shadow root of a viewer in somebody else's page.
function start(root) {
  "use strict";
  // A small picture is enlarged by a whole factor until its longer side has so many pixels.
  const SHORTEST = 224;
  const DIMMED = 0.4;

  const rounded = (value) => Number(value.toPrecision(3));
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const read = (element) => JSON.parse(element.textContent);
  const page = read(root.getElementById("page"));
  const tools = root.getElementById("tools").elements;
  const colours = Object.fromEntries(page.colours.map(([name, table]) => [name, bytes(table)]));
  const cards = [...root.querySelectorAll(".card")];
  // Cards near the screen, with their pictures in memory.
  const live = new Map();
  const near = new Set();
  // Red for and blue against, as in a picture of this style.
  const SIGNED = "red for, blue against";
  const FOR = [214, 57, 45];
  const AGAINST = [49, 120, 196];

  // Pictures ----------------------------------------------------------------------------------

  function draw(card) {
    const { canvas, map } = card;
    const picture = card.pictures[map.picture];
    if (!picture.base) return;
    const { width, height, base } = picture;
    if (isSigned(map)) {
      drawSigned(card);
      return;
    }
    if (!map.large) map.large = enlarge(map, width, height);
    const { values, cover, levels } = map.large;
    const table = colours[tools.colours.value] ?? colours[page.colours[0][0]];
    const limit = tools.opacity.value / 100;
    const level = levels[tools.hottest.value];
    const photograph = tools.photograph.value;
    const isDark = photograph === "dark" || (!photograph && map.fine);
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

  const isSigned = (map) => tools.colours.value === SIGNED && Boolean(map.signed);

  // What raises the score in red and what lowers it in blue, over the grey photograph.
  function drawSigned(card) {
    const { canvas, map } = card;
    const { width, height, base } = card.pictures[map.picture];
    if (!map.largeSigned) {
      const large = enlarge({ ...map, values: map.signedValues }, width, height);
      map.largeSigned = { ...large, levels: levelsOf(large.values.map(Math.abs), 0, 1) };
    }
    const { values, cover, levels } = map.largeSigned;
    const limit = tools.opacity.value / 100;
    const level = levels[tools.hottest.value];
    const photograph = tools.photograph.value;
    const light = photograph === "dark" || (!photograph && map.fine) ? DIMMED : 1;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = image.data;
    const isColoured = photograph === "full";
    for (let number = 0, at = 0; number < values.length; number++, at += 4) {
      let red = base[at];
      let green = base[at + 1];
      let blue = base[at + 2];
      const opaque = base[at + 3];
      if (!isColoured) red = green = blue = light * (0.299 * red + 0.587 * green + 0.114 * blue);
      const value = values[number];
      // Outside the frame there is no number, and no strength.
      const size = value < 0 ? -value : value;
      const strength = size < 1 ? size : size >= 1 ? 1 : 0;
      const alpha = strength >= level ? limit * strength * cover[number] : 0;
      if (alpha) {
        const colour = value > 0 ? FOR : AGAINST;
        const under = (opaque / 255) * (1 - alpha);
        // One division instead of three: a redraw must be quick.
        const share = 1 / (alpha + under);
        red = share * (alpha * colour[0] + under * red);
        green = share * (alpha * colour[1] + under * green);
        blue = share * (alpha * colour[2] + under * blue);
        pixels[at + 3] = 255 * (alpha + under);
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
    card.about.textContent = map.about;
    const { check } = map;
    card.checked.textContent = check ? `Check: ${check.verdict}. ${check.sentence}` : "";
    card.canvas.setAttribute("aria-label", `Heatmap for ${map.said}`);
    if (!map.values) {
      const step = (map.high - map.low) / 255;
      map.values = Float32Array.from(bytes(map.cells), (code) => map.low + step * code);
      map.signedValues = map.signed && Float32Array.from(bytes(map.signed), (code) => code / 127 - 1);
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

  // Very many cards have their data in scripts beside the page: the newest few are kept.
  const SHARDS = 6;
  const shards = new Map();

  globalThis.eli5kShard = (name, found) => shards.set(name, found);

  function loadShard(name) {
    const script = document.createElement("script");
    const waiting = () => [...near].filter((element) => element.dataset.shard === name);
    script.src = name;
    shards.set(name, null);
    script.addEventListener("load", () => {
      script.remove();
      for (const old of [...shards.keys()].slice(0, -SHARDS)) shards.delete(old);
      waiting().forEach(enter);
    });
    script.addEventListener("error", () => {
      for (const element of waiting()) {
        const said = element.querySelector(".said");
        if (said) said.textContent = `The file ${name}, which belongs beside this page, is missing.`;
      }
    });
    document.head.append(script);
  }

  // What a card shows; null while it is on its way.
  function dataOf(element) {
    const { shard, number } = element.dataset;
    if (!shard) return read(element.querySelector('script[type="application/json"]'));
    if (!shards.has(shard)) loadShard(shard);
    return shards.get(shard)?.[number];
  }

  function enter(element) {
    const opened = live.has(element) ? null : open(element);
    if (opened) live.set(element, opened);
  }

  function open(element) {
    const data = dataOf(element);
    if (!data?.maps.length) return null;
    const offered = [...tools.colours.options].some(({ value }) => value === SIGNED);
    if (!offered && data.maps.some((map) => map.signed)) tools.colours.add(new Option(SIGNED));
    const stage = element.querySelector(".stage");
    if (!element.querySelector(".choice")) {
      const controls = root.getElementById("controls").content.cloneNode(true);
      const select = controls.querySelector("select");
      data.maps.forEach((map, number) => select.add(new Option(map.name, number)));
      element.querySelectorAll(".first").forEach((said) => said.remove());
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
      about: element.querySelector(".about"),
      checked: element.querySelector(".checked"),
      reading: element.querySelector(".reading"),
      cell: null,
    };
    for (const event of ["pointermove", "pointerdown"]) {
      card.canvas.addEventListener(event, (at) => pointAt(card, at));
    }
    card.canvas.addEventListener("pointerup", () => (card.start = null));
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
        near[isIntersecting ? "add" : "delete"](target);
        if (isIntersecting && !card) {
          enter(target);
        } else if (!isIntersecting && card && root.activeElement !== card.canvas) {
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
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    const [left, top, right, bottom] = card.map.frame;
    // A finger scrolls, so it covers nothing.
    const covers = card.map.check?.worth && event.pointerType !== "touch";
    if (event.type === "pointerdown" && covers) {
      card.start = [x, y];
      card.canvas.setPointerCapture(event.pointerId);
    }
    if (event.type === "pointermove" && card.start) {
      const [fromX, fromY] = card.start;
      cover(card, [Math.min(x, fromX), Math.min(y, fromY), Math.max(x, fromX), Math.max(y, fromY)]);
      return;
    }
    const across = (x - left) / (right - left);
    const down = (y - top) / (bottom - top);
    readCell(card, Math.floor(down * card.map.rows), Math.floor(across * card.map.columns));
  }

  // Mark a region, and tell what covering it would cost by the check's estimate.
  function cover(card, region) {
    const { check } = card.map;
    const shares = region.map((share) => clamp(share, 0, 1));
    const loss = worthOf(check, shares);
    card.reading.textContent =
      `covering this region: score ${rounded(check.score)} would ${loss < 0 ? "rise" : "fall"} ` +
      `by about ${rounded(Math.abs(loss))}, ${howMeasured(check)}`;
    mark(card, shares);
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
    const against = map.signedValues?.[row * map.columns + column] * map.strongest;
    const raw = rounded(against < 0 ? against : value * map.raw);
    const told = map.raw === null ? "" : ` (raw ${raw})`;
    const shares = sharesOf(map, row, column);
    card.reading.textContent =
      `row ${row + 1}, column ${column + 1}: ${value.toFixed(3)}${told}` + lossOf(map, shares);
    mark(card, shares);
    card.at = [row, column];
    card.anchor = card.at;
  }

  // What the check measured a cell to be worth, and how.
  function lossOf({ check }, region) {
    if (!check?.worth) return "";
    const loss = worthOf(check, region.map((share) => clamp(share, 0, 1)));
    return (
      `; covering it would ${loss < 0 ? "raise" : "lower"} the score ${rounded(check.score)} by ` +
      `about ${rounded(Math.abs(loss))}, ${howMeasured(check)}`
    );
  }

  const howMeasured = ({ runs }) =>
    `as estimated from ${runs} runs with parts of the picture blurred`;

  function sharesOf(map, row, column) {
    const [left, top, right, bottom] = map.frame;
    const [width, height] = [(right - left) / map.columns, (bottom - top) / map.rows];
    const corner = [left + column * width, top + row * height];
    return [...corner, corner[0] + width, corner[1] + height];
  }

  function mark(card, shares) {
    if (!card.cell) {
      card.cell = document.createElement("div");
      card.cell.className = "cell";
      card.stage.append(card.cell);
    }
    place(card.cell, shares);
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
      const next = [clamp(row + down, 0, map.rows - 1), clamp(column + right, 0, map.columns - 1)];
      if (event.shiftKey && card.at && map.check?.worth) {
        card.at = next;
        const [one, other] = [sharesOf(map, ...card.anchor), sharesOf(map, ...next)];
        const corners = [0, 1].map((side) => Math.min(one[side], other[side]));
        cover(card, [...corners, Math.max(one[2], other[2]), Math.max(one[3], other[3])]);
      } else {
        readCell(card, ...next);
      }
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
    const now = shown.indexOf(root.activeElement?.closest(".card"));
    const next = shown[clamp(now + step, 0, shown.length - 1)];
    next?.scrollIntoView({ block: "nearest" });
    next?.querySelector("canvas")?.focus();
  }

  function nearestCard() {
    const focused = live.get(root.activeElement?.closest(".card"));
    return focused ?? [...live.values()].find((card) => !card.element.hidden);
  }

  root.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input[type=search], select");
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    const card = nearestCard();
    if (event.key === "/") root.getElementById("search").focus();
    else if (event.key === "j") focusCard(1);
    else if (event.key === "k") focusCard(-1);
    else if (event.key === "o") tools.original.click();
    else if ((event.key === "[" || event.key === "]") && card?.map) {
      const step = event.key === "]" ? 1 : card.maps.length - 1;
      show(card, (card.maps.indexOf(card.map) + step) % card.maps.length);
    } else return;
    event.preventDefault();
    event.stopPropagation();
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
    const words = root.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const element of cards) {
      element.hidden = !words.every((word) => element.dataset.words.includes(word));
    }
    const found = visible().length;
    root.getElementById("found").value = `${found} of ${cards.length} pictures`;
  }

  for (const [name] of page.colours) tools.colours.add(new Option(name, name));
  root.querySelector(".search").hidden = cards.length < 2;
  root.getElementById("tools").addEventListener("input", redraw);
  root.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
  root.getElementById("search").addEventListener("input", search);
  if (matchMedia("(max-width: 40rem)").matches) root.querySelector(".tools").open = false;
  search();
  redraw();
  cards.forEach((element) => watcher.observe(element));
}
